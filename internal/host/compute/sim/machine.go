package sim

import (
	"encoding/hex"
	"slices"
	"time"

	"github.com/muster-vm/muster/internal/host/compute"
	"github.com/muster-vm/muster/internal/population"
	"github.com/muster-vm/muster/internal/resource"
)

// absent is the state of a machine of which only disks are left.
const absent compute.State = ""

// place is where an instance's one machine may be.
type place struct {
	set      string
	instance int64
}

// machine is a virtual machine, or the disks that one left behind. A hundred
// thousand of them must fit in tens of megabytes: mind the size.
type machine struct {
	place
	disks      int64 // generation of the OS disk
	name       string
	hash, fit  [32]byte
	state      compute.State
	goal       compute.State // while stopping: what comes next
	boots      int64
	restart    int64 // while stopping with goal Running: the boot number to come
	booted     uint32
	at         uint32 // index in Driver.order
	since      time.Time
	vcpus      int32
	memoryMB   int32
	fault      string
	os         uint64 // serial of the OS disk; 0 for none
	data       []disk
	deadline   int64 // of the change that time brings, in ns since 1970; 0 for none
	alarmIndex int
}

// disk is a data disk. A new serial is a new, empty disk.
type disk struct {
	lun        int
	generation int64
	volume     string // names the content, which is not the instance's; empty for its own
	serial     uint64
}

func (m *machine) id() compute.VMID {
	return compute.VMID{Set: m.set, Instance: m.instance, Disks: m.disks}
}

// snapshot returns what List tells of the machine; false if there is none.
func (d *Driver) snapshot(m *machine) (compute.VM, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if m.state == absent {
		return compute.VM{}, false
	}
	vm := compute.VM{
		ID: m.id(), Hash: hex.EncodeToString(m.hash[:]), Fit: hex.EncodeToString(m.fit[:]), State: m.state, Boots: m.boots, Since: m.since,
		VCPUs: int(m.vcpus), MemoryMB: int(m.memoryMB), Fault: m.fault,
	}
	if m.state == compute.Running {
		vm.Agent, vm.OSName, vm.OSVersion = "simulated", "linux", "1"
	}
	return vm, true
}

// find returns the machine of exactly this id, or nil.
func (d *Driver) find(id compute.VMID) *machine {
	m := d.places[place{id.Set, id.Instance}]
	if m == nil || m.state == absent || m.disks != id.Disks {
		return nil
	}
	return m
}

// place makes an empty place for an instance.
func (d *Driver) place(id compute.VMID) *machine {
	set, ok := d.sets[id.Set]
	if !ok {
		set = id.Set
		d.sets[set] = set
	}
	m := &machine{place: place{set, id.Instance}, at: uint32(len(d.order)), alarmIndex: -1}
	d.places[m.place] = m
	d.order = append(d.order, m)
	return m
}

// vacate forgets a machine of which nothing is left.
func (d *Driver) vacate(m *machine) {
	delete(d.places, m.place)
	d.order[m.at] = nil
	d.holes++
	if d.holes < 64 || d.holes < len(d.order)/2 {
		return
	}
	d.order = slices.DeleteFunc(d.order, func(m *machine) bool { return m == nil })
	for i, m := range d.order {
		m.at = uint32(i)
	}
	d.holes = 0
}

// furnish gives a machine its hardware and disks. Disks that are there already
// stay what they are.
func (d *Driver) furnish(m *machine, spec compute.Spec, hash [32]byte) {
	if m.os == 0 || m.disks != spec.ID.Disks {
		m.os = d.newSerial()
	}
	m.disks, m.name, m.hash = spec.ID.Disks, spec.Name, hash
	m.vcpus, m.memoryMB = int32(spec.VCPUs), int32(spec.MemoryMB)
	d.fit(m, spec)
}

// refit gives a whole machine other disks or limits.
func (d *Driver) refit(m *machine, spec compute.Spec) error {
	if err := check(spec); err != nil {
		return err
	}
	switch {
	case m.state == compute.Incomplete:
		return resource.Errorf(resource.Conflict, "", "The machine %s is incomplete; create or delete it first.", m.id())
	case m.hash != sum(spec.Hash()):
		return resource.Errorf(resource.Conflict, "", "The machine %s exists with another specification.", m.id())
	case m.fit != sum(spec.Fit()):
		d.fit(m, spec)
		d.tell(m.id())
	}
	return nil
}

// fit gives a machine its data disks.
func (d *Driver) fit(m *machine, spec compute.Spec) {
	m.fit = sum(spec.Fit())
	m.data = slices.DeleteFunc(m.data, func(have disk) bool {
		return !slices.ContainsFunc(spec.DataDisks, func(want compute.Disk) bool { return have.lun == want.LUN })
	})
	for _, want := range spec.DataDisks {
		i := slices.IndexFunc(m.data, func(have disk) bool { return have.lun == want.LUN })
		switch {
		case i < 0:
			m.data = append(m.data, disk{want.LUN, want.Generation, want.Volume, d.newSerial()})
		case m.data[i].generation != want.Generation || m.data[i].volume != want.Volume:
			m.data[i] = disk{want.LUN, want.Generation, want.Volume, d.newSerial()}
		}
	}
}

