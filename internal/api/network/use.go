package network

import (
	"slices"
	"strconv"
	"strings"

	noun "github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/vmss"
)

// part and use are short for what the noun's are called.
type (
	part = noun.Part
	use  = noun.Use
)

// usesOfModel lists what a model of a scale set refers to. owner is the id that the
// cards are below: the set's, or an instance's.
func usesOfModel(owner string, m vmss.Model) (all []use) {
	add := func(id, by string) {
		if of, ok := noun.PartOf(id); ok {
			all = append(all, use{Of: of, By: by})
		}
	}
	for _, n := range m.NICs {
		nic := owner + "/networkInterfaces/" + n.Name
		add(n.SecurityGroup, nic)
		for _, c := range n.IPConfigs {
			config := nic + "/ipConfigurations/" + c.Name
			for _, id := range slices.Concat([]string{c.Subnet}, c.AppGroups, c.Pools, c.NATPools) {
				add(id, config)
			}
		}
	}
	return all
}

// models returns the models of a set that anything goes by: the newest, and those
// that instances have.
func (a *API) models(set vmss.ScaleSet) map[vmss.RevisionNumber]vmss.Model {
	out := map[vmss.RevisionNumber]vmss.Model{}
	add := func(n vmss.RevisionNumber) {
		if _, done := out[n]; done {
			return
		}
		if e, ok := store.Get(a.Store, store.Revisions, vmss.RevisionKey{Set: set.UID, Number: n}); ok {
			out[n] = e.Value.Model
		}
	}
	add(set.Revision)
	for _, rec := range a.Store.Instances(set.UID, -1, 0) {
		add(rec.Row.Value.Revision)
	}
	return out
}

