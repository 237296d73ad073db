package network

import (
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/muster-vm/muster/internal/resource"
)

func key(k Kind, name string) Key { return NewKey(k, "s", "lab", name) }

func id(k Kind, name string) resource.ID {
	return resource.In("s", "lab", "Microsoft.Network", string(k), name)
}

var (
	nsgWeb  = key(SecurityGroupKind, "web")
	nsgLab  = key(SecurityGroupKind, "lab")
	asg     = key(ApplicationGroupKind, "db")
	balance = key(LoadBalancerKind, "lb")
	inner   = key(LoadBalancerKind, "ilb")
	pip     = key(PublicAddressKind, "pip")
)

func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }
func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// town is a network with two subnets, a public and an internal balancer.
func town() World {
	vnet := Resource{ID: id(VirtualNetworkKind, "net"), UID: "u-net", Kind: VirtualNetworkKind, VirtualNetwork: &VirtualNetwork{
		Prefixes: []netip.Prefix{prefix("10.0.0.0/16")},
		Subnets:  []Subnet{{Name: "Front", Prefix: prefix("10.0.0.0/24"), SecurityGroup: nsgWeb}, {Name: "back", Prefix: prefix("10.0.1.0/24"), Private: true}}}}
	w := World{Network: vnet, Groups: map[Key]SecurityGroup{
		nsgWeb: {Rules: []Rule{
			{Name: "web", Priority: 100, Direction: Inbound, Access: Allow, Protocol: TCP, Source: Peer{Any: true}, Destination: Peer{Any: true}, Ports: []Ports{{80, 80}, {8000, 8099}}},
			{Name: "no-telnet", Priority: 110, Direction: Outbound, Access: Deny, Protocol: TCP, Source: Peer{Any: true}, Destination: Peer{Tags: []Tag{TagInternet}}, Ports: []Ports{{23, 23}}},
		}},
		nsgLab: {Rules: []Rule{
			{Name: "only-front", Priority: 200, Direction: Inbound, Access: Deny, Protocol: AnyProtocol, Source: Peer{Groups: []Key{asg}}, Destination: Peer{Any: true}},
		}},
	}, Public: map[Key]Resource{pip: {Kind: PublicAddressKind, PublicAddress: &PublicAddress{Address: addr("198.51.100.1")}}}}
	for i := range 3 {
		w.Ports = append(w.Ports, Port{Name: fmt.Sprint("web-", i), Instance: fmt.Sprint("web_", i), Address: addr(fmt.Sprint("10.0.0.", 4+i)), Subnet: "front", Primary: true,
			Pools: []Ref{{balance, "be"}, {inner, "be"}}, NAT: []NATPort{{Ref{balance, "ssh"}, uint16(50000 + i)}}})
	}
	w.Ports = append(w.Ports,
		Port{Name: "db-0", Instance: "db_0", Address: addr("10.0.1.4"), Subnet: "back", Primary: true, Apps: []Key{asg}},
		Port{Name: "db-1", Instance: "db_1", Address: addr("10.0.1.5"), Subnet: "back", Primary: true, Group: nsgLab})
	rule := BalancingRule{Name: "http", Frontend: "fe", Pools: []string{"be"}, Probe: "pr", Protocol: TCP, FrontendPort: 80, BackendPort: 8080, Distribution: FiveTuple, Idle: 4}
	w.Balancers = []Resource{
		{ID: id(LoadBalancerKind, "ilb"), UID: "u-ilb", Kind: LoadBalancerKind, SKU: Standard, LoadBalancer: &LoadBalancer{
			Frontends: []Frontend{{Name: "fe", Subnet: Ref{key(VirtualNetworkKind, "net"), "back"}, Address: addr("10.0.1.100")}}, Pools: []Pool{{Name: "be"}},
			Rules: []BalancingRule{{Name: "all", Frontend: "fe", Pools: []string{"be"}, Protocol: AnyProtocol, Distribution: SourceIP}}}},
		{ID: id(LoadBalancerKind, "lb"), UID: "u-lb", Kind: LoadBalancerKind, SKU: Standard, LoadBalancer: &LoadBalancer{
			Frontends: []Frontend{{Name: "fe", Public: pip}}, Pools: []Pool{{Name: "be", Drain: time.Minute}}, Rules: []BalancingRule{rule},
			Probes:   []Probe{{Name: "pr", Protocol: ProbeTCP, Port: 8080, Interval: 5 * time.Second, Threshold: 1}},
			NATPools: []NATPool{{Name: "ssh", Frontend: "fe", Protocol: TCP, Ports: Ports{50000, 50009}, BackendPort: 22, Idle: 4}}}},
	}
	w.Healthy = func(Target) (bool, bool) { return true, true }
	return w
}

