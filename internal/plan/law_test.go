package plan_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/muster-vm/muster/internal/plan"
	"github.com/muster-vm/muster/internal/vmss"
)

// anyWorld draws a set in the middle of anything: rows in every state, open
// operations, protected and failing instances, hosts with and without room.
func anyWorld() *rapid.Generator[*world] {
	return rapid.Custom(func(t *rapid.T) *world {
		w := newWorld()
		w.in.Now = epoch.Add(time.Hour)
		w.in.Set.SKU.Capacity = rapid.IntRange(0, 12).Draw(t, "capacity")
		w.in.Set.Zones = rapid.SampledFrom([][]string{nil, {"1"}, {"1", "2", "3"}}).Draw(t, "zones")
		w.in.Set.ZoneBalance = len(w.in.Set.Zones) > 1 && rapid.Bool().Draw(t, "balance")
		w.in.Set.FaultDomains = rapid.SampledFrom([]int{1, 5}).Draw(t, "domains")
		w.in.Set.ScaleIn.Rule = rapid.SampledFrom([]vmss.ScaleInRule{vmss.ScaleInDefault, vmss.ScaleInNewestVM, vmss.ScaleInOldestVM}).Draw(t, "rule")
		w.in.Set.Upgrade.Mode = rapid.SampledFrom([]vmss.UpgradeMode{vmss.UpgradeManual, vmss.UpgradeAutomatic}).Draw(t, "mode")
		w.model("sha256:b", "small")
		for i := range rapid.IntRange(0, 3).Draw(t, "hosts") {
			w.in.Hosts = append(w.in.Hosts, vmss.Host{Name: fmt.Sprint("h", i), Zones: []string{fmt.Sprint(i + 1)}, Domains: 5,
				VCPUs: rapid.IntRange(0, 20).Draw(t, "vcpus"), MemoryMB: 10000})
		}
		n := rapid.IntRange(0, 12).Draw(t, "rows")
		for id := range n {
			w.in.Instances = append(w.in.Instances, anyMember(t, vmss.InstanceID(id), w.in.Set.Zones))
		}
		w.in.State.NextID = vmss.InstanceID(n)
		for range rapid.IntRange(0, 3).Draw(t, "operations") {
			kind := rapid.SampledFrom([]vmss.OperationKind{vmss.OpPut, vmss.OpRestart, vmss.OpDeleteSome, vmss.OpDeallocate, vmss.OpStart,
				vmss.OpReimage, vmss.OpManualUpgrade, vmss.OpPowerOff}).Draw(t, "kind")
			w.operate(kind, anyIDs(t, kind, n))
		}
		w.load()
		return w
	})
}

func anyIDs(t *rapid.T, kind vmss.OperationKind, n int) []vmss.InstanceID {
	if n == 0 || kind == vmss.OpPut || kind != vmss.OpDeleteSome && rapid.Bool().Draw(t, "all") {
		return nil
	}
	return []vmss.InstanceID{vmss.InstanceID(rapid.IntRange(0, n-1).Draw(t, "id"))}
}

func anyMember(t *rapid.T, id vmss.InstanceID, zones []string) plan.Member {
	m := plan.Member{Row: vmss.Instance{ID: id, Revision: vmss.RevisionNumber(rapid.IntRange(1, 2).Draw(t, "model")), Host: "h0",
		Created: epoch.Add(time.Duration(rapid.IntRange(0, 5).Draw(t, "age")) * time.Second), Power: vmss.PowerRunning,
		Boots: 1, Disks: 1, DataDisks: 1, Generation: int64(rapid.IntRange(1, 3).Draw(t, "generation"))}}
	if len(zones) > 0 {
		m.Row.Zone = rapid.SampledFrom(zones).Draw(t, "zone")
	}
	m.Seen.Generation = int64(rapid.IntRange(0, int(m.Row.Generation)).Draw(t, "seen"))
	m.Protection.FromScaleIn = rapid.Bool().Draw(t, "protected")
	switch rapid.IntRange(0, 5).Draw(t, "trouble") {
	case 0:
		m.Row.Deleting = true
		m.Seen.Gone = rapid.Bool().Draw(t, "gone")
	case 1:
		m.Seen.Failure = &vmss.Failure{Code: "AllocationFailed", Message: "no room", Final: true, Generation: m.Row.Generation}
	case 2:
		m.Row.Host, m.Row.Unplaced, m.Seen = "", "no room", vmss.Observation{}
	}
	return m
}

