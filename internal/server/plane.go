package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/muster-vm/muster/internal/api/compute"
	"github.com/muster-vm/muster/internal/api/fleet"
	"github.com/muster-vm/muster/internal/api/insights"
	"github.com/muster-vm/muster/internal/api/network"
	"github.com/muster-vm/muster/internal/api/resources"
	"github.com/muster-vm/muster/internal/arm"
	"github.com/muster-vm/muster/internal/controller"
	noun "github.com/muster-vm/muster/internal/disk"
	"github.com/muster-vm/muster/internal/host"
	driver "github.com/muster-vm/muster/internal/host/compute"
	"github.com/muster-vm/muster/internal/host/fabric"
	"github.com/muster-vm/muster/internal/host/image"
	"github.com/muster-vm/muster/internal/identity"
	"github.com/muster-vm/muster/internal/metrics"
	nouns "github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/reconcile/disk"
	"github.com/muster-vm/muster/internal/reconcile/garbage"
	"github.com/muster-vm/muster/internal/reconcile/group"
	"github.com/muster-vm/muster/internal/reconcile/set"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/telemetry"
	"github.com/muster-vm/muster/internal/vmss"
)

// Parts are what a Plane is made of.
type Parts struct {
	Config   Config
	Backend  store.Backend
	Identity *identity.Identity
	Images   *image.Catalogue
	Prices   *vmss.Prices // nil for none
	Hosts    []HostPart
	// Archive opens where the series of scale sets are kept; nil keeps them in
	// memory.
	Archive   func(context.Context) (metrics.Archive, error)
	Telemetry *telemetry.Telemetry // nil for none
	Log       *slog.Logger

	Vault    Vault                     // nil for a simulated one
	Machines *Machines                 // is told where instances are; nil if nobody asks
	Adopt    func(noun.UID, noun.Made) // hears of the contents that were made, for a vault that forgets; nil for nobody
}

// HostPart is a host that this process runs instances on.
type HostPart struct {
	Place  vmss.Host // what it offers to placement
	Driver driver.Driver
	Fabric fabric.Fabric
}

// Plane is a control plane with its hosts: the API as a handler, and what
// carries out what was asked. Make it with Assemble, then Run it.
type Plane struct {
	Handler http.Handler

	log    *slog.Logger
	store  *store.Store
	leases []store.Lease
	hosts  []*host.Host
	ledger *host.Ledger       // of what hosts give out once
	disks  *disk.Reconciler   // of managed disks, snapshots and images
	loops  []loop             // the controllers
	meters *metrics.Recorder  // of what all hosts' machines use
	ways   *fleet.Streams     // consoles and tunnels
	nets   virtualNetworks    // and what carries them; zero if the hosts carry none
	stop   context.CancelFunc // ends the store's watch
	wg     sync.WaitGroup     // of the store's watch
}

// loop is a controller, whatever its keys.
type loop interface {
	Run(context.Context)
	Close()
}

// Assemble loads the state, takes the leases that keep other processes from
// doing the same work, and wires everything. It waits while another process
// holds a lease. Close it when it is not needed any more.
func Assemble(ctx context.Context, parts Parts) (p *Plane, err error) {
	parts = parts.withVault()
	p = &Plane{log: parts.Log}
	if p.store, err = store.Open(ctx, parts.backend(), parts.Log); err != nil {
		return nil, err
	}
	watch, stop := context.WithCancel(context.WithoutCancel(ctx))
	p.stop = stop
	p.wg.Go(func() { p.store.Run(watch) })
	defer func() {
		if err != nil {
			p.Close()
		}
	}()
	lead, err := p.acquire(ctx, "control-plane")
	if err != nil {
		return nil, err
	}
	p.adopt(parts)
	p.prune(ctx, parts)
	parts.Machines.bind(p.store, parts.Hosts)
	p.wireReconcilers(parts, lead.Held())
	if err := p.wireMetrics(ctx, parts); err != nil {
		return nil, err
	}
	p.ledger = host.NewLedger(p.store)
	for _, part := range parts.Hosts {
		if err := p.wireHost(ctx, parts, part); err != nil {
			return nil, err
		}
	}
	if p.nets.Reconciler != nil {
		if err := p.nets.Sweep(ctx); err != nil {
			p.log.WarnContext(ctx, "remove virtual networks of which there is no record", "err", err)
		}
	}
	p.Handler, err = p.wireAPI(parts)
	return p, err
}

