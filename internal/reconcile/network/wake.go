package network

import (
	"context"

	noun "github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/vmss"
)

// Wake has poke called with the key of every resource that news concern. It must
// not block.
func (r *Reconciler) Wake(poke func(noun.Key)) {
	store.OnChange(r.Store, store.Networks, poke)
	store.OnChange(r.Store, store.Operations, func(k vmss.OperationKey) {
		if e, ok := r.Store.NetworkByUID(noun.UID(k.Set)); ok {
			poke(e.Value.Key())
		}
	})
	network := func(s noun.Space) {
		if uid, ok := s.Network(); ok {
			r.WakeNetwork(uid, poke)
		}
	}
	store.OnChange(r.Store, store.Reservations, func(k noun.ReservationKey) {
		network(k.Space)
		if e, ok := store.Get(r.Store, store.Reservations, k); ok && e.Value.Set != "" {
			for _, other := range r.Store.ReservedBy(vmss.InstanceKey{Set: vmss.UID(e.Value.Set), ID: vmss.InstanceID(e.Value.Instance)}) {
				network(other.Space)
			}
		}
	})
	instance := func(k vmss.InstanceKey) {
		for _, held := range r.Store.ReservedBy(k) {
			network(held.Space)
		}
	}
	store.OnChange(r.Store, store.Instances, instance)
	store.OnChange(r.Store, store.Observations, instance)
}

// WakeNetwork pokes the virtual network with this UID.
func (r *Reconciler) WakeNetwork(uid noun.UID, poke func(noun.Key)) {
	if e, ok := r.Store.NetworkByUID(uid); ok {
		poke(e.Value.Key())
	}
}

// Keys lists every resource.
func (r *Reconciler) Keys(context.Context) (all []noun.Key, _ error) {
	for _, e := range store.All(r.Store, store.Networks) {
		all = append(all, e.Value.Key())
	}
	return all, nil
}
