package resources

import (
	"context"
	"slices"
	"strings"

	"github.com/muster-vm/muster/internal/arm"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/vmss"
)

// Versions are the api-versions of Microsoft.Resources, newest first.
var Versions = []string{"2025-04-01", "2025-03-01", "2024-11-01", "2024-07-01", "2024-03-01", "2023-07-01", "2022-12-01", "2022-09-01", "2022-01-01", "2021-04-01",
	"2021-01-01", "2020-10-01", "2020-06-01", "2020-01-01", "2019-11-01", "2019-10-01", "2019-07-01", "2019-06-01", "2019-05-01", "2018-05-01",
	"2018-02-01", "2017-05-10", "2016-06-01", "2016-02-01", "2015-11-01"}

// Store keeps groups and their operations. Groups compare without regard to
// case; a missing one is NotFound.
type Store interface {
	// Groups lists a subscription's groups in order of their lower-case names.
	Groups(ctx context.Context, subscription string) ([]resource.Group, error)
	Group(ctx context.Context, subscription, name string) (resource.Group, error)
	// PutGroup writes the group if its stored revision is still g.Revision (0:
	// it does not exist), and else fails with Conflict.
	PutGroup(ctx context.Context, g resource.Group) error
	// DeleteGroup writes the group, guarded likewise, together with the
	// operation that will empty and remove it.
	DeleteGroup(ctx context.Context, g resource.Group, op vmss.Operation) error
	// Operation finds a group operation by its GUID; nil outcome: in progress.
	Operation(ctx context.Context, id string) (vmss.Operation, *vmss.Outcome, error)
}

// Provider is a namespace as clients discover it.
type Provider struct {
	Namespace string
	Types     []Type
}

// Type is a resource type of a provider.
type Type struct {
	Name      string // "virtualMachineScaleSets"
	Versions  []string
	Locations []string // names; empty means all of the server's
	Zonal     bool     // its resources can be put into zones
}

// API answers for the namespace. All members are needed, but for Zones and Blocked,
// and for Resources and Tag without which there are no resources in groups.
type API struct {
	Store        Store
	Subscription resource.Subscription
	Locations    []string // the first is the default
	Zones        []string // of every location
	Providers    []Provider
	// Resources lists what is in groups, of all types, in any order.
	Resources func(ctx context.Context) []resource.Summary
	// Tag returns the tags of what is in a group after change, which may alter
	// its argument; a nil change only reads. A missing resource is NotFound.
	Tag func(ctx context.Context, id resource.ID, change func(map[string]string) (map[string]string, error)) (map[string]string, error)
	// Blocked fails with Conflict if what is in a group cannot be deleted, since
	// something outside of it needs it; nil for never.
	Blocked func(subscription, group string) error
}

// Routes lists the operations.
func (a *API) Routes() []arm.Route {
	const sub, group = "/subscriptions/{subscription}", "/subscriptions/{subscription}/resourceGroups/{group}"
	const groups = "Microsoft.Resources/subscriptions/resourceGroups/"
	route := func(method, path, action string, h arm.Handler) arm.Route {
		return arm.Route{Method: method, Path: path, Action: action, Handler: h, Versions: Versions}
	}
	return append(a.tagRoutes(),
		route("GET", "/subscriptions", "", a.listSubscriptions),
		route("GET", "/tenants", "", a.listTenants),
		route("GET", sub, "Microsoft.Resources/subscriptions/read", a.getSubscription),
		route("GET", sub+"/locations", "Microsoft.Resources/subscriptions/locations/read", a.listLocations),
		route("GET", sub+"/providers", "Microsoft.Resources/subscriptions/providers/read", a.listProviders),
		route("GET", sub+"/providers/{namespace}", "Microsoft.Resources/subscriptions/providers/read", a.getProvider),
		route("POST", sub+"/providers/{namespace}/register", "Microsoft.Resources/subscriptions/providers/register/action", a.getProvider),
		route("GET", sub+"/resourceGroups", groups+"read", a.listGroups),
		route("GET", group, groups+"read", a.getGroup),
		route("HEAD", group, groups+"read", a.headGroup),
		route("PUT", group, groups+"write", a.putGroup),
		route("PATCH", group, groups+"write", a.patchGroup),
		route("DELETE", group, groups+"delete", a.deleteGroup),
		route("GET", sub+"/operationresults/{operation}", "", a.getOperation),
		route("GET", sub+"/resources", "Microsoft.Resources/subscriptions/resources/read", a.listResources),
		route("GET", sub+"/tagNames", "Microsoft.Resources/subscriptions/tagNames/read", a.listTagNames),
		route("GET", group+"/resources", groups+"resources/read", a.listGroupResources),
	)
}

