// Package storetest is the suite that every store.Backend passes.
package storetest

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
)

// A Compacter can be told to forget its history up to a revision, which every
// backend does by itself now and then.
type Compacter interface {
	Compact(ctx context.Context, revision int64) error
}

// Run checks the promises of store.Backend. Each call of open returns an empty
// backend; Run closes it.
func Run(t *testing.T, open func(t *testing.T) store.Backend) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, b store.Backend)
	}{
		{"GuardsDecide", guardsDecide},
		{"ConflictNamesItsRecordAndLeavesNothing", conflictLeavesNothing},
		{"LookMakesNoRevision", lookMakesNoRevision},
		{"DropOfNothingChangesNothing", dropOfNothing},
		{"RevisionsGrow", revisionsGrow},
		{"OneOfManyWritersWins", oneOfManyWritersWins},
		{"AnyBytesCanBeValues", anyBytes},
		{"ValuesAreTheStoresOwn", valuesAreOwn},
		{"KeysOfManyKinds", keysOfManyKinds},
		{"ACommitHasUpToMaxOps", maxOps},
		{"ACommitHasUpToAMebibyte", largeCommits},
		{"NoTwoOpsNameOneKey", noTwoOpsNameOneKey},
		{"LoadIsOneRevision", loadIsOneRevision},
		{"LoadEndsWithItsYield", loadEndsWithItsYield},
		{"WatchYieldsEachCommitOnce", watchYieldsEachCommitOnce},
		{"WatchStartsAfterARevision", watchStartsAfterARevision},
		{"WatchFollowsConcurrentCommits", watchFollowsConcurrentCommits},
		{"WatchEndsWithItsContext", watchEndsWithItsContext},
		{"WatchOfACompactedPastFails", watchOfCompactedPast},
		{"CanceledCallsAreCanceled", canceledCalls},
		{"LeasesAreExclusive", leasesAreExclusive},
		{"LeasesGuardCommits", leasesGuardCommits},
		{"WaitingForALeaseCanBeCanceled", leaseWaitCanBeCanceled},
		{"NothingWorksAfterClose", nothingWorksAfterClose},
		{"CommitsFollowTheModel", commitsFollowTheModel},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := open(t)
			t.Cleanup(func() {
				if err := b.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			})
			test.run(t, b)
		})
	}
}

// Bench measures commits of 100 new records of 400 bytes, as a rollout makes them.
func Bench(b *testing.B, open func(b *testing.B) store.Backend) {
	backend := open(b)
	value := make([]byte, 400)
	n := 0
	for b.Loop() {
		ops := make([]store.Op, 100)
		for i := range ops {
			ops[i] = store.Op{Do: store.Write, Key: fmt.Sprintf("instances/web/%09d", n), Value: value}
			n++
		}
		if _, err := backend.Commit(b.Context(), ops); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "records/s")
}

// commit makes a commit that must succeed.
func commit(t *testing.T, b store.Backend, ops ...store.Op) int64 {
	t.Helper()
	revision, err := b.Commit(t.Context(), ops)
	if err != nil {
		t.Fatalf("Commit(%v): %v", ops, err)
	}
	return revision
}

// refused makes a commit that must fail with a kind.
func refused(t *testing.T, b store.Backend, want resource.Kind, ops ...store.Op) {
	t.Helper()
	if revision, err := b.Commit(t.Context(), ops); !resource.Is(err, want) {
		t.Fatalf("Commit(%v) = %d, %v, want an error of kind %v", ops, revision, err, want)
	}
}

func put(key, value string, guard store.Guard) store.Op {
	return store.Op{Do: store.Write, Key: key, Value: []byte(value), Guard: guard}
}

func drop(key string, guard store.Guard) store.Op {
	return store.Op{Do: store.Drop, Key: key, Guard: guard}
}

func look(key string, guard store.Guard) store.Op {
	return store.Op{Do: store.Look, Key: key, Guard: guard}
}

// load returns all records by key, and the revision they are of.
func load(t *testing.T, b store.Backend) (map[string]store.Item, int64) {
	t.Helper()
	got := make(map[string]store.Item)
	revision, err := b.Load(t.Context(), func(item store.Item) error {
		if _, ok := got[item.Key]; ok {
			t.Errorf("Load yields %s twice", item.Key)
		}
		if item.Value == nil {
			t.Errorf("Load yields %s with a nil value", item.Key)
		}
		got[item.Key] = item
		return nil
	})
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	return got, revision
}

// wantRecords compares all records with what they should be.
func wantRecords(t *testing.T, b store.Backend, want map[string]string) {
	t.Helper()
	items, _ := load(t, b)
	got := make(map[string]string, len(items))
	for key, item := range items {
		got[key] = string(item.Value)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

// follow returns the batches after a revision up to and including another.
func follow(t *testing.T, b store.Backend, after, last int64) []store.Batch {
	t.Helper()
	var batches []store.Batch
	for batch, err := range b.Watch(t.Context(), after) {
		if err != nil {
			t.Fatalf("Watch after %d: %v", after, err)
		}
		batches = append(batches, batch)
		if batch.Revision >= last {
			return batches
		}
	}
	t.Fatalf("Watch after %d ended before %d", after, last)
	return nil
}

// sorted puts the items of each batch in the order of their keys, since a
// backend may choose another.
func sorted(batches []store.Batch) []store.Batch {
	for _, batch := range batches {
		slices.SortFunc(batch.Items, func(a, b store.Item) int {
			if a.Key < b.Key {
				return -1
			}
			return 1
		})
	}
	return batches
}