func (d *Driver) newSerial() uint64 {
	d.serial++
	return d.serial
}

// halve leaves the machine as an interrupted deletion does.
func (d *Driver) halve(m *machine, id compute.VMID) {
	if m.state != absent && m.disks == id.Disks {
		d.enterState(m, compute.Incomplete)
	}
}

// remove ends the machine and disposes of its disks. A machine of another disk
// generation is left alone; disks alone go whatever the generation.
func (d *Driver) remove(m *machine, id compute.VMID, disposal compute.Disposal) {
	if m.state != absent {
		if m.disks != id.Disks {
			return
		}
		d.enterState(m, absent)
		m.boots, m.booted, m.fault = 0, 0, ""
		d.opts.Ledger.deleted(d.opts.Host, id)
	}
	if disposal != compute.KeepDisks {
		m.os = 0
	}
	if disposal == compute.All {
		m.data = nil
	}
	if m.os == 0 && len(m.data) == 0 {
		d.vacate(m)
	}
}

// power moves the machine toward a power state.
func (d *Driver) power(m *machine, want compute.Power) error {
	if m.state == compute.Incomplete {
		return resource.Errorf(resource.Conflict, "", "The machine %s is incomplete; create or delete it first.", m.id())
	}
	switch want.Want {
	case compute.Running:
		d.run(m, want)
	case compute.Stopped, compute.Deallocated:
		d.stop(m, want)
	case compute.Incomplete, compute.Starting, compute.Stopping:
		fallthrough
	default:
		return resource.Errorf(resource.Invalid, "InvalidParameter", "%q is not a power state that can be asked for.", want.Want)
	}
	return nil
}

func (d *Driver) run(m *machine, want compute.Power) {
	boots := max(want.Boots, m.boots)
	switch m.state {
	case compute.Starting, compute.Running:
		if want.Boots > m.boots {
			m.restart = boots
			d.shutDown(m, compute.Running, want)
		}
	case compute.Stopping:
		if m.goal != compute.Running || boots > m.restart {
			m.goal, m.restart = compute.Running, boots
		}
		if !want.Graceful {
			d.boot(m, m.restart)
		}
	default:
		d.boot(m, boots)
	}
}

func (d *Driver) stop(m *machine, want compute.Power) {
	switch m.state {
	case compute.Starting, compute.Running:
		d.shutDown(m, want.Want, want)
	case compute.Stopping:
		m.goal = want.Want
		if !want.Graceful {
			d.enterState(m, want.Want)
		}
	case want.Want:
	default:
		d.enterState(m, want.Want)
	}
}

// shutDown ends a boot, at once or by asking the guest, on the way to goal.
func (d *Driver) shutDown(m *machine, goal compute.State, want compute.Power) {
	wait := min(d.opts.Boot.Shutdown, want.Grace)
	m.goal = goal
	if !want.Graceful || wait <= 0 {
		d.stopped(m)
		return
	}
	d.enterState(m, compute.Stopping)
	d.wake(m, wait)
}

// stopped carries on when the guest has shut down.
func (d *Driver) stopped(m *machine) {
	if m.goal == compute.Running {
		d.boot(m, m.restart)
		return
	}
	d.enterState(m, m.goal)
}

// boot starts the guest; time, or a fault, brings it up.
func (d *Driver) boot(m *machine, boots int64) {
	m.boots = max(boots, m.boots)
	m.booted++
	d.opts.Ledger.add(Effect{Host: d.opts.Host, Op: "boot", ID: m.id()})
	d.enterState(m, compute.Starting)
	m.fault = ""
	if _, struck := d.faults.strike(population.Hang, m.id(), m.name); struck {
		return
	}
	b := d.opts.Boot
	if took := b.Base + jitter(d.opts.Seed, m, b.Jitter); took > 0 {
		d.wake(m, took)
		return
	}
	d.booting(m)
}

// booting ends the boot one way or the other.
func (d *Driver) booting(m *machine) {
	if fault, struck := d.faults.strike(population.NoBoot, m.id(), m.name); struck {
		d.enterState(m, compute.Stopped)
		m.fault = fault.Text()
		return
	}
	d.enterState(m, compute.Running)
}

// enterState changes the state now, cancels what time would have brought, and
// has the listeners told.
func (d *Driver) enterState(m *machine, s compute.State) {
	if m.state != s || s == compute.Starting {
		m.state, m.since = s, time.Now()
	}
	d.alarms.cancel(m)
	d.toConsoles(m)
	d.tell(m.id())
}

// due carries out the change that time brings.
func (d *Driver) due(m *machine) {
	switch m.state {
	case compute.Starting:
		d.booting(m)
	case compute.Stopping:
		d.stopped(m)
	}
}