// prune removes the files of images that nobody uses.
func (p *Plane) prune(ctx context.Context, parts Parts) {
	used, err := p.images(parts)
	if err == nil {
		err = parts.Images.Prune(used)
	}
	if err != nil {
		p.log.WarnContext(ctx, "remove images that nobody uses", "err", err)
	}
}

func (p *Plane) acquire(ctx context.Context, name string) (store.Lease, error) {
	waiting := time.AfterFunc(2*time.Second, func() {
		p.log.WarnContext(ctx, "waiting for a lease that another server holds", "lease", name)
	})
	defer waiting.Stop()
	lease, err := p.store.Acquire(ctx, name)
	if err == nil {
		p.leases = append(p.leases, lease)
	}
	return lease, err
}

// wireReconcilers makes the controllers of the control plane and the pokes that
// wake them.
func (p *Plane) wireReconcilers(parts Parts, fence store.Change) {
	sets := controller.New(controller.Options[vmss.UID]{Name: "set", Workers: 4, Log: parts.Log, Observe: parts.observe(), List: p.setUIDs,
		Reconciler: &set.Reconciler{Store: p.store, Hosts: parts.places, Size: vmss.SizeNamed, Fence: fence, Check: parts.Config.CheckPlan, Log: parts.Log}})
	groups := controller.New(controller.Options[store.GroupKey]{Name: "group", Log: parts.Log, Observe: parts.observe(), List: p.groupKeys,
		Reconciler: &group.Reconciler{Store: p.store, Fence: fence, Log: parts.Log}})
	rubbish := controller.New(controller.Options[struct{}]{Name: "garbage", Log: parts.Log, Observe: parts.observe(),
		List:       func(context.Context) ([]struct{}, error) { return []struct{}{{}}, nil },
		Reconciler: &garbage.Reconciler{Store: p.store, Fence: fence, Log: parts.Log}})
	p.loops = append(p.loops, sets, groups, rubbish)
	p.wireDisks(parts, fence, groups.Poke)
	p.wireNetworks(parts, fence, groups.Poke)

	store.OnChange(p.store, store.ScaleSets, func(k vmss.Key) {
		if e, ok := store.Get(p.store, store.ScaleSets, k); ok {
			sets.Poke(e.Value.UID)
		}
		groups.Poke(store.GroupKeyOf(k.Subscription, k.Group))
	})
	store.OnChange(p.store, store.Groups, groups.Poke)
	store.OnChange(p.store, store.Networks, func(k nouns.Key) { groups.Poke(store.GroupKeyOf(k.Subscription, k.Group)) })
	ofInstance := func(k vmss.InstanceKey) { sets.Poke(k.Set) }
	store.OnChange(p.store, store.Instances, ofInstance)
	store.OnChange(p.store, store.Observations, ofInstance)
	store.OnChange(p.store, store.Customizations, ofInstance)
	store.OnChange(p.store, store.Operations, func(k vmss.OperationKey) {
		if k.Set != "" {
			sets.Poke(k.Set)
		}
	})
}

func (p *Plane) setUIDs(context.Context) ([]vmss.UID, error) {
	var all []vmss.UID
	for _, e := range store.All(p.store, store.ScaleSets) {
		all = append(all, e.Value.UID)
	}
	return all, nil
}

func (p *Plane) groupKeys(context.Context) ([]store.GroupKey, error) {
	var all []store.GroupKey
	for _, e := range store.All(p.store, store.Groups) {
		all = append(all, store.GroupKeyOf(e.Value.Subscription, e.Value.Name))
	}
	return all, nil
}

func (p *Plane) wireHost(ctx context.Context, parts Parts, part HostPart) error {
	lease, err := p.acquire(ctx, "host/"+part.Place.Name)
	if err != nil {
		return err
	}
	opts := host.Options{Name: part.Place.Name, Driver: part.Driver, Fabric: part.Fabric, Store: p.store, Log: parts.Log,
		Size: vmss.SizeNamed, VCPUs: part.Place.VCPUs, Memory: part.Place.MemoryMB, Lease: lease, Observe: parts.observe(), NoLimit: !parts.Config.Host.DiskLimits, PublicPrefix: parts.Config.Network.public(), Drain: parts.Config.Network.drain(), Ledger: p.ledger}
	if parts.Config.sampling() > 0 {
		opts.Metrics = p.meters
	}
	if p.nets.probes != nil { // there are packets, which need their network at once
		opts.Settle = p.nets.Settle
	}
	p.hosts = append(p.hosts, host.New(opts))
	return nil
}

