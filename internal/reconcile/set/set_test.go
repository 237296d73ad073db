package set_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/muster-vm/muster/internal/reconcile/set"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/store/memstore"
	"github.com/muster-vm/muster/internal/vmss"
)

const uid vmss.UID = "6d757374-6572-4000-8000-000000000001"

var errDied = errors.New("the process has died")

// yard is a reconciler over a store, and a second user of the records.
type yard struct {
	t     *testing.T
	db    *memstore.DB
	gate  *gate
	store *store.Store // the reconciler's
	other *store.Store // somebody else's
	lease store.Lease
	r     *set.Reconciler
}

// gate is passed by each commit of the reconciler.
type gate struct {
	store.Backend
	commits int
	before  func(n int) error // may do something first, or fail the n-th commit, counted from 1
	after   func(n int) error // may lose its answer
}

// Commit implements store.Backend.
func (g *gate) Commit(ctx context.Context, ops []store.Op) (int64, error) {
	g.commits++
	n := g.commits
	if g.before != nil {
		if err := g.before(n); err != nil {
			return 0, err
		}
	}
	revision, err := g.Backend.Commit(ctx, ops)
	if err == nil && g.after != nil {
		if err := g.after(n); err != nil {
			return 0, err
		}
	}
	return revision, err
}

func newYard(t *testing.T, capacity int) *yard {
	t.Helper()
	y := &yard{t: t, db: memstore.New()}
	y.gate = &gate{Backend: y.db.Open()}
	y.store, y.other = y.open(y.gate), y.open(y.db.Open())
	y.lease = y.acquire(y.other)
	log := slog.New(slog.DiscardHandler)
	y.r = &set.Reconciler{Store: y.store, Fence: y.lease.Held(), Check: true, Log: log,
		Hosts: func() []vmss.Host { return []vmss.Host{{Name: "h", VCPUs: 1 << 20, MemoryMB: 1 << 30}} },
		Size:  func(name string) (vmss.Size, bool) { return vmss.Size{Name: name, VCPUs: 1, MemoryMB: 1}, true }}
	s := vmss.ScaleSet{ID: resource.In("sub", "lab", "Microsoft.Compute", "virtualMachineScaleSets", "web"), UID: uid, Revision: 1,
		SKU: vmss.SKU{Name: "S", Capacity: capacity}, Upgrade: vmss.UpgradePolicy{Mode: vmss.UpgradeManual}}
	y.commit(store.Put(store.ScaleSets, s.Key(), s), store.Put(store.Revisions, vmss.RevisionKey{Set: uid, Number: 1}, vmss.Revision{Number: 1, Model: vmss.Model{Size: "S"}}),
		store.Put(store.Counters, string(uid), 1))
	return y
}

func (y *yard) open(b store.Backend) *store.Store {
	y.t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(y.t.Context()))
	s, err := store.Open(ctx, b, slog.New(slog.DiscardHandler))
	if err != nil {
		y.t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() { s.Run(ctx) })
	y.t.Cleanup(func() { cancel(); running.Wait(); b.Close() })
	return s
}

func (y *yard) acquire(s *store.Store) store.Lease {
	y.t.Helper()
	lease, err := s.Acquire(y.t.Context(), "plane")
	if err != nil {
		y.t.Fatal(err)
	}
	return lease
}

// commit writes as somebody else, and waits until the reconciler's cache shows it.
func (y *yard) commit(changes ...store.Change) {
	y.t.Helper()
	if _, err := y.other.Commit(y.t.Context(), changes...); err != nil {
		y.t.Fatal(err)
	}
	y.catchUp(y.store)
}

// catchUp brings a cache to the present, by a commit of its own.
func (y *yard) catchUp(s *store.Store) {
	y.t.Helper()
	before, after := y.gate.before, y.gate.after
	y.gate.before, y.gate.after = nil, nil
	if _, err := s.Commit(y.t.Context(), store.Put(store.Counters, "marker", 1)); err != nil {
		y.t.Fatal(err)
	}
	y.gate.before, y.gate.after, y.gate.commits = before, after, 0
}

// edit changes the user's document.
func (y *yard) edit(change func(*vmss.ScaleSet)) {
	y.t.Helper()
	e, _ := y.other.SetByUID(uid)
	s := *e.Value
	change(&s)
	if _, err := y.other.Commit(y.t.Context(), store.Put(store.ScaleSets, s.Key(), s)); err != nil {
		y.t.Fatal(err)
	}
}

// reconcile goes on until nothing is left to do.
func (y *yard) reconcile() {
	y.t.Helper()
	y.gate.before, y.gate.after = nil, nil
	for range 100 {
		y.catchUp(y.store)
		if _, err := y.r.Reconcile(y.t.Context(), uid); err != nil {
			y.t.Fatalf("Reconcile: %v", err)
		}
		if y.gate.commits == 0 {
			return
		}
	}
	y.t.Fatal("a hundred reconciles do not settle the set")
}

// rows returns the revisions of the rows by id, as somebody else sees them.
func (y *yard) rows() map[vmss.InstanceID]int64 {
	y.t.Helper()
	y.catchUp(y.other)
	rows := map[vmss.InstanceID]int64{}
	for _, rec := range y.other.Instances(uid, -1, 0) {
		rows[rec.ID] = rec.Row.Revision
	}
	return rows
}

