package network

import (
	"context"
	"encoding/json"
	"maps"
	"strings"

	noun "github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
)

// Resources lists the resources of the namespace for lists of resources of all
// types.
func (a *API) Resources(context.Context) []resource.Summary {
	var all []resource.Summary
	for _, e := range store.All(a.Store, store.Networks) {
		r := e.Value
		s := resource.Summary{ID: r.ID, Location: r.Location, Tags: r.Tags, Zones: r.Zones, Created: r.Created, State: a.state(*r)}
		if r.SKU != "" {
			s.SKU = resource.SKU{Name: string(r.SKU)}
		}
		all = append(all, s)
	}
	return all
}

// Owns reports whether Tag is for the resource with this id.
func (a *API) Owns(id resource.ID) bool {
	return strings.EqualFold(id.Provider, Namespace)
}

// Tag returns the tags of the resource with this id after change, which may alter
// its argument. A nil change only reads. It fails with NotFound if there is no such
// resource, and with Conflict while it is being deleted.
func (a *API) Tag(ctx context.Context, id resource.ID, change func(map[string]string) (map[string]string, error)) (tags map[string]string, err error) {
	key, ok := noun.KeyOf(id)
	if !ok || len(id.Names) != 1 {
		return nil, errNoResource(id)
	}
	err = a.change(ctx, id.Name(), func() error {
		e, ok := store.Get(a.Store, store.Networks, key)
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
			return errDeleting(*e.Value)
		}
		if tags, err = change(tags); err != nil {
			return err
		}
		body, err := json.Marshal(object{"tags": tags})
		if err != nil {
			return err
		}
		_, err = a.retag(ctx, e, body)
		return err
	})
	return tags, err
}

func errNoResource(id resource.ID) error {
	return resource.Errorf(resource.NotFound, codeMissing, "The Resource '%s/%s' under resource group '%s' was not found.", id.Type(), id.Name(), id.Group)
}
