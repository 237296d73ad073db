package ruleset

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"

	"github.com/muster-vm/muster/internal/network"
)

// farm is a network without security groups, of members behind frontends.
func farm(members ...int) network.Program {
	p := network.Program{
		Network: "n2", Name: "farm", Prefixes: []netip.Prefix{space},
		Subnets: []network.SubnetProgram{{Name: "front", Prefix: netip.MustParsePrefix("10.0.0.0/24")}},
		Routed:  []netip.Addr{shared, own},
		Publics: []network.PublicCard{{Public: own, Address: web2, SKU: network.Basic}},
		Egress:  []network.Egress{{From: web2, To: own}},
	}
	for n := range 4 {
		p.Cards = append(p.Cards, card(n+1, fmt.Sprintf("w%d", n), "front", worker(n), nil, nil))
		p.Forwards = append(p.Forwards, network.Forward{Balancer: "lb", Rule: "pool", Address: shared, Public: true, SKU: network.Basic, Protocol: network.TCP,
			Port: 50000 + uint16(n), To: netip.AddrPortFrom(worker(n), 8080), Idle: 5 * time.Minute})
	}
	add := func(rule string, at netip.Addr, protocol network.Protocol, port, to uint16, how network.Distribution) {
		s := network.Service{Balancer: "lb", Rule: rule, Address: at, Public: at == shared, SKU: network.Basic, Protocol: protocol, Port: port, Distribution: how, Idle: 4 * time.Minute}
		for _, n := range members {
			s.Members = append(s.Members, netip.AddrPortFrom(worker(n), to))
		}
		for i := range 64 * min(1, len(members)) {
			s.Buckets = append(s.Buckets, uint16(i%len(members)))
		}
		p.Services = append(p.Services, s)
	}
	add("spread", shared, network.TCP, 80, 8080, network.FiveTuple)
	add("sticky", shared, network.TCP, 81, 8080, network.SourceIP)
	add("protocol", shared, network.TCP, 82, 8080, network.SourceIPProtocol)
	add("datagrams", shared, network.UDP, 80, 8080, network.FiveTuple)
	add("inner", inner, network.AnyProtocol, 0, 0, network.FiveTuple)
	return p
}

func worker(n int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(4 + n)}) }

func newFarm(t *testing.T, p network.Program) *rig {
	t.Helper()
	r := newRig(t, p)
	for n := range 4 {
		r.serve(worker(n), 8080)
	}
	r.serve(client, 8080)
	return r
}

func TestForwardsLeadToEachMemberAndKeepTheClient(t *testing.T) {
	r := newFarm(t, farm(0, 1))
	for n := range 4 {
		got := r.who(flow(network.TCP, client, fmt.Sprintf("%s:%d", shared, 50000+n)))
		if want := (seen{worker(n), client}); got != want {
			t.Errorf("port %d: %v, want %v", 50000+n, got, want)
		}
	}
	for _, p := range []network.Protocol{network.TCP, network.UDP} {
		if got, want := r.who(flow(p, client, own.String()+":8080")), (seen{web2, client}); got != want {
			t.Errorf("%s to the address of a card: %v, want %v", p, got, want)
		}
	}
}

func TestFlowsSpreadByFiveTupleAndStickBySource(t *testing.T) {
	p := farm(0, 1, 2, 3)
	r := newFarm(t, p)
	count := map[netip.Addr]int{}
	for range 64 {
		s := r.who(flow(network.TCP, client, shared.String()+":80"))
		if s.by != client {
			t.Fatalf("a member sees %s, want the client", s.by)
		}
		count[s.at]++
	}
	if len(count) != 4 {
		t.Errorf("64 flows went to %v, want all four members", count)
	}
	for _, port := range []string{":81", ":82"} {
		for _, c := range []netip.Addr{client, otherClient} {
			first := r.who(flow(network.TCP, c, shared.String()+port))
			for i := range 10 {
				if i == 5 {
					r.load(p)
				}
				if got := r.who(flow(network.TCP, c, shared.String()+port)); got != first {
					t.Errorf("%s to %s: %v, want %v as before", c, port, got, first)
				}
			}
		}
	}
}

