package host_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-vm/muster/internal/host"
	"github.com/muster-vm/muster/internal/host/fabric"
	fabricsim "github.com/muster-vm/muster/internal/host/fabric/sim"
	"github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/vmss"
)

var (
	vnetID = resource.In("sub", "lab", "Microsoft.Network", "virtualNetworks", "vnet")
	lbID   = resource.In("sub", "lab", "Microsoft.Network", "loadBalancers", "lb")
)

// wired is a fabric with virtual networks: a card can be attached once its address
// was settled.
type wired struct {
	*fabricsim.Fabric
	mu      sync.Mutex
	settled bool
	ports   map[string]fabric.Port // that are attached in a virtual network
	flows   map[netip.Addr]int
	cut     []netip.Addr
}

var _ fabric.Networks = (*wired)(nil)

func (w *wired) Attach(ctx context.Context, p fabric.Port) (fabric.Lease, error) {
	if p.Network == "" {
		return w.Fabric.Attach(ctx, p)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.settled {
		return fabric.Lease{}, resource.Errorf(resource.NotFound, "", "There is no such card in the network.")
	}
	for name, other := range w.ports {
		if name != p.Name && other.Network == p.Network && other.Address == p.Address {
			panic(fmt.Sprintf("%s and %s both bring %s", name, p.Name, p.Address))
		}
	}
	w.ports[p.Name] = p
	return fabric.Lease{Address: netip.PrefixFrom(p.Address, 24)}, nil
}

func (w *wired) Detach(ctx context.Context, name string) error {
	w.mu.Lock()
	delete(w.ports, name)
	w.mu.Unlock()
	return w.Fabric.Detach(ctx, name)
}

func (w *wired) Settle(context.Context, network.UID) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.settled = true
	return nil
}

func (w *wired) Flows(_ context.Context, _ network.UID, card netip.Addr) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.flows[card], nil
}

func (w *wired) Cut(_ context.Context, _ network.UID, card netip.Addr) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = append(w.cut, card)
	delete(w.flows, card)
	return nil
}

// connect makes flows to a card.
func (w *wired) connect(card string, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.flows[netip.MustParseAddr(card)] = n
}

// cuts returns which cards were cut since the last time.
func (w *wired) cuts() (cards []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range w.cut {
		cards = append(cards, a.String())
	}
	w.cut = nil
	return cards
}

// inNetwork runs a test on a stage whose fabric has virtual networks. Of the models,
// 4 has two cards with all that there is, 5 one in a small subnet, 6 one in none
// that is there, 7 one with all and 8 one without a public address.
func inNetwork(t *testing.T, test func(t *testing.T, s *stage, w *wired)) {
	onStage(t, nil, func(t *testing.T, s *stage) {
		s.stop()
		w := &wired{Fabric: s.fabric, ports: map[string]fabric.Port{}, flows: map[netip.Addr]int{}}
		s.vcpus = 200
		s.tune = func(o *host.Options) {
			o.Fabric, o.Settle, o.PublicPrefix = w, w.Settle, netip.MustParsePrefix("203.0.113.0/28")
		}
		s.start()
		s.commit(store.Put(store.Networks, network.NewKey(network.VirtualNetworkKind, "sub", "lab", "vnet"), network.Resource{ID: vnetID, UID: "vnet-uid", Kind: network.VirtualNetworkKind,
			VirtualNetwork: &network.VirtualNetwork{Subnets: []network.Subnet{{Name: "Front", Prefix: netip.MustParsePrefix("10.1.0.0/24")}, {Name: "back", Prefix: netip.MustParsePrefix("10.1.1.0/29")}}}}),
			putBalancer(network.NATRule{Name: "Web", Pool: "pool", Ports: network.Ports{First: 8000, Last: 8100}, BackendPort: 80}))
		front := vmss.IPConfig{Name: "ip", Primary: true, Subnet: vnetID.Child("subnets", "front").String(), Pools: []string{lbID.Child("backendAddressPools", "Pool").String()},
			NATPools: []string{lbID.Child("inboundNatPools", "ssh").String()}, PublicIP: &vmss.PublicIPConfig{Name: "public"}}
		back := vmss.IPConfig{Name: "ip", Subnet: vnetID.Child("subnets", "Back").String()}
		second := vmss.IPConfig{Name: "second", Subnet: front.Subnet}
		s.model(4, vmss.NIC{Name: "b", IPConfigs: []vmss.IPConfig{back}}, vmss.NIC{Name: "f", Primary: true, IPConfigs: []vmss.IPConfig{second, front}})
		s.model(5, vmss.NIC{Name: "f", Primary: true, IPConfigs: []vmss.IPConfig{back}})
		s.model(6, vmss.NIC{Name: "f", Primary: true, IPConfigs: []vmss.IPConfig{{Name: "ip", Subnet: vnetID.Child("subnets", "nowhere").String()}}})
		s.model(7, vmss.NIC{Name: "f", Primary: true, IPConfigs: []vmss.IPConfig{front}})
		front.PublicIP = nil
		s.model(8, vmss.NIC{Name: "f", Primary: true, IPConfigs: []vmss.IPConfig{front}})
		test(t, s, w)
	})
}

