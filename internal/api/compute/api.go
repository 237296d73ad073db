// Package compute serves Microsoft.Compute: scale sets, their instances, what
// is done to them, disks, snapshots and images, and what a location offers. A handler decodes, parses,
// commits one transaction and renders; what happens then is decided by the
// planners. It keeps nothing.
package compute

import (
	"context"
	"errors"
	"sync"

	"github.com/muster-vm/muster/internal/api/compute/catalogue"
	"github.com/muster-vm/muster/internal/arm"
	wire "github.com/muster-vm/muster/internal/arm/wire/compute"
	"github.com/muster-vm/muster/internal/disk"
	"github.com/muster-vm/muster/internal/plan"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/vmss"
)

// Versions are the api-versions of Microsoft.Compute, newest first.
var Versions = []string{"2026-04-01", "2025-11-01", "2025-04-01", "2024-11-01", "2024-07-01", "2024-03-01", "2023-09-01", "2023-07-01", "2023-03-01", "2022-11-01",
	"2022-08-01", "2022-03-01", "2021-11-01", "2021-07-01", "2021-04-01", "2021-03-01", "2020-12-01", "2020-06-01", "2019-12-01", "2019-07-01", "2019-04-01",
	"2019-03-01", "2018-10-01", "2018-06-01", "2018-04-01", "2017-12-01", "2017-09-01", "2017-03-30", "2016-08-30", "2016-04-30-preview", "2016-03-30", "2015-06-15"}

// Images knows the catalogue of images.
type Images = catalogue.Images

// API answers for the namespace. All exported members but Progress and HoldNetworks are needed.
type API struct {
	Store        *store.Store
	Images       Images
	Group        func(ctx context.Context, subscription, name string) (resource.Group, error) // one that things can be created in
	Explain      func(uid vmss.UID) []plan.Blocked                                            // what is wanted for a set and not done, and why
	Subscription string
	Locations    []string       // the first is the default
	Zones        []string       // of every location
	MaxCapacity  int            // of one set
	Quotas       map[string]int // limits by usage name, such as "cores"; a name without one has the default

	// Progress tells how many bytes of the content of a disk that is being made
	// are there; ok is false if that is not known.
	Progress func(uid disk.UID) (done, total int64, ok bool)

	// HoldNetworks waits until nobody changes a network, and keeps it so until give
	// is called; nil where there are none.
	HoldNetworks func(ctx context.Context) (give func(), err error)

	renderers remembered[rendererKey, *wire.InstanceRenderer]
	documents remembered[documentKey, []byte]
	pages     sync.Pool // of *pageBuffer
	turns     turns
}

const (
	subscriptionPath = "/subscriptions/{subscription}"
	setsPath         = subscriptionPath + "/resourceGroups/{group}/providers/Microsoft.Compute/virtualMachineScaleSets"
	setPath          = setsPath + "/{set}"
	instancePath     = setPath + "/virtualMachines/{instance}"
	locationPath     = subscriptionPath + "/providers/Microsoft.Compute/locations/{location}"
	setAction        = "Microsoft.Compute/virtualMachineScaleSets/"
	instanceAction   = setAction + "virtualMachines/"
)

// Routes lists the operations.
func (a *API) Routes() []arm.Route {
	var all []arm.Route
	for _, some := range [][]arm.Route{a.scaleSetRoutes(), a.operationRoutes(), a.instanceRoutes(), a.actionRoutes(), a.offers().Routes(), a.quotaRoutes(), a.diskRoutes()} {
		all = append(all, some...)
	}
	return all
}

func route(method, path, action string, h arm.Handler) arm.Route {
	return arm.Route{Method: method, Path: path, Action: action, Handler: h, Versions: Versions}
}

// offers answers for what locations offer.
func (a *API) offers() *catalogue.API {
	return &catalogue.API{Images: a.Images, Subscription: a.Subscription, Locations: a.Locations, Zones: a.Zones, Versions: Versions}
}

// placed names the JSON path at fault in an error that names none.
func placed(err error, path string) error {
	if e, ok := errors.AsType[*resource.Error](err); ok && e.Target == "" && len(e.Details) == 0 {
		return e.At(path)
	}
	return err
}

// known fails with NotFound for a subscription that is not this server's.
func (a *API) known(subscription string) error { return a.offers().Known(subscription) }

// scaleSet returns the set that the path names. It fails with NotFound, code
// ResourceNotFound, or that of the missing group.
func (a *API) scaleSet(ctx context.Context, r *arm.Request) (store.Entry[vmss.ScaleSet], error) {
	sub, group, name := r.Var("subscription"), r.Var("group"), r.Var("set")
	if e, ok := store.Get(a.Store, store.ScaleSets, keyOf(r)); ok {
		return e, nil
	}
	if _, err := a.Group(ctx, sub, group); err != nil && !resource.Is(err, resource.Conflict) {
		return store.Entry[vmss.ScaleSet]{}, err
	}
	return store.Entry[vmss.ScaleSet]{}, resource.Errorf(resource.NotFound, "ResourceNotFound",
		"The Resource 'Microsoft.Compute/virtualMachineScaleSets/%s' under resource group '%s' was not found.", name, group)
}

// keyOf is the key of the set that the path names, whether or not there is one.
func keyOf(r *arm.Request) vmss.Key {
	return vmss.NewKey(r.Var("subscription"), r.Var("group"), r.Var("set"))
}

// ScaleSet is scaleSet for packages that serve what is below a set, as one that
// extends it.
func (a *API) ScaleSet(ctx context.Context, r *arm.Request) (store.Entry[vmss.ScaleSet], error) {
	return a.scaleSet(ctx, r)
}

// revision returns a model revision of the set.
func (a *API) revision(set vmss.ScaleSet, n vmss.RevisionNumber) (vmss.Revision, error) {
	e, ok := store.Get(a.Store, store.Revisions, vmss.RevisionKey{Set: set.UID, Number: n})
	if !ok {
		return vmss.Revision{}, vmss.ErrNoRevision(n)
	}
	return *e.Value, nil
}