func flow(p Protocol, from, to string) Flow {
	return Flow{p, netip.MustParseAddrPort(from), netip.MustParseAddrPort(to)}
}

func TestVerdictsNameTheRuleThatDecides(t *testing.T) {
	for _, tt := range []struct {
		flow Flow
		want string // allowed or denied, then the last step
	}{
		{flow(TCP, "10.0.0.4:999", "10.0.0.5:443"), "allowed inbound AllowVnetInBound"},
		{flow(TCP, "198.51.100.99:999", "198.51.100.1:80"), "allowed inbound web"}, // rules see the port of the member, 8080
		{flow(TCP, "198.51.100.99:999", "198.51.100.1:50001"), "denied inbound DenyAllInBound"},
		{flow(TCP, "198.51.100.99:999", "198.51.100.1:81"), "denied frontend "},
		{flow(TCP, "198.51.100.99:999", "10.0.0.4:80"), "denied route "},
		{flow(TCP, "10.0.0.4:999", "198.51.100.99:23"), "denied outbound no-telnet"},
		{flow(TCP, "10.0.0.4:999", "198.51.100.99:443"), "allowed route "},
		{flow(UDP, "10.0.0.4:999", "198.51.100.99:23"), "allowed route "},
		{flow(TCP, "10.0.1.4:999", "198.51.100.99:443"), "denied route "}, // private subnet
		{flow(TCP, "10.0.1.4:999", "10.0.1.5:80"), "denied inbound only-front"},
		{flow(ICMP, "10.0.1.4:0", "10.0.1.5:0"), "denied inbound only-front"},
		{flow(TCP, "10.0.0.4:999", "10.0.1.5:80"), "allowed inbound AllowVnetInBound"},
		{flow(TCP, "10.0.1.5:999", "10.0.1.100:8081"), "allowed inbound web"},
		{flow(ICMP, "10.0.1.5:0", "10.0.1.100:0"), "denied frontend "},
		{flow(TCP, "168.63.129.16:999", "10.0.0.4:22"), "allowed inbound AllowVnetInBound"},
		{flow(TCP, "10.0.0.77:999", "10.0.0.4:80"), "denied route "},
		{flow(TCP, "10.0.0.4:999", "10.0.0.77:80"), "denied route "},
		{flow(UDP, "10.0.1.4:999", "168.63.129.16:53"), "allowed"},
		{flow(TCP, "10.0.1.4:999", "168.63.129.16:80"), "denied route "},
		{flow(ICMP, "10.0.1.4:0", "10.0.1.1:0"), "allowed"},
		{flow(TCP, "10.0.1.4:999", "10.0.1.1:22"), "denied route "},
		{flow(TCP, "198.51.100.99:999", "10.0.1.100:8081"), "denied route "},
	} {
		v := Compile(town()).Decide(tt.flow)
		got := map[bool]string{true: "allowed", false: "denied"}[v.Allowed]
		if n := len(v.Steps); n > 0 {
			got += " " + string(v.Steps[n-1].Stage) + " " + v.Steps[n-1].Rule
		}
		if got != tt.want {
			t.Errorf("%v: got %q, want %q (%+v)", tt.flow, got, tt.want, v.Steps)
		}
	}
}

func TestAStandardFrontendIsClosedWithoutSecurityGroup(t *testing.T) {
	for sku, want := range map[SKU]bool{Standard: false, Basic: true} {
		w := town()
		w.Network.VirtualNetwork.Subnets[0].SecurityGroup = Key{}
		w.Balancers[1].SKU = sku
		v := Compile(w).Decide(flow(TCP, "198.51.100.99:999", "198.51.100.1:80"))
		if v.Allowed != want {
			t.Errorf("%s: allowed %v, want %v (%v)", sku, v.Allowed, want, v.Steps)
		}
	}
}