func TestNoPlanBreaksTheLaw(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := anyWorld().Draw(t, "world")
		p := plan.Set(w.in)
		if broken := plan.Check(w.in, p); len(broken) > 0 {
			t.Fatalf("%v\n%s", broken, show(p))
		}
	})
}

func TestThePlanDoesNotDependOnTheOrderOfItsInput(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := anyWorld().Draw(t, "world")
		want := show(plan.Set(w.in))
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		r.Shuffle(len(w.in.Instances), func(i, j int) { w.in.Instances[i], w.in.Instances[j] = w.in.Instances[j], w.in.Instances[i] })
		r.Shuffle(len(w.in.Operations), func(i, j int) { w.in.Operations[i], w.in.Operations[j] = w.in.Operations[j], w.in.Operations[i] })
		r.Shuffle(len(w.in.Hosts), func(i, j int) { w.in.Hosts[i], w.in.Hosts[j] = w.in.Hosts[j], w.in.Hosts[i] })
		if got := show(plan.Set(w.in)); got != want {
			t.Fatalf("got\n%swant\n%s", got, want)
		}
	})
}

func TestPlanningLeavesItsInputAlone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := anyWorld().Draw(t, "world")
		before := fmt.Sprintf("%+v", w.in.Instances)
		plan.Set(w.in)
		if after := fmt.Sprintf("%+v", w.in.Instances); after != before {
			t.Fatalf("the plan wrote to its input:\n%s\n%s", before, after)
		}
	})
}

// TestAHealthyWorldConverges plays hosts that carry out what rows say: after a
// bounded number of rounds there is nothing left to do, the capacity is there,
// and every operation has ended.
func TestAHealthyWorldConverges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := anyWorld().Draw(t, "world")
		w.in.Hosts = []vmss.Host{{Name: "h0", Zones: []string{"1", "2", "3"}, Domains: 5, VCPUs: 100, MemoryMB: 100000}}
		for i := range w.in.Instances {
			w.in.Instances[i].Protection = vmss.Protection{}
			w.in.Instances[i].Seen.Failure = nil
		}
		limit := max(len(w.in.Instances), w.in.Set.SKU.Capacity)
		for range 12 {
			w.load()
			p := plan.Set(w.in)
			before := fmt.Sprint(w.in.Instances)
			if w.settle(); (show(p) == "converged" || allBlockedByPolicy(p)) && fmt.Sprint(w.in.Instances) == before {
				if n := len(w.in.Instances); n != w.in.Set.SKU.Capacity || len(w.in.Operations) > 0 {
					t.Fatalf("at rest with %d rows for a capacity of %d and %d open operations", n, w.in.Set.SKU.Capacity, len(w.in.Operations))
				}
				return
			}
			w.commit(p)
			if len(w.in.Instances) > limit {
				t.Fatalf("%d rows, more than there were and more than the capacity of %d", len(w.in.Instances), w.in.Set.SKU.Capacity)
			}
			w.settle()
		}
		t.Fatal("no rest after 12 rounds")
	})
}

// allBlockedByPolicy: nothing to do but what upgrade mode Manual holds back.
func allBlockedByPolicy(p plan.Plan) bool {
	return len(p.Edits) == 0 && len(p.Outcomes) == 0 && !slices.ContainsFunc(p.Blocked, func(b plan.Blocked) bool { return b.Kind != "upgrade" })
}

// TestACrashBetweenChunksDoesNotRepeatAnOperation commits only a part of the
// edits, as a server does that dies, and plans again.
func TestACrashBetweenChunksDoesNotRepeatAnOperation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		w.in.Hosts = []vmss.Host{{Name: "h0", VCPUs: 100, MemoryMB: 100000}}
		w.in.Set.SKU.Capacity = rapid.IntRange(1, 8).Draw(t, "capacity")
		w.commit(plan.Set(w.in))
		w.settle()
		w.in.Now = w.in.Now.Add(time.Second)
		w.operate(vmss.OpRestart, nil)
		for range rapid.IntRange(1, 5).Draw(t, "crashes") {
			p := plan.Set(w.in)
			p.Outcomes = nil
			p.Edits = p.Edits[:rapid.IntRange(0, len(p.Edits)).Draw(t, "committed")]
			w.commit(p)
		}
		w.commit(plan.Set(w.in))
		for _, i := range w.in.Instances {
			if i.Row.Boots != 2 {
				t.Fatalf("instance %d is to boot %d times, want 2", i.Row.ID, i.Row.Boots)
			}
		}
	})
}
