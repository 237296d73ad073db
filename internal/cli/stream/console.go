package stream

import (
	"context"
	"io"
	"time"

	"github.com/coder/websocket"
)

// quiet is how long a console has nothing to print until a script that has no
// more to type leaves it.
const quiet = time.Second

// Look shows on out what a console prints, and types what comes from in, until the
// console ends or the user leaves. filter, if there is one, may change what is typed,
// or have the user leave. ended says that the instance ended it.
func Look(ctx context.Context, ws *websocket.Conn, in io.Reader, out io.Writer, filter func([]byte) (send []byte, leave bool)) (ended bool, err error) {
	whole, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	typed, printed, over := make(chan bool, 1), make(chan []byte), make(chan error, 1)
	go func() {
		left, err := push(whole, ws, in, filter)
		if err == nil {
			typed <- left
		}
	}()
	go func() {
		for {
			_, message, err := ws.Read(whole)
			if err != nil {
				over <- err
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
	var rested <-chan time.Time
	for {
		select {
		case message := <-printed:
			if _, err := out.Write(message); err != nil {
				return false, err
			}
			if leave != nil {
				leave.Reset(quiet)
			}
		case left := <-typed:
			if left {
				return false, goodbye(ws)
			}
			leave = time.NewTimer(quiet)
			rested = leave.C
		case <-rested:
			return false, goodbye(ws)
		case <-ctx.Done():
			return false, goodbye(ws)
		case err := <-over:
			err = endOf(err)
			return err == nil, err
		}
	}
}

// goodbye leaves a console.
func goodbye(ws *websocket.Conn) error {
	_ = ws.Close(websocket.StatusNormalClosure, "") // at worst the server sees that nobody is there any more
	return nil
}

// Escape finds the sequence in what is typed that leaves a console: Enter, ~ and .
// as with ssh. Enter ~ ~ types one ~.
type Escape struct {
	inLine bool // beyond the start of a line
	tilde  bool // after a ~ there, which is not sent yet
}

// Filter returns what to send, and whether to leave then.
func (e *Escape) Filter(typed []byte) (send []byte, leave bool) {
	for _, b := range typed {
		switch {
		case e.tilde && b == '.':
			return send, true
		case e.tilde && b == '~':
			send = append(send, '~')
			e.tilde, e.inLine = false, true
			continue
		case e.tilde:
			send = append(send, '~')
			e.tilde, e.inLine = false, true
		case !e.inLine && b == '~':
			e.tilde = true
			continue
		}
		send = append(send, b)
		e.inLine = b != '\r' && b != '\n'
	}
	return send, false
}