func TestCallersInsideReachTheirOwnFrontends(t *testing.T) {
	for _, tt := range []struct {
		name    string
		members []int
		from    netip.Addr
		to      string
		want    seen
	}{
		{"by a public frontend, without an address to the outside", []int{0}, worker(2), shared.String() + ":80", seen{worker(0), shared}},
		{"by a public frontend, with an address to the outside", []int{0}, web2, shared.String() + ":80", seen{worker(0), own}},
		{"itself, by a public frontend", []int{0}, worker(0), shared.String() + ":80", seen{worker(0), netip.MustParseAddr("10.0.0.1")}},
		{"by an internal frontend", []int{0}, worker(2), inner.String() + ":8080", seen{worker(0), worker(2)}},
		{"itself, by an internal frontend", []int{0}, worker(0), inner.String() + ":8080", seen{worker(0), netip.MustParseAddr("10.0.0.1")}},
		{"by the public address of a card", []int{0}, worker(0), own.String() + ":8080", seen{web2, own}},
		{"itself, by the public address of its card", []int{0}, web2, own.String() + ":8080", seen{web2, netip.MustParseAddr("10.0.0.1")}},
		{"each other", []int{0}, worker(0), worker(3).String() + ":8080", seen{worker(3), worker(0)}},
		{"the outside, by an address of its own", nil, web2, client.String() + ":8080", seen{client, own}},
		{"the outside, by the host's address", nil, worker(0), client.String() + ":8080", seen{client, transit}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := farm(tt.members...)
			r := newFarm(t, p)
			for _, protocol := range []network.Protocol{network.TCP, network.UDP} {
				f := flow(protocol, tt.from, tt.to)
				if got := r.who(f); got != tt.want {
					t.Errorf("%s: %v, want %v", protocol, got, tt.want)
				}
				v := p.Decide(f)
				if tt.want.by == transit {
					tt.want.by = netip.Addr{} // the verdict leaves it to the host
				}
				if diff := cmp.Diff(tt.want, seen{v.To.Addr(), v.Source}, cmp.AllowUnexported(seen{}), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
					t.Errorf("%s: the verdict differs (-packets +verdict):\n%s", protocol, diff)
				}
				if !tt.want.by.IsValid() {
					tt.want.by = transit
				}
			}
		})
	}
}

func TestEstablishedFlowsOutliveTheirMembershipUntilTheyAreCut(t *testing.T) {
	r := newFarm(t, farm(0))
	f := flow(network.TCP, client, shared.String()+":80")
	c, silent := r.open(f), r.open(f)
	r.ask(c)
	r.ask(silent)
	r.load(farm(1))
	if got := r.ask(c); got.at != worker(0) {
		t.Errorf("after the member was removed, its flow goes to %v", got)
	}
	for range 10 {
		if got := r.who(f); got.at != worker(1) {
			t.Errorf("a new flow goes to %v, want the member that is there", got)
		}
	}
	if n := r.flows(worker(0)); n != 2 {
		t.Errorf("%d flows, want 2", n)
	}
	r.inside(r.net, func() error { return Cut(worker(0)) })
	if n := r.flows(worker(0)); n != 0 {
		t.Errorf("%d flows after they were cut", n)
	}
	for range 2 { // a write may succeed before the reset is there
		if s, err := exchange(c, false); err == nil {
			t.Errorf("a flow that was cut goes on, to %v", s)
		} else if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("a flow that was cut got no reset")
		}
	}
	if n := r.flows(worker(0)) + r.flows(worker(1)); n != 0 {
		t.Errorf("%d flows were taken up in their midst", n)
	}
}

func TestTheMemberOfACutFlowIsReset(t *testing.T) {
	r := newRig(t, farm(0))
	var l net.Listener
	r.inside(r.guests[worker(0)], func() (err error) { l, err = net.Listen("tcp4", worker(0).String()+":8080"); return err })
	defer l.Close()
	c := r.open(flow(network.TCP, client, shared.String()+":80"))
	defer c.Close()
	m, err := l.Accept()
	r.check(err)
	defer m.Close()
	r.inside(r.net, func() error { return Cut(worker(0)) })
	r.check(m.SetDeadline(time.Now().Add(patience)))
	if _, err := m.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	_, err = m.Read(make([]byte, 1))
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the member read %v, want a reset", err)
	}
}

