package network_test

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	noun "github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/reconcile/network"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/store/memstore"
	"github.com/muster-vm/muster/internal/vmss"
)

// carrier is a fabric that remembers what it carries.
type carrier struct {
	mu      sync.Mutex
	nets    map[noun.UID]noun.Program
	applied int
	fail    error
	slow    time.Duration
}

func (c *carrier) Apply(_ context.Context, p noun.Program) error {
	time.Sleep(c.slow)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.applied++
	if c.fail == nil {
		c.nets[p.Network] = p
	}
	return c.fail
}

func (c *carrier) Remove(_ context.Context, uid noun.UID) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.nets, uid)
	return nil
}

func (c *carrier) Networks(context.Context) (all []noun.UID, _ error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for uid := range c.nets {
		all = append(all, uid)
	}
	return all, nil
}

const (
	set = vmss.UID("web-uid")
	net = noun.UID("net-uid")
)

func id(kind noun.Kind, name string) resource.ID {
	return resource.In("sub", "lab", "Microsoft.Network", string(kind), name)
}

// yard is a reconciler over a store with one virtual network, a balancer and a
// scale set of one instance in it.
type yard struct {
	t     *testing.T
	store *store.Store
	on    *carrier
	r     *network.Reconciler
	ops   int64
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
	on := &carrier{nets: map[noun.UID]noun.Program{}}
	y := &yard{t: t, store: s, on: on, r: network.New(network.Options{Store: s, Fabric: on, Fence: lease.Held(), Log: log})}
	vnet := noun.Resource{ID: id(noun.VirtualNetworkKind, "net"), UID: net, Kind: noun.VirtualNetworkKind, VirtualNetwork: &noun.VirtualNetwork{
		Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16")}, Subnets: []noun.Subnet{{Name: "Front", Prefix: netip.MustParsePrefix("10.0.0.0/24")}}}}
	lb := noun.Resource{ID: id(noun.LoadBalancerKind, "lb"), UID: "lb-uid", Kind: noun.LoadBalancerKind, SKU: noun.Basic, LoadBalancer: &noun.LoadBalancer{
		Frontends: []noun.Frontend{{Name: "fe", Public: noun.NewKey(noun.PublicAddressKind, "sub", "lab", "pip")}}, Pools: []noun.Pool{{Name: "be"}},
		Rules: []noun.BalancingRule{{Name: "http", Frontend: "fe", Pools: []string{"be"}, Protocol: noun.TCP, FrontendPort: 80, BackendPort: 8080, Distribution: noun.FiveTuple}}}}
	pip := noun.Resource{ID: id(noun.PublicAddressKind, "pip"), UID: "pip-uid", Kind: noun.PublicAddressKind, PublicAddress: &noun.PublicAddress{Address: netip.MustParseAddr("198.51.100.1")}}
	for _, r := range []noun.Resource{vnet, lb, pip} {
		y.commit(store.Put(store.Networks, r.Key(), r))
	}
	scaleSet := vmss.ScaleSet{ID: resource.In("sub", "lab", "Microsoft.Compute", "virtualMachineScaleSets", "web"), UID: set, Revision: 1}
	model := vmss.Model{NICs: []vmss.NIC{{Name: "nic", Primary: true, IPConfigs: []vmss.IPConfig{{Name: "ip", Primary: true,
		Subnet: id(noun.VirtualNetworkKind, "net").Child("subnets", "front").String(), Pools: []string{lb.ID.Child("backendAddressPools", "BE").String()}}}}}}
	y.commit(store.Put(store.ScaleSets, scaleSet.Key(), scaleSet), store.Put(store.Revisions, vmss.RevisionKey{Set: set, Number: 1}, vmss.Revision{Number: 1, Model: model}))
	y.row(vmss.Instance{Revision: 1, Power: vmss.PowerRunning, Disks: 1})
	y.commit(store.Put(store.Observations, vmss.InstanceKey{Set: set}, vmss.Observation{Power: vmss.PowerRunning, Revision: 1, Disks: 1, Provisioned: time.Unix(1, 0)}),
		store.Put(store.Reservations, noun.ReservationKey{Space: noun.AddressSpace(net), Name: "10.0.0.4"}, noun.Reservation{Set: string(set), NIC: "nic", Config: "ip", Subnet: "front"}))
	return y
}

func (y *yard) row(i vmss.Instance) {
	y.commit(store.Put(store.Instances, vmss.InstanceKey{Set: set}, i))
}

func (y *yard) commit(changes ...store.Change) {
	y.t.Helper()
	if _, err := y.store.Commit(y.t.Context(), changes...); err != nil {
		y.t.Fatal(err)
	}
}

// ask records an operation on a resource.
func (y *yard) ask(kind vmss.OperationKind, r resource.ID, uid noun.UID) vmss.OperationKey {
	y.ops++
	op := vmss.Operation{ID: string(rune('a' + y.ops)), Sequence: y.ops, Kind: kind, Target: r, Set: vmss.UID(uid)}
	y.commit(store.Put(store.Operations, op.Key(), op))
	return op.Key()
}

func (y *yard) reconcile(kind noun.Kind, name string) {
	y.t.Helper()
	if _, err := y.r.Reconcile(y.t.Context(), noun.NewKey(kind, "sub", "lab", name)); err != nil {
		y.t.Fatal(err)
	}
}

func (y *yard) status(op vmss.OperationKey) vmss.OperationStatus {
	e, ok := store.Get(y.store, store.Outcomes, op)
	if !ok {
		return "open"
	}
	return e.Value.Status
}

func TestAPutEndsOnceTheFabricCarriesIt(t *testing.T) {
	y := newYard(t)
	op := y.ask(vmss.OpPutNetwork, id(noun.LoadBalancerKind, "lb"), "lb-uid")
	y.on.fail = resource.Errorf(resource.Conflict, "", "somebody else is at it")
	if _, err := y.r.Reconcile(t.Context(), noun.NewKey(noun.LoadBalancerKind, "sub", "lab", "lb")); err == nil || y.status(op) != "open" {
		t.Fatalf("%v, operation %s", err, y.status(op))
	}
	y.on.fail = nil
	y.reconcile(noun.LoadBalancerKind, "lb")
	if y.status(op) != vmss.OperationSucceeded {
		t.Errorf("the operation is %s", y.status(op))
	}
	p := y.on.nets[net]
	if len(p.Services) != 1 || len(p.Services[0].Members) != 1 || p.Services[0].Members[0].String() != "10.0.0.4:8080" || p.Cards[0].Instance != "web_0" {
		t.Errorf("the fabric carries %+v", p)
	}
	before := y.on.applied
	y.reconcile(noun.VirtualNetworkKind, "net")
	if y.on.applied != before {
		t.Error("what had not changed was applied again")
	}
}

func TestDeletingAChildEndsOnceTheFabricCarriesTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard(t)
		child := y.ask(vmss.OpDeleteNetwork, id(noun.VirtualNetworkKind, "net").Child("subnets", "old"), net)
		whole := y.ask(vmss.OpDeleteNetwork, id(noun.VirtualNetworkKind, "net"), net)
		y.reconcile(noun.VirtualNetworkKind, "net")
		if got := y.status(child); got != vmss.OperationSucceeded {
			t.Errorf("the deletion of a child is %q", got)
		}
		if got := y.status(whole); got == vmss.OperationSucceeded {
			t.Error("the deletion of the network has succeeded, and the network is there")
		}
	})
}