func putBalancer(rules ...network.NATRule) store.Change {
	lb := network.LoadBalancer{Pools: []network.Pool{{Name: "Pool", Drain: time.Minute}}, NATRules: rules,
		NATPools: []network.NATPool{{Name: "ssh", Ports: network.Ports{First: 50000, Last: 50119}}}}
	return store.Put(store.Networks, network.NewKey(network.LoadBalancerKind, "sub", "lab", "lb"), network.Resource{ID: lbID, UID: "lb-uid", Kind: network.LoadBalancerKind, LoadBalancer: &lb})
}

// model writes a revision whose instances have these cards.
func (s *stage) model(n vmss.RevisionNumber, nics ...vmss.NIC) {
	s.t.Helper()
	m := vmss.Model{Size: "1", Image: vmss.Image{Digest: "sha256:ok"}, OS: vmss.OSProfile{ComputerNamePrefix: "web"}, NICs: nics}
	s.commit(store.Put(store.Revisions, vmss.RevisionKey{Set: uid, Number: n}, vmss.Revision{Number: n, Model: m}))
}

// of lists what an instance has, as "space/name nic/config", sorted.
func (s *stage) of(id vmss.InstanceID) (all []string) {
	for k, e := range store.Each(s.store, store.Reservations) {
		if e.Value.Set == string(uid) && e.Value.Instance == int64(id) {
			all = append(all, fmt.Sprintf("%s/%s %s/%s", k.Space, k.Name, e.Value.NIC, e.Value.Config))
		}
	}
	slices.Sort(all)
	return all
}

func (s *stage) expectOf(id vmss.InstanceID, what string, want ...string) {
	s.t.Helper()
	if diff := cmp.Diff(want, s.of(id)); diff != "" {
		s.t.Errorf("%s, instance %d has (-want +got):\n%s", what, id, diff)
	}
}

// row of a model.
func (s *stage) runModel(id vmss.InstanceID, n vmss.RevisionNumber) vmss.Observation {
	s.t.Helper()
	row := newRow(id)
	row.Revision = n
	s.write(row)
	return s.settle(id)
}

