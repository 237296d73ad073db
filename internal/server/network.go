package server

import (
	"context"
	"time"

	"github.com/muster-vm/muster/internal/arm"
	"github.com/muster-vm/muster/internal/controller"
	"github.com/muster-vm/muster/internal/host"
	"github.com/muster-vm/muster/internal/host/fabric"
	"github.com/muster-vm/muster/internal/host/probe"
	noun "github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/reconcile/network"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
)

// virtualNetworks is what carries virtual networks out.
type virtualNetworks struct {
	*network.Reconciler                 // nil if the hosts carry none
	carrier             fabric.Networks // of their packets
	probes              *probe.Prober   // of load balancers; nil where nothing is there to ask
}

// spacing is how long a network whose rules took long to load is held back at most:
// a member that is not well anymore is to be out of its pool at once.
const spacing = 50 * time.Millisecond

// wireNetworks makes the controller of virtual networks and what they are made
// of, over the fabric that all hosts of this process share. pokeGroup hears of what
// goes, so that its group can.
func (p *Plane) wireNetworks(parts Parts, fence store.Change, pokeGroup func(store.GroupKey)) {
	carrier, ok := parts.networks()
	if !ok {
		return
	}
	p.nets.carrier = carrier
	opts := network.Options{Store: p.store, Fabric: carrier, Fence: fence, Log: parts.Log}
	var changed func(noun.UID)
	if _, wired := carrier.(fabric.Plug); wired {
		p.nets.probes = probe.New(probe.Options{Dial: carrier.DialInside, Log: parts.Log, Changed: func(uid noun.UID) { changed(uid) }})
		opts.Prober = p.nets.probes
	}
	p.nets.Reconciler = network.New(opts)
	c := controller.New(controller.Options[noun.Key]{Name: "network", Workers: 4, Spacing: spacing, Log: parts.Log, Observe: parts.observe(), List: p.nets.Keys, Reconciler: p.nets.Reconciler})
	changed = func(uid noun.UID) { p.nets.WakeNetwork(uid, c.Poke) }
	p.nets.Wake(c.Poke)
	store.OnChange(p.store, store.Networks, func(k noun.Key) { pokeGroup(store.GroupKeyOf(k.Subscription, k.Group)) })
	p.loops = append(p.loops, c)
}

// networkLoops are what runs beside the controllers where there are real networks.
func (p *Plane) networkLoops() (all []func(context.Context)) {
	if p.nets.probes == nil {
		return nil
	}
	meter := &host.BalancerMeter{Fabric: p.nets.carrier, Programs: p.nets.Applied, Healthy: p.nets.probes.Healthy, Record: p.meters.Balancer, Step: p.meters.Step(), Log: p.log}
	return []func(context.Context){p.nets.probes.Run, meter.Run}
}

// balancer returns the load balancer that a path names.
func (p *Plane) balancer(_ context.Context, r *arm.Request) (noun.Resource, error) {
	e, ok := store.Get(p.store, store.Networks, noun.NewKey(noun.LoadBalancerKind, r.Var("subscription"), r.Var("group"), r.Var("balancer")))
	if !ok {
		return noun.Resource{}, resource.Errorf(resource.NotFound, "ResourceNotFound", "The Resource 'Microsoft.Network/loadBalancers/%s' under resource group '%s' was not found.", r.Var("balancer"), r.Var("group"))
	}
	return *e.Value, nil
}

// networks returns the fabric of virtual networks, if the hosts have one.
func (p Parts) networks() (fabric.Networks, bool) {
	if len(p.Hosts) == 0 {
		return nil, false
	}
	carrier, ok := p.Hosts[0].Fabric.(fabric.Networks)
	return carrier, ok
}

// members returns how the members of a load balancer do.
func (p *Plane) members(key noun.Key) ([]noun.Membership, error) {
	if p.nets.Reconciler == nil {
		return nil, nil
	}
	return p.nets.Members(key)
}

// program returns what the packets of a virtual network may do.
func (p *Plane) program(key noun.Key) (noun.Program, error) {
	if p.nets.Reconciler == nil {
		return noun.Program{}, resource.Errorf(resource.Unavailable, "", "The hosts of this server carry no virtual networks.")
	}
	return p.nets.Program(key)
}
