package sim

import (
	"context"
	"maps"
	"net"
	"net/netip"
	"slices"

	"github.com/muster-vm/muster/internal/host/fabric"
	"github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/resource"
)

// Apply implements fabric.Networks: it keeps the program.
func (f *Fabric) Apply(ctx context.Context, p network.Program) error {
	if err := canceled(ctx); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.networks[p.Network] = p
	return nil
}

// Remove implements fabric.Networks. Ports that are in the network are detached.
func (f *Fabric) Remove(_ context.Context, uid network.UID) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.networks, uid)
	maps.DeleteFunc(f.ports, func(_ string, at place) bool { return at.network == uid })
	maps.DeleteFunc(f.flows, func(c card, _ int) bool { return c.network == uid })
	return nil
}

// Networks implements fabric.Networks.
func (f *Fabric) Networks(context.Context) ([]network.UID, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(maps.Keys(f.networks)), nil
}

// Hold pretends that a card has n established flows that came to it by a load
// balancer, until they are cut.
func (f *Fabric) Hold(uid network.UID, address netip.Addr, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.flows[card{uid, address}] = n
}

// Flows implements fabric.Networks: there are those that Hold pretends.
func (f *Fabric) Flows(_ context.Context, uid network.UID, address netip.Addr) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.flows[card{uid, address}], f.there(uid)
}

// Cut implements fabric.Networks.
func (f *Fabric) Cut(_ context.Context, uid network.UID, address netip.Addr) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.flows, card{uid, address})
	return f.there(uid)
}

// Traffic implements fabric.Networks: each frontend port has had none.
func (f *Fabric) Traffic(_ context.Context, uid network.UID) ([]fabric.FrontendTraffic, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.networks[uid]
	var all []fabric.FrontendTraffic
	for _, s := range p.Services {
		all = append(all, fabric.FrontendTraffic{Balancer: s.Balancer, Rule: s.Rule})
	}
	return all, f.there(uid)
}

// DialInside implements fabric.Networks: nobody answers.
func (f *Fabric) DialInside(_ context.Context, uid network.UID, to netip.AddrPort) (net.Conn, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.there(uid); err != nil {
		return nil, err
	}
	return nil, resource.Errorf(resource.Unavailable, "SimulatedNetwork",
		"%s is simulated: it has no network, so nothing of it can be reached. Run the server with --driver qemu for real machines.", to)
}

// Send says what becomes of a flow that begins now: what the program that was
// applied last decides. A network that is not there takes nothing.
func (f *Fabric) Send(uid network.UID, flow network.Flow) network.Verdict {
	f.mu.Lock()
	p := f.networks[uid]
	f.mu.Unlock()
	return p.Decide(flow)
}

func (f *Fabric) there(uid network.UID) error {
	if _, ok := f.networks[uid]; !ok {
		return resource.Errorf(resource.NotFound, "", "The virtual network %s is not on this host. It is made when it is applied.", uid)
	}
	return nil
}
