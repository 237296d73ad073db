package sim

import (
	"context"
	"encoding/hex"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/muster-vm/muster/internal/host/compute"
	"github.com/muster-vm/muster/internal/population"
	"github.com/muster-vm/muster/internal/resource"
)

// Options configure a driver. The zero value is a host whose guests are ready
// at once and whose calls never fail.
type Options struct {
	Host   string // name of the host, for fault rules and the ledger
	Boot   population.Boot
	Faults []population.Fault
	Load   population.Load
	Seed   uint64
	Image  func(digest string) bool // whether the host has an image; nil for every image
	Ledger *Ledger                  // told of every effect; may be shared by the drivers of a fleet; may be nil
}

// Of returns the options of one host of a population.
func Of(p population.Population, host string) Options {
	return Options{Host: host, Boot: p.Boot, Faults: p.Faults, Load: p.Load, Seed: p.Seed}
}

// Driver is the simulated driver of one host. It implements compute.Driver,
// compute.Getter, compute.Notifier, compute.Meter and compute.Console.
type Driver struct {
	opts Options

	mu        sync.Mutex
	places    map[place]*machine
	order     []*machine // every machine in places, in order of creation; nil where one went
	holes     int        // nils in order
	sets      map[string]string
	lease     int64 // the highest seen
	serial    uint64
	faults    *faults
	alarms    alarms
	timer     *time.Timer
	told      []compute.VMID // to be told by the next tick
	telling   bool           // a tick calls listeners
	closed    bool
	consoles  map[place][]*console // that are open
	listeners []func(compute.VMID)
}

var (
	_ compute.Driver   = (*Driver)(nil)
	_ compute.Getter   = (*Driver)(nil)
	_ compute.Notifier = (*Driver)(nil)
	_ compute.Meter    = (*Driver)(nil)
	_ compute.Console  = (*Driver)(nil)
)

// New returns a host without machines.
func New(opts Options) *Driver {
	return &Driver{
		opts:   opts,
		places: map[place]*machine{},
		sets:   map[string]string{},
		faults: newFaults(opts),
	}
}

// Create implements compute.Driver.
func (d *Driver) Create(ctx context.Context, fence compute.Fence, spec compute.Spec) error {
	if err := d.enter(ctx, fence); err != nil {
		return err
	}
	defer d.mu.Unlock()
	fault, struck := d.faults.strike(population.Create, spec.ID, spec.Name)
	if struck && fault.Effect == population.Nothing {
		return fault.Err()
	}
	if err := d.create(spec, struck && fault.Effect == population.Half); err != nil {
		return err
	}
	if struck {
		return fault.Err()
	}
	return nil
}

// Delete implements compute.Driver.
func (d *Driver) Delete(ctx context.Context, fence compute.Fence, id compute.VMID, disposal compute.Disposal) error {
	if err := d.enter(ctx, fence); err != nil {
		return err
	}
	defer d.mu.Unlock()
	m := d.places[place{id.Set, id.Instance}]
	if m == nil {
		return nil
	}
	fault, struck := d.faults.strike(population.Delete, id, m.name)
	switch {
	case struck && fault.Effect == population.Nothing:
	case struck && fault.Effect == population.Half:
		d.halve(m, id)
	default:
		d.remove(m, id, disposal)
	}
	if struck {
		return fault.Err()
	}
	return nil
}

// Power implements compute.Driver.
func (d *Driver) Power(ctx context.Context, fence compute.Fence, id compute.VMID, want compute.Power) error {
	if err := d.enter(ctx, fence); err != nil {
		return err
	}
	defer d.mu.Unlock()
	m := d.find(id)
	if m == nil {
		return gone(id)
	}
	fault, struck := d.faults.strike(population.Power, id, m.name)
	if struck && fault.Effect == population.Nothing {
		return fault.Err()
	}
	if err := d.power(m, want); err != nil {
		return err
	}
	if struck {
		return fault.Err()
	}
	return nil
}

// Refit implements compute.Driver. A guest always lets go of its disks.
func (d *Driver) Refit(ctx context.Context, fence compute.Fence, spec compute.Spec) error {
	if err := d.enter(ctx, fence); err != nil {
		return err
	}
	defer d.mu.Unlock()
	m := d.find(spec.ID)
	if m == nil {
		return gone(spec.ID)
	}
	fault, struck := d.faults.strike(population.Refit, spec.ID, m.name)
	if struck && fault.Effect == population.Nothing {
		return fault.Err()
	}
	if err := d.refit(m, spec); err != nil {
		return err
	}
	if struck {
		return fault.Err()
	}
	return nil
}