func TestMembersThatAreSickOrLeaveTakeNoNewFlows(t *testing.T) {
	w := town()
	w.Ports[0].Leaving = true
	w.Healthy = func(t Target) (bool, bool) { return t.Address != w.Ports[1].Address, true }
	p := Compile(w)
	s := p.Services[1]
	if len(s.Members) != 1 || s.Members[0].Addr() != w.Ports[2].Address || !slices.Equal(s.Leaving, []netip.Addr{w.Ports[0].Address}) || s.Drain != time.Minute {
		t.Errorf("members %v, leaving %v for %v", s.Members, s.Leaving, s.Drain)
	}
	if len(p.Forwards) != 2 || len(p.Targets) != 2 {
		t.Errorf("%d forwards, %d targets, want 2 and 2", len(p.Forwards), len(p.Targets))
	}
	w.Healthy = func(Target) (bool, bool) { return false, true }
	if v := Compile(w).Decide(flow(TCP, "10.0.1.4:1", "198.51.100.1:80")); v.Allowed || !strings.Contains(v.Steps[len(v.Steps)-1].Why, "no member") {
		t.Errorf("with every member sick: %+v", v)
	}
}

func TestMembersSayWhyTheyTakeNoNewFlows(t *testing.T) {
	w := town()
	w.Ports[0].Leaving = true
	w.Groups[nsgWeb] = SecurityGroup{Rules: []Rule{{Name: "no-probes", Priority: 100, Direction: Inbound, Access: Deny, Protocol: AnyProtocol, Source: Peer{Tags: []Tag{TagLoadBalancer}}, Destination: Peer{Any: true}}}}
	probed := func(t Target) Probed {
		return Probed{Known: t.Address != w.Ports[1].Address, Reason: "no answer within 5s"}
	}
	var got []string
	for _, m := range Compile(w).Memberships("u-lb", probed) {
		got = append(got, m.Instance+" "+string(m.State)+" "+m.Reason)
	}
	want := []string{"web_1 Unknown It was not asked yet.",
		"web_2 Down no answer within 5s: the rule no-probes of security group web denies the probe, which comes from the service tag AzureLoadBalancer (168.63.129.16)",
		"web_0 Leaving The instance goes down: it gets no new connections, and those that it has go on until they end or their time is over."}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	for _, m := range Compile(w).Memberships("u-ilb", probed) {
		if m.State == MemberUp && m.Reason != "The rule has no probe: every member counts as well." {
			t.Errorf("without a probe: %+v", m)
		}
	}
}

func TestWaysOutComeInAzuresOrder(t *testing.T) {
	w := town()
	out := func() Egress { return Compile(w).Egress[0] }
	if e := out(); e.To != addr("198.51.100.1") || e.Why != "rule http of lb" {
		t.Errorf("by the balancer: %+v", e)
	}
	w.Balancers[1].LoadBalancer.Rules[0].NoOutbound = true
	if e := out(); !e.Blocked {
		t.Errorf("a Standard balancer's member without a way: %+v", e)
	}
	w.Ports[0].Public = addr("198.51.100.2")
	if e := out(); e.To != w.Ports[0].Public {
		t.Errorf("by its own address: %+v", e)
	}
	nat := key(NATGatewayKind, "nat")
	w.Network.VirtualNetwork.Subnets[0].NATGateway, w.Gateways = nat, map[Key]NATGateway{nat: {Addresses: []Key{pip}}}
	if e := out(); e.To != addr("198.51.100.1") || e.Why != "NAT gateway nat" {
		t.Errorf("by the gateway: %+v", e)
	}
}

func TestEqualWorldsGiveEqualPrograms(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := anyWorld(t)
		if a, b := Compile(w), Compile(w); !reflect.DeepEqual(a, b) {
			t.Fatalf("%+v\n%+v", a, b)
		}
	})
}

// anyWorld is the town with other members, health and rules.
func anyWorld(t *rapid.T) World {
	w := town()
	w.Ports = nil
	bits := rapid.Uint64().Draw(t, "health")
	for i := range rapid.IntRange(0, 40).Draw(t, "cards") {
		w.Ports = append(w.Ports, Port{Name: fmt.Sprintf("web-%02d", i), Address: addr(fmt.Sprint("10.0.0.", 4+i)), Subnet: "front", Primary: true,
			Leaving: rapid.Bool().Draw(t, "leaving"), Pools: []Ref{{balance, "be"}, {inner, "be"}}, NAT: []NATPort{{Ref{balance, "ssh"}, uint16(50000 + i)}}})
	}
	w.Healthy = func(t Target) (bool, bool) { return bits>>(t.Address.As4()[3]%64)&1 == 1, true }
	w.Balancers[1].LoadBalancer.Rules[0].Distribution = rapid.SampledFrom([]Distribution{FiveTuple, SourceIP, SourceIPProtocol}).Draw(t, "distribution")
	g := w.Groups[nsgWeb]
	g.Rules[0].Ports = []Ports{{8080, 8080}}
	return w
}

