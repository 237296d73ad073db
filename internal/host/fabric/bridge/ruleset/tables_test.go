package ruleset

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"pgregory.net/rapid"

	"github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/resource"
)

func TestEqualProgramsGiveEqualTables(t *testing.T) {
	for range 10 {
		a, err := Tables(town(), names)
		if err != nil {
			t.Fatal(err)
		}
		b, err := Tables(town(), names)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(a, b) {
			t.Fatal("two equal programs gave different tables")
		}
	}
}

func TestACardNeedsAMAC(t *testing.T) {
	p := town()
	p.Cards[1].MAC = "nonsense"
	if _, err := Tables(p, names); resource.KindOf(err) != resource.Invalid {
		t.Errorf("got %v, want Invalid", err)
	}
}

func TestSpansThatTouchBecomeOne(t *testing.T) {
	for _, tt := range []struct {
		prefixes []string
		want     []string // begins and, after a dash, ends
	}{
		{[]string{"10.0.0.0/24"}, []string{"10.0.0.0", "-10.0.1.0"}},
		{[]string{"10.0.0.0/24", "10.0.1.0/24"}, []string{"10.0.0.0", "-10.0.2.0"}},
		{[]string{"10.0.2.0/24", "10.0.0.0/24"}, []string{"10.0.0.0", "-10.0.1.0", "10.0.2.0", "-10.0.3.0"}},
		{[]string{"0.0.0.0/1", "128.0.0.0/1"}, []string{"0.0.0.0"}},
		{[]string{"255.255.255.255/32"}, []string{"255.255.255.255"}},
		{[]string{"10.0.0.0/8", "10.1.0.0/16"}, []string{"10.0.0.0", "-11.0.0.0"}},
	} {
		var prefixes []netip.Prefix
		for _, p := range tt.prefixes {
			prefixes = append(prefixes, netip.MustParsePrefix(p))
		}
		var got []string
		for _, e := range addressIntervals(prefixes) {
			a, _ := netip.AddrFromSlice(e.Key)
			got = append(got, map[bool]string{true: "-"}[e.IntervalEnd]+a.String())
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%v (-want +got):\n%s", tt.prefixes, diff)
		}
	}
}

// TestAnyRulesMeanWhatTheyMeanToTheVerdict makes up security groups and frontends,
// and sends packets through them.
func TestAnyRulesMeanWhatTheyMeanToTheVerdict(t *testing.T) {
	r := newRig(t, town())
	rapid.Check(t, func(t *rapid.T) {
		p := town()
		for i := range p.Chains {
			p.Chains[i].Rules = append(rapid.SliceOfN(rapid.Custom(drawRule), 0, 6).Draw(t, "rules"),
				network.Resolved{Name: "last", Access: rapid.SampledFrom([]network.Access{network.Allow, network.Deny}).Draw(t, "last"), Protocol: network.AnyProtocol, Source: everybody, Dest: everybody})
		}
		ins, outs := []string{"in-web", "in-db", "in-all"}, []string{"out-web"}
		for i := range p.Cards {
			p.Cards[i].In = rapid.SliceOfNDistinct(rapid.SampledFrom(ins), 0, 2, rapid.ID).Draw(t, "in")
			p.Cards[i].Out = rapid.SliceOfNDistinct(rapid.SampledFrom(outs), 0, 1, rapid.ID).Draw(t, "out")
		}
		r.load(p)
		r.inside(r.net, func() error { return netlink.ConntrackTableFlush(netlink.ConntrackTable) }) // every flow is new
		for range 5 {
			f := drawFlow(t)
			if !meant(p, f) {
				continue
			}
			if got, want := r.begin(f), verdicts(p, f); !slices.ContainsFunc(want, func(v network.Verdict) bool { return v.Allowed == got }) {
				t.Fatalf("%+v: arrived %v, want %+v\n%+v", f, got, want, p.Chains)
			}
		}
	})
}

// verdicts returns what may become of a flow: there is one verdict for each member
// that load balancing may choose.
func verdicts(p network.Program, f network.Flow) (all []network.Verdict) {
	for choice := range 2 {
		p.Services = slices.Clone(p.Services)
		for i, s := range p.Services {
			if n := len(s.Members); n > 0 {
				p.Services[i].Buckets = []uint16{uint16(choice % n)}
			}
		}
		all = append(all, p.Decide(f))
	}
	return all
}

// places are the addresses that packets come from and go to.
var places = []netip.Addr{web1, web2, db, private, shared, shut, own, inner, idle, client, otherClient}

func drawFlow(t *rapid.T) network.Flow {
	protocol := rapid.SampledFrom([]network.Protocol{network.TCP, network.UDP, network.ICMP}).Draw(t, "protocol")
	from := rapid.SampledFrom([]netip.Addr{web1, web2, db, private, client, otherClient, network.HostAddress}).Draw(t, "from")
	to := rapid.SampledFrom(places).Draw(t, "to")
	if protocol == network.ICMP {
		return flow(protocol, from, to.String())
	}
	port := rapid.SampledFrom([]int{22, 53, 80, 443, 8080, 50001, 50002, 65535}).Draw(t, "port")
	return flow(protocol, from, fmt.Sprintf("%s:%d", to, port))
}