func (r *rig) flows(card netip.Addr) (n int) {
	r.Helper()
	r.inside(r.net, func() (err error) { n, err = Flows(card); return err })
	return n
}

func TestDatagramsMoveToMembersThatAreThere(t *testing.T) {
	r := newFarm(t, farm(0))
	old := r.open(flow(network.UDP, client, shared.String()+":80"))
	all := r.open(flow(network.UDP, worker(3), inner.String()+":8080"))
	card := r.open(flow(network.UDP, client, own.String()+":8080"))
	stays := r.open(flow(network.TCP, client, shared.String()+":80"))
	for _, c := range []net.Conn{old, all, card, stays} {
		r.ask(c)
	}
	r.load(farm(1))
	r.inside(r.net, func() error { return Move(farm(1)) })
	for _, tt := range []struct {
		c    net.Conn
		want netip.Addr
	}{{old, worker(1)}, {all, worker(1)}, {card, web2}, {stays, worker(0)}} {
		if got := r.ask(tt.c); got.at != tt.want {
			t.Errorf("%s -> %s goes to %v, want %s", tt.c.LocalAddr(), tt.c.RemoteAddr(), got, tt.want)
		}
	}
}

func TestFrontendsCountAndKeepTheirCounters(t *testing.T) {
	p := farm(0, 1)
	r := newFarm(t, p)
	total := func() map[string][3]int64 {
		all := map[string][3]int64{}
		r.inside(r.net, func() error {
			traffic, err := Traffic(p)
			for _, f := range traffic {
				all[f.Rule] = [3]int64{f.Bytes, f.Packets, f.SYNs}
			}
			return err
		})
		return all
	}
	c := r.open(flow(network.TCP, client, shared.String()+":80"))
	r.ask(c)
	r.who(flow(network.UDP, client, shared.String()+":80"))
	r.who(flow(network.TCP, client, shared.String()+":50000"))
	r.who(flow(network.TCP, client, shared.String()+":50001"))
	r.who(flow(network.TCP, worker(3), inner.String()+":8080"))
	first := total()
	for rule, syns := range map[string]int64{"spread": 1, "datagrams": 0, "pool": 2, "inner": 1, "sticky": 0} {
		got := first[rule]
		if got[2] != syns || (got[0] > 0) != (rule != "sticky") || (got[1] > 1) != (rule != "sticky") {
			t.Errorf("rule %s has carried %v, want %d SYNs, and bytes and packets both ways", rule, got, syns)
		}
	}
	r.load(p)
	r.ask(c)
	second := total()
	if second["spread"][0] <= first["spread"][0] || second["spread"][2] != 1 || second["pool"][2] != 2 {
		t.Errorf("after the tables were loaded again: %v, before: %v", second, first)
	}
	p.Services = p.Services[1:]
	r.load(p)
	if third := total(); third["pool"][2] != 2 || third["spread"] != [3]int64{} {
		t.Errorf("after a rule was removed: %v", third)
	}
}

func TestIdleFlowsAreForgottenWhenTheRuleSays(t *testing.T) {
	p := farm(0)
	r := newFarm(t, p)
	flows := []net.Conn{
		r.open(flow(network.TCP, client, shared.String()+":80")), r.open(flow(network.TCP, client, shared.String()+":50000")),
		r.open(flow(network.TCP, worker(3), inner.String()+":8080")),
	}
	for range 2 {
		for _, c := range flows {
			r.ask(c)
		}
		r.inside(r.net, func() error {
			entries, err := netlink.ConntrackTableList(netlink.ConntrackTable, netlink.FAMILY_V4)
			n := 0
			for _, e := range entries {
				if e.Mark == 0 {
					continue // a bridge says which groups it is in
				}
				want := uint32(4 * 60)
				if e.Forward.DstPort == 50000 {
					want = 5 * 60
				}
				if n++; e.TimeOut > want || e.TimeOut < want-60 {
					t.Errorf("%v is forgotten in %d s, want %d", e, e.TimeOut, want)
				}
			}
			if n != len(flows) {
				t.Errorf("%d entries, want %d", n, len(flows))
			}
			return err
		})
		r.load(p)
	}
}
