// Package network serves Microsoft.Network: virtual networks with their subnets,
// security groups, public addresses, load balancers and NAT gateways. A handler
// decodes, parses, commits one transaction and renders; the reconciler of networks
// carries it out and ends the operation. It keeps nothing.
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

// Namespace is the provider's.
const Namespace = "Microsoft.Network"

// Versions are the api-versions of Microsoft.Network, newest first.
var Versions = []string{"2025-05-01", "2025-03-01", "2025-01-01", "2024-10-01", "2024-07-01", "2024-05-01", "2024-03-01", "2024-01-01", "2023-11-01",
	"2023-09-01", "2023-06-01", "2023-05-01", "2023-04-01", "2023-02-01", "2022-11-01", "2022-09-01", "2022-07-01", "2022-05-01", "2022-01-01", "2021-12-01",
	"2021-08-01", "2021-06-01", "2021-05-01", "2021-04-01", "2021-03-01", "2021-02-01", "2021-01-01", "2020-11-01", "2020-08-01", "2020-07-01", "2020-06-01",
	"2020-05-01", "2020-04-01", "2020-03-01", "2020-01-01", "2019-12-01", "2019-11-01", "2019-09-01", "2019-08-01", "2019-07-01", "2019-06-01", "2019-04-01",
	"2019-02-01", "2018-12-01", "2018-11-01", "2018-10-01", "2018-08-01", "2018-07-01", "2018-06-01", "2018-05-01", "2018-04-01", "2018-03-01", "2018-02-01",
	"2018-01-01", "2017-11-01", "2017-10-01", "2017-09-01", "2017-08-01", "2017-06-01", "2017-04-01", "2017-03-01", "2016-12-01", "2016-11-01", "2016-10-01",
	"2016-09-01", "2016-08-01", "2016-07-01", "2016-06-01", "2016-03-30", "2015-06-15", "2015-05-01-preview", "2014-12-01-preview"}

// API answers for the namespace. All exported members are needed.
type API struct {
	Store        *store.Store
	Group        func(ctx context.Context, subscription, name string) (resource.Group, error) // one that things can be created in
	Subscription string
	Locations    []string     // the first is the default
	Zones        []string     // of every location
	Public       netip.Prefix // that public addresses are given out of

	turn turn
}

const (
	subscriptionPath = "/subscriptions/{subscription}"
	groupPath        = subscriptionPath + "/resourceGroups/{group}"
	locationPath     = subscriptionPath + "/providers/" + Namespace + "/locations/{location}"
)

// collection is a kind of child that has a path of its own.
type collection struct {
	kind     noun.Kind
	name     string
	writable bool
}

// collections are the children of all kinds.
var collections = []collection{
	{noun.VirtualNetworkKind, "subnets", true},
	{noun.SecurityGroupKind, "securityRules", true},
	{noun.SecurityGroupKind, "defaultSecurityRules", false},
	{noun.LoadBalancerKind, "backendAddressPools", true},
	{noun.LoadBalancerKind, "inboundNatRules", true},
	{noun.LoadBalancerKind, "frontendIPConfigurations", false},
	{noun.LoadBalancerKind, "loadBalancingRules", false},
	{noun.LoadBalancerKind, "outboundRules", false},
	{noun.LoadBalancerKind, "probes", false},
}

// Routes lists the operations.
func (a *API) Routes() []arm.Route {
	routes := a.locationRoutes()
	for _, kind := range noun.Kinds() {
		all := "/providers/" + kind.Type()
		one, may := groupPath+all+"/{name}", kind.Type()+"/"
		routes = append(routes,
			route("GET", subscriptionPath+all, may+"read", a.list(kind)),
			route("GET", groupPath+all, may+"read", a.list(kind)),
			route("GET", one, may+"read", a.get(kind)),
			route("PUT", one, may+"write", a.put(kind)),
			route("PATCH", one, may+"write", a.patch(kind)),
			route("DELETE", one, may+"delete", a.delete(kind)),
		)
	}
	for _, c := range collections {
		all, may := groupPath+"/providers/"+c.kind.Type()+"/{name}/"+c.name, c.kind.Type()+"/"+c.name+"/"
		one := all + "/{child}"
		routes = append(routes, route("GET", all, may+"read", a.listChildren(c)), route("GET", one, may+"read", a.getChild(c)))
		if c.writable {
			routes = append(routes, route("PUT", one, may+"write", a.putChild(c)), route("DELETE", one, may+"delete", a.deleteChild(c)))
		}
	}
	const pool = groupPath + "/providers/" + Namespace + "/loadBalancers/{name}/backendAddressPools/{child}"
	const net = groupPath + "/providers/" + Namespace + "/virtualNetworks/{name}"
	return append(routes,
		route("POST", pool+"/queryInboundNatRulePortMapping", Namespace+"/loadBalancers/backendAddressPools/queryInboundNatRulePortMapping/action", a.queryPorts),
		route("GET", net+"/CheckIPAddressAvailability", Namespace+"/virtualNetworks/checkIpAddressAvailability/read", a.checkAddress),
		route("GET", net+"/usages", Namespace+"/virtualNetworks/usages/read", a.listSubnetUsages))
}

func route(method, path, action string, h arm.Handler) arm.Route {
	return arm.Route{Method: method, Path: path, Action: action, Handler: h, Versions: Versions}
}

// entry is a resource as it is stored.
type entry = store.Entry[noun.Resource]

// known fails with NotFound for a subscription that is not this server's.
func (a *API) known(subscription string) error {
	if strings.EqualFold(subscription, a.Subscription) {
		return nil
	}
	return resource.Errorf(resource.NotFound, "SubscriptionNotFound", "The subscription '%s' could not be found.", subscription)
}

// find returns the resource that the path names. It fails with NotFound, code
// ResourceNotFound, or that of the missing group.
func (a *API) find(ctx context.Context, r *arm.Request, kind noun.Kind) (entry, error) {
	sub, group, name := r.Var("subscription"), r.Var("group"), r.Var("name")
	if e, ok := store.Get(a.Store, store.Networks, noun.NewKey(kind, sub, group, name)); ok {
		return e, nil
	}
	if _, err := a.Group(ctx, sub, group); err != nil && !resource.Is(err, resource.Conflict) {
		return entry{}, err
	}
	return entry{}, resource.Errorf(resource.NotFound, codeMissing, "The Resource '%s/%s' under resource group '%s' was not found.", kind.Type(), name, group)
}

// codeMissing is the code of a resource that there is not.
const codeMissing = "ResourceNotFound"

func missing(err error) bool {
	e, ok := err.(*resource.Error) //nolint:errorlint // what handlers make is not wrapped
	return ok && e.Code == codeMissing
}

// location checks one that a document names, as Azure words it.
func (a *API) location(name string, kind noun.Kind) error {
	if name == "" {
		return resource.Errorf(resource.Invalid, "LocationRequired", "The location property is required for this definition.").At("location")
	}
	if _, ok := a.plainLocation(name); !ok {
		return resource.Errorf(resource.Invalid, "LocationNotAvailableForResourceType",
			"The provided location '%.64s' is not available for resource type '%s'. List of available regions for the resource type is '%s'.",
			name, kind.Type(), strings.Join(a.Locations, ",")).At("location")
	}
	return nil
}

// plainLocation finds one of the locations, in any letter case and with spaces.
func (a *API) plainLocation(name string) (string, bool) {
	plain := func(s string) string { return strings.ToLower(strings.ReplaceAll(s, " ", "")) }
	for _, l := range a.Locations {
		if plain(l) == plain(name) {
			return plain(l), true
		}
	}
	return "", false
}

type object = map[string]any