func drawRule(t *rapid.T) network.Resolved {
	ports := rapid.Custom(func(t *rapid.T) network.Ports {
		a, b := rapid.SampledFrom([]uint16{0, 22, 53, 80, 443, 8080, 50001, 65535}).Draw(t, "a"), rapid.SampledFrom([]uint16{0, 22, 53, 80, 443, 8080, 50001, 65535}).Draw(t, "b")
		return network.Ports{First: min(a, b), Last: max(a, b)}
	})
	prefix := rapid.Custom(func(t *rapid.T) netip.Prefix {
		p, _ := rapid.SampledFrom(places).Draw(t, "place").Prefix(rapid.SampledFrom([]int{0, 1, 8, 16, 24, 30, 31, 32}).Draw(t, "bits"))
		return p
	})
	side := rapid.Custom(func(t *rapid.T) network.Range {
		r := network.Range{Not: rapid.Bool().Draw(t, "not")}
		for _, p := range rapid.SliceOfN(prefix, 0, 3).Draw(t, "prefixes") {
			if !slices.ContainsFunc(r.Prefixes, p.Overlaps) {
				r.Prefixes = append(r.Prefixes, p)
			}
		}
		slices.SortFunc(r.Prefixes, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
		return r
	})
	r := network.Resolved{
		Name: "r", Access: rapid.SampledFrom([]network.Access{network.Allow, network.Deny}).Draw(t, "access"),
		Protocol: rapid.SampledFrom([]network.Protocol{network.AnyProtocol, network.TCP, network.UDP, network.ICMP, network.ESP}).Draw(t, "protocol"),
		Source:   side.Draw(t, "source"), Dest: side.Draw(t, "dest"),
	}
	if rapid.Bool().Draw(t, "has ports") {
		r.DstPorts = rapid.SliceOfN(ports, 1, 3).Draw(t, "ports")
	}
	return r
}

// metropolis is a large network: 1,000 cards behind as many forwards, and security
// groups of 200 rules.
func metropolis() network.Program {
	p := network.Program{Network: "n3", Prefixes: []netip.Prefix{space}, Subnets: []network.SubnetProgram{{Name: "front", Prefix: space}}, Routed: []netip.Addr{shared}}
	for _, name := range []string{"in-a", "in-b", "out-a", "out-b"} {
		c := network.Chain{Name: name}
		for i := range 200 {
			r := allow(network.TCP, network.Range{}, everybody, network.Ports{First: uint16(i * 10), Last: uint16(i*10 + 5)}, network.Ports{First: uint16(i + 3000), Last: uint16(i + 3000)})
			for j := range 50 {
				r.Source.Prefixes = append(r.Source.Prefixes, netip.PrefixFrom(netip.AddrFrom4([4]byte{20, byte(i), byte(j), 0}), 28))
			}
			c.Rules = append(c.Rules, r)
		}
		p.Chains = append(p.Chains, c)
	}
	service := network.Service{Balancer: "lb", Rule: "web", Address: shared, Public: true, Protocol: network.TCP, Port: 80, Idle: 4 * time.Minute}
	for n := range 1000 {
		a := netip.AddrFrom4([4]byte{10, 0, byte(1 + n/250), byte(n % 250)})
		c := card(n+1, fmt.Sprintf("w%d", n), "front", a, []string{"in-a", "in-b"}, []string{"out-b", "out-a"})
		c.Forwarding = n%2 == 0
		p.Cards = append(p.Cards, c)
		p.Egress = append(p.Egress, network.Egress{From: a, To: shared})
		service.Members = append(service.Members, netip.AddrPortFrom(a, 8080))
		for range 10 {
			service.Buckets = append(service.Buckets, uint16(n))
		}
		for i := range 5 {
			p.Forwards = append(p.Forwards, network.Forward{Balancer: "lb", Rule: "ssh", Address: shared, Public: true, Protocol: network.TCP, Port: uint16(20000 + 5*n + i), To: netip.AddrPortFrom(a, 22), Idle: 4 * time.Minute})
		}
	}
	p.Services = append(p.Services, service)
	return p
}

func TestLargeProgramsLoad(t *testing.T) {
	p := metropolis()
	r := newRig(t, network.Program{})
	tables, err := Tables(p, names)
	r.check(err)
	for range 2 { // idempotent, with everything there
		begin := time.Now()
		r.inside(r.net, func() error { return Load(tables) })
		t.Logf("loaded in %s", time.Since(begin))
	}
	for name, want := range map[string]int{"in": 1000, "forwards": 5000, "buckets-1": 10000} {
		elements, err := r.nft.GetSetElements(&nftables.Set{Name: name, Table: &nftables.Table{Family: nftables.TableFamilyINet, Name: prefix}})
		r.check(err)
		if len(elements) != want {
			t.Errorf("%s has %d elements, want %d", name, len(elements), want)
		}
	}
	r.inside(r.net, func() error {
		traffic, err := Traffic(p)
		if len(traffic) != 2 {
			t.Errorf("%d rules are counted, want 2", len(traffic))
		}
		return err
	})
}
