package vmss_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/muster-vm/muster/internal/vmss"
)

// documented is the example of Azure's documentation: three zones, ids in the
// order of creation.
func documented() []vmss.Candidate {
	var out []vmss.Candidate
	for zone, ids := range map[string][]int{"1": {3, 4, 5, 10}, "2": {2, 6, 9, 11}, "3": {1, 7, 8}} {
		for _, id := range ids {
			out = append(out, vmss.Candidate{ID: vmss.InstanceID(id), Zone: zone, Created: time.Unix(int64(id), 0)})
		}
	}
	return out
}

func TestScaleInOrderIsTheDocumentedOne(t *testing.T) {
	for rule, want := range map[vmss.ScaleInRule][]vmss.InstanceID{
		vmss.ScaleInOldestVM: {2, 3, 1, 4, 6, 5},
		vmss.ScaleInNewestVM: {11, 10, 9, 8, 5, 7},
		vmss.ScaleInDefault:  {11, 10, 9, 8, 5, 7},
	} {
		if got := vmss.ScaleInOrder(documented(), vmss.ScaleInPolicy{Rule: rule}, 6); !slices.Equal(got, want) {
			t.Errorf("%s removes %v, want %v", rule, got, want)
		}
	}
}

func TestScaleInByDefaultLevelsFaultDomains(t *testing.T) {
	c := []vmss.Candidate{{ID: 0, FaultDomain: 0}, {ID: 1, FaultDomain: 1}, {ID: 2, FaultDomain: 0}, {ID: 3, FaultDomain: 2}, {ID: 4, FaultDomain: 0}}
	if got, want := vmss.ScaleInOrder(c, vmss.ScaleInPolicy{Rule: vmss.ScaleInDefault}, 3), []vmss.InstanceID{4, 2, 3}; !slices.Equal(got, want) {
		t.Errorf("removes %v, want %v", got, want)
	}
}

func TestScaleInTakesInstancesWithoutZoneAndUnhealthyOnesFirst(t *testing.T) {
	c := []vmss.Candidate{{ID: 0, Zone: "1"}, {ID: 1}, {ID: 2, Zone: "2", Unhealthy: true}, {ID: 3, Zone: "1"}}
	policy := vmss.ScaleInPolicy{Rule: vmss.ScaleInDefault, PrioritizeUnhealthyVM: true}
	if got, want := vmss.ScaleInOrder(c, policy, 3), []vmss.InstanceID{2, 1, 3}; !slices.Equal(got, want) {
		t.Errorf("removes %v, want %v", got, want)
	}
	policy.PrioritizeUnhealthyVM = false
	if got, want := vmss.ScaleInOrder(c, policy, 2), []vmss.InstanceID{1, 3}; !slices.Equal(got, want) {
		t.Errorf("without the priority removes %v, want %v", got, want)
	}
}

func anyCandidates() *rapid.Generator[[]vmss.Candidate] {
	return rapid.Custom(func(t *rapid.T) []vmss.Candidate {
		out := make([]vmss.Candidate, rapid.IntRange(0, 20).Draw(t, "n"))
		for i := range out {
			out[i] = vmss.Candidate{ID: vmss.InstanceID(i), Zone: rapid.SampledFrom([]string{"1", "2", "3"}).Draw(t, "zone"),
				FaultDomain: rapid.IntRange(0, 2).Draw(t, "domain"), Created: time.Unix(rapid.Int64Range(0, 5).Draw(t, "age"), 0),
				Protected: rapid.Bool().Draw(t, "protected")}
		}
		return out
	})
}

func TestScaleInNeverTakesTheProtectedAndEveryOneOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := anyCandidates().Draw(t, "all")
		rule := rapid.SampledFrom([]vmss.ScaleInRule{vmss.ScaleInDefault, vmss.ScaleInNewestVM, vmss.ScaleInOldestVM}).Draw(t, "rule")
		got := vmss.ScaleInOrder(all, vmss.ScaleInPolicy{Rule: rule}, 100)
		seen := map[vmss.InstanceID]bool{}
		for _, id := range got {
			if seen[id] || all[id].Protected {
				t.Fatalf("%v takes %d twice or in spite of its protection", got, id)
			}
			seen[id] = true
		}
		if free := slices.DeleteFunc(slices.Clone(all), func(c vmss.Candidate) bool { return c.Protected }); len(free) != len(got) {
			t.Fatalf("took %d of %d", len(got), len(free))
		}
	})
}

// TestScaleInAgreesWithASlowTwin compares with single choices made by looking
// at everything each time.
func TestScaleInAgreesWithASlowTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := anyCandidates().Draw(t, "all")
		rule := rapid.SampledFrom([]vmss.ScaleInRule{vmss.ScaleInNewestVM, vmss.ScaleInOldestVM}).Draw(t, "rule")
		n := rapid.IntRange(0, 20).Draw(t, "take")
		got, want := vmss.ScaleInOrder(all, vmss.ScaleInPolicy{Rule: rule}, n), slowOrder(all, rule, n)
		if !slices.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}

func slowOrder(all []vmss.Candidate, rule vmss.ScaleInRule, n int) (out []vmss.InstanceID) {
	left := slices.Clone(all)
	for len(out) < n {
		census := map[string]int{}
		for _, c := range left {
			census[c.Zone]++
		}
		best := -1
		for i, c := range left {
			if c.Protected {
				continue
			}
			if best >= 0 {
				b := left[best]
				older := c.Created.Before(b.Created) || c.Created.Equal(b.Created) && c.ID < b.ID
				fuller := census[c.Zone] > census[b.Zone]
				if census[c.Zone] < census[b.Zone] || !fuller && older != (rule == vmss.ScaleInOldestVM) {
					continue
				}
			}
			best = i
		}
		if best < 0 {
			return out
		}
		out = append(out, left[best].ID)
		left = slices.Delete(left, best, best+1)
	}
	return out
}