func TestCardsHaveEverythingThatIsGivenOnceFromMakingToForgetting(t *testing.T) {
	inNetwork(t, func(t *testing.T, s *stage, w *wired) {
		all := []string{"lb:lb-uid:ssh/50000 f/ip", "lb:lb-uid:web/8000 f/ip", "net:vnet-uid/10.1.0.4 f/second", "net:vnet-uid/10.1.0.5 f/ip",
			"net:vnet-uid/10.1.1.4 b/ip", "public/203.0.113.4 f/ip"}
		if seen := s.runModel(0, 4); seen.Address != "10.1.0.5" || seen.MAC != vmss.MAC(uid, 0, 1) {
			t.Errorf("it is seen at %s, %s; want the primary address of the primary card", seen.Address, seen.MAC)
		}
		s.expectOf(0, "once made", all...)
		var ports []string
		for _, p := range w.ports {
			ports = append(ports, fmt.Sprint(p.Name, " ", p.MAC, " ", p.HostName, " ", p.Network, " ", p.Address))
		}
		slices.Sort(ports)
		want := []string{fmt.Sprintf("%s-0-0 %s web000000 vnet-uid 10.1.1.4", uid, vmss.MAC(uid, 0, 0)), fmt.Sprintf("%s-0-1 %s web000000 vnet-uid 10.1.0.5", uid, vmss.MAC(uid, 0, 1))}
		if diff := cmp.Diff(want, ports); diff != "" {
			t.Errorf("ports (-want +got):\n%s", diff)
		}
		s.runModel(1, 7)
		for _, tt := range []struct {
			what string
			edit func(*vmss.Instance)
		}{
			{"stop", func(r *vmss.Instance) { r.Power = vmss.PowerStopped }},
			{"deallocate", func(r *vmss.Instance) { r.Power = vmss.PowerDeallocated }},
			{"start", func(r *vmss.Instance) { r.Power = vmss.PowerRunning }},
			{"reimage", func(r *vmss.Instance) { r.Disks++ }},
		} {
			s.change(0, tt.edit)
			s.settle(0)
			s.expectOf(0, "after "+tt.what, all...)
		}
		s.stop()
		s.start()
		time.Sleep(time.Minute)
		s.expectOf(0, "after a restart of the server", all...)

		s.change(0, func(r *vmss.Instance) { r.Deleting = true })
		time.Sleep(3 * time.Second)
		if len(s.machines()) != 2 {
			t.Fatal("the machine is gone before its guest could shut down")
		}
		s.expectOf(0, "while it shuts down", all...)
		s.settle(0)
		s.expectOf(0, "once forgotten")
		if len(w.ports) != 1 {
			t.Errorf("ports %v are left, want that of the other", w.ports)
		}
		if seen := s.runModel(2, 7); seen.Address != "10.1.0.4" {
			t.Errorf("the next instance is at %s, want the lowest that is free", seen.Address)
		}
	})
}

func TestOtherCardsAreAnotherMachineAndReleaseWhatTheyDoNotWant(t *testing.T) {
	inNetwork(t, func(t *testing.T, s *stage, w *wired) {
		s.runModel(0, 4)
		s.calls.take()
		s.change(0, func(r *vmss.Instance) { r.Revision = 5 })
		time.Sleep(3 * time.Second)
		if have := s.of(0); len(have) != 6 {
			t.Errorf("while the old machine goes down it has %v, want all it had", have)
		}
		if seen := s.settle(0); seen.Address != "10.1.1.4" {
			t.Errorf("it is seen at %s", seen.Address)
		}
		s.expect("other cards", "power 0.1 stopped boots 1 gracefully", "delete 0.1 keeping disks", "create 0.1 boots 1")
		s.expectOf(0, "after the upgrade", "net:vnet-uid/10.1.1.4 f/ip")
		if len(w.ports) != 1 {
			t.Errorf("ports %v, want one", w.ports)
		}
		s.change(0, func(r *vmss.Instance) { r.Revision = 1 })
		if seen := s.settle(0); seen.Address != "10.0.0.4" {
			t.Errorf("in the default network it is seen at %s", seen.Address)
		}
		s.expectOf(0, "in the default network")
		s.change(0, func(r *vmss.Instance) { r.Revision = 7 })
		if seen := s.settle(0); seen.Address != "10.1.0.4" || len(s.ports()) > 0 {
			t.Errorf("back in the network it is seen at %s; in the default one there is %v", seen.Address, s.ports())
		}
	})
}

func TestAMachineThatRunsCatchesUpWithTheRulesOfItsPool(t *testing.T) {
	inNetwork(t, func(_ *testing.T, s *stage, _ *wired) {
		s.runModel(0, 7)
		s.calls.take()
		own := []string{"net:vnet-uid/10.1.0.4 f/ip", "public/203.0.113.4 f/ip"}
		s.commit(putBalancer(network.NATRule{Name: "web", Pool: "pool", Ports: network.Ports{First: 8000, Last: 8100}}, network.NATRule{Name: "more", Pool: "pool", Ports: network.Ports{First: 9000, Last: 9100}}))
		time.Sleep(time.Second)
		s.expectOf(0, "with a new rule", slices.Concat([]string{"lb:lb-uid:more/9000 f/ip", "lb:lb-uid:ssh/50000 f/ip", "lb:lb-uid:web/8000 f/ip"}, own)...)
		s.commit(putBalancer())
		time.Sleep(6 * time.Minute)
		s.expectOf(0, "without rules", slices.Concat([]string{"lb:lb-uid:ssh/50000 f/ip"}, own)...)
		s.expect("meanwhile")
	})
}

