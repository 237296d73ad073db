package network

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
)

// turn lets changes wait for each other, so that what one finds of others'
// references and addresses still holds when it commits.
type turn struct {
	once sync.Once
	busy chan struct{}
}

// Hold waits until nobody changes a network, and keeps it so until give is called:
// for who is about to refer to one from elsewhere, as a scale set does. It fails if
// ctx ends first.
func (a *API) Hold(ctx context.Context) (give func(), err error) {
	a.turn.once.Do(func() { a.turn.busy = make(chan struct{}, 1) })
	select {
	case a.turn.busy <- struct{}{}:
		return func() { <-a.turn.busy }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// attempts bounds how often a change is tried again after a Conflict.
const attempts = 10

// change calls f in its turn, again while it meets a Conflict of the store: a
// reconciler wrote the same records meanwhile.
func (a *API) change(ctx context.Context, name string, f func() error) error {
	give, err := a.Hold(ctx)
	if err != nil {
		return err
	}
	defer give()
	wait := time.Millisecond
	for range attempts {
		if err = f(); !stale(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait + rand.N(wait)):
			wait = min(2*wait, 128*time.Millisecond)
		}
	}
	busy := resource.Errorf(resource.Throttled, "TooManyRequests", "'%s' is being changed by others all the time. Try again later.", name).Because(err)
	busy.RetryAfter = time.Second
	return busy
}

func stale(err error) bool {
	e, ok := err.(*resource.Error) //nolint:errorlint // what a store answers is not wrapped
	return ok && e.Kind == resource.Conflict && e.Code == store.CodeConflict
}
