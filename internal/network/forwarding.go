package network

import (
	"net/netip"
	"slices"
	"strings"
	"time"
)

// front is a frontend with its address in this network.
type front struct {
	name    string
	address netip.Addr
	public  bool
}

// front returns a balancer's frontend, if it has an address in this network.
func (c *compiler) front(b Resource, name string) (front, bool) {
	for _, f := range b.LoadBalancer.Frontends {
		if !strings.EqualFold(f.Name, name) {
			continue
		}
		if f.Public == (Key{}) {
			return front{f.Name, f.Address, false}, f.Address.IsValid() && f.Subnet.Key == c.Network.Key()
		}
		a := c.publicAddress(f.Public)
		return front{f.Name, a, true}, a.IsValid()
	}
	return front{}, false
}

func (c *compiler) publicAddress(k Key) netip.Addr {
	if r, ok := c.Public[k]; ok {
		return r.PublicAddress.Address
	}
	return netip.Addr{}
}

// inPool reports whether a card is a member of a balancer's pool.
func inPool(b Resource, pool string, card Card) bool {
	if slices.ContainsFunc(card.Pools, func(r Ref) bool { return r.Key == b.Key() && r.Is(pool) }) {
		return true
	}
	return slices.ContainsFunc(b.LoadBalancer.Pools, func(p Pool) bool {
		return strings.EqualFold(p.Name, pool) && slices.Contains(p.Addresses, card.Address)
	})
}

// service computes where the flows of a balancing rule go. ok is false for a rule
// that has nothing to do with this network: a frontend elsewhere, or a public one
// without members here.
func (c *compiler) service(b Resource, r BalancingRule, cards []Card) (s Service, ok bool) {
	f, ok := c.front(b, r.Frontend)
	if !ok {
		return s, false
	}
	s = Service{Balancer: b.UID, Rule: r.Name, Frontend: f.name, Address: f.address, Public: f.public, SKU: b.SKU, Protocol: r.Protocol, Port: r.FrontendPort,
		Distribution: r.Distribution, Idle: time.Duration(r.Idle) * time.Minute, Reset: r.Reset}
	if i := slices.IndexFunc(b.LoadBalancer.Probes, func(p Probe) bool { return strings.EqualFold(p.Name, r.Probe) }); i >= 0 {
		s.Probe = b.LoadBalancer.Probes[i]
	}
	here := !f.public
	for _, pool := range r.Pools {
		for _, p := range b.LoadBalancer.Pools {
			if strings.EqualFold(p.Name, pool) {
				s.Drain = max(s.Drain, p.Drain)
				here = here || p.Network == c.Network.Key()
			}
		}
		for _, card := range cards {
			if !inPool(b, pool, card) || slices.Contains(s.Leaving, card.Address) {
				continue
			}
			here = true
			if card.Leaving {
				s.Leaving = append(s.Leaving, card.Address)
				continue
			}
			s.Pool = append(s.Pool, card.Address)
			if c.well(s.Probe, card.Address) {
				s.Members = append(s.Members, netip.AddrPortFrom(card.Address, r.BackendPort))
			}
		}
	}
	slices.SortFunc(s.Members, netip.AddrPort.Compare)
	s.Members = slices.Compact(s.Members)
	slices.SortFunc(s.Leaving, netip.Addr.Compare)
	slices.SortFunc(s.Pool, netip.Addr.Compare)
	s.Pool = slices.Compact(s.Pool)
	s.Buckets = buckets(s.Members)
	return s, here
}

// well reports whether a member passes the probe of its rule, and notes that it
// is to be asked. A rule without a probe takes all.
func (c *compiler) well(p Probe, member netip.Addr) bool {
	if p == (Probe{}) {
		return true
	}
	t := TargetOf(c.Network.UID, member, p)
	if !c.known[t] {
		if c.known == nil {
			c.known = map[Target]bool{}
		}
		c.known[t] = true
		c.targets = append(c.targets, t)
	}
	if c.Healthy == nil {
		return false
	}
	well, known := c.Healthy(t)
	return well && known
}