func TestNothingIsWrittenOnceTheLeaseIsLost(t *testing.T) {
	y := newYard(t, 5)
	y.lease.Release()
	next := y.acquire(y.other)
	if _, err := y.r.Reconcile(t.Context(), uid); !resource.Is(err, resource.Conflict) {
		t.Errorf("Reconcile: %v, want Conflict", err)
	}
	if rows := y.rows(); len(rows) > 0 {
		t.Errorf("rows were made: %v", rows)
	}
	y.r.Fence = next.Held()
	y.reconcile()
	if rows := y.rows(); len(rows) != 5 {
		t.Errorf("the next holder made the rows %v, want five", rows)
	}
}

func TestALeaseThatIsLostBetweenChunksStopsThePlan(t *testing.T) {
	y := newYard(t, 500)
	y.gate.before = func(n int) error {
		if n == 4 {
			y.lease.Release()
			y.acquire(y.other)
		}
		return nil
	}
	if _, err := y.r.Reconcile(t.Context(), uid); !resource.Is(err, resource.Conflict) {
		t.Errorf("Reconcile: %v, want Conflict", err)
	}
	if n := len(y.rows()); n == 0 || n >= 500 || y.gate.commits > 4 {
		t.Errorf("%d rows after %d commits, want those of the chunks before and no more", n, y.gate.commits)
	}
}

func TestNoRowIsCreatedForACapacityThatWasLowered(t *testing.T) {
	for _, at := range []int{1, 2, 3, 5} { // the planner state goes first, then the chunks
		t.Run(fmt.Sprintf("before commit %d", at), func(t *testing.T) {
			y := newYard(t, 500)
			made := -1
			y.gate.before = func(n int) error {
				if n == at {
					y.edit(func(s *vmss.ScaleSet) { s.SKU.Capacity = 7 })
					made = len(y.other.Instances(uid, -1, 0))
				}
				return nil
			}
			if _, err := y.r.Reconcile(t.Context(), uid); !resource.Is(err, resource.Conflict) {
				t.Errorf("Reconcile: %v, want Conflict", err)
			}
			if rows := y.rows(); len(rows) != made {
				t.Errorf("%d rows, of which %d were there when the capacity was lowered", len(rows), made)
			}
			if _, ok := store.Get(y.other, store.States, uid); ok != (at > 1) {
				t.Errorf("the planner state was written: %t", ok)
			}
			y.reconcile()
			live := 0
			for _, rec := range y.store.Instances(uid, -1, 0) {
				if !rec.Row.Value.Deleting {
					live++
				}
			}
			if live != 7 {
				t.Errorf("%d rows are to stay, want the new capacity of 7", live)
			}
		})
	}
}

func TestAPlanCutShortBetweenChunksIsPlannedAgainWithNewIDs(t *testing.T) {
	for _, lost := range []string{"the commit", "its answer"} {
		for at := 1; ; at += 3 {
			y := newYard(t, 1000)
			die := func(n int) error {
				if n >= at {
					return errDied
				}
				return nil
			}
			if y.gate.before = die; lost == "its answer" {
				y.gate.before, y.gate.after = nil, die
			}
			_, err := y.r.Reconcile(t.Context(), uid)
			if err == nil {
				if at < 10 {
					t.Errorf("a thousand rows took less than %d commits", at)
				}
				break
			}
			first := y.rows()
			y.reconcile()
			all := y.rows()
			if len(all) != 1000 {
				t.Fatalf("after losing %s %d there are %d rows, want 1000", lost, at, len(all))
			}
			state, _ := store.Get(y.store, store.States, uid)
			for id, revision := range first {
				if all[id] != revision {
					t.Fatalf("after losing %s %d row %d was made again", lost, at, id)
				}
			}
			for id := range all {
				if id >= state.Value.NextID {
					t.Fatalf("row %d exists and the next id is %d", id, state.Value.NextID)
				}
			}
		}
	}
}

func TestTheDocumentOfADeletedSetGoesLast(t *testing.T) {
	for at := 1; ; at++ {
		y := newYard(t, 200)
		y.reconcile()
		op := vmss.Operation{ID: "op", Sequence: 1, Kind: vmss.OpDelete, Set: uid}
		y.edit(func(s *vmss.ScaleSet) { s.Deleting = true })
		y.commit(store.Put(store.Operations, op.Key(), op))
		y.reconcile() // every row is marked
		for id := range y.rows() {
			y.commit(store.Put(store.Observations, vmss.InstanceKey{Set: uid, ID: id}, vmss.Observation{Gone: true}))
		}
		y.gate.before = func(n int) error {
			if n >= at {
				return errDied
			}
			return nil
		}
		_, err := y.r.Reconcile(t.Context(), uid)
		if left := y.left(); err != nil && !slices.ContainsFunc(left, func(key string) bool { return strings.HasPrefix(key, "scalesets/") }) {
			t.Fatalf("a death before commit %d left records of a set whose document is gone: %v", at, left)
		}
		y.reconcile()
		if left := y.left(); len(left) > 0 {
			t.Fatalf("a death before commit %d left %v behind", at, left)
		}
		if outcome, ok := store.Get(y.store, store.Outcomes, op.Key()); !ok || outcome.Value.Status != vmss.OperationSucceeded {
			t.Fatalf("a death before commit %d: the delete ended %+v", at, outcome.Value)
		}
		if err == nil {
			return
		}
	}
}

// left lists the records of the set but for its operations.
func (y *yard) left() (keys []string) {
	y.t.Helper()
	session := y.db.Open()
	defer session.Close()
	_, err := session.Load(y.t.Context(), func(i store.Item) error {
		root, _, _ := strings.Cut(i.Key, "/")
		if root != "operations" && root != "outcomes" && root != "leases" && i.Key != "counters/marker" {
			keys = append(keys, i.Key)
		}
		return nil
	})
	if err != nil {
		y.t.Fatal(err)
	}
	return keys
}
