package host

import (
	"context"
	"net/netip"
	"time"

	"github.com/muster-vm/muster/internal/host/fabric"
	"github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/plan"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/vmss"
)

// drain is how the connections of an instance that leaves are doing. It is in memory
// alone: a server that starts again begins the wait anew.
type drain struct {
	since  time.Time
	waited bool // users were told that it waits
	ended  bool // and that it does not any more
}

// card is an address of an instance in a virtual network.
type card struct {
	network network.UID
	address netip.Addr
}

// decide plans what to do next. Connections are counted only when a running machine
// would be taken down.
func (h *Host) decide(ctx context.Context, s *scene) plan.Step {
	machine := s.machine()
	step := plan.Instance(s.row, s.seen, machine, time.Now())
	if !step.Leaves {
		h.drains.Delete(s.key)
		return step
	}
	wires, ok := h.Fabric.(fabric.Networks)
	limit := h.drainTime(s)
	cards := h.cards(s.key)
	if !ok || limit == 0 || len(cards) == 0 {
		return step
	}
	known, underway := h.drains.LoadOrStore(s.key, &drain{since: time.Now().Round(0)})
	d := known.(*drain)
	if !underway {
		h.closeToNew(ctx, cards)
	}
	machine.Flows = h.flows(ctx, wires, cards)
	machine.DrainSince, machine.DrainUntil = d.since, d.since.Add(limit)
	step = plan.Instance(s.row, s.seen, machine, time.Now())
	log := h.Log.With("scale_set", s.set.ID.Name(), "instance", s.row.ID.String(), "host", h.Name)
	switch {
	case !step.Drains.IsZero() && !d.waited:
		log.InfoContext(ctx, "drain instance", "reason", step.Why)
		d.waited = true
	case step.Do != plan.Nothing && d.waited && !d.ended:
		log.InfoContext(ctx, "instance has drained", "took", time.Since(d.since), "connections_cut", machine.Flows)
		d.ended = true
	}
	if step.Do != plan.Nothing {
		h.cut(ctx, wires, cards)
	}
	return step
}

// settleLimit is how long it may take until what was committed is applied to a
// network.
const settleLimit = 10 * time.Second

// closeToNew waits until load balancers know that the instance leaves: before that, a
// count of zero says nothing about the next moment.
func (h *Host) closeToNew(ctx context.Context, cards []card) {
	uids := make([]network.UID, len(cards))
	for i, c := range cards {
		uids[i] = c.network
	}
	if err := h.applied(ctx, uids); err != nil && ctx.Err() == nil {
		h.Log.WarnContext(ctx, "load balancers may not know yet that an instance leaves", "err", err)
	}
}

// flows counts the established flows to the cards. What cannot be counted is not
// waited for.
func (h *Host) flows(ctx context.Context, wires fabric.Networks, cards []card) (total int) {
	for _, c := range cards {
		n, err := wires.Flows(ctx, c.network, c.address)
		if err != nil && !resource.Is(err, resource.NotFound) {
			h.Log.WarnContext(ctx, "the connections of an instance cannot be counted", "address", nameOf(c.address), "err", err)
			continue
		}
		total += n
	}
	return total
}

// cut ends what is left of the flows to the cards.
func (h *Host) cut(ctx context.Context, wires fabric.Networks, cards []card) {
	for _, c := range cards {
		if err := wires.Cut(ctx, c.network, c.address); err != nil && !resource.Is(err, resource.NotFound) {
			h.Log.WarnContext(ctx, "the connections of an instance cannot be cut", "address", nameOf(c.address), "err", err)
		}
	}
}

// cards lists the addresses that an instance has in virtual networks.
func (h *Host) cards(key vmss.InstanceKey) (all []card) {
	for _, k := range h.Store.ReservedBy(key) {
		uid, ok := k.Space.Network()
		if a, err := netip.ParseAddr(k.Name); ok && err == nil {
			all = append(all, card{uid, a})
		}
	}
	return all
}

// drainTime returns how long connections to the instance may go on, which is the
// longest that one of its pools asks for; 0 if no load balancer sends it any. In an
// upgrade both models count: the machine has the old one's cards.
func (h *Host) drainTime(s *scene) time.Duration {
	models := []vmss.Model{s.rev.Model}
	if s.seen.Revision != s.rev.Number {
		if old, ok := store.Get(h.Store, store.Revisions, vmss.RevisionKey{Set: s.key.Set, Number: s.seen.Revision}); ok {
			models = append(models, old.Value.Model)
		}
	}
	var longest time.Duration
	for _, m := range models {
		for _, n := range m.NICs {
			for _, c := range n.IPConfigs {
				for _, id := range c.Pools {
					longest = max(longest, h.drainOf(id))
				}
				if len(c.NATPools) > 0 {
					longest = max(longest, h.Drain)
				}
			}
		}
	}
	return longest
}

// drainOf returns the drain time of a pool, which may be gone by now.
func (h *Host) drainOf(pool string) time.Duration {
	w := wanting{find: h.network}
	r, ref, err := w.resource(pool, network.LoadBalancerKind)
	if err != nil {
		return h.Drain
	}
	for _, p := range r.LoadBalancer.Pools {
		if ref.Is(p.Name) && p.Drain > 0 {
			return p.Drain
		}
	}
	return h.Drain
}
