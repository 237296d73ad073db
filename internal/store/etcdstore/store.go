// Package etcdstore keeps records in etcd: in one that runs inside this process
// over a directory of its own, or in one that runs elsewhere. It owns the way to
// etcd, how long its history is kept and the watch over its size; what records
// mean is not its business.
//
// Errors are *resource.Error: Conflict for a guard that does not hold,
// Exhausted for a full store, Canceled for a caller that went away, Invalid for
// what can never be done, and Unavailable for the rest. After Unavailable a
// commit may have been made or not.
package etcdstore

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/muster-vm/muster/internal/store"
)

var _ store.Backend = (*Store)(nil)

// patience is how long one answer of etcd is waited for. Embedded, it covers an
// fsync of a very slow disk; remote, an election.
const patience = 15 * time.Second

// DefaultQuota is how large the state of an embedded etcd may become.
const DefaultQuota = 8 << 30

// Options say which etcd to use and how. Zero values are defaults.
type Options struct {
	Dir   string // OpenEmbedded: the directory of the state, which the caller has locked
	Quota int64  // OpenEmbedded: how large the state may become; 8 GiB

	Endpoints []string // Dial: such as https://10.0.0.1:2379
	CA        string   // Dial: file of the authorities that etcd's certificate is checked by; the system's
	Cert, Key string   // Dial: files of the certificate that is shown to etcd; none

	Prefix       string        // of all keys; "/muster/v1/"
	LeaseTTL     time.Duration // how long a lease outlives its holder, at least a second; 5 s
	CompactEvery time.Duration // how long history is kept, at least; 5 min
	Log          *slog.Logger  // nowhere
}

func (o Options) withDefaults() Options {
	o.Prefix = cmp.Or(o.Prefix, "/muster/v1/")
	o.LeaseTTL = max(cmp.Or(o.LeaseTTL, 5*time.Second), time.Second)
	o.CompactEvery = cmp.Or(o.CompactEvery, 5*time.Minute)
	o.Quota = cmp.Or(o.Quota, DefaultQuota)
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	return o
}

// Store is a store.Backend over etcd. OpenEmbedded and Dial make one.
type Store struct {
	client   *clientv3.Client
	prefix   string
	leaseTTL time.Duration
	log      *slog.Logger
	embedded bool

	end      func(cause error)                 // of the store's life
	ended    func() error                      // the cause, nil while it lives
	done     <-chan struct{}                   // closed then
	onEnd    func(f func()) (stop func() bool) // calls f in a goroutine then
	tasks    sync.WaitGroup                    // what the store started
	shutdown func()                            // closes the client, and the server if it is ours
	once     sync.Once                         // for Close
}

// start begins the life of a store that has its client and shutdown.
func (s *Store) start(ctx context.Context, o Options) {
	life, end := context.WithCancelCause(context.WithoutCancel(ctx))
	s.prefix, s.leaseTTL, s.log = o.Prefix, o.LeaseTTL, o.Log
	s.end, s.done = end, life.Done()
	s.ended = func() error { return context.Cause(life) }
	s.onEnd = func(f func()) func() bool { return context.AfterFunc(life, f) }
	s.tasks.Go(func() { s.tend(life, o.CompactEvery) })
}

// Close ends watches, gives leases back and waits for all that the store
// started. It is safe to call twice.
func (s *Store) Close() error {
	s.once.Do(func() {
		s.end(errClosed())
		s.tasks.Wait()
		s.shutdown()
	})
	return nil
}

// Done returns a channel that is closed when the store cannot be used any more:
// it was closed, or its embedded etcd broke down. All calls say why.
func (s *Store) Done() <-chan struct{} { return s.done }

// check reports why a call cannot be made. An etcd in this process may answer
// even if the context is done.
func (s *Store) check(ctx context.Context) error {
	if err := s.ended(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return explain(ctx, err)
	}
	return nil
}

// bound returns a context that ends with the store too.
func (s *Store) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := s.onEnd(cancel)
	return ctx, func() { stop(); cancel() }
}

// brief is bound for one question to etcd.
func (s *Store) brief(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := s.bound(ctx)
	ctx, expire := context.WithTimeout(ctx, patience)
	return ctx, func() { expire(); cancel() }
}