func TestWhatCannotBeGivenShowsInTheInstance(t *testing.T) {
	inNetwork(t, func(t *testing.T, s *stage, _ *wired) {
		for id := range vmss.InstanceID(3) { // all that the subnet has
			s.runModel(id, 5)
		}
		full, lost := newRow(3), newRow(4)
		full.Revision, lost.Revision = 5, 6
		s.write(full)
		s.write(lost)
		time.Sleep(time.Minute)
		if f := s.seen(3).Failure; f == nil || f.Code != "SubnetIsFull" || !f.Final || !strings.Contains(f.Message, "back") {
			t.Errorf("failure %+v, want a full subnet", f)
		}
		if f := s.seen(4).Failure; f == nil || f.Code != "InvalidResourceReference" || !f.Final || !strings.Contains(f.Message, "subnets/nowhere") {
			t.Errorf("failure %+v, want the subnet that is not there", f)
		}
		if have := s.of(3); len(have) > 0 {
			t.Errorf("it has %v in spite of that", have)
		}
		s.change(1, func(r *vmss.Instance) { r.Deleting = true })
		s.settle(1)
		if seen := s.settle(3); seen.Address != "10.1.1.5" {
			t.Errorf("once there is room it is seen at %s", seen.Address)
		}
	})
}

func TestAFabricThatDoesNotKnowTheCardYetIsTriedAgain(t *testing.T) {
	inNetwork(t, func(t *testing.T, s *stage, w *wired) {
		s.stop()
		tune := s.tune
		s.tune = func(o *host.Options) { tune(o); o.Settle = nil }
		s.start()
		row := newRow(0)
		row.Revision = 7
		s.write(row)
		time.Sleep(10 * time.Second)
		if f := s.seen(0).Failure; f == nil || f.Code != "VirtualNetworkNotReady" || f.Final {
			t.Errorf("failure %+v, want it to be a matter of time", f)
		}
		_ = w.Settle(t.Context(), "")
		s.settle(0)
	})
}

func TestAHundredInstancesAtOnceFillTheirRangesFromBelow(t *testing.T) {
	inNetwork(t, func(t *testing.T, s *stage, _ *wired) {
		const n = 100
		changes := make([]store.Change, n)
		for i := range changes {
			row := newRow(vmss.InstanceID(i))
			row.Revision = 8
			changes[i] = store.Put(store.Instances, key(row.ID), row)
		}
		s.commit(changes...)
		for id := range vmss.InstanceID(n) {
			s.settle(id)
		}
		for space, first := range map[network.Space]string{"net:vnet-uid": "10.1.0.4", "lb:lb-uid:ssh": "50000", "lb:lb-uid:web": "8000"} {
			at, _ := network.PlaceOf(first)
			given := s.store.Reserved(space)
			for name := range given {
				if p, ok := network.PlaceOf(name); !ok || p < at || p >= at+n {
					t.Errorf("%s gave %s out and %d names in all, want the lowest hundred", space, name, len(given))
				}
			}
			if len(given) != n {
				t.Errorf("%s gave %d names out, want %d", space, len(given), n)
			}
		}
	})
}

func TestWhatAnInstanceWithoutRowHadIsFreedWithItsMachine(t *testing.T) {
	inNetwork(t, func(t *testing.T, s *stage, _ *wired) {
		s.runModel(0, 7)
		s.commit(store.Delete(store.Instances, key(0), store.Any))
		time.Sleep(time.Minute)
		s.expectOf(0, "once swept")
		if ids := s.machines(); len(ids) > 0 {
			t.Errorf("machines %v are left", ids)
		}
	})
}
