package compute

import (
	"context"
	"sync"
	"time"

	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/vmss"
)

// turns lets the changes of a scale set wait for each other, so that a storm of
// them is worked off instead of failing on each other's writes. The store's
// guards keep records right without it.
type turns struct {
	mu    sync.Mutex
	queue map[vmss.Key]*turn
}

// turn is one set's: who holds busy is changing the set.
type turn struct {
	busy  chan struct{}
	users int // that hold it or wait for it
}

// take waits for the set's turn. The caller gives it back, unless ctx ended.
func (t *turns) take(ctx context.Context, key vmss.Key) (give func(), err error) {
	t.mu.Lock()
	if t.queue == nil {
		t.queue = map[vmss.Key]*turn{}
	}
	mine := t.queue[key]
	if mine == nil {
		mine = &turn{busy: make(chan struct{}, 1)}
		t.queue[key] = mine
	}
	mine.users++
	t.mu.Unlock()
	leave := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if mine.users--; mine.users == 0 {
			delete(t.queue, key)
		}
	}
	select {
	case mine.busy <- struct{}{}:
		return func() { <-mine.busy; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}

// change calls f when it is the set's turn, again while it meets a Conflict of
// the store. If there is no end to those it fails with Throttled: the same
// request may well succeed a little later.
func (a *API) change(ctx context.Context, key vmss.Key, f func() error) error {
	give, err := a.turns.take(ctx, key)
	if err != nil {
		return err
	}
	defer give()
	if err = retry(ctx, f); stale(err) {
		busy := resource.Errorf(resource.Throttled, "TooManyRequests", "The scale set '%s' is being changed by others all the time. Try again later.", key.Name).Because(err)
		busy.RetryAfter = time.Second
		return busy
	}
	return err
}
