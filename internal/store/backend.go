package store

import (
	"context"
	"errors"
	"iter"

	"github.com/muster-vm/muster/internal/resource"
)

// A Backend keeps records as bytes under string keys. memstore and etcdstore
// implement it and pass the suite in storetest. All methods are safe for
// concurrent use; errors are *resource.Error: Conflict for a guard that does
// not hold, Unavailable for a backend that does not answer.
type Backend interface {
	// Load yields every record as it was at one revision, which it returns
	// once yield was called for all. An error of yield ends it.
	Load(ctx context.Context, yield func(Item) error) (revision int64, err error)
	// Commit applies all ops or none, durably, and returns the revision that
	// they made; ops that only check make none and return the current one. No
	// two ops name the same key. It fails with Conflict, naming the key, if a
	// guard does not hold. Dropping what is not there makes no revision.
	Commit(ctx context.Context, ops []Op) (revision int64, err error)
	// Watch yields what each commit after a revision changed, one batch a
	// revision, in order and without gaps. It ends, silently, when ctx is done, or with an
	// error: ErrCompacted if changes after the revision are not kept any more.
	Watch(ctx context.Context, after int64) iter.Seq2[Batch, error]
	// Acquire waits until nobody holds the named lease, or ctx is done, and
	// takes it. A lease is a record at LeaseKey(name), so that ops can check it.
	Acquire(ctx context.Context, name string) (Lease, error)
	// Close lets go of the backend. Records stay; later calls fail with
	// Unavailable.
	Close() error
}

// ErrCompacted ends a watch whose past is not kept any more: load again.
var ErrCompacted = errors.New("the changes after this revision are not kept any more")

// Item is one record. Whoever gets one leaves its value as it is.
type Item struct {
	Key      string
	Value    []byte // nil in a batch: the record was deleted; a value written empty is not nil
	Revision int64  // of the commit that wrote it
}

// Batch is what one commit changed.
type Batch struct {
	Revision int64
	Items    []Item
}

// Limits of a commit. etcd's own are 128 ops and 1.5 MiB of its encoding.
const (
	MaxOps   = 120
	MaxBytes = 1 << 20 // of keys and values together
)

// CheckOps fails with Invalid for ops that no backend takes: with code
// RequestContentTooLarge if they are too many bytes, else InvalidCommit.
func CheckOps(ops []Op) error {
	if len(ops) > MaxOps {
		return resource.Errorf(resource.Invalid, "InvalidCommit", "A commit has at most %d ops, not %d.", MaxOps, len(ops))
	}
	bytes := 0
	seen := make(map[string]struct{}, len(ops))
	for i := range ops {
		bytes += len(ops[i].Key) + len(ops[i].Value)
		if _, ok := seen[ops[i].Key]; ok {
			return resource.Errorf(resource.Invalid, "InvalidCommit", "Two ops of a commit name the record %s.", ops[i].Key)
		}
		seen[ops[i].Key] = struct{}{}
	}
	if bytes > MaxBytes {
		return resource.Errorf(resource.Invalid, "RequestContentTooLarge", "The request stores %d bytes; at most %d go together. Make its documents smaller.", bytes, MaxBytes)
	}
	return nil
}

// Op is one part of a commit.
type Op struct {
	Do    Do
	Key   string
	Value []byte // of a Write
	Guard Guard
}

// Do is what an op does to its record.
type Do int

// The kinds of ops.
const (
	Look  Do = iota // check the guard only
	Write           // put the value
	Drop            // delete the record; nothing if there is none
)

// Guard is what must be true of a record for a commit to be made.
type Guard int64

// The guards; At makes the third kind.
const (
	Any    Guard = -1 // whatever it is
	Absent Guard = 0  // there is no such record
)

// At holds if the record was last written at this revision.
func At(revision int64) Guard { return Guard(revision) }

// Lease is a lease that was taken.
type Lease struct {
	Name     string
	Revision int64           // at which it was taken: later holders have higher ones
	Lost     <-chan struct{} // closed when it is not held any more
	Release  func()          // gives it back; safe to call twice
}

// LeaseKey is the key of a lease's record.
func LeaseKey(name string) string { return "leases/" + name }

// CodeConflict is the code of the Conflict that a commit fails with when a guard
// does not hold.
const CodeConflict = "StoreConflict"