// wireAPI makes the handler of everything that clients can ask.
func (p *Plane) wireAPI(parts Parts) (http.Handler, error) {
	c := parts.Config
	locations := []string{c.Location}
	subscription := resource.Subscription{ID: parts.Identity.SubscriptionID(), TenantID: parts.Identity.TenantID(), Name: "Muster"}
	explainer := &set.Reconciler{Store: p.store, Hosts: parts.places, Size: vmss.SizeNamed, Log: parts.Log}
	rm := &resources.API{Store: groups{p.store}, Subscription: subscription, Locations: locations, Zones: c.Host.Zones, Providers: providers()}
	sets := &compute.API{Store: p.store, Images: parts.Images, Group: rm.Group, Explain: explainer.Explain, Subscription: subscription.ID, Locations: locations,
		Zones: c.Host.Zones, MaxCapacity: c.Limits.Capacity, Quotas: c.Quotas, Progress: p.disks.Progress}
	nets := &network.API{Store: p.store, Group: rm.Group, Subscription: subscription.ID, Locations: locations, Zones: c.Host.Zones, Public: c.Network.public()}
	rm.Resources = func(ctx context.Context) []resource.Summary {
		return append(sets.Resources(ctx), nets.Resources(ctx)...)
	}
	rm.Tag = func(ctx context.Context, id resource.ID, change func(map[string]string) (map[string]string, error)) (map[string]string, error) {
		if nets.Owns(id) {
			return nets.Tag(ctx, id, change)
		}
		return sets.Tag(ctx, id, change)
	}
	rm.Blocked, sets.HoldNetworks = nets.CheckGroup, nets.Hold
	p.ways = fleet.NewStreams(guests{p.hosts}, parts.Log)
	own := &fleet.API{Store: p.store, Explain: explainer.Explain, Set: sets.ScaleSet, Prices: parts.Prices, Streams: p.ways, Program: p.program, Members: p.members}
	measured := &insights.API{Store: p.store, Metrics: p.meters, Set: sets.ScaleSet, Balancer: p.balancer}
	routes := slices.Concat(rm.Routes(), sets.Routes(), nets.Routes(), own.Routes(), measured.Routes(), publicRoutes(parts), p.metricsRoutes(parts))
	handler, err := arm.NewServer(routes, parts.Identity, parts.Identity, parts.Log)
	if err != nil {
		return nil, err
	}
	handler.Serves = parts.Identity.Serves
	if parts.Telemetry != nil {
		handler.Observe = parts.Telemetry.Request
	}
	return handler, nil
}

// places lists the hosts as placement sees them.
func (p Parts) places() []vmss.Host {
	all := make([]vmss.Host, len(p.Hosts))
	for i, h := range p.Hosts {
		all[i] = h.Place
	}
	return all
}

// Run carries out what is asked until ctx is done; machines live on. It returns
// an error if a lease was lost: whoever holds it now shall be alone.
func (p *Plane) Run(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var wg sync.WaitGroup
	for _, l := range p.loops {
		wg.Go(func() { l.Run(ctx) })
	}
	for _, h := range p.hosts {
		wg.Go(func() { h.Run(ctx) })
	}
	for _, run := range p.networkLoops() {
		wg.Go(func() { run(ctx) })
	}
	for _, l := range p.leases {
		wg.Go(func() {
			select {
			case <-ctx.Done():
			case <-l.Lost:
				stop(fmt.Errorf("the lease %q was lost: the state store did not hear of this server in time, and another may have taken over", l.Name))
			}
		})
	}
	wg.Go(func() {
		<-ctx.Done()
		p.ways.Close()
	})
	wg.Wait()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// Close gives back the leases and stops following the state. The backend is the
// caller's.
func (p *Plane) Close() {
	if p.ways != nil {
		p.ways.Close()
	}
	for _, l := range p.loops {
		l.Close()
	}
	for _, h := range p.hosts {
		h.Close()
	}
	if p.meters != nil {
		_ = p.meters.Close() // at worst the last minutes are missing; nothing depends on them
	}
	for _, l := range p.leases {
		l.Release()
	}
	p.stop()
	p.wg.Wait()
}
