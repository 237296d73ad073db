package network

import (
	"strings"

	wire "github.com/muster-vm/muster/internal/arm/wire/network"
	noun "github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
)

// checkReferences fails with Invalid, code InvalidResourceReference, unless what a
// document names is there and stays, which the commit then depends on.
func (a *API) checkReferences(e *edit, next noun.Resource, refs []wire.Reference) error {
	for _, ref := range refs {
		if ref.To.Key == next.Key() {
			continue // itself, checked when it was read
		}
		to, ok := store.Get(a.Store, store.Networks, ref.To.Key)
		if !ok || to.Value.Deleting || a.leaving(ref.To.Key) || to.Value.Location != next.Location || !has(*to.Value, ref.ID) {
			return resource.Errorf(resource.Invalid, "InvalidResourceReference", "Resource %s referenced by resource %s was not found. "+
				"Please make sure that the referenced resource exists, and that both resources are in the same region.", ref.ID, next.ID).At(ref.Path)
		}
		e.rely(to)
		if ref.To.Kind != noun.PublicAddressKind {
			continue
		}
		if err := a.checkPublic(next, ref, *to.Value); err != nil {
			return err
		}
	}
	return nil
}

// leaving reports whether the group of a resource is being deleted.
func (a *API) leaving(k noun.Key) bool {
	g, ok := store.Get(a.Store, store.Groups, store.GroupKeyOf(k.Subscription, k.Group))
	return !ok || g.Value.Deleting
}

// has reports whether the child that an id names is there, or true if it names
// none. Only subnets are named from elsewhere in this namespace.
func has(r noun.Resource, id resource.ID) bool {
	if len(id.Names) < 2 || r.VirtualNetwork == nil {
		return len(id.Names) < 2
	}
	_, ok := r.VirtualNetwork.Subnet(id.Name())
	return ok
}

// checkPublic says whether a load balancer or NAT gateway may have a public
// address: one of its own SKU that nothing else has.
func (a *API) checkPublic(next noun.Resource, ref wire.Reference, public noun.Resource) error {
	if next.SKU != public.SKU {
		code, what := "PublicIPAndLBSkuDoNotMatch", "load balancer"
		if next.Kind == noun.NATGatewayKind {
			code, what = "NatGatewayAndPublicIPSkuDoNotMatch", "NAT gateway"
		}
		return resource.Errorf(resource.Invalid, code, "%s sku %s %s cannot reference %s sku publicIP %s.", next.SKU, what, next.ID, public.SKU, public.ID).At(ref.Path)
	}
	for _, by := range a.users(part{Key: ref.To.Key}) {
		if !strings.EqualFold(by, next.ID.String()) && !strings.HasPrefix(strings.ToLower(by), next.ID.Key()+"/") {
			return resource.Errorf(resource.Invalid, "PublicIPAddressInUse", "Resource %s is referencing public IP address %s that is already allocated to resource %s.", next.ID, ref.ID, by).At(ref.Path)
		}
	}
	return nil
}

// checkLabel fails with Invalid, code DnsRecordInUse, if another public address of
// the location has the label.
func (a *API) checkLabel(next noun.Resource) error {
	label := next.PublicAddress.Label
	for _, e := range store.All(a.Store, store.Networks) {
		other := e.Value
		if label != "" && other.PublicAddress != nil && other.Key() != next.Key() && other.Location == next.Location && other.PublicAddress.Label == label {
			return resource.Errorf(resource.Invalid, "DnsRecordInUse", "DNS record %s.%s.cloudapp.azure.com is already used by another public IP.", label, next.Location).At("properties.dnsSettings.domainNameLabel")
		}
	}
	return nil
}
