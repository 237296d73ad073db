package garbage_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/muster-vm/muster/internal/disk"
	"github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/reconcile/garbage"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/store/memstore"
	"github.com/muster-vm/muster/internal/vmss"
)

// yard is a reconciler over a store with the scale set "alive".
type yard struct {
	t     *testing.T
	store *store.Store
	lease store.Lease
	r     *garbage.Reconciler
}

// inYard runs a test in a bubble.
func inYard(t *testing.T, test func(t *testing.T, y *yard)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
		session, log := memstore.New().Open(), slog.New(slog.DiscardHandler)
		s, err := store.Open(ctx, session, log)
		if err != nil {
			t.Fatal(err)
		}
		var running sync.WaitGroup
		running.Go(func() { s.Run(ctx) })
		t.Cleanup(func() { cancel(); running.Wait(); session.Close() })
		lease, err := s.Acquire(ctx, "plane")
		if err != nil {
			t.Fatal(err)
		}
		y := &yard{t, s, lease, &garbage.Reconciler{Store: s, Fence: lease.Held(), Log: log}}
		set := vmss.ScaleSet{ID: resource.In("sub", "lab", "Microsoft.Compute", "virtualMachineScaleSets", "web"), UID: "alive"}
		y.commit(store.Put(store.ScaleSets, set.Key(), set))
		test(t, y)
	})
}

func (y *yard) commit(changes ...store.Change) {
	y.t.Helper()
	if _, err := y.store.Commit(y.t.Context(), changes...); err != nil {
		y.t.Fatal(err)
	}
}

// operate writes an operation that has ended now.
func (y *yard) operate(uid vmss.UID, sequence int64, kind vmss.OperationKind) {
	y.t.Helper()
	op := vmss.Operation{ID: fmt.Sprintf("%s-%d", uid, sequence), Set: uid, Sequence: sequence, Kind: kind}
	y.commit(store.Put(store.Operations, op.Key(), op), store.Put(store.Outcomes, op.Key(), vmss.Outcome{Status: vmss.OperationSucceeded, Finished: time.Now()}))
}

// collect reconciles once and returns the operations that are left.
func (y *yard) collect() map[string]bool {
	y.t.Helper()
	next, err := y.r.Reconcile(y.t.Context(), struct{}{})
	if err != nil || !next.After(time.Now()) {
		y.t.Fatalf("Reconcile: %v, %v; want to be called again later", next, err)
	}
	left := map[string]bool{}
	for _, e := range store.All(y.store, store.Operations) {
		left[e.Value.ID] = true
	}
	outcomes := len(store.All(y.store, store.Outcomes))
	if open := len(y.store.OpenOperations("alive")); outcomes+open != len(left) {
		y.t.Errorf("there are %d operations, %d of them open, and %d outcomes", len(left), open, outcomes)
	}
	return left
}

func TestOperationsGoADayAfterTheirEndButForTheNewestPutOfASet(t *testing.T) {
	inYard(t, func(t *testing.T, y *yard) {
		y.operate("alive", 1, vmss.OpPut)
		y.operate("alive", 2, vmss.OpPut) // the newest
		y.operate("alive", 3, vmss.OpRestart)
		y.operate("gone", 1, vmss.OpPut) // of a set that is not there any more
		y.operate("", 1, vmss.OpDeleteGroup)
		y.commit(store.Put(store.Operations, vmss.OperationKey{Set: "alive", Sequence: 4}, vmss.Operation{ID: "open", Set: "alive", Sequence: 4, Kind: vmss.OpPowerOff}))
		time.Sleep(garbage.Keep)
		if left := y.collect(); len(left) != 6 {
			t.Errorf("after a day %v are left, want all", left)
		}
		y.operate("alive", 5, vmss.OpRestart)
		time.Sleep(time.Second)
		left := y.collect()
		if len(left) != 3 || !left["alive-2"] || !left["open"] || !left["alive-5"] {
			t.Errorf("after more than a day %v are left, want the newest PUT, what is in progress and what is new", left)
		}
		y.operate("alive", 6, vmss.OpPut)
		if left := y.collect(); left["alive-2"] || !left["alive-6"] {
			t.Errorf("after another PUT %v are left", left)
		}
	})
}

func TestWhatWasWrittenOfInstancesWithoutRowGoes(t *testing.T) {
	inYard(t, func(t *testing.T, y *yard) {
		key := func(id vmss.InstanceID) vmss.InstanceKey { return vmss.InstanceKey{Set: "alive", ID: id} }
		for id := range vmss.InstanceID(150) {
			y.commit(store.Put(store.Observations, key(id), vmss.Observation{Boots: 1}), store.Put(store.Customizations, key(id), vmss.Customization{}))
		}
		y.commit(store.Put(store.Customizations, vmss.InstanceKey{Set: "gone", ID: 1}, vmss.Customization{}))
		y.commit(store.Put(store.Instances, key(7), vmss.Instance{ID: 7}))
		y.collect()
		if seen, custom := store.All(y.store, store.Observations), store.All(y.store, store.Customizations); len(seen) != 1 || len(custom) != 1 {
			t.Errorf("%d observations and %d customizations are left, want those of the row", len(seen), len(custom))
		}
		if rec := y.store.Instance("alive", 7); rec == nil || rec.Seen == nil || rec.Custom == nil {
			t.Errorf("of the row there is %+v", rec)
		}
	})
}

