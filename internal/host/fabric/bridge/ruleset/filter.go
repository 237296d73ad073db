package ruleset

import (
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"github.com/muster-vm/muster/internal/network"
)

var (
	linkLocal = netip.MustParsePrefix("169.254.0.0/16") // of transit networks, among others
	broadcast = netip.MustParsePrefix("255.255.255.255/32")
)

// Bits of the mark of a connection that was sent to another address than it
// called.
const (
	markBalanced = 1 << iota // by a load balancer
	markCard                 // by the public address of a card
	markPublic               // it called a public address
	markStandard             // of the SKU Standard
)

func mark(bits uint32) part {
	return rule(part{&expr.Ct{Key: expr.CtKeyMARK, Register: 1}}, anyOf(bits))
}

// unmarked matches connections with none of the bits.
func unmarked(bits uint32) part {
	parts := mark(bits)
	parts[len(parts)-1] = &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: make([]byte, 4)}
	return parts
}

// space matches if an address is in the space of the virtual network.
func (b *builder) space(address part) part {
	match, ok := b.inRange(address, network.Range{Prefixes: b.p.Prefixes})
	if !ok {
		return rule(address, isIn("gateways")) // there is no prefix, and so no subnet either
	}
	return match
}

// filter makes the chains that decide which flows may begin. Those that have begun
// go on.
func (b *builder) filter() {
	const frontends = "frontends"
	own := []netip.Prefix{linkLocal, broadcast, netip.PrefixFrom(network.HostAddress, 32)}
	var gateways []nftables.SetElement
	for _, s := range b.p.Subnets {
		own = append(own, netip.PrefixFrom(network.Gateway(s.Prefix), 32))
		gateways = append(gateways, nftables.SetElement{Key: network.Gateway(s.Prefix).AsSlice()})
	}
	b.set(nftables.Set{Name: "gateways", KeyType: nftables.TypeIPAddr}, append(gateways, nftables.SetElement{Key: network.HostAddress.AsSlice()})...)
	b.set(nftables.Set{Name: frontends, KeyType: nftables.TypeIPAddr}, b.frontends()...)
	var blocked []nftables.SetElement
	for _, e := range b.p.Egress {
		if e.Blocked {
			blocked = append(blocked, nftables.SetElement{Key: e.From.AsSlice()})
		}
	}
	b.set(nftables.Set{Name: "blocked", KeyType: nftables.TypeIPAddr}, blocked...)
	platform, _ := b.inRange(destination, network.Range{Prefixes: own})
	guests, uplink, host := inAny(bridges), in(b.n.Uplink), is(network.HostAddress)

	// Security groups of who sends see the address that was called, so that they
	// come before it is translated. A packet in the midst of a connection that is
	// not known, or not any more, ends it. Chains of this type see the first packet
	// of a flow only, and cost the others nothing.
	b.base("begin", nftables.ChainTypeNAT, nftables.ChainHookPrerouting, beginAt,
		rule(in("lo"), accept),
		rule(uplink, b.space(source), drop),
		rule(uplink, b.space(destination), drop), // private addresses cannot be called from outside
		rule(guests, midstream, reset),
		rule(midstream, destination, isIn(frontends), reset),
		rule(midstream, drop),
		rule(guests, platform, accept),
		rule(guests, jump("depart")),
	)
	b.base("input", nftables.ChainTypeFilter, nftables.ChainHookInput, filterAt,
		rule(established, accept),
		rule(in("lo"), accept),
		rule(notIPv4, drop),
		rule(invalid, drop),
		rule(guests, udpTo(67), accept),
		rule(guests, destination, host, part{layer4(1)}, isIn(transports), toPort, part{equal(bigEndian(53))}, accept),
		rule(guests, destination, isIn("gateways"), echo, accept),
		rule(uplink, echo, accept),
		rule(drop),
	)
	b.base("forward", nftables.ChainTypeFilter, nftables.ChainHookForward, filterAt,
		rule(established, accept),
		rule(notIPv4, drop),
		rule(invalid, drop),
		rule(guests, destination, within(linkLocal), drop),
		rule(guests, destination, host, drop),
		rule(outAny(bridges), jump("arrive")),
		rule(guests, out(b.n.Uplink), source, isIn("blocked"), drop),
		rule(guests, out(b.n.Uplink), b.space(destination), drop),
		rule(guests, out(b.n.Uplink), accept),
		rule(drop),
	)
	b.base("output", nftables.ChainTypeFilter, nftables.ChainHookOutput, filterAt,
		rule(established, accept),
		rule(udpFrom(67), accept), // DHCP answers who has no address yet
		rule(source, host, outAny(bridges), jump("arrive")),
		rule(accept),
	)
	for i := range b.chains {
		b.chains[i].drops = b.chains[i].name == "input" || b.chains[i].name == "forward"
	}
}

// frontends lists the addresses of frontends, and the public ones that the host
// sends here: they take what a rule takes, and nothing else.
func (b *builder) frontends() (elements []nftables.SetElement) {
	known := map[netip.Addr]bool{}
	add := func(a netip.Addr) {
		if !known[a] {
			elements = append(elements, nftables.SetElement{Key: a.AsSlice()})
		}
		known[a] = true
	}
	for _, s := range b.p.Services {
		add(s.Address)
	}
	for _, f := range b.p.Forwards {
		add(f.Address)
	}
	for _, c := range b.p.Publics {
		add(c.Public)
	}
	for _, a := range b.p.Routed {
		add(a)
	}
	return elements
}
