package nic

import (
	"slices"

	"github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/resource"
)

// CheckBalancers says what is wrong with how a set of this capacity uses load
// balancers; those that are not there are left out. Codes are Azure's.
//
// Source: https://learn.microsoft.com/azure/load-balancer/load-balancer-troubleshoot#common-error-codes
func CheckBalancers(refs []Reference, balancers map[network.Key]network.LoadBalancer, capacity int) []*resource.Error {
	var all []*resource.Error
	for _, k := range []kind{pool, natPool} {
		all = append(all, oneOfEach(refs, k, balancers)...)
	}
	for _, r := range refs {
		b, ok := balancers[r.Ref.Key]
		switch {
		case !ok:
		case r.kind == natPool:
			all = append(all, enoughPorts(r, b, capacity)...)
		case r.kind == probe && !probed(r, b, refs):
			all = append(all, resource.Errorf(resource.Invalid, "CannotUseInactiveHealthProbe",
				"The scale set cannot use probe %s as a health probe: no load balancing rule that sends traffic to the scale set uses it. Add such a rule, or name the probe of one.", r.ID).At(r.Path))
		}
	}
	return all
}

// oneOfEach checks that there are no two public and no two internal load balancers.
func oneOfEach(refs []Reference, k kind, balancers map[network.Key]network.LoadBalancer) []*resource.Error {
	var all []*resource.Error
	first := map[string]Reference{}
	for _, r := range refs {
		b, ok := balancers[r.Ref.Key]
		if r.kind != k || !ok || len(b.Frontends) == 0 {
			continue
		}
		side := "internal"
		if slices.ContainsFunc(b.Frontends, func(f network.Frontend) bool { return f.Public != network.Key{} }) {
			side = "public"
		}
		if _, ok := first[side]; !ok {
			first[side] = r
		}
		if other := first[side]; other.Ref.Key != r.Ref.Key {
			all = append(all, resource.Errorf(resource.Invalid, "VMScaleSetCannotUseMultipleLoadBalancersOfSameType",
				"A scale set uses at most one public and one internal load balancer; %s and %s are both of %s ones.", other.ID, r.ID, side).At(r.Path))
		}
	}
	return all
}

// enoughPorts checks that each instance can have a port of a NAT pool.
func enoughPorts(r Reference, b network.LoadBalancer, capacity int) []*resource.Error {
	for _, p := range b.NATPools {
		if n := int(p.Ports.Last) - int(p.Ports.First) + 1; r.Ref.Is(p.Name) && n < capacity {
			return []*resource.Error{resource.Errorf(resource.Invalid, "InboundNatPoolFrontendPortRangeSmallerThanRequestedPorts",
				"The frontend port range %d-%d of inbound NAT pool %s has %d ports, but the scale set asks for %d instances, each with a port. Extend the range, or lower sku.capacity.",
				p.Ports.First, p.Ports.Last, r.ID, n, capacity).At(r.Path)}
		}
	}
	return nil
}

// probed reports whether a rule that sends traffic to a pool of the set uses the
// probe.
func probed(r Reference, b network.LoadBalancer, refs []Reference) bool {
	ours := func(name string) bool {
		return slices.ContainsFunc(refs, func(p Reference) bool { return p.kind == pool && p.Ref.Key == r.Ref.Key && p.Ref.Is(name) })
	}
	return slices.ContainsFunc(b.Rules, func(rule network.BalancingRule) bool {
		return r.Ref.Is(rule.Probe) && slices.ContainsFunc(rule.Pools, ours)
	})
}