func TestALargeHeapGoesInSeveralCommits(t *testing.T) {
	inYard(t, func(t *testing.T, y *yard) {
		for n := range int64(333) {
			y.operate("alive", n+1, vmss.OpRestart)
		}
		time.Sleep(garbage.Keep + time.Second)
		if left := y.collect(); len(left) > 0 {
			t.Errorf("%d operations are left", len(left))
		}
	})
}

func TestNothingIsRemovedOnceTheLeaseIsLost(t *testing.T) {
	inYard(t, func(t *testing.T, y *yard) {
		y.operate("alive", 1, vmss.OpRestart)
		time.Sleep(garbage.Keep + time.Second)
		y.lease.Release()
		if _, err := y.r.Reconcile(t.Context(), struct{}{}); !resource.Is(err, resource.Conflict) {
			t.Errorf("Reconcile: %v, want Conflict", err)
		}
		if n := len(store.All(y.store, store.Operations)); n != 1 {
			t.Errorf("%d operations are left, want the one", n)
		}
	})
}

func TestOfVeryManyOperationsOfOneSetOnlyTheNewestStayForADay(t *testing.T) {
	inYard(t, func(t *testing.T, y *yard) {
		y.operate("alive", 1, vmss.OpPut) // the newest PUT, and oldest of all
		for n := range int64(garbage.KeepNewest + 20) {
			y.operate("alive", n+2, vmss.OpRestart)
		}
		y.operate("other", 1, vmss.OpRestart)
		total := garbage.KeepNewest + 22
		time.Sleep(garbage.KeepAtLeast)
		if left := y.collect(); len(left) != total {
			t.Errorf("%d are left of %d that may still be polled", len(left), total)
		}
		time.Sleep(time.Second)
		left := y.collect()
		if len(left) != garbage.KeepNewest+2 || !left["alive-1"] || left["alive-2"] || !left[fmt.Sprintf("alive-%d", garbage.KeepNewest+21)] || !left["other-1"] {
			t.Errorf("%d are left, want the newest %d, the newest PUT and those of other sets", len(left), garbage.KeepNewest)
		}
	})
}

func TestOfDisksWhatIsStateStaysAndWhatHasNoRecordGoes(t *testing.T) {
	inYard(t, func(t *testing.T, y *yard) {
		d := disk.Disk{ID: resource.In("sub", "lab", "Microsoft.Compute", "disks", "data"), UID: "data", Kind: disk.Managed}
		y.commit(store.Put(store.Disks, d.Key(), d))
		for _, uid := range []disk.UID{"data", "gone"} {
			y.commit(store.Put(store.DiskStates, uid, disk.State{Ready: true}), store.Put(store.Attachments, uid, disk.Attachment{Set: "alive"}))
			y.operate(vmss.UID(uid), 1, vmss.OpPutDisk)
			y.operate(vmss.UID(uid), 2, vmss.OpPutDisk)
		}
		time.Sleep(garbage.Keep + time.Second)
		if left := y.collect(); len(left) != 1 || !left["data-2"] {
			t.Errorf("of the operations %v are left, want the newest PUT of the disk", left)
		}
		if states, attached := store.All(y.store, store.DiskStates), store.All(y.store, store.Attachments); len(states) != 1 || len(attached) != 1 {
			t.Errorf("%d states and %d attachments are left, want those of the disk", len(states), len(attached))
		}
	})
}

func TestAddressesAndPortsOfOwnersThatAreGoneAreFreed(t *testing.T) {
	inYard(t, func(t *testing.T, y *yard) {
		lb := network.Resource{ID: resource.In("sub", "lab", "Microsoft.Network", "loadBalancers", "LB"), UID: "lb", Kind: network.LoadBalancerKind}
		row := vmss.InstanceKey{Set: "lost", ID: 2}
		y.commit(store.Put(store.Networks, lb.Key(), lb), store.Put(store.Instances, row, vmss.Instance{ID: 2}))
		for name, owner := range map[string]network.Reservation{
			"a set that is there":         {Set: "alive", Instance: 1},
			"a row that is there":         {Set: "lost", Instance: 2},
			"gone: one of no set":         {Set: "lost", Instance: 3},
			"a balancer that is there":    {By: "/subscriptions/sub/resourcegroups/lab/providers/microsoft.network/loadbalancers/lb/frontendipconfigurations/front"},
			"gone: one of no balancer":    {By: "/subscriptions/sub/resourcegroups/lab/providers/microsoft.network/loadbalancers/old/frontendipconfigurations/front"},
			"gone: its other frontend":    {By: "/subscriptions/sub/resourcegroups/lab/providers/microsoft.network/loadbalancers/old/frontendipconfigurations/other"},
			"gone: one of no address":     {By: "/subscriptions/sub/resourcegroups/lab/providers/microsoft.network/publicipaddresses/old"},
			"somebody whom nobody knows":  {By: "somebody"},
			"something of another muster": {By: "/subscriptions/sub/resourcegroups/lab/providers/microsoft.network/bastionhosts/b"},
		} {
			y.commit(store.Put(store.Reservations, network.ReservationKey{Space: "net", Name: name}, owner))
		}
		y.collect()
		left := slices.Sorted(maps.Keys(y.store.Reserved("net")))
		want := []string{"a balancer that is there", "a row that is there", "a set that is there", "somebody whom nobody knows", "something of another muster"}
		if !slices.Equal(left, want) {
			t.Errorf("left are %q, want %q", left, want)
		}
	})
}
