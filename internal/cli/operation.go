package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/compute/armcompute/v8"

	"github.com/muster-vm/muster/internal/cli/output"
	"github.com/muster-vm/muster/internal/cli/progress"
)

// operation is a long-running one that the server has accepted.
type operation struct {
	done   func() bool
	poll   func(context.Context) (*http.Response, error)
	result func(context.Context) (any, error)
}

// begin wraps the SDK's poller; show picks what of its result is printed, and
// nil prints nothing.
func begin[T any](p *runtime.Poller[T], err error, show func(T) any) (any, error) {
	if err != nil {
		return nil, err
	}
	return &operation{p.Done, p.Poll, func(ctx context.Context) (any, error) {
		result, err := p.Result(ctx)
		if err != nil || show == nil {
			return nil, err
		}
		return show(result), nil
	}}, nil
}

// finish waits for an operation unless --no-wait, and returns what to print.
// Meanwhile it shows, on a terminal, how far the instances are.
func (c *call) finish(ctx context.Context, op *operation) (any, error) {
	if c.NoWait {
		return nil, nil
	}
	result, err := c.await(ctx, op)
	if err != nil && c.ofSet() && ctx.Err() == nil {
		if all, listErr := c.states(ctx); listErr == nil {
			c.failures = progress.Failures(all)
		}
	}
	return result, err
}

func (c *call) await(ctx context.Context, op *operation) (any, error) {
	b := c.newBoard()
	defer b.clear()
	for wait := 50 * time.Millisecond; !op.done(); wait = min(2*wait, time.Second) {
		b.show(ctx, c)
		if err := Pause(ctx, wait); err != nil {
			return nil, err
		}
		if _, err := op.poll(ctx); err != nil { //nolint:bodyclose // the SDK closes it
			return nil, err
		}
	}
	return op.result(ctx)
}

// ofSet reports whether the command acts on the instances of a scale set.
func (c *call) ofSet() bool { return c.explainable && c.Name != "" }

// board is where an operation's progress is shown. The zero board shows nothing.
type board struct {
	w     io.Writer
	style progress.Style
	fleet progress.Fleet
	begin time.Time
	next  time.Time // when it may look again
	last  string
}

// newBoard makes the board of a call: a line that is drawn again and again on a
// terminal, a line for each change on one that cannot go back, and nothing
// elsewhere. $MUSTER_PROGRESS says bar, plain or none instead.
func (c *call) newBoard() *board {
	kind := os.Getenv("MUSTER_PROGRESS")
	if kind == "" && output.Terminal(c.err) {
		if kind = "bar"; os.Getenv("TERM") == "dumb" {
			kind = "plain"
		}
	}
	if c.OnlyErrors || kind != "bar" && kind != "plain" {
		return &board{}
	}
	name := c.Name
	if name == "" {
		name = c.Group
	}
	return &board{w: c.err, begin: time.Now(),
		style: progress.Style{Width: output.Width(c.err), Colours: output.Colours(c.err), Plain: kind == "plain"},
		fleet: progress.Fleet{Name: name, Goal: c.goal, Wanted: int(max(c.Capacity, c.Instances))}}
}

// show looks at the instances and draws them. Looking takes at most a tenth of
// the time, however many instances there are.
func (b *board) show(ctx context.Context, c *call) {
	now := time.Now()
	if b.w == nil || now.Before(b.next) {
		return
	}
	if c.ofSet() {
		all, err := c.states(ctx)
		if err != nil {
			return // the operation tells what matters
		}
		b.fleet.Instances = all
		if c.goal == progress.Gone {
			b.fleet.Wanted = max(b.fleet.Wanted, len(all))
		}
	}
	b.next = now.Add(10 * time.Since(now))
	b.fleet.Elapsed = time.Since(b.begin)
	line := progress.Line(b.fleet, b.style)
	if b.style.Plain {
		if line != b.last {
			fmt.Fprintln(b.w, line)
		}
	} else {
		fmt.Fprint(b.w, "\r"+line+"\033[K")
	}
	b.last = line
}

// clear takes the line away that was drawn last.
func (b *board) clear() {
	if b.last != "" && !b.style.Plain {
		fmt.Fprint(b.w, "\r\033[K")
	}
}

// states are the instances that the command acts on.
func (c *call) states(ctx context.Context) (states []progress.Instance, err error) {
	all, err := c.instances(ctx, "instanceView")
	some := c.ids()
	for _, vm := range all {
		if len(some) == 0 || slices.Contains(some, "*") || slices.Contains(some, *vm.InstanceID) {
			states = append(states, stateOf(vm))
		}
	}
	return states, err
}

// stateOf words an instance's state: that of its power once it is provisioned.
func stateOf(vm *armcompute.VirtualMachineScaleSetVM) progress.Instance {
	i := progress.Instance{Name: *vm.Name, State: strings.ToLower(*vm.Properties.ProvisioningState)}
	switch i.State {
	case "succeeded":
		i.State = PowerOf(vm)
	case progress.Failed:
		i.Reason = reasonOf(vm)
	}
	return i
}

func reasonOf(vm *armcompute.VirtualMachineScaleSetVM) string {
	if vm.Properties.InstanceView == nil {
		return ""
	}
	for _, s := range vm.Properties.InstanceView.Statuses {
		if code, ok := strings.CutPrefix(*s.Code, "ProvisioningState/failed/"); ok && s.Message != nil {
			return fmt.Sprintf("(%s) %s", code, *s.Message)
		}
	}
	return ""
}

// PowerOf words an instance's power state.
func PowerOf(vm *armcompute.VirtualMachineScaleSetVM) string {
	if vm.Properties.InstanceView != nil {
		for _, s := range vm.Properties.InstanceView.Statuses {
			if power, ok := strings.CutPrefix(*s.Code, "PowerState/"); ok {
				return power
			}
		}
	}
	return strings.ToLower(*vm.Properties.ProvisioningState)
}
