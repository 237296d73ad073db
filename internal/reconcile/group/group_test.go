package group_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"

	"github.com/muster-vm/muster/internal/disk"
	"github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/reconcile/group"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/store/memstore"
	"github.com/muster-vm/muster/internal/vmss"
)

var (
	lab   = store.GroupKeyOf("sub", "Lab")
	other = store.GroupKeyOf("sub", "other")
)

// yard is a reconciler over a store with two groups, of two sets and one.
type yard struct {
	t     *testing.T
	store *store.Store
	lease store.Lease
	r     *group.Reconciler
}

func newYard(t *testing.T) *yard {
	t.Helper()
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
	y := &yard{t, s, lease, &group.Reconciler{Store: s, Fence: lease.Held(), Log: log}}
	y.commit(store.Put(store.Groups, lab, resource.Group{Name: "Lab"}), store.Put(store.Groups, other, resource.Group{Name: "other"}))
	for name, in := range map[string]string{"web": "Lab", "api": "LAB", "db": "other"} {
		set := vmss.ScaleSet{ID: resource.In("sub", in, "Microsoft.Compute", "virtualMachineScaleSets", name), UID: vmss.UID(name)}
		y.commit(store.Put(store.ScaleSets, set.Key(), set))
	}
	for i, target := range []string{"LAB", "other"} {
		op := vmss.Operation{ID: target, Sequence: int64(i + 1), Kind: vmss.OpDeleteGroup, Target: resource.ID{Subscription: "SUB", Group: target}}
		y.commit(store.Put(store.Operations, op.Key(), op))
	}
	return y
}

func (y *yard) commit(changes ...store.Change) {
	y.t.Helper()
	if _, err := y.store.Commit(y.t.Context(), changes...); err != nil {
		y.t.Fatal(err)
	}
}

// drop accepts the delete of the group.
func (y *yard) drop() {
	y.t.Helper()
	y.commit(store.Put(store.Groups, lab, resource.Group{Name: "Lab", Deleting: true}))
}

func (y *yard) reconcile() {
	y.t.Helper()
	if _, err := y.r.Reconcile(y.t.Context(), lab); err != nil {
		y.t.Fatalf("Reconcile: %v", err)
	}
}

// marked counts the sets that are marked for deletion, by their group.
func (y *yard) marked() map[string]int {
	marked := map[string]int{}
	for _, e := range store.All(y.store, store.ScaleSets) {
		if e.Value.Deleting {
			marked[e.Value.Key().Group]++
		}
	}
	return marked
}

func TestAGroupThatStaysIsLeftAlone(t *testing.T) {
	y := newYard(t)
	y.reconcile()
	if _, ok := store.Get(y.store, store.Groups, lab); !ok || len(y.marked()) > 0 {
		t.Errorf("the group is there: %t, sets marked: %v", ok, y.marked())
	}
}

func TestADeletedGroupGoesOnceItsSetsAreGone(t *testing.T) {
	y := newYard(t)
	y.drop()
	y.reconcile()
	y.reconcile() // twice is as good as once
	if got := y.marked(); got["lab"] != 2 || got["other"] != 0 {
		t.Errorf("sets marked: %v, want both of lab alone", got)
	}
	for i, name := range []string{"web", "api"} {
		if _, ok := store.Get(y.store, store.Groups, lab); !ok || len(y.store.OpenOperations("")) != 2 {
			t.Fatalf("the group went while %d of its sets were there", 2-i)
		}
		y.commit(store.Delete(store.ScaleSets, vmss.NewKey("sub", "lab", name), store.Any))
		y.reconcile()
	}
	if _, ok := store.Get(y.store, store.Groups, lab); ok {
		t.Error("the empty group is still there")
	}
	if outcome, ok := store.Get(y.store, store.Outcomes, vmss.OperationKey{Sequence: 1}); !ok || outcome.Value.Status != vmss.OperationSucceeded {
		t.Errorf("its delete ended %+v, want success", outcome.Value)
	}
	if open := y.store.OpenOperations(""); len(open) != 1 || open[0].ID != "other" {
		t.Errorf("open operations are %v, want that of the other group", open)
	}
	y.reconcile() // of a group that is gone
	if _, ok := store.Get(y.store, store.Groups, other); !ok {
		t.Error("the other group went too")
	}
}

