// Package fabrictest is the conformance suite of fabrics that carry virtual
// networks: what the control plane relies on and needs no packet to be seen. It
// knows no fabric.
package fabrictest

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-vm/muster/internal/host/fabric"
	"github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/resource"
)

// Fabric is what is checked.
type Fabric interface {
	fabric.Fabric
	fabric.Networks
}

// Run checks a fabric. open returns one without ports and virtual networks, which
// ends with the test.
func Run(t *testing.T, open func(t *testing.T) Fabric) {
	for _, c := range []struct {
		name  string
		check func(t *testing.T, f Fabric)
	}{
		{"a network is there from its first program until it is removed", untilRemoved},
		{"applying and removing again changes nothing", again},
		{"networks are listed in order", inOrder},
		{"a program replaces the one before", replaced},
		{"a card has its own address with the length of its subnet", ownAddress},
		{"two networks may use the same addresses", apart},
		{"a port keeps its lease until it is detached", kept},
		{"a card that was detached can come back", back},
		{"ports of a network take no address of the default network", defaultNetwork},
		{"of a network that is not there nothing can be asked", absent},
		{"a card without flows has none, also after they are cut", noFlows},
		{"a frontend that nobody called has no traffic", noTraffic},
	} {
		t.Run(c.name, func(t *testing.T) { c.check(t, open(t)) })
	}
}

const first, second network.UID = "0a1b2c3d-0000-4000-8000-000000000001", "0a1b2c3d-0000-4000-8000-000000000002"

var (
	prefix = netip.MustParsePrefix("10.77.0.0/16")
	web    = network.Subnet{Name: "Web", Prefix: netip.MustParsePrefix("10.77.1.0/24")}
	db     = network.Subnet{Name: "Db", Prefix: netip.MustParsePrefix("10.77.2.0/26")}
)

// port is the card of an instance of a network.
func port(uid network.UID, address string) fabric.Port {
	a := netip.MustParseAddr(address)
	raw := a.As4()
	last := uid[len(uid)-1:]
	return fabric.Port{Name: "set" + string(last) + "-" + address, MAC: fmt.Sprintf("52:54:0%s:%02x:%02x:%02x", last, raw[1], raw[2], raw[3]),
		HostName: "host-" + string(last), Network: uid, Address: a}
}

// program is that of a network with two subnets, an internal load balancer on port
// 80 whose members are all cards, and cards with these addresses.
func program(uid network.UID, cards ...string) network.Program {
	balancer := network.NewKey(network.LoadBalancerKind, "0000", "rg", "lb")
	w := network.World{Network: network.Resource{ID: resource.In("0000", "rg", "Microsoft.Network", "virtualNetworks", "net"), UID: uid, Kind: network.VirtualNetworkKind,
		VirtualNetwork: &network.VirtualNetwork{Prefixes: []netip.Prefix{prefix}, Subnets: []network.Subnet{web, db}}}}
	w.Balancers = []network.Resource{{ID: resource.In("0000", "rg", "Microsoft.Network", "loadBalancers", "lb"), UID: "lb-" + uid, Kind: network.LoadBalancerKind, SKU: network.Standard,
		LoadBalancer: &network.LoadBalancer{
			Frontends: []network.Frontend{{Name: "fe", Subnet: network.Ref{Key: w.Network.Key(), Child: "web"}, Address: netip.MustParseAddr("10.77.1.200")}},
			Pools:     []network.Pool{{Name: "be"}},
			Rules:     []network.BalancingRule{{Name: "http", Frontend: "fe", Pools: []string{"be"}, Protocol: network.TCP, FrontendPort: 80, BackendPort: 80}},
		}}}
	for _, address := range cards {
		p := port(uid, address)
		subnet := "web"
		if db.Prefix.Contains(p.Address) {
			subnet = "db"
		}
		w.Ports = append(w.Ports, network.Port{Name: p.Name, MAC: p.MAC, Instance: p.HostName, Host: p.HostName, Address: p.Address, Subnet: subnet, Primary: true,
			Pools: []network.Ref{{Key: balancer, Child: "be"}}})
	}
	return network.Compile(w)
}

