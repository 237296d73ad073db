package storetest

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
)

func acquire(t *testing.T, b store.Backend, name string) store.Lease {
	t.Helper()
	lease, err := b.Acquire(t.Context(), name)
	if err != nil {
		t.Fatalf("Acquire(%q): %v", name, err)
	}
	if lease.Name != name {
		t.Errorf("Acquire(%q) returns the lease %q", name, lease.Name)
	}
	return lease
}

func isLost(lease store.Lease) bool {
	select {
	case <-lease.Lost:
		return true
	default:
		return false
	}
}

func leasesAreExclusive(t *testing.T, b store.Backend) {
	const holders = 5
	var held atomic.Int64
	var last int64 // of the lease before; whoever holds the lease may look at it
	var wg sync.WaitGroup
	other := acquire(t, b, "other")
	for range holders {
		wg.Go(func() {
			lease, err := b.Acquire(t.Context(), "leader")
			if err != nil {
				t.Errorf("Acquire: %v", err)
				return
			}
			if n := held.Add(1); n != 1 {
				t.Errorf("%d hold the lease", n)
			}
			if lease.Revision <= last {
				t.Errorf("lease of revision %d after %d", lease.Revision, last)
			}
			last = lease.Revision
			if isLost(lease) {
				t.Error("the lease is lost while it is held")
			}
			held.Add(-1)
			lease.Release()
			lease.Release()
			<-lease.Lost
		})
	}
	wg.Wait()
	if isLost(other) {
		t.Error("the lease of another name is lost")
	}
	other.Release()
	again := acquire(t, b, "other")
	if isLost(again) || again.Revision <= other.Revision {
		t.Errorf("taken again at %d after %d, lost: %t", again.Revision, other.Revision, isLost(again))
	}
	other.Release() // of the earlier holder: nothing to it
	if isLost(again) {
		t.Error("an earlier holder released the lease of a later one")
	}
	commit(t, b, look(store.LeaseKey("other"), store.At(again.Revision)))
}

func leasesGuardCommits(t *testing.T, b store.Backend) {
	first := acquire(t, b, "leader")
	key := store.LeaseKey("leader")
	commit(t, b, look(key, store.At(first.Revision)), put("a", "1", store.Any))
	if items, _ := load(t, b); items[key].Revision != first.Revision {
		t.Errorf("the lease's record is of revision %d, want %d", items[key].Revision, first.Revision)
	}
	first.Release()
	refused(t, b, resource.Conflict, look(key, store.At(first.Revision)), put("a", "2", store.Any))
	commit(t, b, look(key, store.Absent), put("b", "1", store.Any))
	second := acquire(t, b, "leader")
	refused(t, b, resource.Conflict, look(key, store.At(first.Revision)), put("a", "2", store.Any))
	commit(t, b, look(key, store.At(second.Revision)), put("a", "3", store.Any))
	second.Release()
	wantRecords(t, b, map[string]string{"a": "3", "b": "1"})
}

func leaseWaitCanBeCanceled(t *testing.T, b store.Backend) {
	lease := acquire(t, b, "leader")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	got := make(chan error, 1)
	go func() {
		_, err := b.Acquire(ctx, "leader")
		got <- err
	}()
	// The wait may not have begun when it is canceled; both are to end alike.
	commit(t, b, put("a", "1", store.Any))
	cancel()
	if err := <-got; !resource.Is(err, resource.Canceled) {
		t.Errorf("Acquire: %v, want Canceled", err)
	}
	if isLost(lease) {
		t.Error("the holder lost the lease")
	}
	lease.Release()
	acquire(t, b, "leader").Release()
}
