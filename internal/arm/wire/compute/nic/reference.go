package nic

import (
	"fmt"
	"slices"
	"strings"

	"github.com/muster-vm/muster/internal/arm/wire"
	"github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/vmss"
)

// kind is what an id must be of.
type kind struct {
	typ, word string
	hint      string // what to do with an id of something else, after a semicolon
	join      string // the action that lets one name it
}

var (
	subnet = kind{"Microsoft.Network/virtualNetworks/subnets", "a subnet", "; leave subnet out for the default network", "Microsoft.Network/virtualNetworks/subnets/join/action"}

	securityGroup = kind{"Microsoft.Network/networkSecurityGroups", "a network security group", "", "Microsoft.Network/networkSecurityGroups/join/action"}
	appGroup      = kind{"Microsoft.Network/applicationSecurityGroups", "an application security group", "", "Microsoft.Network/applicationSecurityGroups/joinIpConfiguration/action"}
	pool          = kind{"Microsoft.Network/loadBalancers/backendAddressPools", "a backend address pool", "", "Microsoft.Network/loadBalancers/backendAddressPools/join/action"}
	natPool       = kind{"Microsoft.Network/loadBalancers/inboundNatPools", "an inbound NAT pool", "", "Microsoft.Network/loadBalancers/inboundNatPools/join/action"}
	probe         = kind{"Microsoft.Network/loadBalancers/probes", "a health probe", "", "Microsoft.Network/loadBalancers/probes/join/action"}
)

// Reference is something of Microsoft.Network that a scale set names.
type Reference struct {
	ID     resource.ID
	Ref    network.Ref
	Path   string // where it is named, as a JSON path
	Action string // the permission that it takes to name it
	kind   kind
}

// References lists what a model names, each thing once. It fails only if what is
// stored is no JSON.
func References(model vmss.Model) ([]Reference, error) {
	var all []Reference
	add := func(k kind, path string, ids ...string) {
		for i, id := range ids {
			parsed, err := resource.ParseID(id)
			if err != nil {
				continue // none
			}
			at := path
			if strings.Contains(path, "%d") {
				at = fmt.Sprintf(path, i)
			}
			ref, _ := network.RefOf(parsed)
			next := Reference{ID: parsed, Ref: ref, Path: at, Action: k.join, kind: k}
			if !slices.ContainsFunc(all, next.same) {
				all = append(all, next)
			}
		}
	}
	for i, n := range model.NICs {
		at := fmt.Sprintf("%s[%d].properties", Path, i)
		add(securityGroup, at+".networkSecurityGroup.id", n.SecurityGroup)
		for j, c := range n.IPConfigs {
			at := fmt.Sprintf("%s.ipConfigurations[%d].properties", at, j)
			add(subnet, at+".subnet.id", c.Subnet)
			add(appGroup, at+".applicationSecurityGroups[%d].id", c.AppGroups...)
			add(pool, at+".loadBalancerBackendAddressPools[%d].id", c.Pools...)
			add(natPool, at+".loadBalancerInboundNatPools[%d].id", c.NATPools...)
		}
	}
	profile, err := profileOf(model)
	add(probe, probePath, wire.TextAt(profile, "healthProbe", "id"))
	return all, err
}

// profileOf returns a model's networkProfile as it was given.
func profileOf(model vmss.Model) (wire.Document, error) {
	if len(model.Document) == 0 {
		return nil, nil
	}
	v, err := wire.ParseJSON(model.Document)
	vm, _ := v.(map[string]any)
	return wire.ObjectAt(vm, "networkProfile"), err
}

// same reports whether both name the same thing.
func (r Reference) same(other Reference) bool { return r.Ref == other.Ref && r.kind == other.kind }

// New returns those of the references that are not among those that were there.
func New(now, were []Reference) []Reference {
	return slices.DeleteFunc(slices.Clone(now), func(r Reference) bool { return slices.ContainsFunc(were, r.same) })
}

// In reports whether the resource, whose key is the reference's, has what is named.
func (r Reference) In(res network.Resource) bool {
	named := func(name string) bool { return r.Ref.Is(name) }
	switch {
	case r.kind == subnet && res.VirtualNetwork != nil:
		_, ok := res.VirtualNetwork.Subnet(r.Ref.Child)
		return ok
	case r.kind == pool && res.LoadBalancer != nil:
		return slices.ContainsFunc(res.LoadBalancer.Pools, func(p network.Pool) bool { return named(p.Name) })
	case r.kind == natPool && res.LoadBalancer != nil:
		return slices.ContainsFunc(res.LoadBalancer.NATPools, func(p network.NATPool) bool { return named(p.Name) })
	case r.kind == probe && res.LoadBalancer != nil:
		return slices.ContainsFunc(res.LoadBalancer.Probes, func(p network.Probe) bool { return named(p.Name) })
	}
	return r.Ref.Child == ""
}

// Balancer reports whether the reference is to a part of a load balancer.
func (r Reference) Balancer() bool { return r.Ref.Kind == network.LoadBalancerKind }
