package network

import (
	"slices"
	"strings"

	"github.com/muster-vm/muster/internal/resource"
)

// Part is a resource, or a child of one, that others refer to.
type Part struct {
	Key
	Child string // collection and name, in lower case, such as subnets/web; empty for the resource
}

// PartOf is the part that an id names; false if it is none of this package's
// kinds.
func PartOf(id string) (Part, bool) {
	parsed, err := resource.ParseID(id)
	if err != nil {
		return Part{}, false
	}
	key, ok := KeyOf(parsed)
	if !ok {
		return Part{}, false
	}
	p := Part{Key: key}
	if len(parsed.Names) > 1 {
		p.Child = strings.ToLower(parsed.Types[1] + "/" + parsed.Names[1])
	}
	return p, true
}

// Use is a part, and the id of what refers to it.
type Use struct {
	Of Part
	By string
}

// Uses lists what a resource refers to.
func Uses(r Resource) (all []Use) {
	id := r.ID.String()
	add := func(of Key, child, by string) {
		if of != (Key{}) {
			all = append(all, Use{Part{of, child}, by})
		}
	}
	switch {
	case r.VirtualNetwork != nil:
		for _, s := range r.VirtualNetwork.Subnets {
			add(s.SecurityGroup, "", id+"/subnets/"+s.Name)
			add(s.NATGateway, "", id+"/subnets/"+s.Name)
		}
	case r.SecurityGroup != nil:
		for _, rule := range r.SecurityGroup.Rules {
			for _, g := range slices.Concat(rule.Source.Groups, rule.Destination.Groups) {
				add(g, "", id+"/securityRules/"+rule.Name)
			}
		}
	case r.NATGateway != nil:
		for _, k := range r.NATGateway.Addresses {
			add(k, "", id)
		}
	case r.LoadBalancer != nil:
		for _, f := range r.LoadBalancer.Frontends {
			add(f.Public, "", id+"/frontendIPConfigurations/"+f.Name)
			add(f.Subnet.Key, "subnets/"+f.Subnet.Child, id+"/frontendIPConfigurations/"+f.Name)
		}
		for _, p := range r.LoadBalancer.Pools {
			add(p.Network, "", id+"/backendAddressPools/"+p.Name)
		}
	}
	return all
}
