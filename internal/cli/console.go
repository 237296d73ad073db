package cli

import (
	"context"
	"os"

	"golang.org/x/term"

	"github.com/muster-vm/muster/internal/cli/output"
	"github.com/muster-vm/muster/internal/cli/stream"
)

// console connects the terminal, or a script, to the serial console.
func console(ctx context.Context, c *call) (any, error) {
	if err := c.alone(ctx); err != nil {
		return nil, err
	}
	ws, err := c.open(ctx, "console")
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
		filter = (&stream.Escape{}).Filter
	}
	ended, err := stream.Look(ctx, ws, c.in, c.out, filter)
	if ended {
		c.say("\r\nThe console ended: the instance does not run any more.\r")
	}
	return nil, err
}
