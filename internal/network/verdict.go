package network

import (
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"
)

// Flow is how a flow begins: its first packet. Ports are 0 for protocols without.
type Flow struct {
	Protocol Protocol // TCP, UDP or ICMP
	From, To netip.AddrPort
}

// Verdict is what becomes of a flow, and why.
type Verdict struct {
	Allowed bool
	To      netip.AddrPort // where it ends, after load balancing
	Source  netip.Addr     // who the receiver sees; zero: the host's address to the outside
	Steps   []Step         // what decided, in the order of the packet's way
}

// Stage is a place on a packet's way.
type Stage string

// The stages.
const (
	StageFrontend Stage = "frontend" // a load balancer or a public address
	StageOutbound Stage = "outbound" // security groups of who sends
	StageInbound  Stage = "inbound"  // security groups of who receives
	StageRoute    Stage = "route"    // whether there is a way at all
)

// Step is one thing that decided.
type Step struct {
	Stage  Stage
	Group  Key    // of a security group's rule
	Rule   string // of a security group or balancer; empty where none decided
	Access Access
	Why    string
}

// Decide says what becomes of a flow that nothing is known about yet. A packet
// from a card first passes the outbound rules of its security groups, which see the
// address that was called; then load balancing chooses a member, by a hash that the
// kernel salts in its own way: To is one of those that may be chosen. Then the
// inbound rules see the member's address and port and the caller's own address, even
// when the call went by a public frontend.
func (p Program) Decide(f Flow) Verdict {
	d := decision{Program: p, v: Verdict{To: f.To, Source: f.From.Addr()}}
	d.v.Allowed = d.decide(f)
	return d.v
}

type decision struct {
	Program
	v        Verdict
	forward  bool // by a frontend
	standard bool // of SKU Standard
	public   netip.Addr
}

func (d *decision) decide(f Flow) bool {
	from, sends := d.card(f.From.Addr())
	platform := f.From.Addr() == HostAddress
	inside := sends || platform
	if !inside && d.holds(f.From.Addr()) {
		return d.no(StageRoute, fmt.Sprintf("nobody in the virtual network has the address %s", f.From.Addr()))
	}
	if sends && (f.To.Addr() == HostAddress || d.gateway(f.To.Addr())) {
		return d.callPlatform(f)
	}
	if sends && !d.passes(StageOutbound, from.Out, f) {
		return false
	}
	if !d.balance(&f) {
		return false
	}
	if !inside && d.forward && !d.public.IsValid() {
		return d.no(StageRoute, "internal frontends are not reachable from outside of the virtual network")
	}
	d.v.To = f.To
	to, receives := d.card(f.To.Addr())
	switch {
	case receives && !inside && !d.forward:
		return d.no(StageRoute, "private addresses are not reachable from outside of the virtual network")
	case receives:
		return d.enter(f, from, to, sends)
	case d.holds(f.To.Addr()):
		return d.no(StageRoute, fmt.Sprintf("nobody in the virtual network has the address %s", f.To.Addr()))
	case !sends:
		return d.no(StageRoute, fmt.Sprintf("%s is no address of the virtual network", f.To.Addr()))
	}
	return d.leave(from)
}

// gateway reports whether an address is that of a subnet's gateway.
func (d *decision) gateway(a netip.Addr) bool {
	return slices.ContainsFunc(d.Subnets, func(s SubnetProgram) bool { return Gateway(s.Prefix) == a })
}

// callPlatform judges what a guest may ask its platform.
func (d *decision) callPlatform(f Flow) bool {
	if f.Protocol == ICMP || f.To.Addr() == HostAddress && f.Protocol.HasPorts() && f.To.Port() == resolverPort {
		return true
	}
	return d.no(StageRoute, "guests reach the resolver at the platform's address, and nothing else of it")
}

// resolverPort is that of DNS, which security groups do not forbid.
const resolverPort = 53

func (d *decision) no(s Stage, why string) bool {
	d.v.Steps = append(d.v.Steps, Step{Stage: s, Access: Deny, Why: why})
	return false
}

// card returns the card with this address.
func (d *decision) card(a netip.Addr) (Card, bool) {
	i := slices.IndexFunc(d.Cards, func(c Card) bool { return c.Address == a })
	if i < 0 {
		return Card{}, false
	}
	return d.Cards[i], true
}

