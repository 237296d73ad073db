package cli

import (
	"context"
	"fmt"

	"net/http"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/compute/armcompute/v8"

	"github.com/muster-vm/muster/internal/cli/output"
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

// finish waits for an operation unless --no-wait, and returns what to print. On
// a terminal it shows the state of each instance meanwhile.
func (c *call) finish(ctx context.Context, op *operation) (any, error) {
	if c.NoWait {
		return nil, nil
	}
	watch := output.Terminal(c.err) && !c.OnlyErrors
	begin, wait := time.Now(), 50*time.Millisecond
	for !op.done() {
		if watch {
			c.progress(ctx, begin)
		}
		if err := pause(ctx, wait); err != nil {
			return nil, err
		}
		wait = min(2*wait, time.Second)
		if _, err := op.poll(ctx); err != nil { //nolint:bodyclose // the SDK closes it
			return nil, err
		}
	}
	if watch {
		fmt.Fprint(c.err, "\r\033[K")
	}
	return op.result(ctx)
}

// progress rewrites one line with how many instances are in each state, and the
// first of them by name.
func (c *call) progress(ctx context.Context, begin time.Time) {
	line := fmt.Sprintf("\r\033[K%3.0f s", time.Since(begin).Seconds())
	if c.explainable && c.Name != "" {
		all, err := c.instances(ctx, "instanceView")
		if err != nil {
			return // the operation tells what matters
		}
		line += "  " + stateLine(all)
	}
	fmt.Fprint(c.err, line)
}

// lineInstances is how many instances fit into the line of progress.
const lineInstances = 6

func stateLine(all []*armcompute.VirtualMachineScaleSetVM) string {
	var parts []string
	counts := map[string]int{}
	var states []string
	for _, vm := range all {
		state := powerOf(vm)
		if counts[state]++; counts[state] == 1 {
			states = append(states, state)
		}
		parts = append(parts, *vm.Name+" "+state)
	}
	if len(all) <= lineInstances {
		return strings.Join(parts, "  ")
	}
	parts = nil
	for _, s := range states {
		parts = append(parts, fmt.Sprintf("%d %s", counts[s], s))
	}
	return fmt.Sprintf("%d instances: %s", len(all), strings.Join(parts, ", "))
}
