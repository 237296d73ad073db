package network

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	noun "github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/vmss"
)

// look gathers everything that decides about the packets of a virtual network.
// What is to be deleted is not there any more.
func (r *Reconciler) look(v noun.Resource) noun.World {
	w := noun.World{Network: v, Groups: map[noun.Key]noun.SecurityGroup{}, Public: map[noun.Key]noun.Resource{}, Gateways: map[noun.Key]noun.NATGateway{}}
	up := map[netip.Addr]bool{}
	for name, e := range r.Store.Reserved(noun.AddressSpace(v.UID)) {
		if port, running, ok := r.port(name, *e.Value); ok {
			w.Ports = append(w.Ports, port)
			up[port.Address] = running
		}
	}
	slices.SortFunc(w.Ports, func(a, b noun.Port) int { return cmp.Or(strings.Compare(a.Name, b.Name), a.Address.Compare(b.Address)) })
	w.Healthy = func(t noun.Target) (well, known bool) {
		if r.Prober != nil {
			return r.Prober.Healthy(t)
		}
		return up[t.Address], true
	}
	for _, e := range store.All(r.Store, store.Networks) {
		if b := *e.Value; b.Kind == noun.LoadBalancerKind && !b.Deleting && touches(b, w) {
			w.Balancers = append(w.Balancers, b)
		}
	}
	r.gather(&w)
	return w
}

// gather finds what the parts of the world refer to.
func (r *Reconciler) gather(w *noun.World) {
	for key := range uses(*w) {
		e, ok := store.Get(r.Store, store.Networks, key)
		if !ok || e.Value.Deleting {
			continue
		}
		switch {
		case e.Value.SecurityGroup != nil:
			w.Groups[key] = *e.Value.SecurityGroup
		case e.Value.NATGateway != nil:
			w.Gateways[key] = *e.Value.NATGateway
			for _, a := range e.Value.NATGateway.Addresses {
				r.gatherAddress(w, a)
			}
		case e.Value.PublicAddress != nil:
			w.Public[key] = *e.Value
		}
	}
}

func (r *Reconciler) gatherAddress(w *noun.World, key noun.Key) {
	if e, ok := store.Get(r.Store, store.Networks, key); ok && e.Value.PublicAddress != nil {
		w.Public[key] = *e.Value
	}
}

// uses lists the keys of everything that a world refers to.
func uses(w noun.World) map[noun.Key]bool {
	all := map[noun.Key]bool{}
	for _, s := range w.Network.VirtualNetwork.Subnets {
		all[s.SecurityGroup], all[s.NATGateway] = true, true
	}
	for _, p := range w.Ports {
		all[p.Group] = true
		for _, app := range p.Apps {
			all[app] = true
		}
	}
	for _, b := range w.Balancers {
		all[b.Key()] = true
		for _, f := range b.LoadBalancer.Frontends {
			all[f.Public] = true
		}
	}
	for _, g := range w.Gateways {
		for _, a := range g.Addresses {
			all[a] = true
		}
	}
	delete(all, noun.Key{})
	return all
}

// touches reports whether a balancer has to do with the network: a frontend or a
// pool in it, or a member.
func touches(b noun.Resource, w noun.World) bool {
	key, network := b.Key(), w.Network.Key()
	if slices.ContainsFunc(b.LoadBalancer.Frontends, func(f noun.Frontend) bool { return f.Subnet.Key == network }) ||
		slices.ContainsFunc(b.LoadBalancer.Pools, func(p noun.Pool) bool { return p.Network == network }) {
		return true
	}
	return slices.ContainsFunc(w.Ports, func(p noun.Port) bool {
		return slices.ContainsFunc(p.Pools, func(r noun.Ref) bool { return r.Key == key }) ||
			slices.ContainsFunc(p.NAT, func(n noun.NATPort) bool { return n.Pool.Key == key })
	})
}

