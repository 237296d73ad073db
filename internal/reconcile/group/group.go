// Package group empties and removes resource groups whose delete was accepted.
// What has to go in a group is asked of the store; nothing here knows how a
// scale set or a disk goes.
package group

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/vmss"
)

// Reconciler carries deletes of groups out.
type Reconciler struct {
	Store *store.Store
	Fence store.Change // what every commit depends on: the lease of the control plane
	Log   *slog.Logger
}

// Reconcile marks every scale set, disk, snapshot and image of a group that goes,
// then what is in its network, and removes the group once all are gone. Whoever sees
// one go pokes its group. A disk that an instance of another group has stays, and
// the group with it, until it is detached; so does a network that something of
// another group uses.
func (r *Reconciler) Reconcile(ctx context.Context, key store.GroupKey) (time.Time, error) {
	group, ok := store.Get(r.Store, store.Groups, key)
	if !ok || !group.Value.Deleting {
		return time.Time{}, nil
	}
	sets, err := r.markSets(ctx, key)
	if err != nil {
		return time.Time{}, err
	}
	left, err := r.markDisks(ctx, key)
	if err != nil {
		return time.Time{}, err
	}
	if sets || left {
		return time.Time{}, nil
	}
	if left, err = r.markNetworks(ctx, key); err != nil || left {
		return time.Time{}, err
	}
	r.Log.InfoContext(ctx, "remove resource group", "group", group.Value.Name, "reason", "its delete was asked for and it is empty")
	changes := []store.Change{r.Fence, store.Delete(store.Groups, key, store.At(group.Revision))}
	for _, op := range r.Store.OpenOperations("") {
		if op.Kind == vmss.OpDeleteGroup && strings.EqualFold(op.Target.Subscription, key.Subscription) && strings.EqualFold(op.Target.Group, key.Name) {
			changes = append(changes, store.Put(store.Outcomes, op.Key(), vmss.Outcome{Status: vmss.OperationSucceeded, Finished: time.Now().UTC()}, store.Absent))
		}
	}
	_, err = r.Store.Commit(ctx, changes...)
	return time.Time{}, err
}

const reason = "its resource group is being deleted"

// markSets reports whether there are scale sets left, all of them marked.
func (r *Reconciler) markSets(ctx context.Context, key store.GroupKey) (left bool, err error) {
	for _, e := range store.All(r.Store, store.ScaleSets) {
		if k := e.Value.Key(); k.Subscription != key.Subscription || k.Group != key.Name {
			continue
		}
		left = true
		if e.Value.Deleting {
			continue
		}
		set := *e.Value
		set.Deleting = true
		r.Log.InfoContext(ctx, "delete scale set", "scale_set", set.ID.Name(), "reason", reason)
		if _, err := r.Store.Commit(ctx, r.Fence, store.Put(store.ScaleSets, set.Key(), set, store.At(e.Revision))); err != nil {
			return left, err
		}
	}
	return left, nil
}

// markDisks reports whether there are disks left, all of them marked.
func (r *Reconciler) markDisks(ctx context.Context, key store.GroupKey) (left bool, err error) {
	for _, e := range store.All(r.Store, store.Disks) {
		if k := e.Value.Key(); k.Subscription != key.Subscription || k.Group != key.Name {
			continue
		}
		left = true
		if e.Value.Deleting {
			continue
		}
		disk := *e.Value
		disk.Deleting = true
		r.Log.InfoContext(ctx, "delete disk", "disk", disk.ID.String(), "reason", reason)
		if _, err := r.Store.Commit(ctx, r.Fence, store.Put(store.Disks, disk.Key(), disk, store.At(e.Revision))); err != nil {
			return left, err
		}
	}
	return left, nil
}

// markNetworks reports whether there are resources of Microsoft.Network left. It
// marks those that nothing uses, so that what refers to another one goes before it.
func (r *Reconciler) markNetworks(ctx context.Context, key store.GroupKey) (left bool, err error) {
	all := store.All(r.Store, store.Networks)
	used := map[network.Key]bool{}
	for _, e := range all {
		for _, u := range network.Uses(*e.Value) {
			used[u.Of.Key] = true
		}
	}
	for _, e := range all {
		if k := e.Value.Key(); k.Subscription != key.Subscription || k.Group != key.Name {
			continue
		}
		left = true
		if e.Value.Deleting || used[e.Value.Key()] || len(r.Store.Reserved(network.AddressSpace(e.Value.UID))) > 0 {
			continue
		}
		next := *e.Value
		next.Deleting = true
		r.Log.InfoContext(ctx, "delete network resource", "resource", next.ID.String(), "reason", reason)
		if _, err := r.Store.Commit(ctx, r.Fence, store.Put(store.Networks, next.Key(), next, store.At(e.Revision))); err != nil {
			return left, err
		}
	}
	return left, nil
}
