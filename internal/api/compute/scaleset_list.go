package compute

import (
	"context"
	"iter"

	"github.com/muster-vm/muster/internal/arm"
	wire "github.com/muster-vm/muster/internal/arm/wire/compute"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/vmss"
)

// setsPage is how many scale sets one page of a list has at most.
const setsPage = 100

func (a *API) listInGroup(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	sub, group := r.Var("subscription"), r.Var("group")
	if _, err := a.Group(ctx, sub, group); err != nil && !resource.Is(err, resource.Conflict) {
		return nil, err
	}
	in := vmss.NewKey(sub, group, "")
	return a.list(r, func(set *vmss.ScaleSet) bool {
		return set.Key().Group == in.Group && set.Key().Subscription == in.Subscription
	})
}

func (a *API) listInSubscription(_ context.Context, r *arm.Request) (*arm.Response, error) {
	return a.list(r, func(*vmss.ScaleSet) bool { return true })
}

func (a *API) listInLocation(_ context.Context, r *arm.Request) (*arm.Response, error) {
	location, err := a.offers().Location(r, "locations/virtualMachineScaleSets")
	if err != nil {
		return nil, err
	}
	return a.list(r, func(set *vmss.ScaleSet) bool { return set.Location == location })
}

// list answers with a page of the sets that match.
func (a *API) list(r *arm.Request, match func(*vmss.ScaleSet) bool) (*arm.Response, error) {
	if err := a.known(r.Var("subscription")); err != nil {
		return nil, err
	}
	var sets []store.Entry[vmss.ScaleSet]
	for _, e := range store.All(a.Store, store.ScaleSets) {
		if match(e.Value) {
			sets = append(sets, e)
		}
	}
	page, next, err := arm.Page(r, sets, setsPage, func(e store.Entry[vmss.ScaleSet]) string {
		k := e.Value.Key()
		return k.Subscription + "/" + k.Group + "/" + k.Name // the order of store.All
	})
	if err != nil {
		return nil, err
	}
	values := make([][]byte, 0, len(page))
	for _, e := range page {
		body, err := a.render(e, wire.SetView{Version: r.APIVersion})
		if err != nil {
			return nil, err
		}
		values = append(values, body)
	}
	return &arm.Response{Body: wire.RenderPage(values, next)}, nil
}

// getSetInstanceView counts the instances by status, and shows where the set
// stands and why what is wanted for it is not done.
func (a *API) getSetInstanceView(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	e, err := a.scaleSet(ctx, r)
	if err != nil {
		return nil, err
	}
	set := *e.Value
	state, last := a.standing(set)
	status := wire.SetStatus{Provisioning: state, Since: set.Created}
	if last != nil {
		status.Since = last.Finished
	}
	if state == vmss.Failed {
		status.Failure = vmss.FailureOfSet(last)
	}
	for _, b := range a.Explain(set.UID) {
		status.Blocked = append(status.Blocked, wire.Blocked{Kind: b.Kind, Reason: b.Reason, Instances: b.Instances})
	}
	return &arm.Response{Body: wire.RenderSetInstanceView(a.instances(set.UID), status)}, nil
}

// instances yields the rows of a set with what their hosts see.
func (a *API) instances(uid vmss.UID) iter.Seq2[vmss.Instance, vmss.Observation] {
	return func(yield func(vmss.Instance, vmss.Observation) bool) {
		for _, rec := range a.Store.Instances(uid, -1, 0) {
			var seen vmss.Observation
			if rec.Seen != nil {
				seen = *rec.Seen
			}
			if !yield(*rec.Row.Value, seen) {
				return
			}
		}
	}
}

// listSetSizes lists the sizes that the set can change to.
func (a *API) listSetSizes(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	e, err := a.scaleSet(ctx, r)
	if err != nil {
		return nil, err
	}
	limit := a.MaxCapacity
	if e.Value.SinglePlacementGroup {
		limit = min(limit, wire.MaxSinglePlacementGroup)
	}
	var names []string
	for _, size := range vmss.Sizes() {
		names = append(names, size.Name)
	}
	return &arm.Response{Body: wire.RenderSizes(names, limit)}, nil
}

// listOSUpgrades lists the automatic OS upgrades that there were: none ever.
func (a *API) listOSUpgrades(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	_, err := a.scaleSet(ctx, r)
	return &arm.Response{Body: wire.RenderPage(nil, "")}, err
}