func TestEveryAllowedFlowToAFrontendHasExactlyOneMember(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := anyWorld(t)
		p := Compile(w)
		client := netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, rapid.Byte().Draw(t, "client")}), rapid.Uint16().Draw(t, "port"))
		f := Flow{TCP, client, netip.MustParseAddrPort("198.51.100.1:80")}
		v := p.Decide(f)
		takes := 0
		for _, port := range w.Ports {
			well, _ := w.Healthy(Target{Address: port.Address})
			if well && !port.Leaving {
				takes++
			}
		}
		if v.Allowed != (takes > 0) {
			t.Fatalf("allowed %v with %d members that take flows: %+v", v.Allowed, takes, v.Steps)
		}
		if v.Allowed {
			i := slices.IndexFunc(w.Ports, func(p Port) bool { return p.Address == v.To.Addr() })
			if well, _ := w.Healthy(Target{Address: v.To.Addr()}); i < 0 || !well || w.Ports[i].Leaving || v.To.Port() != 8080 {
				t.Fatalf("it went to %v", v.To)
			}
			if again := p.Decide(f); again.To != v.To {
				t.Fatalf("it went to %v and to %v", v.To, again.To)
			}
		}
	})
}

func TestBucketsAreSharedFairlyAndMoveLittle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 60).Draw(t, "members")
		var members []netip.AddrPort
		for i := range n {
			members = append(members, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i / 200), byte(4 + i%200)}), 80))
		}
		table := buckets(members)
		share := make([]int, n)
		for _, m := range table {
			share[m]++
		}
		if low, high := slices.Min(share), slices.Max(share); high-low > 1 {
			t.Fatalf("shares from %d to %d", low, high)
		}
		if n == 1 {
			return
		}
		gone := rapid.IntRange(0, n-1).Draw(t, "gone")
		rest := slices.Delete(slices.Clone(members), gone, gone+1)
		if tableSize(n) != tableSize(n-1) {
			return
		}
		moved := 0
		for i, m := range buckets(rest) {
			if before := table[i]; int(before) != gone && members[before] != rest[m] {
				moved++
			}
		}
		if moved > len(table)/4 {
			t.Fatalf("%d of %d buckets of those that stay moved", moved, len(table))
		}
	})
}

func TestAddressesAreGivenOnceUntilTheSubnetIsFull(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		subnet := netip.PrefixFrom(addr("10.1.2.0"), rapid.IntRange(26, 29).Draw(t, "bits"))
		taken := map[netip.Addr]bool{}
		is := func(a netip.Addr) bool { return taken[a] }
		for range Capacity(subnet) {
			a, err := Allocate("s", subnet, netip.Addr{}, is)
			if err != nil || taken[a] || !Usable(subnet, a) || a == Gateway(subnet) {
				t.Fatalf("%v %v", a, err)
			}
			taken[a] = true
		}
		if _, err := Allocate("s", subnet, netip.Addr{}, is); !resource.Is(err, resource.Exhausted) {
			t.Fatalf("a full subnet: %v", err)
		}
		back := rapid.SampledFrom(slices.SortedFunc(maps.Keys(taken), netip.Addr.Compare)).Draw(t, "back")
		if err := CheckStatic("s", subnet, back, is); !resource.Is(err, resource.Conflict) {
			t.Fatalf("a taken address: %v", err)
		}
		delete(taken, back)
		if a, err := Allocate("s", subnet, netip.Addr{}, is); err != nil || a != back {
			t.Fatalf("got %v %v, want %v", a, err, back)
		}
	})
}

func TestOverlapsAndStraySubnetsAreRefusedWithTheirPath(t *testing.T) {
	v := VirtualNetwork{Prefixes: []netip.Prefix{prefix("10.0.0.0/16"), prefix("10.0.128.0/17"), prefix("169.254.1.0/24")}, Subnets: []Subnet{
		{Name: "a", Prefix: prefix("10.0.0.0/24")}, {Name: "A", Prefix: prefix("10.0.0.128/25")}, {Name: "b", Prefix: prefix("10.9.0.0/24")}, {Name: "c", Prefix: prefix("10.0.2.0/30")}}}
	var got []string
	for _, e := range v.Check() {
		got = append(got, e.Code+" "+e.Target)
	}
	want := []string{
		"NetcfgAddressSpaceOverlap properties.addressSpace.addressPrefixes[1]", "AddressPrefixReserved properties.addressSpace.addressPrefixes[2]",
		"InvalidRequestFormat properties.subnets[1].name", "NetcfgInvalidSubnet properties.subnets[2].properties.addressPrefix", "NetcfgInvalidSubnet properties.subnets[3].properties.addressPrefix",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