// port makes the port of an instance's reserved address. running says that its
// guest is up; ok is false if there is no such card.
func (r *Reconciler) port(name string, held noun.Reservation) (p noun.Port, running, ok bool) {
	addr, err := netip.ParseAddr(name)
	if err != nil || held.Set == "" {
		return p, false, false
	}
	instance := vmss.InstanceKey{Set: vmss.UID(held.Set), ID: vmss.InstanceID(held.Instance)}
	rec := r.Store.Instance(instance.Set, instance.ID)
	set, found := r.Store.SetByUID(instance.Set)
	if rec == nil || !found {
		return p, false, false
	}
	row := *rec.Row.Value
	rev, found := store.Get(r.Store, store.Revisions, vmss.RevisionKey{Set: instance.Set, Number: row.Revision})
	if !found {
		return p, false, false
	}
	model := rev.Value.Model
	nic := slices.IndexFunc(model.NICs, func(n vmss.NIC) bool { return strings.EqualFold(n.Name, held.NIC) })
	if nic < 0 {
		return p, false, false
	}
	card := model.NICs[nic]
	config := slices.IndexFunc(card.IPConfigs, func(c vmss.IPConfig) bool { return strings.EqualFold(c.Name, held.Config) })
	if config < 0 {
		return p, false, false
	}
	c := card.IPConfigs[config]
	p = noun.Port{
		Name: vmss.PortName(instance.Set, instance.ID, nic), MAC: vmss.MAC(instance.Set, instance.ID, nic),
		Instance: vmss.InstanceName(set.Value.ID.Name(), instance.ID), Host: vmss.ComputerName(model.OS.ComputerNamePrefix, instance.ID),
		ID:      set.Value.ID.Child("virtualMachines", instance.ID.String()).Child("networkInterfaces", card.Name).Child("ipConfigurations", c.Name).String(),
		Address: addr, Subnet: held.Subnet, Primary: c.Primary, Forwarding: card.Forwarding, Group: keyOf(card.SecurityGroup), Leaving: leaving(row, rec.Seen),
	}
	for _, s := range card.DNS {
		if a, err := netip.ParseAddr(s); err == nil {
			p.DNS = append(p.DNS, a)
		}
	}
	for _, id := range c.AppGroups {
		p.Apps = append(p.Apps, keyOf(id))
	}
	for _, id := range c.Pools {
		p.Pools = append(p.Pools, refOf(id))
	}
	r.addReserved(&p, instance, held, c)
	return p, rec.Seen != nil && rec.Seen.Power == vmss.PowerRunning && !rec.Seen.Provisioned.IsZero(), true
}

// addReserved adds what else the same IP configuration has: a public address, and
// frontend ports.
func (r *Reconciler) addReserved(p *noun.Port, instance vmss.InstanceKey, held noun.Reservation, c vmss.IPConfig) {
	for _, k := range r.Store.ReservedBy(instance) {
		e, ok := store.Get(r.Store, store.Reservations, k)
		if !ok || !strings.EqualFold(e.Value.NIC, held.NIC) || !strings.EqualFold(e.Value.Config, held.Config) {
			continue
		}
		if k.Space == noun.PublicSpace {
			p.Public, _ = netip.ParseAddr(k.Name)
			p.PublicSKU = noun.Basic
			if c.PublicIP != nil && c.PublicIP.Standard {
				p.PublicSKU = noun.Standard
			}
		}
		if uid, pool, ok := k.Space.Balancer(); ok {
			if b, found := r.Store.NetworkByUID(uid); found {
				port, _ := strconv.ParseUint(k.Name, 10, 16)
				p.NAT = append(p.NAT, noun.NATPort{Pool: noun.Ref{Key: b.Value.Key(), Child: pool}, Port: uint16(port)})
			}
		}
	}
	slices.SortFunc(p.NAT, func(a, b noun.NATPort) int {
		return cmp.Or(strings.Compare(a.Pool.Group+"/"+a.Pool.Name, b.Pool.Group+"/"+b.Pool.Name), strings.Compare(a.Pool.Child, b.Pool.Child), cmp.Compare(a.Port, b.Port))
	})
}

// leaving reports whether an instance is on its way down, for good or for a change.
func leaving(row vmss.Instance, seen *vmss.Observation) bool {
	if row.Deleting || row.Power != vmss.PowerRunning {
		return true
	}
	if seen == nil || seen.Provisioned.IsZero() {
		return false // on its way up
	}
	return row.Revision != seen.Revision || row.Disks != seen.Disks || row.DataDisks != seen.DataDisks || row.Boots != seen.Boots
}

func keyOf(id string) noun.Key { return refOf(id).Key }

func refOf(id string) noun.Ref {
	parsed, err := resource.ParseID(id)
	if err != nil {
		return noun.Ref{}
	}
	ref, _ := noun.RefOf(parsed)
	return ref
}
