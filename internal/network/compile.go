package network

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// Compile computes what every packet of the virtual network may do. Equal worlds
// give equal programs.
func Compile(w World) Program {
	v := w.Network.VirtualNetwork
	c := compiler{World: w, chains: map[string]Chain{}, cards: map[netip.Addr]int{}}
	p := Program{Network: w.Network.UID, Name: w.Network.ID.Name(), Prefixes: v.Prefixes, DNS: v.DNS}
	for _, s := range v.Subnets {
		p.Subnets = append(p.Subnets, SubnetProgram{Name: strings.ToLower(s.Name), Prefix: s.Prefix, Private: s.Private})
	}
	for _, port := range w.Ports {
		if s, ok := v.Subnet(port.Subnet); ok {
			c.cards[port.Address] = len(p.Cards)
			p.Cards = append(p.Cards, c.card(port, s))
		}
	}
	p.Chains = slices.SortedFunc(maps.Values(c.chains), func(a, b Chain) int { return cmp.Compare(a.Name, b.Name) })
	for _, b := range w.Balancers {
		for _, r := range b.LoadBalancer.Rules {
			if s, ok := c.service(b, r, p.Cards); ok {
				p.Services = append(p.Services, s)
			}
		}
	}
	p.Forwards = c.forwards(p.Cards)
	for _, card := range p.Cards {
		if card.Public.IsValid() {
			p.Publics = append(p.Publics, PublicCard{card.Public, card.Address, card.PublicSKU})
		}
		p.Egress = append(p.Egress, c.egress(card))
	}
	p.Targets = c.targets
	p.Routed = routed(p)
	return p
}

// compiler is a world and what has been found out about it.
type compiler struct {
	World
	chains  map[string]Chain
	cards   map[netip.Addr]int // index of a card
	targets []Target
	known   map[Target]bool
}

// card lists the chains that flows to and from a card pass: the subnet's security
// group first on the way in, last on the way out.
//
// Source: https://learn.microsoft.com/azure/virtual-network/network-security-group-how-it-works
func (c *compiler) card(p Port, s Subnet) Card {
	card := Card{Port: p}
	for _, group := range []Key{s.SecurityGroup, p.Group} {
		if group == (Key{}) {
			continue
		}
		card.In = append(card.In, c.chain(group, Inbound))
		card.Out = append(card.Out, c.chain(group, Outbound))
	}
	slices.Reverse(card.Out)
	return card
}

// chain resolves a security group's rules for one direction, once.
func (c *compiler) chain(group Key, d Direction) string {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s/%s/%s", group.Subscription, group.Group, group.Name)
	name := fmt.Sprintf("%s-%016x", map[Direction]string{Inbound: "in", Outbound: "out"}[d], h.Sum64())
	if _, ok := c.chains[name]; ok {
		return name
	}
	chain := Chain{Name: name, Group: group, Direction: d}
	for _, r := range c.Groups[group].inOrder(d) {
		chain.Rules = append(chain.Rules, c.resolve(r)...)
	}
	c.chains[name] = chain
	return name
}

// resolve replaces names by what they stand for. A rule whose side is a mixture of
// ranges becomes several.
func (c *compiler) resolve(r Rule) (all []Resolved) {
	for _, source := range c.ranges(r.Source) {
		for _, dest := range c.ranges(r.Destination) {
			all = append(all, Resolved{Name: r.Name, Priority: r.Priority, Access: r.Access, Protocol: r.Protocol,
				Source: source, SrcPorts: unlessAll(r.SourcePorts), Dest: dest, DstPorts: unlessAll(r.Ports)})
		}
	}
	return all
}

func unlessAll(ports []Ports) []Ports {
	if slices.Contains(ports, AllPorts) {
		return nil
	}
	return ports
}

// ranges returns the addresses of a peer. The list is never empty.
func (c *compiler) ranges(p Peer) []Range {
	if p.Any {
		return []Range{{Not: true}}
	}
	inside := append(slices.Clone(c.Network.VirtualNetwork.Prefixes), netip.PrefixFrom(HostAddress, 32))
	prefixes := slices.Clone(p.Prefixes)
	var all []Range
	for _, t := range p.Tags {
		switch t {
		case TagVirtualNetwork:
			prefixes = append(prefixes, inside...)
		case TagLoadBalancer:
			prefixes = append(prefixes, netip.PrefixFrom(HostAddress, 32))
		case TagInternet:
			all = append(all, Range{Prefixes: disjoint(inside), Not: true})
		}
	}
	for _, port := range c.Ports {
		if slices.ContainsFunc(port.Apps, func(app Key) bool { return slices.Contains(p.Groups, app) }) {
			prefixes = append(prefixes, netip.PrefixFrom(port.Address, 32))
		}
	}
	if len(prefixes) > 0 || len(all) == 0 {
		all = append([]Range{{Prefixes: disjoint(prefixes)}}, all...)
	}
	return all
}

// disjoint sorts prefixes and leaves out those inside of others.
func disjoint(prefixes []netip.Prefix) []netip.Prefix {
	all := slices.Clone(prefixes)
	slices.SortFunc(all, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	kept := all[:0]
	for _, p := range all {
		if len(kept) == 0 || !kept[len(kept)-1].Overlaps(p) {
			kept = append(kept, p)
		}
	}
	return kept
}

// Holds reports whether the address is in the range.
func (r Range) Holds(a netip.Addr) bool {
	return r.Not != slices.ContainsFunc(r.Prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
}

// routed lists the public addresses of a program.
func routed(p Program) []netip.Addr {
	all := map[netip.Addr]bool{}
	for _, s := range p.Services {
		all[s.Address] = all[s.Address] || s.Public
	}
	for _, f := range p.Forwards {
		all[f.Address] = all[f.Address] || f.Public
	}
	for _, c := range p.Publics {
		all[c.Public] = true
	}
	for _, e := range p.Egress {
		all[e.To] = all[e.To] || e.To.IsValid()
	}
	var out []netip.Addr
	for a, public := range all {
		if public {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return out
}