// Group returns a group that things can be created in: NotFound, code
// ResourceGroupNotFound, if it is missing; Conflict, code
// ResourceGroupBeingDeleted, while it goes.
func (a *API) Group(ctx context.Context, subscription, name string) (resource.Group, error) {
	g, err := a.find(ctx, subscription, name)
	if err == nil && g.Deleting {
		err = resource.Errorf(resource.Conflict, "ResourceGroupBeingDeleted",
			"The resource group '%s' is in deprovisioning state and cannot perform this operation.", g.Name)
	}
	return g, err
}

func (a *API) find(ctx context.Context, subscription, name string) (resource.Group, error) {
	if err := a.known(subscription); err != nil {
		return resource.Group{}, err
	}
	g, err := a.Store.Group(ctx, a.Subscription.ID, name)
	if resource.Is(err, resource.NotFound) {
		err = resource.Errorf(resource.NotFound, "ResourceGroupNotFound", "Resource group '%s' could not be found.", name)
	}
	return g, err
}

func (a *API) known(subscription string) error {
	if !strings.EqualFold(subscription, a.Subscription.ID) {
		return resource.Errorf(resource.NotFound, "SubscriptionNotFound", "The subscription '%s' could not be found.", subscription)
	}
	return nil
}

// list is a whole collection.
func list(items []any) *arm.Response {
	if items == nil {
		items = []any{}
	}
	return &arm.Response{Body: map[string]any{"value": items}}
}

type object = map[string]any

func (a *API) subscription() object {
	s := a.Subscription
	return object{"id": "/subscriptions/" + s.ID, "subscriptionId": s.ID, "tenantId": s.TenantID, "displayName": s.Name, "state": "Enabled",
		"authorizationSource": "RoleBased", "managedByTenants": []any{},
		"subscriptionPolicies": object{"locationPlacementId": "Public_2014-09-01", "quotaId": "PayAsYouGo_2014-09-01", "spendingLimit": "Off"}}
}

func (a *API) listSubscriptions(context.Context, *arm.Request) (*arm.Response, error) {
	return list([]any{a.subscription()}), nil
}

func (a *API) getSubscription(_ context.Context, r *arm.Request) (*arm.Response, error) {
	return &arm.Response{Body: a.subscription()}, a.known(r.Var("subscription"))
}

func (a *API) listTenants(context.Context, *arm.Request) (*arm.Response, error) {
	t := a.Subscription.TenantID
	return list([]any{object{"id": "/tenants/" + t, "tenantId": t, "displayName": "Muster", "tenantCategory": "Home"}}), nil
}

// typedLocations is the api-version from which on locations name their type.
const typedLocations = "2021-01-01"

// listLocations lists the locations. They are paired with no other one, and lie
// where their operator knows.
func (a *API) listLocations(_ context.Context, r *arm.Request) (*arm.Response, error) {
	var all []any
	for _, l := range a.Locations {
		location := object{"id": "/subscriptions/" + a.Subscription.ID + "/locations/" + l, "name": l, "displayName": l, "regionalDisplayName": l,
			"metadata": object{"regionType": "Physical", "regionCategory": "Recommended", "geographyGroup": l, "physicalLocation": l, "pairedRegion": []any{}}}
		if r.APIVersion >= typedLocations {
			location["type"] = "Region"
		}
		all = append(all, location)
	}
	return list(all), a.known(r.Var("subscription"))
}

func (a *API) provider(p Provider) object {
	types := []any{}
	for _, t := range p.Types {
		locations := t.Locations
		if len(locations) == 0 {
			locations = a.Locations
		}
		types = append(types, object{"resourceType": t.Name, "apiVersions": t.Versions, "locations": locations, "capabilities": "None",
			"defaultApiVersion": t.Versions[0], "apiProfiles": []any{}, "locationMappings": []any{}, "zoneMappings": a.zoneMappings(t, locations)})
	}
	return object{"id": "/subscriptions/" + a.Subscription.ID + "/providers/" + p.Namespace, "namespace": p.Namespace, "authorizations": []any{},
		"registrationPolicy": "RegistrationFree", "registrationState": "Registered", "resourceTypes": types}
}

// zoneMappings lists the zones of each location where the type has any.
func (a *API) zoneMappings(t Type, locations []string) []any {
	all := []any{}
	for _, l := range locations {
		if t.Zonal && len(a.Zones) > 0 {
			all = append(all, object{"location": l, "zones": a.Zones})
		}
	}
	return all
}

func (a *API) listProviders(_ context.Context, r *arm.Request) (*arm.Response, error) {
	var all []any
	for _, p := range a.Providers {
		all = append(all, a.provider(p))
	}
	return list(all), a.known(r.Var("subscription"))
}

func (a *API) getProvider(_ context.Context, r *arm.Request) (*arm.Response, error) {
	name := r.Var("namespace")
	at := slices.IndexFunc(a.Providers, func(p Provider) bool { return strings.EqualFold(p.Namespace, name) })
	if at < 0 {
		return nil, resource.Errorf(resource.NotFound, "InvalidResourceNamespace", "The resource namespace '%s' is invalid.", name)
	}
	return &arm.Response{Body: a.provider(a.Providers[at])}, a.known(r.Var("subscription"))
}
