package compute

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/muster-vm/muster/internal/arm"
	wire "github.com/muster-vm/muster/internal/arm/wire/compute"
	"github.com/muster-vm/muster/internal/arm/wire/compute/nic"
	"github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/vmss"
)

// hold keeps networks from being changed while a set that is in one is written, so
// that none is deleted by somebody who did not see the set yet.
func (a *API) hold(ctx context.Context, m vmss.Model) (give func(), err error) {
	inNetwork := func(n vmss.NIC) bool {
		return slices.ContainsFunc(n.IPConfigs, func(c vmss.IPConfig) bool { return c.Subnet != "" })
	}
	if a.HoldNetworks == nil || !slices.ContainsFunc(m.NICs, inNetwork) {
		return func() {}, nil
	}
	return a.HoldNetworks(ctx)
}

// references checks what a set will name of Microsoft.Network, and returns guards
// for the commit: what was looked at is still as it was. Where a set names nothing
// that it did not name before, and asks for no more instances, nothing is looked at.
func (a *API) references(r *arm.Request, was *wire.Current, next wire.Current) ([]store.Change, error) {
	refs, err := nic.References(next.Model)
	if err != nil {
		return nil, err
	}
	added, grows := refs, true
	if was != nil {
		old, err := nic.References(was.Model)
		if err != nil {
			return nil, err
		}
		added, grows = nic.New(refs, old), next.Set.SKU.Capacity > was.Set.SKU.Capacity
	}
	if err := mayJoin(r, next.Set, added); err != nil {
		return nil, err
	}
	seen := map[network.Key]store.Entry[network.Resource]{}
	var problems []error
	for _, ref := range added {
		e, ok := store.Get(a.Store, store.Networks, ref.Ref.Key)
		if !ok || e.Value.Deleting || !strings.EqualFold(e.Value.Location, next.Set.Location) || !ref.In(*e.Value) {
			problems = append(problems, errNoReference(next.Set, ref))
			continue
		}
		seen[ref.Ref.Key] = e
	}
	if len(problems) == 0 && (len(added) > 0 || grows) {
		for _, problem := range nic.CheckBalancers(refs, a.balancers(refs, seen), next.Set.SKU.Capacity) {
			problems = append(problems, problem)
		}
	}
	var guards []store.Change
	for key, e := range seen {
		guards = append(guards, store.Check(store.Networks, key, store.At(e.Revision)))
	}
	return guards, errors.Join(problems...)
}

// balancers returns the load balancers that are named, and adds them to what was
// seen. Those that are gone are left out.
func (a *API) balancers(refs []nic.Reference, seen map[network.Key]store.Entry[network.Resource]) map[network.Key]network.LoadBalancer {
	all := map[network.Key]network.LoadBalancer{}
	for _, ref := range refs {
		key := ref.Ref.Key
		e, ok := seen[key]
		if !ok {
			e, ok = store.Get(a.Store, store.Networks, key)
		}
		if ok && e.Value.LoadBalancer != nil {
			seen[key], all[key] = e, *e.Value.LoadBalancer
		}
	}
	return all
}

// mayJoin fails with Forbidden, code LinkedAuthorizationFailed, unless the caller
// may use everything that is named.
func mayJoin(r *arm.Request, set vmss.ScaleSet, refs []nic.Reference) error {
	for _, ref := range refs {
		if err := r.May(ref.Action, ref.ID.String()); err != nil {
			return resource.Errorf(resource.Forbidden, "LinkedAuthorizationFailed",
				"The client '%s' with object id '%s' has permission to perform action '%swrite' on scope '%s'; however, it does not have permission to perform action '%s' on the linked scope(s) '%s' or the linked scope(s) are invalid.",
				r.Principal.ClientID, r.Principal.ObjectID, setAction, set.ID, ref.Action, ref.ID).Because(err)
		}
	}
	return nil
}

func errNoReference(set vmss.ScaleSet, ref nic.Reference) error {
	return resource.Errorf(resource.Invalid, "InvalidResourceReference",
		"Resource %s referenced by resource %s was not found. Please make sure that the referenced resource exists, and that both resources are in the same region.", ref.ID, set.ID).At(ref.Path)
}