// List implements compute.Driver. It yields machines in order of creation, each
// as it is when its turn comes.
func (d *Driver) List(ctx context.Context) iter.Seq2[compute.VM, error] {
	return func(yield func(compute.VM, error) bool) {
		d.mu.Lock()
		all := append([]*machine(nil), d.order...)
		fault, struck := d.faults.strike(population.List, compute.VMID{}, "")
		d.mu.Unlock()
		if struck {
			yield(compute.VM{}, fault.Err())
			return
		}
		for _, m := range all {
			if err := ctx.Err(); err != nil {
				yield(compute.VM{}, canceled(err))
				return
			}
			if m == nil {
				continue
			}
			if vm, ok := d.snapshot(m); ok && !yield(vm, nil) {
				return
			}
		}
	}
}

// Get implements compute.Getter.
func (d *Driver) Get(ctx context.Context, id compute.VMID) (compute.VM, error) {
	if err := ctx.Err(); err != nil {
		return compute.VM{}, canceled(err)
	}
	d.mu.Lock()
	m := d.places[place{id.Set, id.Instance}]
	d.mu.Unlock()
	if m != nil {
		if vm, ok := d.snapshot(m); ok {
			return vm, nil
		}
	}
	return compute.VM{}, gone(id)
}

// Notify implements compute.Notifier. Callbacks run one after another on the
// driver's timer, never inside a call of the driver.
func (d *Driver) Notify(f func(compute.VMID)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.listeners = append(d.listeners, f)
}

// enter checks what every mutating call must, and leaves the mutex locked if
// the call may go on.
func (d *Driver) enter(ctx context.Context, fence compute.Fence) error {
	if err := ctx.Err(); err != nil {
		return canceled(err)
	}
	d.mu.Lock()
	if fence.Lease < d.lease {
		defer d.mu.Unlock()
		return resource.Errorf(resource.Conflict, "", "The host serves a newer lease (%d) than the caller's (%d).", d.lease, fence.Lease)
	}
	d.lease = fence.Lease
	return nil
}

func (d *Driver) create(spec compute.Spec, half bool) error {
	if err := check(spec); err != nil {
		return err
	}
	hash := sum(spec.Hash())
	m := d.places[place{spec.ID.Set, spec.ID.Instance}]
	if m != nil && m.state != absent {
		switch {
		case m.disks != spec.ID.Disks:
			return resource.Errorf(resource.Conflict, "", "The instance has the machine %s already.", m.id())
		case m.hash != hash:
			return resource.Errorf(resource.Conflict, "", "The machine %s exists with another specification.", m.id())
		case m.state != compute.Incomplete:
			return nil
		}
	}
	if d.opts.Image != nil && !d.opts.Image(spec.Image) {
		return resource.Errorf(resource.NotFound, "ImageNotFound", "The host has no image %s.", spec.Image)
	}
	if m == nil {
		m = d.place(spec.ID)
	}
	d.furnish(m, spec, hash)
	d.opts.Ledger.created(d.opts.Host, spec.ID)
	if half {
		d.enterState(m, compute.Incomplete)
		return nil
	}
	d.boot(m, spec.Boots)
	return nil
}

// check returns what is wrong with a spec for good.
func check(s compute.Spec) error {
	if s.ID.Set == "" || s.VCPUs <= 0 || s.MemoryMB <= 0 || s.Image == "" {
		return resource.Errorf(resource.Invalid, "InvalidParameter", "A machine needs an id, vCPUs, memory and an image.")
	}
	seen := map[int]bool{}
	for _, disk := range s.DataDisks {
		if seen[disk.LUN] {
			return resource.Errorf(resource.Invalid, "InvalidParameter", "Two data disks have the LUN %d.", disk.LUN)
		}
		seen[disk.LUN] = true
	}
	return nil
}

// sum is the short form of a spec's digest.
func sum(digest string) (sum [32]byte) {
	hex.Decode(sum[:], []byte(digest)) //nolint:errcheck // our own hexadecimal digits
	return sum
}

func gone(id compute.VMID) error {
	return resource.Errorf(resource.NotFound, "", "The host has no machine %s.", id)
}

func canceled(err error) error {
	return resource.Errorf(resource.Canceled, "", "The request was canceled.").Because(fmt.Errorf("simulated driver: %w", err))
}
