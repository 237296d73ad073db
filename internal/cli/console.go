package cli

import (
	"context"
	"os"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/term"

	"github.com/muster-vm/muster/internal/cli/output"
)

// quiet is how long a console has nothing to print until a script that has no
// more to type leaves it.
const quiet = time.Second

// console connects the terminal, or a script, to the serial console.
func console(ctx context.Context, c *call) (any, error) {
	if err := c.noRest(); err != nil {
		return nil, err
	}
	if err := c.findGroup(ctx); err != nil {
		return nil, err
	}
	ws, err := c.stream(ctx, "console")
	if err != nil {
		return nil, err
	}
	defer ws.CloseNow() //nolint:errcheck // it has ended, or shall
	var filter func([]byte) ([]byte, bool)
	if output.Terminal(c.in) {
		c.say("Connected to the serial console of %s_%s. Press Enter, then ~ and . to leave.", c.Name, c.InstanceID[0])
		in := int(c.in.(*os.File).Fd())
		before, err := term.MakeRaw(in)
		if err != nil {
			return nil, problem("The terminal cannot be used: %v.", err)
		}
		defer func() {
			_ = term.Restore(in, before) // there is nothing else to try
			c.say("\nLeft the serial console of %s_%s.", c.Name, c.InstanceID[0])
		}()
		filter = (&escape{fresh: true}).filter
	}
	return nil, c.look(ctx, ws, filter)
}

// look shows what the console prints until it ends or the user leaves.
func (c *call) look(ctx context.Context, ws *websocket.Conn, filter func([]byte) ([]byte, bool)) error {
	whole, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	typed, printed, ended := make(chan bool, 1), make(chan []byte), make(chan error, 1)
	go func() {
		left, err := push(whole, ws, c.in, filter)
		if err == nil {
			typed <- left
		}
	}()
	go func() {
		for {
			_, message, err := ws.Read(whole)
			if err != nil {
				ended <- err
				return
			}
			select {
			case printed <- message:
			case <-whole.Done():
				return
			}
		}
	}()
	var leave *time.Timer
	var over <-chan time.Time
	for {
		select {
		case message := <-printed:
			if _, err := c.out.Write(message); err != nil {
				return problem("%v", err)
			}
			if leave != nil {
				leave.Reset(quiet)
			}
		case left := <-typed:
			if left {
				return goodbye(ws)
			}
			leave = time.NewTimer(quiet)
			over = leave.C
		case <-over:
			return goodbye(ws)
		case <-ctx.Done():
			return goodbye(ws)
		case err := <-ended:
			if err := streamEnd(err); err != nil {
				return err
			}
			c.say("\r\nThe console ended: the instance does not run any more.\r")
			return nil
		}
	}
}

// goodbye leaves a console.
func goodbye(ws *websocket.Conn) error {
	_ = ws.Close(websocket.StatusNormalClosure, "") // at worst the server sees that nobody is there any more
	return nil
}

// escape finds the sequence in what is typed that leaves a console: Enter, ~ and .
// as with ssh. Enter ~ ~ types one ~.
type escape struct {
	fresh bool // at the start of a line
	tilde bool // after a ~ there, which is not sent yet
}

// filter returns what to send, and whether to leave then.
func (e *escape) filter(typed []byte) (send []byte, leave bool) {
	for _, b := range typed {
		switch {
		case e.tilde && b == '.':
			return send, true
		case e.tilde && b == '~':
			send = append(send, '~')
			e.tilde, e.fresh = false, false
			continue
		case e.tilde:
			send = append(send, '~')
			e.tilde, e.fresh = false, false
		case e.fresh && b == '~':
			e.tilde = true
			continue
		}
		send = append(send, b)
		e.fresh = b == '\r' || b == '\n'
	}
	return send, false
}
