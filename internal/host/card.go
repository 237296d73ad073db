package host

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"strings"

	"github.com/muster-vm/muster/internal/host/fabric"
	"github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/vmss"
)

// isNetworked reports whether a card of the model is in a virtual network.
func isNetworked(m vmss.Model) bool {
	return slices.ContainsFunc(m.NICs, func(n vmss.NIC) bool {
		return slices.ContainsFunc(n.IPConfigs, func(c vmss.IPConfig) bool { return c.Subnet != "" })
	})
}

// wanting lists what one instance wants.
type wanting struct {
	find    func(network.Key) (network.Resource, bool)
	public  netip.Prefix // of public addresses
	key     vmss.InstanceKey
	wants   []network.Want
	primary []primaryCard // for each NIC
}

// primaryCard is what a NIC's port in the fabric is told of.
type primaryCard struct {
	network network.UID // empty in the default network
	want    int         // index of the want of its address
}

// nics adds everything that the cards of a model want. It fails with Invalid, code
// InvalidResourceReference, for a resource that is not there.
func (w *wanting) nics(m vmss.Model) error {
	for _, n := range m.NICs {
		var card primaryCard
		main := primaryConfig(n)
		for i, c := range n.IPConfigs {
			if c.Subnet == "" {
				continue
			}
			uid, err := w.address(n, c)
			if err != nil {
				return err
			}
			if i == main {
				card = primaryCard{uid, len(w.wants) - 1}
			}
			if err := w.extras(n, c); err != nil {
				return err
			}
		}
		w.primary = append(w.primary, card)
	}
	return nil
}

// primaryConfig returns the index of the IP configuration whose address DHCP gives.
func primaryConfig(n vmss.NIC) int {
	return max(0, slices.IndexFunc(n.IPConfigs, func(c vmss.IPConfig) bool { return c.Primary }))
}

// primaryNIC returns the index of the card that the instance is known by.
func primaryNIC(m vmss.Model) int {
	return max(0, slices.IndexFunc(m.NICs, func(n vmss.NIC) bool { return n.Primary }))
}

func (w *wanting) owner(n vmss.NIC, c vmss.IPConfig) network.Reservation {
	return network.Reservation{Set: string(w.key.Set), Instance: int64(w.key.ID), NIC: n.Name, Config: c.Name}
}

// address adds the private address of a configuration, and returns its network.
func (w *wanting) address(n vmss.NIC, c vmss.IPConfig) (network.UID, error) {
	r, ref, err := w.resource(c.Subnet, network.VirtualNetworkKind)
	if err != nil {
		return "", err
	}
	subnet, ok := r.VirtualNetwork.Subnet(ref.Child)
	if !ok {
		return "", noResource(c.Subnet)
	}
	who := w.owner(n, c)
	who.Subnet = strings.ToLower(subnet.Name)
	w.wants = append(w.wants, network.Want{Space: network.AddressSpace(r.UID), For: who, Within: subnet.Prefix, Of: subnet.Name})
	return r.UID, nil
}

// extras adds a configuration's public address and frontend ports.
func (w *wanting) extras(n vmss.NIC, c vmss.IPConfig) error {
	who := w.owner(n, c)
	if c.PublicIP != nil {
		w.wants = append(w.wants, network.Want{Space: network.PublicSpace, For: who, Within: w.public})
	}
	for _, id := range c.NATPools {
		r, ref, err := w.resource(id, network.LoadBalancerKind)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(r.LoadBalancer.NATPools, func(p network.NATPool) bool { return ref.Is(p.Name) })
		if i < 0 {
			return noResource(id)
		}
		w.port(r, who, r.LoadBalancer.NATPools[i].Name, r.LoadBalancer.NATPools[i].Ports)
	}
	for _, id := range c.Pools {
		r, ref, err := w.resource(id, network.LoadBalancerKind)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(r.LoadBalancer.Pools, func(p network.Pool) bool { return ref.Is(p.Name) }) {
			return noResource(id)
		}
		for _, rule := range r.LoadBalancer.NATRules {
			if ref.Is(rule.Pool) {
				w.port(r, who, rule.Name, rule.Ports)
			}
		}
	}
	return nil
}

// port adds a frontend port of a balancer's NAT pool or rule, once.
func (w *wanting) port(balancer network.Resource, who network.Reservation, name string, ports network.Ports) {
	want := network.Want{Space: network.PortSpace(balancer.UID, strings.ToLower(name)), For: who, Ports: ports, Of: name}
	if !slices.Contains(w.wants, want) {
		w.wants = append(w.wants, want)
	}
}

// resource finds what an id in a model names.
func (w *wanting) resource(id string, kind network.Kind) (network.Resource, network.Ref, error) {
	parsed, err := resource.ParseID(id)
	if err != nil {
		return network.Resource{}, network.Ref{}, noResource(id)
	}
	ref, ok := network.RefOf(parsed)
	if !ok || ref.Kind != kind {
		return network.Resource{}, ref, noResource(id)
	}
	r, ok := w.find(ref.Key)
	if !ok {
		return r, ref, noResource(id)
	}
	return r, ref, nil
}

// noResource is Azure's answer to a reference that leads nowhere.
func noResource(id string) error {
	return resource.Errorf(resource.Invalid, "InvalidResourceReference",
		"Resource %s, which the scale set's model names, was not found. Make it, or let the model name another and upgrade the instance.", id)
}

