package ruleset

import (
	"net/netip"
	"testing"

	"github.com/muster-vm/muster/internal/network"
)

var (
	space     = netip.MustParsePrefix("10.0.0.0/16")
	web1      = netip.MustParseAddr("10.0.0.4")
	web2      = netip.MustParseAddr("10.0.0.5")
	db        = netip.MustParseAddr("10.0.1.4")
	private   = netip.MustParseAddr("10.0.1.5") // there is no way out
	shared    = netip.MustParseAddr("203.0.113.10")
	shut      = netip.MustParseAddr("203.0.113.11") // of the SKU Standard, to a card without a group
	own       = netip.MustParseAddr("203.0.113.12") // of web2
	inner     = netip.MustParseAddr("10.0.0.10")    // an internal frontend
	idle      = netip.MustParseAddr("203.0.113.13") // a frontend without members
	everybody = network.Range{Not: true}
	inVNet    = network.Range{Prefixes: []netip.Prefix{space, netip.PrefixFrom(network.HostAddress, 32)}}
)

func allow(p network.Protocol, from, to network.Range, ports ...network.Ports) network.Resolved {
	return network.Resolved{Access: network.Allow, Protocol: p, Source: from, Dest: to, DstPorts: ports}
}

func deny(p network.Protocol, from, to network.Range, ports ...network.Ports) network.Resolved {
	r := allow(p, from, to, ports...)
	r.Access = network.Deny
	return r
}

func card(n int, name, subnet string, a netip.Addr, in, out []string) network.Card {
	return network.Card{Port: network.Port{Name: name, MAC: macOf(n), Subnet: subnet, Address: a}, In: in, Out: out}
}