func TestWhatTheHostCannotDoFailsTheOperationWithTheReason(t *testing.T) {
	y := newYard(t)
	op := y.ask(vmss.OpPutNetwork, id(noun.VirtualNetworkKind, "net"), net)
	y.on.fail = resource.Errorf(resource.Unavailable, "", "The kernel has no nf_tables; load it.")
	if _, err := y.r.Reconcile(t.Context(), noun.NewKey(noun.VirtualNetworkKind, "sub", "lab", "net")); err == nil {
		t.Error("it is not tried again")
	}
	e, _ := store.Get(y.store, store.Outcomes, op)
	if y.status(op) != vmss.OperationFailed || e.Value.Error.Message != "The kernel has no nf_tables; load it." {
		t.Errorf("the operation ended %+v", e.Value)
	}
}

func TestAnInstanceThatGoesTakesNoNewFlows(t *testing.T) {
	up := vmss.Instance{Revision: 1, Power: vmss.PowerRunning, Disks: 1}
	for name, change := range map[string]func(*vmss.Instance){
		"scale in": func(i *vmss.Instance) { i.Deleting = true }, "stop": func(i *vmss.Instance) { i.Power = vmss.PowerStopped },
		"reimage": func(i *vmss.Instance) { i.Disks = 2 }, "restart": func(i *vmss.Instance) { i.Boots = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			y := newYard(t)
			row := up
			change(&row)
			y.row(row)
			y.reconcile(noun.VirtualNetworkKind, "net")
			if s := y.on.nets[net].Services[0]; len(s.Members) != 0 || !slices.Equal(s.Leaving, []netip.Addr{netip.MustParseAddr("10.0.0.4")}) {
				t.Errorf("members %v, leaving %v", s.Members, s.Leaving)
			}
		})
	}
}

