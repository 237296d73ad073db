package compute

import (
	"context"

	"github.com/muster-vm/muster/internal/arm"
	wire "github.com/muster-vm/muster/internal/arm/wire/compute"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/vmss"
)

func (a *API) quotaRoutes() []arm.Route {
	return []arm.Route{route("GET", locationPath+"/usages", "Microsoft.Compute/locations/usages/read", a.listUsages)}
}

// usages sums up what the sets of a location ask for. It looks at sets only,
// never at their rows.
func (a *API) usages(location string) []vmss.Usage {
	var demands []vmss.Demand
	for _, e := range store.All(a.Store, store.ScaleSets) {
		if set := e.Value; set.Location == location {
			size, _ := vmss.SizeNamed(set.SKU.Name)
			demands = append(demands, a.demand(*set, size))
		}
	}
	return vmss.Usages(demands, a.Quotas)
}

// demand is what a set with that size asks for.
func (a *API) demand(set vmss.ScaleSet, size vmss.Size) vmss.Demand {
	t := a.Store.Tally(set.UID)
	return vmss.DemandOf(set, size, t.Rows, t.Deallocated)
}

// checkQuota fails with Conflict, code OperationNotAllowed, if the set would
// take more of a quota than there is. It is a fuse and no lock: two requests at
// once may each fit and together not.
func (a *API) checkQuota(set vmss.ScaleSet, size vmss.Size, was *wire.Current) error {
	want, path := a.demand(set, size), "sku.capacity"
	var before *vmss.Demand
	if was != nil {
		old, _ := vmss.SizeNamed(was.Set.SKU.Name)
		d := a.demand(was.Set, old)
		before = &d
		if set.SKU.Capacity <= was.Set.SKU.Capacity {
			path = sizePath
		}
	}
	return a.shortage(set, before, want, path)
}

// checkStart fails as checkQuota does if the instances that an operation starts
// need more vCPUs than there are: while deallocated they hold none.
func (a *API) checkStart(set vmss.ScaleSet, op vmss.Operation) error {
	if op.Kind != vmss.OpStart {
		return nil
	}
	size, _ := vmss.SizeNamed(set.SKU.Name)
	before := a.demand(set, size)
	after := before
	for _, rec := range a.Store.Instances(set.UID, -1, 0) {
		if rec.Row.Value.Power == vmss.PowerDeallocated && (op.Instances == nil || op.Covers(rec.ID)) {
			after.Allocated++
		}
	}
	return a.shortage(set, &before, after, "")
}

// shortage words what a change of demand lacks, nil if nothing.
func (a *API) shortage(set vmss.ScaleSet, was *vmss.Demand, want vmss.Demand, path string) error {
	short := vmss.FindShortage(a.usages(set.Location), was, want)
	if short == nil {
		return nil
	}
	needed := short.Current + short.Required
	return resource.Errorf(resource.Conflict, "OperationNotAllowed",
		"Operation could not be completed as it results in exceeding approved %s quota. Additional details - Deployment Model: Resource Manager, Location: %s, "+
			"Current Limit: %d, Current Usage: %d, Additional Required: %d, (Minimum) New Limit Required: %d. "+
			"Delete or deallocate instances, or raise quotas.%s in the server's config to at least %d.",
		short.Label, set.Location, short.Limit, short.Current, short.Required, needed, short.Name, needed).At(path)
}

func (a *API) listUsages(_ context.Context, r *arm.Request) (*arm.Response, error) {
	location, err := a.offers().Location(r, "locations/usages")
	if err != nil {
		return nil, err
	}
	values := []object{}
	for _, u := range a.usages(location) {
		values = append(values, object{"unit": "Count", "currentValue": u.Current, "limit": u.Limit,
			"name": object{"value": u.Name, "localizedValue": u.Label}})
	}
	return &arm.Response{Body: object{"value": values}}, nil
}

type object = map[string]any