// users lists the ids of what refers to a part, sorted: resources, scale sets by
// any of their models, and who has an address in a subnet. For a virtual network
// that is also what refers to its subnets, but not what it holds itself.
func (a *API) users(of part) (all []string) {
	within := func(p part) bool {
		return p == of || of.Child == "" && p.Key == of.Key
	}
	for _, e := range store.All(a.Store, store.Networks) {
		for _, u := range noun.Uses(*e.Value) {
			if within(u.Of) && e.Value.Key() != of.Key {
				all = append(all, u.By)
			}
		}
	}
	if of.Kind == noun.PublicAddressKind || of.Kind == noun.NATGatewayKind {
		slices.Sort(all) // no model names one
		return slices.Compact(all)
	}
	for _, e := range store.All(a.Store, store.ScaleSets) {
		for _, m := range a.models(*e.Value) {
			for _, u := range usesOfModel(e.Value.ID.String(), m) {
				if within(u.Of) {
					all = append(all, u.By)
				}
			}
		}
	}
	if net, ok := store.Get(a.Store, store.Networks, of.Key); ok && of.Kind == noun.VirtualNetworkKind {
		for subnet, ids := range a.holders(*net.Value) {
			if within(part{Key: of.Key, Child: "subnets/" + subnet}) {
				all = append(all, ids...)
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// holders lists the ids of the cards that have an address in a virtual network, by
// the lower-case name of the subnet.
func (a *API) holders(net noun.Resource) map[string][]string {
	out := map[string][]string{}
	for _, e := range a.Store.Reserved(noun.AddressSpace(net.UID)) {
		if r := e.Value; r.Set != "" {
			if set, ok := a.Store.SetByUID(vmss.UID(r.Set)); ok {
				out[r.Subnet] = append(out[r.Subnet], cardID(*set.Value, *r).String())
			}
		}
	}
	return out
}

// instanceID is the id of an instance.
func instanceID(set vmss.ScaleSet, id vmss.InstanceID) string {
	return set.ID.String() + "/virtualMachines/" + strconv.FormatInt(int64(id), 10)
}

// checkUnused fails with Invalid if something refers to a resource that is to be
// deleted. Codes and words are Azure's.
func (a *API) checkUnused(r noun.Resource) error {
	by := a.users(part{Key: r.Key()})
	if len(by) == 0 {
		return nil
	}
	all := strings.Join(by[:min(len(by), maxShown)], ", ")
	switch r.Kind {
	case noun.VirtualNetworkKind:
		for _, s := range r.VirtualNetwork.Subnets {
			if err := a.checkChild(r, "subnets", s.Name); err != nil {
				return err
			}
		}
		return resource.Errorf(resource.Invalid, "InUseVirtualNetworkCannotBeDeleted", "Virtual network %s is in use by %s and cannot be deleted.", r.ID, all)
	case noun.SecurityGroupKind:
		return resource.Errorf(resource.Invalid, "InUseNetworkSecurityGroupCannotBeDeleted", "Network security group %s cannot be deleted because it is in use by the following resources: %s. "+
			"In order to delete the Network security group, remove the association with the resource(s).", r.ID, all)
	case noun.PublicAddressKind:
		return resource.Errorf(resource.Invalid, "PublicIPAddressCannotBeDeleted", "Public IP address %s can not be deleted since it is still allocated to resource %s. "+
			"In order to delete the public IP, disassociate/detach the Public IP address from the resource.", r.ID, all)
	case noun.NATGatewayKind:
		return resource.Errorf(resource.Invalid, "CannotDeleteNatGatewayAssociatedToSubnet", "NAT Gateway %s is still configured on %d subnets. Remove NAT Gateway from all referenced subnets and then delete NAT Gateway: %s.", r.ID, len(by), all)
	case noun.ApplicationGroupKind:
		return resource.Errorf(resource.Invalid, "InUseApplicationSecurityGroupCannotBeDeleted", "Application Security Group %s cannot be deleted because it is referenced by %s.", r.ID, all)
	}
	return resource.Errorf(resource.Invalid, codeBalancerInUse, "Cannot delete load balancer %s since its child resources are in use by virtual machine scale set cards %s. Take it out of the model of the scale set, and upgrade the instances.", r.ID, all)
}

// maxShown bounds how many users of a resource a message lists.
const maxShown = 5

// codeBalancerInUse is the code of a load balancer, or a child of one, that a scale
// set names.
const codeBalancerInUse = "LoadBalancerInUseByVirtualMachineScaleSet"

// checkChild fails with Invalid if something refers to a child that is to be
// deleted.
func (a *API) checkChild(r noun.Resource, collection, name string) error {
	by := a.users(part{Key: r.Key(), Child: strings.ToLower(collection + "/" + name)})
	if len(by) == 0 {
		return nil
	}
	all := strings.Join(by[:min(len(by), maxShown)], ", ")
	if r.VirtualNetwork != nil {
		return resource.Errorf(resource.Invalid, "InUseSubnetCannotBeDeleted", "Subnet %s is in use by %s and cannot be deleted. In order to delete the subnet, delete all the resources within the subnet.", name, all)
	}
	return resource.Errorf(resource.Invalid, codeBalancerInUse, "%s/%s/%s is in use by virtual machine scale set cards %s and cannot be deleted. Take it out of the model of the scale set, and upgrade the instances.", r.ID, collection, name, all)
}

// checkRemoved fails if a change takes away what others use: a child, or the
// addresses of a subnet.
func (a *API) checkRemoved(was *noun.Resource, next noun.Resource) error {
	if was == nil {
		return nil
	}
	kept := map[string]bool{}
	for _, c := range childNames(next) {
		kept[strings.ToLower(c.collection+"/"+c.name)] = true
	}
	for _, c := range childNames(*was) {
		if kept[strings.ToLower(c.collection+"/"+c.name)] {
			continue
		}
		if err := a.checkChild(*was, c.collection, c.name); err != nil {
			return err
		}
	}
	if was.VirtualNetwork != nil {
		return a.checkPrefixes(*was, next)
	}
	return nil
}

// childName names a child that others may refer to.
type childName struct{ collection, name string }

func childNames(r noun.Resource) (all []childName) {
	switch {
	case r.VirtualNetwork != nil:
		for _, s := range r.VirtualNetwork.Subnets {
			all = append(all, childName{"subnets", s.Name})
		}
	case r.LoadBalancer != nil:
		for _, p := range r.LoadBalancer.Pools {
			all = append(all, childName{"backendAddressPools", p.Name})
		}
		for _, p := range r.LoadBalancer.NATPools {
			all = append(all, childName{"inboundNatPools", p.Name})
		}
	}
	return all
}

// checkPrefixes fails with Invalid if a subnet gets another prefix while somebody
// has an address in it.
func (a *API) checkPrefixes(was, next noun.Resource) error {
	given := map[string]int{}
	for _, e := range a.Store.Reserved(noun.AddressSpace(was.UID)) {
		given[e.Value.Subnet]++
	}
	for _, s := range was.VirtualNetwork.Subnets {
		n := given[strings.ToLower(s.Name)]
		to, ok := next.VirtualNetwork.Subnet(s.Name)
		if ok && to.Prefix != s.Prefix && n > 0 {
			return resource.Errorf(resource.Invalid, "InUsePrefixCannotBeDeleted", "IpPrefix %s on Subnet %s has %d active allocations and cannot be deleted. Delete what has an address in the subnet first.", s.Prefix, s.Name, n)
		}
	}
	return nil
}
