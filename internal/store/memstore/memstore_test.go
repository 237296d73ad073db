package memstore_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/store/memstore"
	"github.com/muster-vm/muster/internal/store/storetest"
)

func TestBackend(t *testing.T) {
	storetest.Run(t, func(*testing.T) store.Backend { return memstore.New().Open() })
}

func BenchmarkCommit100(b *testing.B) {
	storetest.Bench(b, func(*testing.B) store.Backend { return memstore.New().Open() })
}

func BenchmarkLoad300000(b *testing.B) {
	s := memstore.New().Open()
	fill(b, s, 300_000)
	for b.Loop() {
		if _, err := s.Load(b.Context(), func(store.Item) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}

// fill writes n records of 400 bytes.
func fill(tb testing.TB, s store.Backend, n int) (last int64) {
	tb.Helper()
	for i := 0; i < n; i += 100 {
		ops := make([]store.Op, 100)
		for j := range ops {
			ops[j] = store.Op{Do: store.Write, Key: fmt.Sprintf("instances/web/%09d", i+j), Value: make([]byte, 400)}
		}
		revision, err := s.Commit(tb.Context(), ops)
		if err != nil {
			tb.Fatal(err)
		}
		last = revision
	}
	return last
}

func write(t *testing.T, s store.Backend, key string) int64 {
	t.Helper()
	revision, err := s.Commit(t.Context(), []store.Op{{Do: store.Write, Key: key, Guard: store.Any}})
	if err != nil {
		t.Fatal(err)
	}
	return revision
}

// TestWaitsAreDurable has watches and leases wait inside a bubble, whose clock
// moves only while everything in it is durably blocked.
func TestWaitsAreDurable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := memstore.New()
		s := db.Open()
		lease, err := s.Acquire(t.Context(), "leader")
		if err != nil {
			t.Fatal(err)
		}
		watched := make(chan store.Batch)
		go func() {
			for batch, err := range s.Watch(t.Context(), lease.Revision) {
				if err != nil {
					t.Error(err)
				}
				watched <- batch
			}
			close(watched)
		}()
		taken := make(chan store.Lease)
		other := db.Open()
		go func() {
			next, err := other.Acquire(t.Context(), "leader")
			if err != nil {
				t.Error(err)
			}
			taken <- next
		}()

		start := time.Now()
		<-time.After(time.Hour)
		if got := time.Since(start); got != time.Hour {
			t.Errorf("an hour took %v", got)
		}
		select {
		case <-taken:
			t.Error("two hold the lease")
		case batch := <-watched:
			t.Errorf("watched %v though nothing changed", batch)
		default:
		}
		lease.Release()
		if batch := <-watched; batch.Items[0].Key != store.LeaseKey("leader") || batch.Items[0].Value != nil {
			t.Errorf("watched %v, want the end of the lease", batch)
		}
		if batch, next := <-watched, <-taken; next.Revision != batch.Revision {
			t.Errorf("the lease was taken at %d, and watched at %d", next.Revision, batch.Revision)
		}
		write(t, s, "a")
		<-watched
		other.Close()
		<-watched
	})
}

func TestWaitEndsAtItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memstore.New().Open()
		if _, err := s.Acquire(t.Context(), "leader"); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := s.Acquire(ctx, "leader"); !resource.Is(err, resource.Unavailable) {
			t.Errorf("Acquire: %v, want Unavailable", err)
		}
	})
}

func TestClosingASessionLeavesTheOthers(t *testing.T) {
	db := memstore.New()
	first, second := db.Open(), db.Open()
	lease, err := first.Acquire(t.Context(), "leader")
	if err != nil {
		t.Fatal(err)
	}
	kept, err := second.Acquire(t.Context(), "kept")
	if err != nil {
		t.Fatal(err)
	}
	write(t, first, "a")
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	<-lease.Lost
	next, err := second.Acquire(t.Context(), "leader")
	if err != nil || next.Revision <= lease.Revision {
		t.Errorf("Acquire = %v, %v, want a later lease than %d", next, err, lease.Revision)
	}
	select {
	case <-kept.Lost:
		t.Error("closing one session lost the lease of another")
	default:
	}
	keys := 0
	if _, err := second.Load(t.Context(), func(store.Item) error { keys++; return nil }); err != nil || keys != 3 {
		t.Errorf("%d records, %v, want the record and two leases", keys, err)
	}
}

func TestHistoryIsBounded(t *testing.T) {
	s := memstore.New().Open()
	last := fill(t, s, 220_000)
	for _, err := range s.Watch(t.Context(), 0) {
		if !errors.Is(err, store.ErrCompacted) {
			t.Errorf("Watch: %v, want ErrCompacted", err)
		}
		break
	}
	recent := last - 900 // of a hundred records each
	for batch, err := range s.Watch(t.Context(), recent) {
		if err != nil {
			t.Fatalf("Watch: %v", err)
		}
		if batch.Revision != recent+1 {
			t.Fatalf("revision %d comes after %d", batch.Revision, recent)
		}
		recent = batch.Revision
		if recent == last {
			break
		}
	}
}
