package network

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"time"

	noun "github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/vmss"
)

// end ends operations on a resource that were carried out, or that cannot be. The
// resource's own deletion has not been: there it still is.
func (r *Reconciler) end(ctx context.Context, res noun.Resource, open []vmss.Operation, failed error) error {
	if failed != nil && resource.Is(failed, resource.Conflict) {
		return nil // somebody else was at it: it is tried again
	}
	var changes []store.Change
	for _, op := range open {
		if op.Kind == vmss.OpPutNetwork || !op.Target.Equal(res.ID) || failed != nil {
			changes = append(changes, r.outcome(ctx, op, failed))
		}
	}
	if len(changes) == 0 {
		return nil
	}
	_, err := r.Store.Commit(ctx, append(changes, r.Fence)...)
	return err
}

func (r *Reconciler) outcome(ctx context.Context, op vmss.Operation, failed error) store.Change {
	out := vmss.Outcome{Status: vmss.OperationSucceeded, Finished: time.Now().UTC()}
	reason := ""
	if failed != nil {
		out.Status, out.Error = vmss.OperationFailed, &vmss.OperationError{Code: "NetworkingInternalOperationError", Message: failed.Error()}
		if e, ok := errors.AsType[*resource.Error](failed); ok && e.Code != "" {
			out.Error.Code = e.Code
		}
		reason = failed.Error()
	}
	r.Log.InfoContext(ctx, "end operation", "operation", op.ID, "kind", op.Kind, "resource", op.Target.String(), "status", out.Status, "reason", reason)
	return store.Put(store.Outcomes, op.Key(), out, store.Absent)
}

// remove takes away what is left of a resource that is to go: a virtual network
// from the host, what the resource had reserved, and its record. It reports false
// while instances are in the network.
func (r *Reconciler) remove(ctx context.Context, e store.Entry[noun.Resource], open []vmss.Operation) (gone bool, err error) {
	res := *e.Value
	if res.Kind == noun.VirtualNetworkKind {
		if n := len(r.Store.Reserved(noun.AddressSpace(res.UID))); n > 0 {
			r.Log.InfoContext(ctx, "virtual network waits to be deleted", "resource", res.ID.String(), "addresses_in_use", n)
			return false, nil
		}
		if err := r.Fabric.Remove(ctx, res.UID); err != nil && !resource.Is(err, resource.NotFound) {
			return false, err
		}
		r.forget(res.UID)
	}
	r.Log.InfoContext(ctx, "remove network resource", "resource", res.ID.String(), "reason", "its delete was asked for")
	changes := []store.Change{r.Fence, store.Delete(store.Networks, res.Key(), store.At(e.Revision)), store.Delete(store.Counters, string(res.UID), store.Any)}
	own := strings.ToLower(res.ID.String())
	for k, held := range store.Each(r.Store, store.Reservations) {
		if by := held.Value.By; by == own || strings.HasPrefix(by, own+"/") {
			changes = append(changes, store.Delete(store.Reservations, k, store.At(held.Revision)))
		}
	}
	for _, op := range open {
		changes = append(changes, r.outcome(ctx, op, nil))
	}
	_, err = r.Store.Commit(ctx, append(changes, r.takeBack(res)...)...)
	return err == nil, err
}

// takeBack takes the addresses of dynamic public addresses back that nothing uses
// once the resource is gone.
func (r *Reconciler) takeBack(gone noun.Resource) (changes []store.Change) {
	used := map[noun.Key]bool{}
	for _, e := range store.All(r.Store, store.Networks) {
		if e.Value.UID != gone.UID {
			for _, u := range noun.Uses(*e.Value) {
				used[u.Of.Key] = true
			}
		}
	}
	for _, u := range noun.Uses(gone) {
		e, ok := store.Get(r.Store, store.Networks, u.Of.Key)
		if !ok || used[u.Of.Key] || e.Value.PublicAddress == nil || e.Value.PublicAddress.Static || !e.Value.PublicAddress.Address.IsValid() {
			continue
		}
		used[u.Of.Key] = true // once
		free, address := *e.Value, *e.Value.PublicAddress
		name := address.Address.String()
		address.Address = netip.Addr{}
		free.PublicAddress = &address
		changes = append(changes, store.Put(store.Networks, free.Key(), free, store.At(e.Revision)),
			store.Delete(store.Reservations, noun.ReservationKey{Space: noun.PublicSpace, Name: name}, store.Any))
	}
	return changes
}

// forget drops what is remembered of a virtual network.
func (r *Reconciler) forget(uid noun.UID) {
	if r.Prober != nil {
		r.Prober.Watch(uid, nil)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.nets, uid)
}

// Sweep removes virtual networks from the host of which there is no record. Records
// come before networks and go after them, so there are none but after a mishap.
func (r *Reconciler) Sweep(ctx context.Context) error {
	there, err := r.Fabric.Networks(ctx)
	for _, uid := range there {
		if _, ok := r.Store.NetworkByUID(uid); ok {
			continue
		}
		r.Log.WarnContext(ctx, "remove a virtual network from the host of which there is no record", "uid", uid)
		err = errors.Join(err, r.Fabric.Remove(ctx, uid))
	}
	return err
}