func TestADeletedNetworkGoesAfterItsInstances(t *testing.T) {
	y := newYard(t)
	y.reconcile(noun.VirtualNetworkKind, "net")
	e, _ := y.store.NetworkByUID(net)
	going := *e.Value
	going.Deleting = true
	op := y.ask(vmss.OpDeleteNetwork, going.ID, net)
	y.commit(store.Put(store.Networks, going.Key(), going))
	y.reconcile(noun.VirtualNetworkKind, "net")
	if _, there := y.on.nets[net]; !there || y.status(op) != "open" {
		t.Fatalf("with an instance in it: there %v, operation %s", there, y.status(op))
	}
	y.commit(store.Delete(store.Reservations, noun.ReservationKey{Space: noun.AddressSpace(net), Name: "10.0.0.4"}, store.Any))
	y.reconcile(noun.VirtualNetworkKind, "net")
	if _, there := y.on.nets[net]; there || y.status(op) != vmss.OperationSucceeded {
		t.Errorf("without: there %v, operation %s", there, y.status(op))
	}
	if _, ok := y.store.NetworkByUID(net); ok {
		t.Error("its record is still there")
	}
}

func TestADeletedBalancerFreesWhatItHad(t *testing.T) {
	y := newYard(t)
	public := noun.ReservationKey{Space: noun.PublicSpace, Name: "198.51.100.1"}
	y.commit(store.Put(store.Reservations, public, noun.Reservation{By: id(noun.PublicAddressKind, "pip").Key()}))
	held := noun.ReservationKey{Space: noun.AddressSpace(net), Name: "10.0.0.100"}
	y.commit(store.Put(store.Reservations, held, noun.Reservation{By: id(noun.LoadBalancerKind, "lb").Child("frontendIPConfigurations", "fe").Key()}))
	y.reconcile(noun.LoadBalancerKind, "lb")
	e, _ := y.store.NetworkByUID("lb-uid")
	going := *e.Value
	going.Deleting = true
	y.commit(store.Put(store.Networks, going.Key(), going))
	y.reconcile(noun.LoadBalancerKind, "lb")
	if pip, _ := y.store.NetworkByUID("pip-uid"); y.store.IsReserved(public) || pip.Value.PublicAddress.Address.IsValid() {
		t.Errorf("its dynamic public address is still %v", pip.Value.PublicAddress)
	}
	if y.store.IsReserved(held) || len(y.on.nets[net].Services) != 0 {
		t.Errorf("reserved %v, services %v", y.store.IsReserved(held), y.on.nets[net].Services)
	}
}

func TestWhoeverWaitsSharesOneApplicationThatCoversThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard(t)
		y.on.slow = time.Second
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() {
				time.Sleep(time.Duration(i) * 10 * time.Millisecond)
				name := netip.AddrFrom4([4]byte{10, 0, 0, byte(10 + i)})
				y.commit(store.Put(store.Reservations, noun.ReservationKey{Space: noun.AddressSpace(net), Name: name.String()}, noun.Reservation{Set: string(set), NIC: "nic", Config: "ip", Subnet: "front"}))
				if err := y.r.Settle(t.Context(), net); err != nil {
					t.Error(err)
				}
				y.on.mu.Lock()
				defer y.on.mu.Unlock()
				if !slices.ContainsFunc(y.on.nets[net].Cards, func(c noun.Card) bool { return c.Address == name }) {
					t.Errorf("%s is not applied after Settle", name)
				}
			})
		}
		all.Wait()
		if y.on.applied > 3 {
			t.Errorf("20 callers made %d applications", y.on.applied)
		}
	})
}