// forwards lists the frontend ports that belong to single cards.
func (c *compiler) forwards(cards []Card) (all []Forward) {
	for _, card := range cards {
		if card.Leaving {
			continue
		}
		for _, n := range card.NAT {
			i := slices.IndexFunc(c.Balancers, func(b Resource) bool { return b.Key() == n.Pool.Key })
			if i < 0 {
				continue
			}
			if f, ok := c.forward(c.Balancers[i], n, card.Address); ok {
				all = append(all, f)
			}
		}
	}
	return all
}

func (c *compiler) forward(b Resource, n NATPort, to netip.Addr) (Forward, bool) {
	out := Forward{Balancer: b.UID, Port: n.Port, SKU: b.SKU}
	var frontend string
	for _, p := range b.LoadBalancer.NATPools {
		if n.Pool.Is(p.Name) {
			frontend, out.Rule, out.Protocol, out.Reset = p.Frontend, p.Name, p.Protocol, p.Reset
			out.To, out.Idle = netip.AddrPortFrom(to, p.BackendPort), time.Duration(p.Idle)*time.Minute
		}
	}
	for _, r := range b.LoadBalancer.NATRules {
		if n.Pool.Is(r.Name) {
			frontend, out.Rule, out.Protocol, out.Reset = r.Frontend, r.Name, r.Protocol, r.Reset
			out.To, out.Idle = netip.AddrPortFrom(to, r.BackendPort), time.Duration(r.Idle)*time.Minute
		}
	}
	f, ok := c.front(b, frontend)
	out.Address, out.Public = f.address, f.public
	return out, ok
}

// egress says how a card gets out.
//
// Source: https://learn.microsoft.com/azure/virtual-network/ip-services/default-outbound-access
// and https://learn.microsoft.com/azure/nat-gateway/nat-overview for the order.
func (c *compiler) egress(card Card) Egress {
	e := Egress{From: card.Address}
	subnet, _ := c.Network.VirtualNetwork.Subnet(card.Subnet)
	if ways := c.gateway(subnet.NATGateway); len(ways) > 0 {
		raw := card.Address.As4()
		e.To, e.Why = ways[int(raw[3])%len(ways)], "NAT gateway "+subnet.NATGateway.Name
		return e
	}
	if card.Public.IsValid() {
		e.To, e.Why = card.Public, "its public address"
		return e
	}
	closed := false // a Standard balancer's members have no default way out
	for _, b := range c.Balancers {
		to, why := c.balancedEgress(b, card)
		if to.IsValid() {
			e.To, e.Why = to, why
			return e
		}
		closed = closed || why != "" && b.SKU == Standard
	}
	switch {
	case subnet.Private:
		e.Blocked, e.Why = true, "subnet "+subnet.Name+" is private (defaultOutboundAccess is false) and the card has no public address, outbound rule or NAT gateway"
	case closed:
		e.Blocked, e.Why = true, "it is behind a Standard load balancer without an outbound rule, public address or NAT gateway"
	default:
		e.Why = "default outbound access, by the host's address"
	}
	return e
}

func (c *compiler) gateway(k Key) (ways []netip.Addr) {
	for _, a := range c.Gateways[k].Addresses {
		if addr := c.publicAddress(a); addr.IsValid() {
			ways = append(ways, addr)
		}
	}
	return ways
}

// balancedEgress returns the address by which a balancer lets a card out, and why;
// why is empty if the card is in no pool of the balancer's.
func (c *compiler) balancedEgress(b Resource, card Card) (to netip.Addr, why string) {
	for _, r := range b.LoadBalancer.Outbound {
		if !inPool(b, r.Pool, card) {
			continue
		}
		for _, name := range r.Frontends {
			if f, ok := c.front(b, name); ok && f.public {
				return f.address, "outbound rule " + r.Name + " of " + b.ID.Name()
			}
		}
	}
	for _, r := range b.LoadBalancer.Rules {
		if !slices.ContainsFunc(r.Pools, func(pool string) bool { return inPool(b, pool, card) }) {
			continue
		}
		why = b.ID.Name()
		if f, ok := c.front(b, r.Frontend); ok && f.public && !r.NoOutbound {
			return f.address, "rule " + r.Name + " of " + b.ID.Name()
		}
	}
	return netip.Addr{}, why
}
