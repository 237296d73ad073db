// Package plane is the part of a server that keeps a load balancer's members, wired
// as the server does it, over a virtual network that the kernel carries: store,
// controller, prober and bridge. Its instances are namespaces that are plugged in
// where their taps would be. It runs in a network namespace with a /run/netns that
// nobody else uses.
package plane

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/muster-vm/muster/internal/controller"
	"github.com/muster-vm/muster/internal/host/fabric"
	"github.com/muster-vm/muster/internal/host/fabric/bridge"
	"github.com/muster-vm/muster/internal/host/probe"
	noun "github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/reconcile/network"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/store/memstore"
	"github.com/muster-vm/muster/internal/vmss"
)

const (
	set     = vmss.UID("p9set")
	virtual = noun.UID("p9net")
	name    = "p9" // of the fabric
)

// Outside is the namespace of a machine beyond the host.
const Outside = "p9-out"

// Namespace returns the namespace of a member.
func Namespace(member int) string { return fmt.Sprintf("p9-m%d", member) }

// Options is what a Plane balances. The API takes no probe with an interval below
// 5 s; a Plane does.
type Options struct {
	Dir     string           // for the fabric's files; exists
	Front   netip.Addr       // public address of the load balancer, on port 80
	Members []netip.AddrPort // in 10.0.0.0/24, all on the port of the first
	Probe   noun.Probe
}

// outsideScript makes a machine beyond the host, which has a default route to it.
const outsideScript = `set -eu
ip netns add "$1"
ip link add p9-eth0 type veth peer name eth0 netns "$1"
ip addr add 192.0.2.2/24 dev p9-eth0
ip link set p9-eth0 up
ip route add default via 192.0.2.1
ip -n "$1" link set lo up
ip -n "$1" addr add 192.0.2.1/24 dev eth0
ip -n "$1" link set eth0 up
ip -n "$1" route add "$2" via 192.0.2.2
`

// plugScript plugs a guest in where the tap of its port was in the namespace $2: $1 is
// the guest, $3 its MAC, $4 its address, $5 its gateway, and $6 the tap as ip showed
// it.
const plugScript = `set -eu
tap=$(echo "$6" | sed -n 's/^[0-9]*: \([^:@]*\)[:@].*/\1/p')
bridge=$(echo "$6" | sed -n 's/.* master \([^ ]*\) .*/\1/p')
ip netns add "$1"
ip link add eth0 netns "$1" address "$3" type veth peer name "$tap" netns "$2"
ip -n "$2" link set "$tap" master "$bridge"
ip -n "$2" link set "$tap" type bridge_slave isolated on
ip -n "$2" link set "$tap" up
ip -n "$1" link set lo up
ip -n "$1" addr add "$4" dev eth0
ip -n "$1" link set eth0 up
ip -n "$1" route add default via "$5"
`

// Plane is a running one. Make it with Open.
type Plane struct {
	Options
	fabric *timedFabric
	prober *probe.Prober
	nets   *network.Reconciler
	stop   func()
}

// timedFabric notes how long the last program took to be applied.
type timedFabric struct {
	*bridge.Fabric
	mu   sync.Mutex
	last time.Duration
}

// Apply implements fabric.Networks.
func (f *timedFabric) Apply(ctx context.Context, p noun.Program) error {
	begin := time.Now()
	err := f.Fabric.Apply(ctx, p)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last = time.Since(begin)
	return err
}

