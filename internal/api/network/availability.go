package network

import (
	"context"
	"net/netip"
	"strings"

	"github.com/muster-vm/muster/internal/arm"
	noun "github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
)

// suggestions is how many free addresses are named where one is not.
const suggestions = 5

// checkAddress says whether an address of a virtual network can be given out, and
// names others if not.
func (a *API) checkAddress(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	e, err := a.find(ctx, r, noun.VirtualNetworkKind)
	if err != nil {
		return nil, err
	}
	address, err := netip.ParseAddr(r.Query("ipAddress"))
	if err != nil {
		return nil, resource.Errorf(resource.Invalid, "InvalidIPAddressFormat", "The parameter ipAddress %.64q is not an address, such as 10.0.0.4.", r.Query("ipAddress")).At("ipAddress")
	}
	taken := func(x netip.Addr) bool {
		return a.Store.IsReserved(noun.ReservationKey{Space: noun.AddressSpace(e.Value.UID), Name: x.String()})
	}
	for _, s := range e.Value.VirtualNetwork.Subnets {
		if !s.Prefix.Contains(address) {
			continue
		}
		body := object{"available": true, "isPlatformReserved": !noun.Usable(s.Prefix, address)}
		if !noun.Usable(s.Prefix, address) || taken(address) {
			body["available"], body["availableIPAddresses"] = false, free(s, taken)
		}
		return &arm.Response{Body: body}, nil
	}
	return nil, resource.Errorf(resource.Invalid, "PrivateIPAddressNotInAnySubnet", "Private static IP address %s does not belong to any subnet of virtual network %s.", address, e.Value.ID).At("ipAddress")
}

// free lists the lowest addresses of a subnet that nobody has.
func free(s noun.Subnet, taken func(netip.Addr) bool) []string {
	all, from := []string{}, netip.Addr{}
	for len(all) < suggestions {
		next, err := noun.Allocate(s.Name, s.Prefix, from, taken)
		if err != nil {
			break // there are no more
		}
		all, from = append(all, next.String()), next.Next()
	}
	return all
}

// listSubnetUsages says how many addresses of each subnet are given out.
func (a *API) listSubnetUsages(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	e, err := a.find(ctx, r, noun.VirtualNetworkKind)
	if err != nil {
		return nil, err
	}
	given := map[string]int{}
	for _, res := range a.Store.Reserved(noun.AddressSpace(e.Value.UID)) {
		given[res.Value.Subnet]++
	}
	values := []object{}
	for _, s := range e.Value.VirtualNetwork.Subnets {
		values = append(values, object{"id": e.Value.ID.String() + "/subnets/" + s.Name, "unit": "Count", "currentValue": given[strings.ToLower(s.Name)], "limit": noun.Capacity(s.Prefix),
			"name": object{"value": "SubnetSpace", "localizedValue": "Subnet size and usage"}})
	}
	return &arm.Response{Body: object{"value": values}}, nil
}

// quota is how many resources of a kind there may be.
//
// Source: https://learn.microsoft.com/azure/azure-resource-manager/management/azure-subscription-service-limits#networking-limits
type quota struct {
	kind        noun.Kind
	name, label string
	limit       int
}

var quotas = []quota{
	{noun.VirtualNetworkKind, "VirtualNetworks", "Virtual Networks", 1000},
	{noun.SecurityGroupKind, "NetworkSecurityGroups", "Network Security Groups", 5000},
	{noun.ApplicationGroupKind, "ApplicationSecurityGroups", "Application Security Groups", 3000},
	{noun.PublicAddressKind, "PublicIPAddresses", "Public IP Addresses", 1000},
	{noun.LoadBalancerKind, "LoadBalancers", "Load Balancers", 1000},
	{noun.NATGatewayKind, "NatGateways", "NAT Gateways", 1000},
}

// count counts the resources of a kind.
func (a *API) count(kind noun.Kind, location string) (n int) {
	for _, e := range store.All(a.Store, store.Networks) {
		if e.Value.Kind == kind && e.Value.Location == location {
			n++
		}
	}
	return n
}

// checkQuota fails with Conflict if there are as many resources of the kind as there
// may be.
func (a *API) checkQuota(next noun.Resource) error {
	for _, q := range quotas {
		if q.kind == next.Kind && a.count(q.kind, next.Location) >= q.limit {
			return resource.Errorf(resource.Conflict, strings.TrimSuffix(q.name, "s")+"CountLimitReached", "Cannot create more than %d %s for this subscription in this region. Delete some.", q.limit, strings.ToLower(q.label))
		}
	}
	return nil
}

func (a *API) listUsages(_ context.Context, r *arm.Request) (*arm.Response, error) {
	if err := a.known(r.Var("subscription")); err != nil {
		return nil, err
	}
	location, ok := a.plainLocation(r.Var("location"))
	if !ok {
		return nil, resource.Errorf(resource.Invalid, "NoRegisteredProviderFound",
			"No registered resource provider found for location '%.64s' and API version '%s' for type 'locations/usages'. The supported api-versions are '%s'. The supported locations are '%s'.",
			r.Var("location"), r.APIVersion, strings.Join(Versions, ", "), strings.Join(a.Locations, ", "))
	}
	values := []object{}
	for _, q := range quotas {
		values = append(values, object{"id": "/subscriptions/" + a.Subscription + "/providers/" + Namespace + "/locations/" + location + "/usages/" + q.name, "unit": "Count",
			"currentValue": a.count(q.kind, location), "limit": q.limit, "name": object{"value": q.name, "localizedValue": q.label}})
	}
	return &arm.Response{Body: object{"value": values}}, nil
}