func apply(t *testing.T, f Fabric, programs ...network.Program) {
	t.Helper()
	for _, p := range programs {
		if err := f.Apply(t.Context(), p); err != nil {
			t.Fatalf("apply %s: %v", p.Network, err)
		}
	}
}

func remove(t *testing.T, f Fabric, uid network.UID) {
	t.Helper()
	if err := f.Remove(t.Context(), uid); err != nil {
		t.Fatalf("remove %s: %v", uid, err)
	}
}

func attach(t *testing.T, f Fabric, p fabric.Port, want string) {
	t.Helper()
	lease, err := f.Attach(t.Context(), p)
	if err != nil {
		t.Fatalf("attach %s: %v", p.Name, err)
	}
	if got := fmt.Sprintf("%s by %s", lease.Address, lease.Gateway); got != want {
		t.Errorf("attach %s: got %s, want %s", p.Name, got, want)
	}
}

func detach(t *testing.T, f Fabric, name string) {
	t.Helper()
	if err := f.Detach(t.Context(), name); err != nil {
		t.Fatalf("detach %s: %v", name, err)
	}
}

func networksAre(t *testing.T, f Fabric, want ...network.UID) {
	t.Helper()
	got, err := f.Networks(t.Context())
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("networks: got %v, %v; want %v", got, err, want)
	}
}

// portsAre checks that these ports are attached and no others, as far as the fabric
// lists them: the addresses of ports of virtual networks are the control plane's, so
// a fabric need not.
func portsAre(t *testing.T, f Fabric, attached ...fabric.Port) {
	t.Helper()
	got, err := f.Ports(t.Context())
	if err != nil {
		t.Errorf("ports: %v", err)
	}
	for _, p := range attached {
		at := slices.Index(got, p.Name)
		if at >= 0 {
			got = slices.Delete(got, at, at+1)
		} else if p.Network == "" {
			t.Errorf("ports: %s is not listed", p.Name)
		}
	}
	if len(got) > 0 {
		t.Errorf("ports: %v are listed, but not attached", got)
	}
}

func untilRemoved(t *testing.T, f Fabric) {
	networksAre(t, f)
	apply(t, f, program(first))
	networksAre(t, f, first)
	remove(t, f, first)
	networksAre(t, f)
	apply(t, f, program(first, "10.77.1.4"))
	networksAre(t, f, first)
}

func again(t *testing.T, f Fabric) {
	p := port(first, "10.77.1.4")
	apply(t, f, program(first, "10.77.1.4"), program(first, "10.77.1.4"))
	networksAre(t, f, first)
	attach(t, f, p, "10.77.1.4/24 by 10.77.1.1")
	apply(t, f, program(first, "10.77.1.4"))
	portsAre(t, f, p)
	detach(t, f, p.Name)
	detach(t, f, p.Name)
	portsAre(t, f)
	remove(t, f, first)
	remove(t, f, first)
	networksAre(t, f)
}

func inOrder(t *testing.T, f Fabric) {
	apply(t, f, program(second), program(first))
	networksAre(t, f, first, second)
	remove(t, f, first)
	networksAre(t, f, second)
}

func replaced(t *testing.T, f Fabric) {
	apply(t, f, program(first, "10.77.1.4"))
	attach(t, f, port(first, "10.77.1.4"), "10.77.1.4/24 by 10.77.1.1")
	apply(t, f, program(first, "10.77.1.4", "10.77.1.5"))
	attach(t, f, port(first, "10.77.1.5"), "10.77.1.5/24 by 10.77.1.1")
	detach(t, f, port(first, "10.77.1.4").Name)
	apply(t, f, program(first, "10.77.1.5"))
	portsAre(t, f, port(first, "10.77.1.5"))
}