// holds reports whether an address is in the virtual network's space.
func (d *decision) holds(a netip.Addr) bool {
	return slices.ContainsFunc(d.Prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
}

// balance finds the member of a flow to a frontend. It returns false if there is a
// frontend that takes no such flow.
func (d *decision) balance(f *Flow) bool {
	frontend := slices.Contains(d.Routed, f.To.Addr())
	for _, w := range d.Forwards {
		if w.Address == f.To.Addr() && w.takes(f.Protocol, w.Port, f.To.Port()) {
			return d.sendTo(f, w)
		}
	}
	for _, s := range d.Services {
		if s.Address != f.To.Addr() {
			continue
		}
		frontend = true
		if !s.takes(f.Protocol, f.To.Port()) {
			continue
		}
		if len(s.Buckets) == 0 {
			return d.no(StageFrontend, fmt.Sprintf("rule %s has no member that is well", s.Rule))
		}
		return d.sendTo(f, Forward{To: s.Members[s.Buckets[s.bucket(*f)]], SKU: s.SKU, Address: s.Address, Public: s.Public, Rule: s.Rule})
	}
	for _, c := range d.Publics {
		if c.Public == f.To.Addr() {
			return d.sendTo(f, Forward{To: netip.AddrPortFrom(c.Address, 0), SKU: c.SKU, Address: c.Public, Public: true})
		}
	}
	if frontend {
		return d.no(StageFrontend, fmt.Sprintf("no rule of the frontend %s takes %s port %d", f.To.Addr(), f.Protocol, f.To.Port()))
	}
	return true
}

// sendTo sends the flow to a member. Port 0 keeps the port.
func (d *decision) sendTo(f *Flow, w Forward) bool {
	if w.To.Port() == 0 {
		w.To = netip.AddrPortFrom(w.To.Addr(), f.To.Port())
	}
	f.To, d.forward, d.standard = w.To, true, w.SKU == Standard
	if w.Public {
		d.public = w.Address
	}
	d.v.Steps = append(d.v.Steps, Step{Stage: StageFrontend, Rule: w.Rule, Access: Allow, Why: fmt.Sprintf("%s is forwarded to %s", w.Address, w.To)})
	return true
}

// takes reports whether a service takes a protocol and port.
func (s Service) takes(p Protocol, port uint16) bool {
	if s.Protocol == AnyProtocol {
		return p.HasPorts() && (s.Port == 0 || s.Port == port)
	}
	return s.Protocol == p && s.Port == port
}

func (w Forward) takes(p Protocol, port, called uint16) bool {
	return port == called && (w.Protocol == p || w.Protocol == AnyProtocol && p.HasPorts())
}

// bucket chooses a bucket by what the distribution looks at.
func (s Service) bucket(f Flow) int {
	h := fnv.New32a()
	from, to := f.From.Addr().As4(), f.To.Addr().As4()
	h.Write(from[:])
	h.Write(to[:])
	if s.Distribution != SourceIP {
		h.Write([]byte{f.Protocol.Number()})
	}
	if s.Distribution == FiveTuple {
		h.Write([]byte{byte(f.From.Port() >> 8), byte(f.From.Port()), byte(f.To.Port() >> 8), byte(f.To.Port())})
	}
	return int(h.Sum32()) % len(s.Buckets)
}

// enter judges the last part of the way to a card.
func (d *decision) enter(f Flow, from, to Card, sends bool) bool {
	switch {
	case sends && d.forward && from.Address == to.Address:
		d.v.Source = Gateway(d.subnet(to.Subnet)) // who calls himself
	case sends && d.public.IsValid():
		if d.v.Source = d.egress(from.Address).To; !d.v.Source.IsValid() {
			d.v.Source = d.public
		}
	}
	outside := !sends && f.From.Addr() != HostAddress
	if len(to.In) == 0 && outside && d.standard {
		return d.no(StageInbound, "a Standard frontend or public address is closed without a security group; give the subnet or the network card one that allows the flow")
	}
	return d.passes(StageInbound, to.In, f)
}

func (d *decision) subnet(name string) netip.Prefix {
	for _, s := range d.Subnets {
		if s.Name == name {
			return s.Prefix
		}
	}
	return netip.Prefix{}
}

func (d *decision) egress(from netip.Addr) Egress {
	i := slices.IndexFunc(d.Egress, func(e Egress) bool { return e.From == from })
	if i < 0 {
		return Egress{}
	}
	return d.Program.Egress[i]
}

// leave judges the way out of the virtual network.
func (d *decision) leave(from Card) bool {
	e := d.egress(from.Address)
	if e.Blocked {
		return d.no(StageRoute, e.Why)
	}
	d.v.Source = e.To
	d.v.Steps = append(d.v.Steps, Step{Stage: StageRoute, Access: Allow, Why: e.Why})
	return true
}

// passes tries the chains in order; each must allow the flow.
func (d *decision) passes(stage Stage, names []string, f Flow) bool {
	if len(names) == 0 {
		d.v.Steps = append(d.v.Steps, Step{Stage: stage, Access: Allow, Why: "there is no security group"})
	}
	for _, name := range names {
		i := slices.IndexFunc(d.Chains, func(c Chain) bool { return c.Name == name })
		r := d.Chains[i].first(f)
		d.v.Steps = append(d.v.Steps, Step{Stage: stage, Group: d.Chains[i].Group, Rule: r.Name, Access: r.Access, Why: fmt.Sprintf("priority %d", r.Priority)})
		if r.Access == Deny {
			return false
		}
	}
	return true
}

// first returns the rule that decides about a flow. There always is one: the
// default rules end with one that matches everything.
func (c Chain) first(f Flow) Resolved {
	return c.Rules[slices.IndexFunc(c.Rules, func(r Resolved) bool { return r.matches(f) })]
}

func (r Resolved) matches(f Flow) bool {
	if r.Protocol != AnyProtocol && r.Protocol != f.Protocol {
		return false
	}
	return r.Source.Holds(f.From.Addr()) && r.Dest.Holds(f.To.Addr()) && r.portsMatch(f)
}

// portsMatch reports whether the ports do. A rule about certain ports is about no
// protocol without.
func (r Resolved) portsMatch(f Flow) bool {
	holds := func(ports []Ports, port uint16) bool {
		return ports == nil || f.Protocol.HasPorts() && slices.ContainsFunc(ports, func(p Ports) bool { return p.Holds(port) })
	}
	return holds(r.SrcPorts, f.From.Port()) && holds(r.DstPorts, f.To.Port())
}
