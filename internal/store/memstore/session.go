package memstore

import (
	"context"
	"errors"
	"iter"
	"sync"

	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
)

var _ store.Backend = (*Session)(nil)

// Session is a store.Backend over a DB that it may share with other sessions.
// What a session yields is shared with the DB: callers must not change values.
type Session struct {
	db     *DB
	closed chan struct{} // closed by Close

	mu     sync.Mutex
	leases map[*lease]struct{} // that this session holds
	done   bool                // Close was called
}

// Load implements store.Backend. Records come in the order of their keys.
func (s *Session) Load(ctx context.Context, yield func(store.Item) error) (int64, error) {
	if err := s.check(ctx); err != nil {
		return 0, err
	}
	return s.db.load(ctx, yield)
}

// Commit implements store.Backend.
func (s *Session) Commit(ctx context.Context, ops []store.Op) (int64, error) {
	if err := s.check(ctx); err != nil {
		return 0, err
	}
	if err := store.CheckOps(ops); err != nil {
		return 0, err
	}
	return s.db.commit(ops)
}

// Watch implements store.Backend. It ends with Unavailable when the session is
// closed, and without an error when ctx is done.
func (s *Session) Watch(ctx context.Context, after int64) iter.Seq2[store.Batch, error] {
	return func(yield func(store.Batch, error) bool) {
		err := s.watch(ctx, after, yield)
		if err != nil && ctx.Err() == nil {
			yield(store.Batch{}, err)
		}
	}
}

// watch returns why the watch ends, nil if yield wanted it.
func (s *Session) watch(ctx context.Context, after int64, yield func(store.Batch, error) bool) error {
	for {
		batches, more, ok := s.db.since(after)
		if !ok {
			return store.ErrCompacted
		}
		for _, b := range batches {
			if err := s.check(ctx); err != nil {
				return err
			}
			if !yield(b, nil) {
				return nil
			}
			after = b.Revision
		}
		if len(batches) > 0 {
			continue
		}
		if err := s.wait(ctx, more); err != nil {
			return err
		}
	}
}

// Compact drops the history up to a revision, so that watches from before it
// end with store.ErrCompacted.
func (s *Session) Compact(ctx context.Context, revision int64) error {
	if err := s.check(ctx); err != nil {
		return err
	}
	return s.db.compact(revision)
}

// Close ends the session's watches and gives its leases back. The records and
// other sessions stay. It is safe to call twice.
func (s *Session) Close() error {
	s.mu.Lock()
	if s.done {
		s.mu.Unlock()
		return nil
	}
	s.done = true
	close(s.closed)
	held := s.leases
	s.leases = nil
	s.mu.Unlock()
	for l := range held {
		l.release()
	}
	return nil
}

// check reports why the session cannot be used.
func (s *Session) check(ctx context.Context) error {
	select {
	case <-s.closed:
		return errClosed()
	default:
		return ctxError(ctx)
	}
}

// wait returns nil once more is closed.
func (s *Session) wait(ctx context.Context, more <-chan struct{}) error {
	select {
	case <-more:
		return s.check(ctx)
	case <-ctx.Done():
		return doneError(ctx.Err())
	case <-s.closed:
		return errClosed()
	}
}

func errClosed() error {
	return resource.Errorf(resource.Unavailable, "StateStoreUnavailable", "The state store is closed.")
}

// doneError is the *resource.Error for a context that is done.
func doneError(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return resource.Errorf(resource.Unavailable, "StateStoreUnavailable", "The state store did not answer in time.").Because(err)
	}
	return resource.Errorf(resource.Canceled, "Canceled", "The request was canceled.").Because(err)
}
