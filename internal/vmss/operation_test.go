package vmss_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/muster-vm/muster/internal/vmss"
)

func TestAnOperationCoversWhatItNamesOrAllThereWas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ids := rapid.SliceOfN(rapid.Map(rapid.Int64Range(0, 20), func(n int64) vmss.InstanceID { return vmss.InstanceID(n) }), 0, 10).Draw(t, "ids")
		slices.Sort(ids)
		below := vmss.InstanceID(rapid.Int64Range(0, 20).Draw(t, "below"))
		for id := range vmss.InstanceID(21) {
			if got, want := (vmss.Operation{Instances: ids, Below: below}).Covers(id), slices.Contains(ids, id); got != want {
				t.Fatalf("an operation on %v covers %d: %t, want %t", ids, id, got, want)
			}
			if got, want := (vmss.Operation{Below: below}).Covers(id), id < below; got != want {
				t.Fatalf("an operation on all below %d covers %d: %t, want %t", below, id, got, want)
			}
		}
	})
}

// BenchmarkCovers asks of every row of a large set whether an operation that
// names them all is about it, as each round of the planner does.
func BenchmarkCovers(b *testing.B) {
	op := vmss.Operation{Instances: make([]vmss.InstanceID, 10_000)}
	for i := range op.Instances {
		op.Instances[i] = vmss.InstanceID(i)
	}
	for b.Loop() {
		for id := range vmss.InstanceID(10_000) {
			op.Covers(id)
		}
	}
}
