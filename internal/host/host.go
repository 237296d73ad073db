// Package host runs beside the virtual machines: it carries out the instance
// rows that this host owns, one driver call at a time, and writes down what it
// observed. What to do next is decided by plan.Instance; this package holds no
// policy of its own but the host's capacity.
package host

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/muster-vm/muster/internal/controller"
	"github.com/muster-vm/muster/internal/host/compute"
	"github.com/muster-vm/muster/internal/host/fabric"
	"github.com/muster-vm/muster/internal/metrics"
	"github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/vmss"
)

// Options is what a Host is made of.
type Options struct {
	Name    string // as rows name it
	Driver  compute.Driver
	Fabric  fabric.Fabric
	Store   *store.Store
	Log     *slog.Logger
	Size    func(name string) (vmss.Size, bool)                    // the table of VM sizes
	VCPUs   int                                                    // for instances, overcommit included
	Memory  int                                                    // MB for instances, overcommit included
	Lease   store.Lease                                            // this process's hold on the host; its revision fences driver calls
	Workers int                                                    // default 16
	Grace   time.Duration                                          // for a guest to shut down; default 30 s
	Metrics *metrics.Recorder                                      // hears what machines use; nil for nobody
	Observe func(controller string, took time.Duration, err error) // hears of every reconcile; nil for nobody
	NoLimit bool                                                   // disks may do what the host's can, and not what their type and size allow

	PublicPrefix netip.Prefix // the public addresses that instances get theirs from; zero for none
	Ledger       *Ledger      // shared by the hosts of a process; nil for one of its own
	// Settle returns when everything that was committed so far has been applied to
	// the virtual network; nil when there is nobody to wait for.
	Settle func(ctx context.Context, uid network.UID) error
	Drain  time.Duration // how long connections to a member that leaves go on, unless its pool says; default 30 s
}

// Host carries out the rows of one host. Make it with New, then Run it.
type Host struct {
	Options
	controller *controller.Controller[vmss.InstanceKey]
	driver     inspector
	room       room
	journal    journal
	hashes     sync.Map // vmss.RevisionKey -> string, see passwordHash
	drains     sync.Map // vmss.InstanceKey -> *drain, of those that leave
}

// New returns a host that is not running yet.
func New(o Options) *Host {
	if o.Workers == 0 {
		o.Workers = 16
	}
	if o.Grace == 0 {
		o.Grace = 30 * time.Second
	}
	if o.Ledger == nil {
		o.Ledger = NewLedger(o.Store)
	}
	if o.Drain == 0 {
		o.Drain = 30 * time.Second
	}
	h := &Host{Options: o, driver: inspect(o.Driver)}
	h.room = room{vcpus: o.VCPUs, memory: o.Memory, taken: map[vmss.InstanceKey]claim{}}
	h.journal = journal{store: o.Store, fence: o.Lease.Held(), log: o.Log, pending: map[vmss.InstanceKey]vmss.Observation{}, wake: make(chan struct{}, 1)}
	h.controller = controller.New(controller.Options[vmss.InstanceKey]{Name: "instance", Reconciler: h, List: h.keys,
		Resync: 5 * time.Minute, Workers: o.Workers, Log: o.Log, Observe: o.Observe})
	if n, ok := o.Driver.(compute.Notifier); ok {
		n.Notify(func(id compute.VMID) { h.controller.Poke(keyOf(id)) })
	}
	store.OnChange(o.Store, store.Instances, h.controller.Poke)
	store.OnChange(o.Store, store.Networks, h.pokeMembers)
	return h
}

func keyOf(id compute.VMID) vmss.InstanceKey {
	return vmss.InstanceKey{Set: vmss.UID(id.Set), ID: vmss.InstanceID(id.Instance)}
}

// Close lets go of a host that is not run, or not any more.
func (h *Host) Close() { h.controller.Close() }

// Run carries out rows until ctx is done. The virtual machines live on.
func (h *Host) Run(ctx context.Context) {
	for h.adopt(ctx) != nil {
		select {
		case <-ctx.Done():
			return
		case <-time.After(adoptAgain):
		}
	}
	var wg sync.WaitGroup
	wg.Go(func() { h.journal.run(ctx) })
	wg.Go(func() { h.controller.Run(ctx) })
	wg.Go(func() { h.sample(ctx) })
	wg.Wait()
}

// adoptAgain is how long a host waits that could not take stock.
const adoptAgain = 2 * time.Second

// adopt takes stock of the machines that are there, so that capacity counts
// them before anything new is made.
func (h *Host) adopt(ctx context.Context) error {
	n := 0
	for vm, err := range h.Driver.List(ctx) {
		if err != nil {
			h.Log.WarnContext(ctx, "the virtual machines of the host cannot be listed; trying again", "host", h.Name, "err", err)
			return err
		}
		n++
		if vm.State != compute.Deallocated {
			h.room.hold(keyOf(vm.ID), claim{vm.VCPUs, vm.MemoryMB})
		}
	}
	h.Log.InfoContext(ctx, "host ready", "host", h.Name, "virtual_machines", n, "vcpus", h.VCPUs, "memory_mb", h.Memory)
	return nil
}

// keys lists every row, machine and port of this host, so that a resync finds
// rows whose events were lost and machines whose rows are gone.
func (h *Host) keys(ctx context.Context) ([]vmss.InstanceKey, error) {
	var keys []vmss.InstanceKey
	for vm, err := range h.Driver.List(ctx) {
		if err != nil {
			return keys, err
		}
		keys = append(keys, keyOf(vm.ID))
	}
	ports, err := h.Fabric.Ports(ctx)
	for _, name := range ports {
		if key, ok := portOwner(name); ok {
			keys = append(keys, key)
		}
	}
	for _, set := range store.All(h.Store, store.ScaleSets) {
		for _, rec := range h.Store.Instances(set.Value.UID, -1, 0) {
			keys = append(keys, vmss.InstanceKey{Set: set.Value.UID, ID: rec.Row.Value.ID})
		}
	}
	return keys, err
}