func TestADeletedGroupWaitsForItsDisksToo(t *testing.T) {
	y := newYard(t)
	for _, name := range []string{"web", "api"} {
		y.commit(store.Delete(store.ScaleSets, vmss.NewKey("sub", "lab", name), store.Any))
	}
	for _, kind := range disk.Kinds() {
		for _, in := range []string{"LAB", "other"} {
			d := disk.Disk{ID: resource.In("sub", in, "Microsoft.Compute", string(kind), "x"), UID: disk.UID(in + string(kind)), Kind: kind}
			y.commit(store.Put(store.Disks, d.Key(), d))
		}
	}
	y.drop()
	y.reconcile()
	y.reconcile()
	for _, e := range store.All(y.store, store.Disks) {
		if e.Value.Deleting != (e.Value.ID.Group == "LAB") {
			t.Errorf("%s is marked: %t", e.Value.ID, e.Value.Deleting)
		}
	}
	for _, kind := range disk.Kinds() {
		if _, ok := store.Get(y.store, store.Groups, lab); !ok {
			t.Fatalf("the group went before its %s", kind)
		}
		y.commit(store.Delete(store.Disks, disk.NewKey(kind, "sub", "lab", "x"), store.Any))
		y.reconcile()
	}
	if _, ok := store.Get(y.store, store.Groups, lab); ok {
		t.Error("the empty group is still there")
	}
}

func TestNetworksGoAfterSetsAndAfterWhatUsesThem(t *testing.T) {
	y := newYard(t)
	group := network.NewKey(network.SecurityGroupKind, "sub", "lab", "nsg")
	net := network.NewKey(network.VirtualNetworkKind, "sub", "lab", "vn")
	foreign := network.NewKey(network.SecurityGroupKind, "sub", "other", "nsg")
	card := network.ReservationKey{Space: network.AddressSpace("vn"), Name: "10.0.0.4"}
	for key, r := range map[network.Key]network.Resource{
		group:   {ID: resource.In("sub", "LAB", "Microsoft.Network", string(group.Kind), "nsg"), UID: "nsg", SecurityGroup: &network.SecurityGroup{}},
		foreign: {ID: resource.In("sub", "other", "Microsoft.Network", string(group.Kind), "nsg"), UID: "foreign", SecurityGroup: &network.SecurityGroup{}},
		net: {ID: resource.In("sub", "Lab", "Microsoft.Network", string(net.Kind), "vn"), UID: "vn",
			VirtualNetwork: &network.VirtualNetwork{Subnets: []network.Subnet{{Name: "sn", SecurityGroup: group}}}},
	} {
		r.Kind = key.Kind
		y.commit(store.Put(store.Networks, key, r))
	}
	y.commit(store.Put(store.Reservations, card, network.Reservation{Set: "db"}))
	y.drop()
	marked := func() (all []network.Key) {
		y.t.Helper()
		y.reconcile()
		for _, e := range store.All(y.store, store.Networks) {
			if e.Value.Deleting {
				all = append(all, e.Value.Key())
			}
		}
		return all
	}
	if got := marked(); got != nil {
		t.Errorf("%v are marked while there are sets", got)
	}
	for _, name := range []string{"web", "api"} {
		y.commit(store.Delete(store.ScaleSets, vmss.NewKey("sub", "lab", name), store.Any))
	}
	if got := marked(); got != nil {
		t.Errorf("%v are marked while an instance of another group has an address", got)
	}
	y.commit(store.Delete(store.Reservations, card, store.Any))
	for _, want := range []network.Key{net, group} {
		if got := marked(); len(got) != 1 || got[0] != want {
			t.Errorf("%v are marked, want %v", got, want)
		}
		if _, ok := store.Get(y.store, store.Groups, lab); !ok {
			t.Fatal("the group went before its networks")
		}
		y.commit(store.Delete(store.Networks, want, store.Any))
	}
	y.reconcile()
	if _, ok := store.Get(y.store, store.Groups, lab); ok {
		t.Error("the empty group is still there")
	}
}

func TestAReconcilerThatLostItsLeaseDeletesNothing(t *testing.T) {
	y := newYard(t)
	y.drop()
	y.lease.Release()
	if _, err := y.r.Reconcile(t.Context(), lab); !resource.Is(err, resource.Conflict) || len(y.marked()) > 0 {
		t.Errorf("Reconcile: %v, sets marked %v; want Conflict and none", err, y.marked())
	}
	for _, name := range []string{"web", "api"} {
		y.commit(store.Delete(store.ScaleSets, vmss.NewKey("sub", "lab", name), store.Any))
	}
	_, err := y.r.Reconcile(t.Context(), lab)
	if _, ok := store.Get(y.store, store.Groups, lab); !ok || !resource.Is(err, resource.Conflict) {
		t.Errorf("Reconcile of the empty group: %v, it is there: %t; want Conflict and the group", err, ok)
	}
}