// Open makes a plane whose members are plugged in and do not listen yet. It is for
// one Plane at a time.
func Open(ctx context.Context, o Options) (p *Plane, err error) {
	log := slog.New(slog.DiscardHandler)
	if out, err := exec.CommandContext(ctx, "/bin/sh", "-c", outsideScript, "outside", Outside, o.Front.String()).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("the outside: %w: %s", err, out)
	}
	kernel, err := bridge.Open(ctx, bridge.Options{Name: name, Dir: o.Dir, PublicRouted: true, Log: log})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	session := memstore.New().Open()
	p = &Plane{Options: o, fabric: &timedFabric{Fabric: kernel}}
	p.stop = func() {
		cancel()
		running.Wait()
		session.Close()                                                                       //nolint:errcheck // a store in memory
		kernel.Destroy(context.WithoutCancel(ctx))                                            //nolint:errcheck // the namespaces go with this process
		exec.CommandContext(context.WithoutCancel(ctx), "ip", "link", "del", "p9-eth0").Run() //nolint:errcheck // likewise
	}
	defer func() {
		if err != nil {
			p.stop()
		}
	}()
	s, err := store.Open(ctx, session, log)
	if err != nil {
		return nil, err
	}
	running.Go(func() { s.Run(ctx) })
	lease, err := s.Acquire(ctx, "plane")
	if err != nil {
		return nil, err
	}
	if _, err := s.Commit(ctx, o.records()...); err != nil {
		return nil, err
	}
	var c *controller.Controller[noun.Key]
	p.prober = probe.New(probe.Options{Dial: kernel.DialInside, Log: log, Changed: func(uid noun.UID) { p.nets.WakeNetwork(uid, c.Poke) }})
	p.nets = network.New(network.Options{Store: s, Fabric: p.fabric, Prober: p.prober, Fence: lease.Held(), Log: log})
	c = controller.New(controller.Options[noun.Key]{Name: "network", Workers: 4, Spacing: 50 * time.Millisecond, Log: log, List: p.nets.Keys, Reconciler: p.nets})
	p.nets.Wake(c.Poke)
	running.Go(func() { c.Run(ctx) })
	running.Go(func() { p.prober.Run(ctx) })
	if err := p.nets.Settle(ctx, virtual); err != nil {
		return nil, err
	}
	for i := range o.Members {
		if err := p.plug(ctx, i); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// records is what the store has.
func (o Options) records() []store.Change {
	port := o.Members[0].Port()
	id := func(kind noun.Kind, name string) resource.ID {
		return resource.In("bench", "p9", "Microsoft.Network", string(kind), name)
	}
	vnet := noun.Resource{ID: id(noun.VirtualNetworkKind, "net"), UID: virtual, Kind: noun.VirtualNetworkKind, VirtualNetwork: &noun.VirtualNetwork{
		Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16")}, Subnets: []noun.Subnet{{Name: "front", Prefix: netip.MustParsePrefix("10.0.0.0/24")}}}}
	pip := noun.Resource{ID: id(noun.PublicAddressKind, "pip"), UID: "p9pip", Kind: noun.PublicAddressKind, SKU: noun.Standard,
		PublicAddress: &noun.PublicAddress{Static: true, Address: o.Front}}
	group := noun.Resource{ID: id(noun.SecurityGroupKind, "nsg"), UID: "p9nsg", Kind: noun.SecurityGroupKind, SecurityGroup: &noun.SecurityGroup{Rules: []noun.Rule{
		{Name: "web", Priority: 100, Direction: noun.Inbound, Access: noun.Allow, Protocol: noun.TCP, Source: noun.Peer{Any: true}, Destination: noun.Peer{Any: true}, Ports: []noun.Ports{{First: port, Last: port}}}}}}
	lb := noun.Resource{ID: id(noun.LoadBalancerKind, "lb"), UID: "p9lb", Kind: noun.LoadBalancerKind, SKU: noun.Standard, LoadBalancer: &noun.LoadBalancer{
		Frontends: []noun.Frontend{{Name: "fe", Public: pip.Key()}}, Pools: []noun.Pool{{Name: "be"}}, Probes: []noun.Probe{o.Probe},
		Rules: []noun.BalancingRule{{Name: "http", Frontend: "fe", Pools: []string{"be"}, Probe: o.Probe.Name, Protocol: noun.TCP, FrontendPort: 80, BackendPort: port, Idle: 4, Distribution: noun.FiveTuple}}}}
	scaleSet := vmss.ScaleSet{ID: resource.In("bench", "p9", "Microsoft.Compute", "virtualMachineScaleSets", "web"), UID: set, Revision: 1}
	model := vmss.Model{NICs: []vmss.NIC{{Name: "nic", Primary: true, SecurityGroup: group.ID.String(), IPConfigs: []vmss.IPConfig{{Name: "ip", Primary: true,
		Subnet: vnet.ID.Child("subnets", "front").String(), Pools: []string{lb.ID.Child("backendAddressPools", "be").String()}}}}}}
	changes := []store.Change{store.Put(store.ScaleSets, scaleSet.Key(), scaleSet), store.Put(store.Revisions, vmss.RevisionKey{Set: set, Number: 1}, vmss.Revision{Number: 1, Model: model})}
	for _, r := range []noun.Resource{vnet, pip, group, lb} {
		changes = append(changes, store.Put(store.Networks, r.Key(), r))
	}
	for i, m := range o.Members {
		key := vmss.InstanceKey{Set: set, ID: vmss.InstanceID(i)}
		changes = append(changes,
			store.Put(store.Instances, key, vmss.Instance{ID: key.ID, Revision: 1, Power: vmss.PowerRunning, Disks: 1}),
			store.Put(store.Observations, key, vmss.Observation{Power: vmss.PowerRunning, Revision: 1, Disks: 1, Provisioned: time.Unix(1, 0)}),
			store.Put(store.Reservations, noun.ReservationKey{Space: noun.AddressSpace(virtual), Name: m.Addr().String()},
				noun.Reservation{Set: string(set), Instance: int64(i), NIC: "nic", Config: "ip", Subnet: "front"}))
	}
	return changes
}

// plug plugs the namespace of a member in where the tap of its port would be.
func (p *Plane) plug(ctx context.Context, i int) error {
	at := fabric.Port{Name: vmss.PortName(set, vmss.InstanceID(i), 0), MAC: vmss.MAC(set, vmss.InstanceID(i), 0), Network: virtual, Address: p.Members[i].Addr()}
	lease, err := p.fabric.Attach(ctx, at)
	if err != nil {
		return err
	}
	found, err := filepath.Glob("/run/netns/muster-" + name + "-*")
	if err != nil || len(found) != 1 {
		return errors.Join(fmt.Errorf("the namespaces of virtual networks are %s, want one", found), err)
	}
	inner := filepath.Base(found[0])
	file, err := p.fabric.Open(ctx, at.Name)
	if err != nil {
		return err
	}
	tap, err := exec.CommandContext(ctx, "ip", "-n", inner, "-o", "link", "show", "type", "tun").Output() //nolint:gosec // a namespace of ours
	if err := errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("find the tap of %s: %w", at.Name, err)
	}
	out, err := exec.CommandContext(ctx, "/bin/sh", "-c", plugScript, "plug", Namespace(i), inner, at.MAC, //nolint:gosec // ours
		lease.Address.String(), lease.Gateway.String(), strings.TrimSpace(string(tap))).CombinedOutput()
	if err != nil {
		return fmt.Errorf("plug in %s: %w: %s", at.Name, err, out)
	}
	return nil
}

// Taken reports whether the rules that were applied last choose a member.
func (p *Plane) Taken(member int) bool {
	for _, applied := range p.nets.Applied() {
		for _, s := range applied.Services {
			if slices.Contains(s.Members, p.Members[member]) {
				return true
			}
		}
	}
	return false
}

// State returns what the prober knows of a member.
func (p *Plane) State(member int) probe.State {
	s, _ := p.prober.State(noun.TargetOf(virtual, p.Members[member].Addr(), p.Probe))
	return s
}

// LastApply returns how long the program that was applied last took to be.
func (p *Plane) LastApply() time.Duration {
	p.fabric.mu.Lock()
	defer p.fabric.mu.Unlock()
	return p.fabric.last
}

// Close ends what runs, and removes what the kernel carries.
func (p *Plane) Close() { p.stop() }