// town is a network with a bit of everything.
func town() network.Program {
	deny443 := deny(network.TCP, everybody, everybody, network.Ports{First: 443, Last: 443})
	return network.Program{
		Network: "n1", Name: "town", Prefixes: []netip.Prefix{space},
		Subnets: []network.SubnetProgram{{Name: "front", Prefix: netip.MustParsePrefix("10.0.0.0/24")}, {Name: "back", Prefix: netip.MustParsePrefix("10.0.1.0/24")}},
		Cards: []network.Card{
			card(1, "w1", "front", web1, []string{"in-web"}, []string{"out-web"}),
			card(2, "w2", "front", web2, []string{"in-web"}, []string{"out-web"}),
			card(3, "d1", "back", db, []string{"in-db", "in-all"}, nil),
			card(4, "p1", "back", private, nil, nil),
		},
		Chains: []network.Chain{
			{Name: "in-web", Direction: network.Inbound, Rules: []network.Resolved{
				deny443,
				allow(network.TCP, everybody, everybody, network.Ports{First: 8080, Last: 8081}),
				allow(network.UDP, everybody, everybody, network.Ports{First: 53, Last: 53}, network.Ports{First: 5000, Last: 6000}),
				deny(network.AnyProtocol, inVNet, everybody, network.Ports{First: 9000, Last: 65535}),
				allow(network.AnyProtocol, inVNet, inVNet),
				deny(network.AnyProtocol, everybody, everybody),
			}},
			{Name: "out-web", Direction: network.Outbound, Rules: []network.Resolved{
				deny(network.TCP, everybody, network.Range{Prefixes: []netip.Prefix{netip.PrefixFrom(otherClient, 32)}}),
				deny(network.ICMP, everybody, network.Range{Prefixes: []netip.Prefix{space}, Not: true}),
				allow(network.AnyProtocol, everybody, everybody),
			}},
			{Name: "in-db", Direction: network.Inbound, Rules: []network.Resolved{
				allow(network.TCP, network.Range{Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/30"), netip.MustParsePrefix("10.0.0.4/32"), netip.MustParsePrefix("168.63.129.16/32")}}, everybody, network.Ports{First: 5432, Last: 5432}),
				deny(network.AnyProtocol, everybody, everybody),
			}},
			{Name: "in-all", Direction: network.Inbound, Rules: []network.Resolved{allow(network.AnyProtocol, everybody, everybody)}},
		},
		Services: []network.Service{
			{Balancer: "lb", Rule: "web", Address: shared, Public: true, SKU: network.Standard, Protocol: network.TCP, Port: 80,
				Members: []netip.AddrPort{netip.AddrPortFrom(web1, 8080), netip.AddrPortFrom(web2, 8080)}, Buckets: []uint16{0, 1, 0, 1, 0, 1, 0}},
			{Balancer: "lb", Rule: "dns", Address: shared, Public: true, SKU: network.Standard, Protocol: network.UDP, Port: 53,
				Members: []netip.AddrPort{netip.AddrPortFrom(web1, 53)}, Buckets: []uint16{0}},
			{Balancer: "ilb", Rule: "all", Address: inner, SKU: network.Standard, Protocol: network.AnyProtocol,
				Members: []netip.AddrPort{netip.AddrPortFrom(web1, 0), netip.AddrPortFrom(web2, 0)}, Buckets: []uint16{0, 1}},
			{Balancer: "lb2", Rule: "none", Address: idle, Public: true, SKU: network.Basic, Protocol: network.TCP, Port: 80},
		},
		Forwards: []network.Forward{
			{Balancer: "lb", Rule: "ssh", Address: shared, Public: true, SKU: network.Standard, Protocol: network.TCP, Port: 50001, To: netip.AddrPortFrom(web1, 8081)},
			{Balancer: "lb", Rule: "tls", Address: shared, Public: true, SKU: network.Standard, Protocol: network.TCP, Port: 50002, To: netip.AddrPortFrom(web2, 443)},
			{Balancer: "lb", Rule: "bare", Address: shut, Public: true, SKU: network.Standard, Protocol: network.TCP, Port: 22, To: netip.AddrPortFrom(private, 22)},
			{Balancer: "lb2", Rule: "basic", Address: idle, Public: true, SKU: network.Basic, Protocol: network.TCP, Port: 22, To: netip.AddrPortFrom(private, 22)},
		},
		Publics: []network.PublicCard{{Public: own, Address: web2, SKU: network.Basic}},
		Egress:  []network.Egress{{From: web1, To: shared}, {From: web2, To: own}, {From: db}, {From: private, Blocked: true}},
		Routed:  []netip.Addr{shared, shut, own, idle},
	}
}

// TestPacketsDoWhatTheVerdictSays sends the first packet of every flow and compares
// what became of it with the program's own answer.
func TestPacketsDoWhatTheVerdictSays(t *testing.T) {
	p := town()
	r := newRig(t, p)
	senders := []netip.Addr{web1, web2, db, private, client, otherClient, network.HostAddress}
	ports := map[network.Protocol][]string{
		network.TCP:  {"22", "80", "443", "5432", "8080", "8081", "9000", "50001", "50002"},
		network.UDP:  {"53", "80", "5000", "6000", "6001"},
		network.ICMP: {""},
	}
	for _, from := range senders {
		for _, to := range []netip.Addr{web1, web2, db, private, shared, shut, own, inner, idle, client, otherClient} {
			for _, protocol := range []network.Protocol{network.TCP, network.UDP, network.ICMP} {
				for _, port := range ports[protocol] {
					at := to.String()
					if port != "" {
						at += ":" + port
					}
					f := flow(protocol, from, at)
					if !meant(p, f) {
						continue
					}
					want := p.Decide(f)
					if got := r.begin(f); got != want.Allowed {
						t.Errorf("%s %s -> %s: arrived %v, want %v: %+v", protocol, from, f.To, got, want.Allowed, want.Steps)
					}
				}
			}
		}
	}
}

// meant reports whether the packets of a flow reach the network's rules at all.
func meant(p network.Program, f network.Flow) bool {
	outside := func(a netip.Addr) bool { return a == client || a == otherClient }
	switch from, to := f.From.Addr(), f.To.Addr(); {
	case outside(from) && (outside(to) || to == inner):
		return false
	case from == network.HostAddress: // the platform calls cards only
		return space.Contains(to) && to != inner
	case from == to:
		return false
	}
	return true
}
