package server

import (
	"context"
	"strings"

	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/vmss"
)

// groups is the store as package api/resources wants it.
type groups struct{ store *store.Store }

// Groups implements resources.Store.
func (g groups) Groups(_ context.Context, subscription string) ([]resource.Group, error) {
	var all []resource.Group
	for _, e := range store.All(g.store, store.Groups) {
		if strings.EqualFold(e.Value.Subscription, subscription) {
			all = append(all, withRevision(e))
		}
	}
	return all, nil
}

// Group implements resources.Store.
func (g groups) Group(_ context.Context, subscription, name string) (resource.Group, error) {
	e, ok := store.Get(g.store, store.Groups, store.GroupKeyOf(subscription, name))
	if !ok {
		return resource.Group{}, resource.Errorf(resource.NotFound, "ResourceGroupNotFound", "Resource group '%s' could not be found.", name)
	}
	return withRevision(e), nil
}

func withRevision(e store.Entry[resource.Group]) resource.Group {
	out := *e.Value
	out.Revision = e.Revision
	return out
}

// PutGroup implements resources.Store.
func (g groups) PutGroup(ctx context.Context, group resource.Group) error {
	_, err := g.store.Commit(ctx, put(group))
	return err
}

// DeleteGroup implements resources.Store.
func (g groups) DeleteGroup(ctx context.Context, group resource.Group, op vmss.Operation) error {
	_, err := g.store.Commit(ctx, put(group), store.Put(store.Operations, op.Key(), op, store.Absent))
	return err
}

func put(g resource.Group) store.Change {
	return store.Put(store.Groups, store.GroupKeyOf(g.Subscription, g.Name), g, store.At(g.Revision))
}

// Operation implements resources.Store.
func (g groups) Operation(_ context.Context, id string) (vmss.Operation, *vmss.Outcome, error) {
	return g.store.OperationByID(id)
}
