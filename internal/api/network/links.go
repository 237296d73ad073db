package network

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/muster-vm/muster/internal/arm"
	wire "github.com/muster-vm/muster/internal/arm/wire/network"
	noun "github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/vmss"
)

// linker finds who refers to what, for the answer to one request.
type linker struct {
	*API
	uses   map[noun.Key][]foundUse                         // by resources of this namespace
	models map[vmss.UID]map[vmss.RevisionNumber]vmss.Model // of the sets that were looked at
}

// foundUse is a use, and the kind of what uses.
type foundUse struct {
	use
	by noun.Kind
}

func (a *API) linker() *linker {
	l := &linker{API: a, uses: map[noun.Key][]foundUse{}, models: map[vmss.UID]map[vmss.RevisionNumber]vmss.Model{}}
	for _, e := range store.All(a.Store, store.Networks) {
		for _, u := range noun.Uses(*e.Value) {
			l.uses[u.Of.Key] = append(l.uses[u.Of.Key], foundUse{u, e.Value.Kind})
		}
	}
	return l
}

// links lists who refers to a resource and its children, for what answers show.
func (l *linker) links(r noun.Resource) map[wire.Link][]string {
	out := map[wire.Link][]string{}
	for _, u := range l.uses[r.Key()] {
		out[linkOf(u)] = append(out[linkOf(u)], u.By)
	}
	switch r.Kind {
	case noun.VirtualNetworkKind:
		for subnet, ids := range l.holders(r) {
			link := wire.Link{Child: "subnets/" + subnet, Member: "ipConfigurations"}
			out[link] = append(out[link], ids...)
		}
	case noun.SecurityGroupKind:
		for _, u := range l.cards(r) {
			link := wire.Link{Member: "networkInterfaces"}
			out[link] = append(out[link], u.By)
		}
	}
	for link := range out {
		slices.Sort(out[link])
		out[link] = slices.Compact(out[link])
	}
	return out
}

// linkOf is the member that shows a use of a resource.
func linkOf(u foundUse) wire.Link {
	member := "ipConfigurations"
	switch {
	case u.by == noun.VirtualNetworkKind:
		member = "subnets"
	case u.by == noun.NATGatewayKind:
		member = "natGateway"
	case u.Of.Kind == noun.PublicAddressKind:
		member = "ipConfiguration"
	}
	return wire.Link{Child: u.Of.Child, Member: member}
}

// cards lists the uses of a resource, or of its children, by the network cards of
// instances, in order.
func (l *linker) cards(r noun.Resource) (all []use) {
	for _, e := range store.All(l.Store, store.ScaleSets) {
		models, known := l.models[e.Value.UID]
		if !known {
			models = l.API.models(*e.Value)
			l.models[e.Value.UID] = models
		}
		concerned := false
		for _, m := range models {
			concerned = concerned || slices.ContainsFunc(usesOfModel("", m), func(u use) bool { return u.Of.Key == r.Key() })
		}
		if !concerned {
			continue
		}
		for _, rec := range l.Store.Instances(e.Value.UID, -1, 0) {
			for _, u := range usesOfModel(instanceID(*e.Value, rec.ID), models[rec.Row.Value.Revision]) {
				if u.Of.Key == r.Key() {
					all = append(all, u)
				}
			}
		}
	}
	return all
}

// balancerView is what is found of a load balancer: who is in its pools, and who has
// which port of its NAT pools and rules.
func (l *linker) balancerView(r noun.Resource) wire.BalancerView {
	v := wire.BalancerView{Members: map[string][]resource.ID{}, Ports: map[string][]wire.CardPort{}}
	for _, u := range l.cards(r) {
		pool, ok := strings.CutPrefix(u.Of.Child, "backendaddresspools/")
		if id, err := resource.ParseID(u.By); ok && err == nil {
			v.Members[pool] = append(v.Members[pool], id)
		}
	}
	for _, p := range r.LoadBalancer.NATPools {
		l.ports(r, p.Name, v)
	}
	for _, rule := range r.LoadBalancer.NATRules {
		if rule.Pool != "" {
			l.ports(r, rule.Name, v)
		}
	}
	return v
}

// ports adds the frontend ports that a NAT pool, or a rule over a pool, gave out, in
// order.
func (a *API) ports(r noun.Resource, name string, v wire.BalancerView) {
	name = strings.ToLower(name)
	for port, e := range a.Store.Reserved(noun.PortSpace(r.UID, name)) {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			continue // none of a port's
		}
		has := wire.CardPort{Port: uint16(n)}
		if e.Value.Set == "" {
			has.Address, _ = netip.ParseAddr(e.Value.By)
		} else if set, ok := a.Store.SetByUID(vmss.UID(e.Value.Set)); ok {
			has.Card, has.Address = cardID(*set.Value, *e.Value), a.cardAddress(*e.Value)
		}
		v.Ports[name] = append(v.Ports[name], has)
	}
	slices.SortFunc(v.Ports[name], func(a, b wire.CardPort) int { return cmp.Compare(a.Port, b.Port) })
}

// cardID is the id of the IP configuration that has a reservation.
func cardID(set vmss.ScaleSet, r noun.Reservation) resource.ID {
	return set.ID.Child("virtualMachines", strconv.FormatInt(r.Instance, 10)).Child("networkInterfaces", r.NIC).Child("ipConfigurations", r.Config)
}

// cardAddress is the address of the IP configuration that has a reservation, the zero
// Addr if it has none in a virtual network.
func (a *API) cardAddress(r noun.Reservation) netip.Addr {
	for _, k := range a.Store.ReservedBy(vmss.InstanceKey{Set: vmss.UID(r.Set), ID: vmss.InstanceID(r.Instance)}) {
		other, ok := store.Get(a.Store, store.Reservations, k)
		if ok && other.Value.Subnet != "" && other.Value.NIC == r.NIC && other.Value.Config == r.Config {
			address, _ := netip.ParseAddr(k.Name)
			return address
		}
	}
	return netip.Addr{}
}

// queryPorts answers which frontend ports a member of a pool has.
func (a *API) queryPorts(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	e, err := a.find(ctx, r, noun.LoadBalancerKind)
	if err != nil {
		return nil, err
	}
	query, err := wire.ParsePortQuery(r.Body())
	if err != nil {
		return nil, err
	}
	body, err := wire.RenderPorts(*e.Value, a.linker().balancerView(*e.Value), r.Var("child"), query)
	return &arm.Response{Body: body}, err
}
