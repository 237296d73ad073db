package compute

import (
	"context"
	"encoding/json"
	"maps"
	"strings"

	wire "github.com/muster-vm/muster/internal/arm/wire/compute"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/vmss"
)

// Resources lists the scale sets for lists of resources of all types.
func (a *API) Resources(context.Context) []resource.Summary {
	var all []resource.Summary
	for _, e := range store.All(a.Store, store.ScaleSets) {
		set := *e.Value
		state, _ := a.standing(set)
		all = append(all, resource.Summary{ID: set.ID, Location: set.Location, Tags: set.Tags, Zones: set.Zones,
			SKU: resource.SKU{Name: set.SKU.Name, Tier: set.SKU.Tier, Capacity: set.SKU.Capacity}, Created: set.Created, State: string(state)})
	}
	return all
}

// Tag returns the tags of the scale set with this id, after change, which may
// alter its argument. A nil change only reads. It fails with NotFound if there
// is no such set, with Conflict while it is being deleted, and as change does.
// Tags concern no instance: there is no operation to wait for.
func (a *API) Tag(ctx context.Context, id resource.ID, change func(map[string]string) (map[string]string, error)) (tags map[string]string, err error) {
	err = a.change(ctx, vmss.KeyOf(id), func() error {
		e, ok := store.Get(a.Store, store.ScaleSets, vmss.KeyOf(id))
		if !ok || !strings.EqualFold(id.Type(), vmss.ResourceType) {
			return resource.Errorf(resource.NotFound, "ResourceNotFound", "The Resource '%s/%s' under resource group '%s' was not found.", id.Type(), id.Name(), id.Group)
		}
		tags = maps.Clone(e.Value.Tags)
		if tags == nil {
			tags = map[string]string{}
		}
		if change == nil {
			return nil
		}
		if tags, err = change(tags); err != nil {
			return err
		}
		return a.retag(ctx, e, tags)
	})
	return tags, err
}

// retag writes the set's document with other tags, as a PUT of them would.
func (a *API) retag(ctx context.Context, e store.Entry[vmss.ScaleSet], tags map[string]string) error {
	was := *e.Value
	if err := refuseDeleting(was, "Update tags"); err != nil {
		return err
	}
	rev, err := a.revision(was, was.Revision)
	if err != nil {
		return err
	}
	body, err := json.Marshal(map[string]any{"tags": tags})
	if err != nil {
		return err
	}
	draft, err := wire.Put(&wire.Current{Set: was, Model: rev.Model}, body)
	if err != nil {
		return err
	}
	size, _ := vmss.SizeNamed(was.SKU.Name)
	set, _, err := draft.Parse(wire.Input{ID: was.ID, Image: rev.Model.Image, MaxDataDisks: size.DataDisks, MaxCapacity: a.MaxCapacity, Zones: a.Zones})
	if err != nil {
		return err
	}
	_, err = a.Store.Commit(ctx, store.Put(store.ScaleSets, set.Key(), set, store.At(e.Revision)))
	return err
}
