package compute

import (
	"context"
	"encoding/json"
	"maps"
	"strings"

	wire "github.com/muster-vm/muster/internal/arm/wire/compute"
	"github.com/muster-vm/muster/internal/disk"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/vmss"
)

// Resources lists the scale sets and disks for lists of resources of all types.
func (a *API) Resources(context.Context) []resource.Summary {
	var all []resource.Summary
	for _, e := range store.All(a.Store, store.ScaleSets) {
		set := *e.Value
		state, _ := a.standing(set)
		all = append(all, resource.Summary{ID: set.ID, Location: set.Location, Tags: set.Tags, Zones: set.Zones,
			SKU: resource.SKU{Name: set.SKU.Name, Tier: set.SKU.Tier, Capacity: set.SKU.Capacity}, Created: set.Created, State: string(state)})
	}
	for _, e := range store.All(a.Store, store.Disks) {
		d := e.Value
		all = append(all, resource.Summary{ID: d.ID, Location: d.Location, Tags: d.Tags, Zones: d.Zones, Created: d.Created,
			State: d.Provisioning(a.diskState(d.UID))})
	}
	return all
}

// Tag returns the tags of the scale set or disk with this id, after change, which
// may alter its argument. A nil change only reads. It fails with NotFound if there
// is no such resource, with Conflict while it is being deleted, and as change does.
// Tags concern no instance and no content: there is no operation to wait for.
func (a *API) Tag(ctx context.Context, id resource.ID, change func(map[string]string) (map[string]string, error)) (tags map[string]string, err error) {
	if key, ok := disk.KeyOf(id); ok {
		return a.tagDisk(ctx, key, id, change)
	}
	err = a.change(ctx, vmss.KeyOf(id), func() error {
		e, ok := store.Get(a.Store, store.ScaleSets, vmss.KeyOf(id))
		if !ok || !strings.EqualFold(id.Type(), vmss.ResourceType) {
			return errNoResource(id)
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

func errNoResource(id resource.ID) error {
	return resource.Errorf(resource.NotFound, "ResourceNotFound", "The Resource '%s/%s' under resource group '%s' was not found.", id.Type(), id.Name(), id.Group)
}

// tagDisk is Tag of a disk.
func (a *API) tagDisk(ctx context.Context, key disk.Key, id resource.ID, change func(map[string]string) (map[string]string, error)) (tags map[string]string, err error) {
	err = changeDisk(ctx, id.Name(), func() error {
		e, ok := store.Get(a.Store, store.Disks, key)
		if !ok {
			return errNoResource(id)
		}
		if tags = maps.Clone(e.Value.Tags); tags == nil {
			tags = map[string]string{}
		}
		if change == nil {
			return nil
		}
		if e.Value.Deleting {
			return errDiskDeleting(*e.Value)
		}
		if tags, err = change(tags); err != nil {
			return err
		}
		body, err := json.Marshal(map[string]any{"tags": tags})
		if err != nil {
			return err
		}
		draft, err := wire.PutDisk(key.Kind, e.Value, body)
		if err != nil {
			return err
		}
		d, err := draft.Parse(a.changeInput(*e.Value))
		if err != nil {
			return err
		}
		_, err = a.Store.Commit(ctx, store.Put(store.Disks, key, d, store.At(e.Revision)))
		return err
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
