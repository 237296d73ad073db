package memstore

import (
	"context"
	"sync"

	"github.com/muster-vm/muster/internal/store"
)

// lease is a lease that a session holds.
type lease struct {
	db       *DB
	name     string
	revision int64
	lost     chan struct{}
	once     sync.Once
}

// Acquire implements store.Backend.
func (s *Session) Acquire(ctx context.Context, name string) (store.Lease, error) {
	for {
		if err := s.check(ctx); err != nil {
			return store.Lease{}, err
		}
		l, free := s.db.take(name)
		if l != nil {
			return s.hold(l)
		}
		if err := s.wait(ctx, free); err != nil {
			return store.Lease{}, err
		}
	}
}

// hold makes the session the owner of a lease, unless it was closed meanwhile.
func (s *Session) hold(l *lease) (store.Lease, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done {
		l.release()
		return store.Lease{}, errClosed()
	}
	s.leases[l] = struct{}{}
	release := func() {
		s.mu.Lock()
		delete(s.leases, l)
		s.mu.Unlock()
		l.release()
	}
	return store.Lease{Name: l.name, Revision: l.revision, Lost: l.lost, Release: release}, nil
}

// take writes the lease's record if there is none. If there is one, it returns
// a channel that is closed when it may have gone.
func (db *DB) take(name string) (*lease, <-chan struct{}) {
	db.mu.Lock()
	defer db.mu.Unlock()
	op := store.Op{Do: store.Write, Key: store.LeaseKey(name), Guard: store.Absent}
	if !db.holds(&op) {
		return nil, db.next()
	}
	item, _ := db.apply(&op)
	db.record([]store.Item{item})
	return &lease{db: db, name: name, revision: item.Revision, lost: make(chan struct{})}, nil
}

// release tells the holder first, then lets others have the lease.
func (l *lease) release() {
	l.once.Do(func() {
		close(l.lost)
		l.db.drop(store.LeaseKey(l.name), l.revision)
	})
}

// drop deletes the record if it is still the one of this revision.
func (db *DB) drop(key string, revision int64) {
	db.mu.Lock()
	defer db.mu.Unlock()
	op := store.Op{Do: store.Drop, Key: key, Guard: store.At(revision)}
	if !db.holds(&op) {
		return
	}
	item, _ := db.apply(&op)
	db.record([]store.Item{item})
}
