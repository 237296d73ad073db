// Package controller runs reconcilers: level-triggered, at most one worker per
// key, with back-off and periodic resync. It decides nothing about the things
// it reconciles.
package controller

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"k8s.io/client-go/util/workqueue"

	"github.com/muster-vm/muster/internal/resource"
)

// A Reconciler brings the thing named by key one step closer to what it should
// be. It is told which thing, never what happened to it. A non-zero wakeAt asks
// for another call at that time.
type Reconciler[K comparable] interface {
	Reconcile(ctx context.Context, key K) (wakeAt time.Time, err error)
}

// Func makes a Reconciler of a function.
type Func[K comparable] func(ctx context.Context, key K) (time.Time, error)

// Reconcile calls the function.
func (f Func[K]) Reconcile(ctx context.Context, key K) (time.Time, error) { return f(ctx, key) }

// Controller drives a Reconciler. Make one with New, then Run it.
type Controller[K comparable] struct {
	Options[K]
	queue workqueue.TypedDelayingInterface[K]

	mu    sync.Mutex
	state map[K]keyState
}

// Options is what a Controller needs to know.
type Options[K comparable] struct {
	Name       string
	Reconciler Reconciler[K]
	List       func(context.Context) ([]K, error) // every key, for resync; nil for none
	Resync     time.Duration                      // between resyncs; default 5 minutes
	Workers    int                                // default 1
	Spacing    time.Duration                      // the longest that a costly key is held back; default 1 second
	Log        *slog.Logger
	// Observe hears of every reconcile; nil for nobody.
	Observe func(controller string, took time.Duration, err error)
}

// keyState is what is remembered of a key that needs it.
type keyState struct {
	fails int
	next  time.Time // not before
}

// New returns a controller that is not running yet. It can be poked at once.
func New[K comparable](o Options[K]) *Controller[K] {
	o.Workers = max(o.Workers, 1)
	if o.Resync == 0 {
		o.Resync = 5 * time.Minute
	}
	o.Spacing = cmp.Or(o.Spacing, maxSpacing)
	return &Controller[K]{Options: o, queue: workqueue.NewTypedDelayingQueue[K](), state: map[K]keyState{}}
}

// Poke asks for key to be reconciled soon. It never blocks; pokes coalesce.
func (c *Controller[K]) Poke(key K) { c.queue.Add(key) }

// Close lets go of a controller that is not run, or not any more.
func (c *Controller[K]) Close() { c.queue.ShutDown() }

// Run reconciles until ctx is done, then waits for its workers.
func (c *Controller[K]) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for range c.Workers {
		wg.Go(func() { c.work(ctx) })
	}
	if c.List != nil {
		wg.Go(func() { c.resync(ctx) })
	}
	<-ctx.Done()
	c.Close()
	wg.Wait()
}

func (c *Controller[K]) resync(ctx context.Context) {
	t := time.NewTicker(c.Resync)
	defer t.Stop()
	for {
		keys, err := c.List(ctx)
		if err != nil && ctx.Err() == nil {
			c.Log.ErrorContext(ctx, "resync", "controller", c.Name, "err", err)
		}
		for _, k := range keys {
			c.queue.Add(k)
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

func (c *Controller[K]) work(ctx context.Context) {
	for {
		key, shutdown := c.queue.Get()
		if shutdown {
			return
		}
		if wait := c.tooEarly(key); wait > 0 {
			c.queue.AddAfter(key, wait)
		} else if ctx.Err() == nil {
			c.once(ctx, key)
		}
		c.queue.Done(key)
	}
}

// maxSpacing bounds how long a key that is costly to reconcile is held back so
// that it takes at most a part of a processor, if the options say nothing.
const maxSpacing = time.Second

func (c *Controller[K]) tooEarly(key K) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s, ok := c.state[key]; ok {
		return time.Until(s.next)
	}
	return 0
}

func (c *Controller[K]) once(ctx context.Context, key K) {
	begin := time.Now()
	wakeAt, err := c.reconcile(ctx, key)
	took := time.Since(begin)
	c.remember(key, err, took)
	if c.Observe != nil {
		c.Observe(c.Name, took, err)
	}
	switch {
	case err == nil:
		if !wakeAt.IsZero() {
			c.queue.AddAfter(key, max(time.Until(wakeAt), time.Millisecond))
		}
	case ctx.Err() != nil:
	case resource.Is(err, resource.Conflict):
		c.Log.DebugContext(ctx, "reconcile again", "controller", c.Name, "key", key, "err", err)
		c.queue.Add(key)
	default:
		wait := c.backoff(key)
		c.Log.WarnContext(ctx, "reconcile failed", "controller", c.Name, "key", key, "retry_in", wait, "err", err)
		c.queue.AddAfter(key, wait)
	}
}

// reconcile calls the reconciler and turns a panic into an error: one broken
// key must not stop the others.
func (c *Controller[K]) reconcile(ctx context.Context, key K) (wakeAt time.Time, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return c.Reconciler.Reconcile(ctx, key)
}

func (c *Controller[K]) remember(key K, err error, took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.state[key]
	if err == nil {
		s.fails = 0
	} else if !resource.Is(err, resource.Conflict) {
		s.fails++
	}
	s.next = time.Time{}
	if took > 5*time.Millisecond {
		s.next = time.Now().Add(min(4*took, c.Spacing))
	}
	if s == (keyState{}) {
		delete(c.state, key)
		return
	}
	c.state[key] = s
}

// backoff grows from one second to a minute with the failures in a row.
func (c *Controller[K]) backoff(key K) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return min(time.Second<<min(max(c.state[key].fails-1, 0), 6), time.Minute)
}