func ownAddress(t *testing.T, f Fabric) {
	apply(t, f, program(first, "10.77.1.9", "10.77.2.7"))
	attach(t, f, port(first, "10.77.1.9"), "10.77.1.9/24 by 10.77.1.1")
	attach(t, f, port(first, "10.77.2.7"), "10.77.2.7/26 by 10.77.2.1")
	portsAre(t, f, port(first, "10.77.1.9"), port(first, "10.77.2.7"))
}

func apart(t *testing.T, f Fabric) {
	apply(t, f, program(first, "10.77.1.4"), program(second, "10.77.1.4"))
	attach(t, f, port(first, "10.77.1.4"), "10.77.1.4/24 by 10.77.1.1")
	attach(t, f, port(second, "10.77.1.4"), "10.77.1.4/24 by 10.77.1.1")
	detach(t, f, port(first, "10.77.1.4").Name)
	remove(t, f, first)
	networksAre(t, f, second)
	portsAre(t, f, port(second, "10.77.1.4"))
}

func kept(t *testing.T, f Fabric) {
	apply(t, f, program(first, "10.77.1.4", "10.77.1.5"))
	p := port(first, "10.77.1.4")
	attach(t, f, p, "10.77.1.4/24 by 10.77.1.1")
	attach(t, f, port(first, "10.77.1.5"), "10.77.1.5/24 by 10.77.1.1")
	attach(t, f, p, "10.77.1.4/24 by 10.77.1.1")
	portsAre(t, f, p, port(first, "10.77.1.5"))
}

func back(t *testing.T, f Fabric) {
	apply(t, f, program(first, "10.77.1.4"))
	p := port(first, "10.77.1.4")
	for range 2 {
		attach(t, f, p, "10.77.1.4/24 by 10.77.1.1")
		detach(t, f, p.Name)
	}
	portsAre(t, f)
}

func defaultNetwork(t *testing.T, f Fabric) {
	a := fabric.Port{Name: "plain-a", MAC: "52:54:00:00:00:0a", HostName: "a"}
	b := fabric.Port{Name: "plain-b", MAC: "52:54:00:00:00:0b", HostName: "b"}
	before, err := f.Attach(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	apply(t, f, program(first, "10.77.1.4"))
	attach(t, f, port(first, "10.77.1.4"), "10.77.1.4/24 by 10.77.1.1")
	next, err := f.Attach(t.Context(), b)
	if err != nil || next.Address.Addr() != before.Address.Addr().Next() || next.Gateway != before.Gateway {
		t.Errorf("got %v, %v; want the address after %v", next, err, before)
	}
	detach(t, f, port(first, "10.77.1.4").Name)
	remove(t, f, first)
	portsAre(t, f, a, b)
}

func absent(t *testing.T, f Fabric) {
	apply(t, f, program(first, "10.77.1.4"))
	at := netip.MustParseAddr("10.77.1.4")
	_, flows := f.Flows(t.Context(), second, at)
	_, traffic := f.Traffic(t.Context(), second)
	_, dial := f.DialInside(t.Context(), second, netip.AddrPortFrom(at, 80))
	for what, err := range map[string]error{"flows": flows, "cut": f.Cut(t.Context(), second, at), "traffic": traffic, "dial": dial} {
		if !resource.Is(err, resource.NotFound) {
			t.Errorf("%s: got %v, want NotFound", what, err)
		}
	}
}

func noFlows(t *testing.T, f Fabric) {
	apply(t, f, program(first, "10.77.1.4"))
	at := netip.MustParseAddr("10.77.1.4")
	for range 2 {
		if n, err := f.Flows(t.Context(), first, at); n != 0 || err != nil {
			t.Errorf("got %d flows, %v", n, err)
		}
		if err := f.Cut(t.Context(), first, at); err != nil {
			t.Error(err)
		}
	}
}

func noTraffic(t *testing.T, f Fabric) {
	apply(t, f, program(first, "10.77.1.4"))
	got, err := f.Traffic(t.Context(), first)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]fabric.FrontendTraffic{{Balancer: "lb-" + first, Rule: "http"}}, got); diff != "" {
		t.Errorf("traffic (-want +got):\n%s", diff)
	}
}
