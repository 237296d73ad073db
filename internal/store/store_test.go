package store_test

import (
	"context"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/store/memstore"
	"github.com/muster-vm/muster/internal/vmss"
)

var quiet = slog.New(slog.DiscardHandler)

// open opens a store that runs until the returned function is called.
func open(t interface {
	Helper()
	Fatal(...any)
}, db *memstore.DB) (*store.Store, func()) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	s, err := store.Open(ctx, db.Open(), quiet)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { s.Run(ctx) })
	return s, func() { stop(); wg.Wait() }
}

func set(uid vmss.UID, name string) vmss.ScaleSet {
	return vmss.ScaleSet{ID: resource.In("s", "lab", "Microsoft.Compute", "virtualMachineScaleSets", name), UID: uid}
}

// shown is all that a store shows.
func shown(s *store.Store) map[string]any {
	out := map[string]any{"groups": store.All(s, store.Groups), "sets": store.All(s, store.ScaleSets), "rows": store.All(s, store.Instances),
		"seen": store.All(s, store.Observations), "custom": store.All(s, store.Customizations), "revisions": store.All(s, store.Revisions),
		"operations": store.All(s, store.Operations), "outcomes": store.All(s, store.Outcomes), "counters": store.All(s, store.Counters)}
	for _, uid := range []vmss.UID{"a", "b"} {
		snap, ok := s.Snapshot(uid)
		out["snapshot "+string(uid)] = []any{ok, snap, s.Instances(uid, 1, 2), s.OpenOperations(uid)}
	}
	return out
}

var equate = cmp.Options{cmpopts.EquateEmpty(), cmp.AllowUnexported(store.Record{})}

// change draws one change of any kind.
func change(t *rapid.T) store.Change {
	uid := rapid.SampledFrom([]vmss.UID{"a", "b"}).Draw(t, "set")
	n := rapid.Int64Range(0, 5).Draw(t, "number")
	ik, ok := vmss.InstanceKey{Set: uid, ID: vmss.InstanceID(n)}, vmss.OperationKey{Set: uid, Sequence: n}
	rk, name := vmss.RevisionKey{Set: uid, Number: vmss.RevisionNumber(n)}, "set-"+string(uid)
	remove := rapid.Bool().Draw(t, "remove")
	pick := func(put, del store.Change) store.Change {
		if remove {
			return del
		}
		return put
	}
	switch rapid.IntRange(0, 7).Draw(t, "kind") {
	case 0:
		return pick(store.Put(store.ScaleSets, vmss.NewKey("s", "lab", name), set(uid, name)), store.Delete(store.ScaleSets, vmss.NewKey("s", "lab", name), store.Any))
	case 1:
		return pick(store.Put(store.Instances, ik, vmss.Instance{ID: ik.ID, Boots: n}), store.Delete(store.Instances, ik, store.Any))
	case 2:
		return pick(store.Put(store.Observations, ik, vmss.Observation{Boots: n}), store.Delete(store.Observations, ik, store.Any))
	case 3:
		return pick(store.Put(store.Customizations, ik, vmss.Customization{Sequence: n}), store.Delete(store.Customizations, ik, store.Any))
	case 4:
		return pick(store.Put(store.Operations, ok, vmss.Operation{ID: string(uid) + strconv.FormatInt(n, 10), Set: uid, Sequence: n}), store.Delete(store.Operations, ok, store.Any))
	case 5:
		return pick(store.Put(store.Outcomes, ok, vmss.Outcome{Status: vmss.OperationSucceeded}), store.Delete(store.Outcomes, ok, store.Any))
	case 6:
		return pick(store.Put(store.Revisions, rk, vmss.Revision{Number: rk.Number}), store.Delete(store.Revisions, rk, store.Any))
	}
	return pick(store.Put(store.Counters, string(uid), n), store.Delete(store.Counters, string(uid), store.Any))
}

func TestCacheThatFollowedEqualsOneThatWasLoaded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		db := memstore.New()
		followed, stop := open(t, db)
		defer stop()
		for range rapid.IntRange(1, 40).Draw(t, "changes") {
			if _, err := followed.Commit(context.Background(), change(t)); err != nil {
				t.Fatal(err)
			}
		}
		loaded, stopLoaded := open(t, db)
		defer stopLoaded()
		if diff := cmp.Diff(shown(loaded), shown(followed), equate); diff != "" {
			t.Fatalf("the cache that followed shows otherwise (-loaded +followed):\n%s", diff)
		}
	})
}