func (h *Host) wanting(key vmss.InstanceKey, m vmss.Model) (*wanting, error) {
	w := &wanting{key: key, public: h.PublicPrefix, find: h.network}
	return w, w.nics(m)
}

// network finds a resource of Microsoft.Network.
func (h *Host) network(k network.Key) (network.Resource, bool) {
	e, ok := store.Get(h.Store, store.Networks, k)
	if !ok {
		return network.Resource{}, false
	}
	return *e.Value, true
}

// reserve gives the instance, which has no machine or one of just these cards, all
// that they want, takes back what they do not, and returns its ports. It does not
// touch the store for the default network, which chooses addresses itself.
func (h *Host) reserve(ctx context.Context, s *scene) ([]fabric.Port, error) {
	all := ports(s.spec)
	networked := isNetworked(s.rev.Model)
	if !networked && len(h.Store.ReservedBy(s.key)) == 0 {
		return all, nil
	}
	w, err := h.wanting(s.key, s.rev.Model)
	if err != nil {
		return nil, err
	}
	unplug := func() error { return nil }
	if s.vm == nil {
		unplug = func() error { return h.detach(ctx, s.key) } // the wires of cards that it had go before their addresses
	}
	names, err := h.Ledger.assign(ctx, h.Lease.Held(), func() []network.Held { return h.Ledger.held(s.key) }, w.wants, unplug)
	if err != nil {
		return nil, err
	}
	var uids []network.UID
	for i, card := range w.primary {
		if card.network == "" {
			continue
		}
		if all[i].Address, err = netip.ParseAddr(names[card.want]); err != nil {
			return nil, err
		}
		all[i].Network = card.network
		uids = append(uids, card.network)
	}
	return all, h.applied(ctx, uids)
}

// applied waits until everything that was committed is applied to the networks. It
// fails with Unavailable if that takes too long.
func (h *Host) applied(ctx context.Context, uids []network.UID) error {
	if h.Settle == nil {
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, settleLimit)
	defer cancel()
	for i, uid := range uids {
		if slices.Contains(uids[:i], uid) {
			continue
		}
		if err := h.Settle(limited, uid); limited.Err() != nil && ctx.Err() == nil {
			return notReady(err)
		} else if err != nil {
			return err
		}
	}
	return nil
}

// notReady is the failure of an instance whose network lags behind.
func notReady(why error) error {
	return resource.Errorf(resource.Unavailable, "VirtualNetworkNotReady", "The host has not brought the instance's virtual network up to date yet. It tries again.").Because(why)
}

// attach gives the instance's cards their addresses, or finds those that they have,
// and brings them into the fabric.
func (h *Host) attach(ctx context.Context, s *scene) error {
	all, err := h.reserve(ctx, s)
	if err != nil {
		return err
	}
	for i, p := range all {
		lease, err := h.Fabric.Attach(ctx, p)
		if resource.Is(err, resource.NotFound) && p.Network != "" {
			return notReady(err)
		}
		if err != nil {
			return err
		}
		if i == primaryNIC(s.rev.Model) {
			s.seen.Address, s.seen.MAC = cmp.Or(nameOf(p.Address), addressOf(lease.Address)), p.MAC
		}
	}
	return nil
}

func addressOf(p netip.Prefix) string { return nameOf(p.Addr()) }

func nameOf(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// catchUp gives a machine that runs the frontend ports and public addresses that it
// has come to want since it was made, such as one for a new rule over its pool, and
// takes back those that it does not want any more. Its own addresses stay as they
// are.
func (h *Host) catchUp(ctx context.Context, s *scene) error {
	w, err := h.wanting(s.key, s.rev.Model)
	if err != nil {
		return err
	}
	wants := slices.DeleteFunc(w.wants, func(w network.Want) bool { return w.For.Subnet != "" })
	has := func() []network.Held {
		return slices.DeleteFunc(h.Ledger.held(s.key), func(h network.Held) bool { return h.For.Subnet != "" })
	}
	_, err = h.Ledger.assign(ctx, h.Lease.Held(), has, wants, func() error { return nil })
	return err
}

// detach takes all cards of an instance out of the fabric.
func (h *Host) detach(ctx context.Context, key vmss.InstanceKey) error {
	for nic := range maxNICs {
		if err := h.Fabric.Detach(ctx, vmss.PortName(key.Set, key.ID, nic)); err != nil {
			return err
		}
	}
	return nil
}

// giveBack frees what the instance had of what is given out once.
func (h *Host) giveBack(ctx context.Context, key vmss.InstanceKey) error {
	if len(h.Store.ReservedBy(key)) == 0 {
		return nil
	}
	_, err := h.Ledger.assign(ctx, h.Lease.Held(), func() []network.Held { return h.Ledger.held(key) }, nil, func() error { return nil })
	return err
}

// pokeMembers has everybody looked at again who is in a virtual network, when a load
// balancer has changed that gives members ports by rules over its pools. What nobody
// wants any more may wait for the next resync.
func (h *Host) pokeMembers(k network.Key) {
	if k.Kind != network.LoadBalancerKind {
		return
	}
	r, ok := h.network(k)
	if !ok || !slices.ContainsFunc(r.LoadBalancer.NATRules, func(r network.NATRule) bool { return r.Pool != "" }) {
		return
	}
	for _, e := range store.Each(h.Store, store.Reservations) {
		if e.Value.Set != "" && e.Value.Subnet != "" {
			h.controller.Poke(vmss.InstanceKey{Set: vmss.UID(e.Value.Set), ID: vmss.InstanceID(e.Value.Instance)})
		}
	}
}
