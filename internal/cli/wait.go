package cli

import (
	"context"
	"time"

	"github.com/muster-vm/muster/internal/cli/output"
)

// wait looks until a resource is in the state that was asked for.
func (c *call) wait(ctx context.Context, s output.Shape, get func(context.Context) (any, error)) error {
	if !c.Created && !c.Updated && !c.Deleted && !c.Exist && c.Custom == "" {
		return problem("incorrect usage: --created | --updated | --deleted | --exists | --custom JMESPATH")
	}
	deadline := time.Now().Add(time.Duration(c.Timeout) * time.Second)
	for {
		found, err := get(ctx)
		switch {
		case notFound(err):
			if c.Deleted {
				return nil
			}
			if c.Updated {
				return err // az: only what exists can be updated
			}
		case err != nil:
			return err
		default:
			if done, err := c.reached(found, s); done || err != nil {
				return err
			}
		}
		if left := time.Until(deadline); left <= 0 {
			return problem("Wait operation timed-out after %d seconds", c.Timeout)
		}
		if err := Pause(ctx, min(time.Duration(c.Interval)*time.Second, time.Until(deadline))); err != nil {
			return err
		}
	}
}

// reached tells whether a resource that exists is in the wanted state.
func (c *call) reached(found any, s output.Shape) (bool, error) {
	v, err := output.Reshape(found, s)
	if err != nil {
		return false, err
	}
	switch {
	case c.Exist:
		return true, nil
	case c.Custom != "":
		answer, err := output.Search(c.Custom, v)
		if err != nil {
			return false, usage("argument --custom: %v", err)
		}
		return answer != nil && answer != false && answer != "", nil
	case c.Deleted:
		return false, nil
	}
	state, err := output.Search("provisioningState || properties.provisioningState", v)
	if state == "Failed" {
		return false, problem("The operation failed")
	}
	return state == "Succeeded", err
}

// Pause waits, or returns why ctx ended.
func Pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
