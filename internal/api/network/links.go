package network

import (
	"slices"
	"strings"

	wire "github.com/muster-vm/muster/internal/arm/wire/network"
	noun "github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/store"
)

// links finds who refers to a resource and its children, for what answers show.
func (a *API) links(r noun.Resource) map[wire.Link][]string {
	out := map[wire.Link][]string{}
	for _, e := range store.All(a.Store, store.Networks) {
		for _, u := range noun.Uses(*e.Value) {
			if u.Of.Key == r.Key() {
				out[linkOf(u, e.Value.Kind)] = append(out[linkOf(u, e.Value.Kind)], u.By)
			}
		}
	}
	switch r.Kind {
	case noun.VirtualNetworkKind:
		for subnet, ids := range a.holders(r) {
			link := wire.Link{Child: "subnets/" + subnet, Member: "ipConfigurations"}
			out[link] = append(out[link], ids...)
		}
	case noun.SecurityGroupKind, noun.LoadBalancerKind:
		a.cards(r, out)
	}
	for link := range out {
		slices.Sort(out[link])
		out[link] = slices.Compact(out[link])
	}
	return out
}

// linkOf is the member that shows a use of a resource by one of a kind.
func linkOf(u use, by noun.Kind) wire.Link {
	member := "ipConfigurations"
	switch {
	case by == noun.VirtualNetworkKind:
		member = "subnets"
	case by == noun.NATGatewayKind:
		member = "natGateway"
	case u.Of.Kind == noun.PublicAddressKind:
		member = "ipConfiguration"
	}
	return wire.Link{Child: u.Of.Child, Member: member}
}

// cards adds the network cards of instances that a security group or the pools of a
// load balancer have.
func (a *API) cards(r noun.Resource, out map[wire.Link][]string) {
	for _, e := range store.All(a.Store, store.ScaleSets) {
		models := a.models(*e.Value)
		concerned := false
		for _, m := range models {
			concerned = concerned || slices.ContainsFunc(usesOfModel("", m), func(u use) bool { return u.Of.Key == r.Key() })
		}
		if !concerned {
			continue
		}
		for _, rec := range a.Store.Instances(e.Value.UID, -1, 0) {
			for _, u := range usesOfModel(instanceID(*e.Value, rec.ID), models[rec.Row.Value.Revision]) {
				if u.Of.Key != r.Key() {
					continue
				}
				link := wire.Link{Member: "networkInterfaces"}
				if strings.HasPrefix(u.Of.Child, "backendaddresspools/") {
					link = wire.Link{Child: u.Of.Child, Member: "backendIPConfigurations"}
				} else if u.Of.Child != "" {
					continue
				}
				out[link] = append(out[link], u.By)
			}
		}
	}
}
