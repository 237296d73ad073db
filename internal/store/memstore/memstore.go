// Package memstore keeps records in memory. It is a backend in its own right,
// for demos and for tests of everything above the store, not a mock: it passes
// the suite that etcdstore passes.
//
// A DB is what a server of its own would be; sessions are its users, so that a
// test can restart a control plane over the same records. All waiting is on
// channels that the DB made: one that is made inside a testing/synctest bubble
// may be used there.
package memstore

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
)

// retention is how many changed records the history has at least; a watch
// further behind gets store.ErrCompacted.
const retention = 100_000

// DB holds records and the history of their changes. Use New.
type DB struct {
	mu       sync.Mutex
	revision int64 // of the last commit that changed something
	records  map[string]store.Item
	history  []store.Batch // of the revisions up to revision, without gaps; entries never change
	changes  int           // items in history
	changed  chan struct{} // closed by the next commit; nil if nobody waits for it
}

// New returns an empty DB.
func New() *DB {
	return &DB{records: make(map[string]store.Item)}
}

// Open returns a session: one user of the DB, with its own watches and leases.
func (db *DB) Open() *Session {
	return &Session{db: db, closed: make(chan struct{}), leases: make(map[*lease]struct{})}
}

// commit applies ops or answers Conflict.
func (db *DB) commit(ops []store.Op) (int64, error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	for i := range ops {
		if !db.holds(&ops[i]) {
			return 0, resource.Errorf(resource.Conflict, "StoreConflict", "The record %s was changed meanwhile.", ops[i].Key)
		}
	}
	items := make([]store.Item, 0, len(ops))
	for i := range ops {
		if item, ok := db.apply(&ops[i]); ok {
			items = append(items, item)
		}
	}
	db.record(items)
	return db.revision, nil
}

func (db *DB) holds(op *store.Op) bool {
	return op.Guard == store.Any || db.records[op.Key].Revision == int64(op.Guard)
}

// apply does op as part of the next revision and reports what it changed.
func (db *DB) apply(op *store.Op) (store.Item, bool) {
	item := store.Item{Key: op.Key, Revision: db.revision + 1}
	switch op.Do {
	case store.Write:
		item.Value = append([]byte{}, op.Value...) // the caller may use its slice again
		db.records[op.Key] = item
		return item, true
	case store.Drop:
		_, ok := db.records[op.Key]
		delete(db.records, op.Key)
		return item, ok
	default:
		return item, false
	}
}

// record makes a revision of the items, if any, and wakes who waits for it.
func (db *DB) record(items []store.Item) {
	if len(items) == 0 {
		return
	}
	db.revision++
	db.history = append(db.history, store.Batch{Revision: db.revision, Items: items})
	db.changes += len(items)
	if db.changes > 2*retention {
		db.forget(db.surplus())
	}
	if db.changed != nil {
		close(db.changed)
		db.changed = nil
	}
}

// surplus returns how many of the oldest batches retention does not ask for.
func (db *DB) surplus() int {
	kept, n := 0, len(db.history)
	for n > 0 && kept < retention {
		n--
		kept += len(db.history[n].Items)
	}
	return n
}

// forget drops the n oldest batches. Watches may still be reading the old
// array, so the rest moves to a new one.
func (db *DB) forget(n int) {
	for _, b := range db.history[:n] {
		db.changes -= len(b.Items)
	}
	db.history = slices.Clone(db.history[n:])
}

// since returns the batches after a revision, or if there are none yet, a
// channel that is closed when there is one. It reports false if some of them
// are not kept any more.
func (db *DB) since(after int64) (batches []store.Batch, more <-chan struct{}, ok bool) {
	db.mu.Lock()
	defer db.mu.Unlock()
	oldest := db.revision - int64(len(db.history)) // the last revision that is not kept
	if after < oldest {
		return nil, nil, false
	}
	if after < db.revision {
		return slices.Clip(db.history[after-oldest:]), nil, true
	}
	return nil, db.next(), true
}

// next returns a channel that the next commit closes.
func (db *DB) next() <-chan struct{} {
	if db.changed == nil {
		db.changed = make(chan struct{})
	}
	return db.changed
}

func (db *DB) snapshot() ([]store.Item, int64) {
	db.mu.Lock()
	defer db.mu.Unlock()
	items := make([]store.Item, 0, len(db.records))
	return slices.AppendSeq(items, maps.Values(db.records)), db.revision
}

// load yields all records by key, as etcd does.
func (db *DB) load(ctx context.Context, yield func(store.Item) error) (int64, error) {
	items, revision := db.snapshot()
	slices.SortFunc(items, func(a, b store.Item) int { return cmp.Compare(a.Key, b.Key) })
	for _, item := range items {
		if err := ctxError(ctx); err != nil {
			return 0, err
		}
		if err := yield(item); err != nil {
			return 0, err
		}
	}
	return revision, nil
}

// compact drops the history up to a revision.
func (db *DB) compact(revision int64) error {
	db.mu.Lock()
	defer db.mu.Unlock()
	if revision > db.revision {
		return resource.Errorf(resource.Invalid, "InvalidRevision", "Revision %d has not been made yet.", revision)
	}
	oldest := db.revision - int64(len(db.history))
	if revision > oldest {
		db.forget(int(revision - oldest))
	}
	return nil
}

// ctxError says as a *resource.Error that ctx is done, or nil if it is not.
func ctxError(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return doneError(err)
	}
	return nil
}