func TestLargeSetsKeepTheirOrder(t *testing.T) {
	s, stop := open(t, memstore.New())
	defer stop()
	want := map[vmss.InstanceID]bool{}
	for i := range 5000 {
		id := vmss.InstanceID(i * 7919 % 5000)
		c := store.Put(store.Instances, vmss.InstanceKey{Set: "a", ID: id}, vmss.Instance{ID: id})
		if want[id] = true; i%3 == 2 {
			id = vmss.InstanceID((i - 1) * 7919 % 5000)
			delete(want, id)
			c = store.Delete(store.Instances, vmss.InstanceKey{Set: "a", ID: id}, store.Any)
			delete(want, vmss.InstanceID(i*7919%5000))
		}
		if _, err := s.Commit(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	n, last := 0, vmss.InstanceID(-1)
	for {
		page := s.Instances("a", last, 100)
		for _, rec := range page {
			if rec.ID <= last || !want[rec.ID] {
				t.Fatalf("%d comes after %d, wanted: %v", rec.ID, last, want[rec.ID])
			}
			n, last = n+1, rec.ID
		}
		if len(page) < 100 {
			break
		}
	}
	if n != len(want) {
		t.Errorf("%d instances are listed, want %d", n, len(want))
	}
}

func TestACommitIsShownWhenItReturnsAndListenersHearOfIt(t *testing.T) {
	s, stop := open(t, memstore.New())
	defer stop()
	heard := make(chan vmss.Key, 1)
	store.OnChange(s, store.ScaleSets, func(k vmss.Key) { heard <- k })
	key := vmss.NewKey("s", "lab", "web")
	rev, err := s.Commit(t.Context(), store.Put(store.ScaleSets, key, set("a", "web"), store.Absent))
	if err != nil {
		t.Fatal(err)
	}
	if e, ok := store.Get(s, store.ScaleSets, key); !ok || e.Revision != rev || e.Value.UID != "a" {
		t.Errorf("after the commit of revision %d the cache has %v %+v", rev, ok, e)
	}
	if got := <-heard; got != key {
		t.Errorf("heard of %v", got)
	}
	if _, err := s.Commit(t.Context(), store.Put(store.ScaleSets, key, set("b", "web"), store.Absent)); !resource.Is(err, resource.Conflict) {
		t.Errorf("a second create: %v, want a Conflict", err)
	}
}

func TestNobodyWaitsForACacheThatNobodyKeepsCurrent(t *testing.T) {
	s, stop := open(t, memstore.New())
	stop()
	if _, err := s.Commit(t.Context(), store.Put(store.Counters, "a", 1)); err != nil {
		t.Error(err)
	}
}

// TestLostHistoryIsLoadedAgain cuts a store off, lets the past be compacted, and
// expects it to find what came and what went.
func TestLostHistoryIsLoadedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := memstore.New()
		writer, stop := open(t, db)
		defer stop()
		commit := func(c ...store.Change) int64 {
			t.Helper()
			rev, err := writer.Commit(t.Context(), c...)
			if err != nil {
				t.Fatal(err)
			}
			return rev
		}
		row := func(id vmss.InstanceID) vmss.InstanceKey { return vmss.InstanceKey{Set: "a", ID: id} }
		commit(store.Put(store.ScaleSets, vmss.NewKey("s", "lab", "web"), set("a", "web")), store.Put(store.Instances, row(0), vmss.Instance{ID: 0}))
		backend := db.Open()
		late, err := store.Open(t.Context(), backend, quiet)
		if err != nil {
			t.Fatal(err)
		}
		commit(store.Delete(store.Instances, row(0), store.Any), store.Put(store.Instances, row(1), vmss.Instance{ID: 1}))
		rev := commit(store.Put(store.Instances, row(2), vmss.Instance{ID: 2}))
		if err := backend.Compact(t.Context(), rev); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { late.Run(ctx) })
		time.Sleep(time.Minute)
		if diff := cmp.Diff(shown(writer), shown(late), equate); diff != "" {
			t.Errorf("after the reload (-want +got):\n%s", diff)
		}
		cancel()
		wg.Wait()
	})
}
