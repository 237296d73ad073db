package drivertest

import (
	"testing"
	"time"

	"github.com/muster-vm/muster/internal/host/compute"
	"github.com/muster-vm/muster/internal/resource"
)

// Fixture is a driver under test, with no machines, and what the suite needs to
// know of it. The optional members make the suite stricter.
type Fixture struct {
	Driver compute.Driver

	// Spec returns a small valid spec of an instance, with disk generation 1,
	// Boots 1, and one data disk of generation 1 at LUN 0 if the driver has
	// data disks. The same number must give the same spec.
	Spec func(instance int64) compute.Spec

	// Wait returns true as soon as cond holds, and false when the driver had
	// as much time as it may need for a boot.
	Wait func(cond func() bool) bool

	// Expensive says that a boot costs seconds of processor time: the suite
	// then uses two machines and six boots.
	Expensive bool

	// Reopen (optional) returns a new driver over the same machines, as a
	// server has after it was killed. The old one is not used any more.
	Reopen func() compute.Driver

	// Disks (optional) returns an identity of each disk of the instance, "os"
	// and "data{lun}": it changes when the disk is made anew and not otherwise.
	Disks func(id compute.VMID) map[string]string

	// Volume (optional) makes the content of a managed disk of this name, empty and
	// of one GB, and returns a function that reports whether it is still there. Disks
	// shows a volume by its name, if at all.
	Volume func(name string) (there func() bool)

	// BootID (optional) returns something that differs in every boot of the
	// machine's guest.
	BootID func(id compute.VMID) string

	// Missing (optional) is an image that the driver does not have.
	Missing string

	// Grace is the longest time that a graceful stop may take; a minute if zero.
	Grace time.Duration
}

// bench is a fixture at work in one test.
type bench struct {
	*testing.T
	Fixture
	fence compute.Fence
}

func newBench(t *testing.T, open func(t *testing.T) Fixture) *bench {
	t.Helper()
	b := &bench{T: t, Fixture: open(t), fence: compute.Fence{Lease: 10, Generation: 1}}
	if b.Grace == 0 {
		b.Grace = time.Minute
	}
	return b
}

func (b *bench) create(spec compute.Spec) {
	b.Helper()
	if err := b.Driver.Create(b.Context(), b.fence, spec); err != nil {
		b.Fatalf("Create %s: %v", spec.ID, err)
	}
}

// running creates a machine and waits until its guest is up.
func (b *bench) running(spec compute.Spec) {
	b.Helper()
	b.create(spec)
	b.await(spec.ID, compute.Running, spec.Boots)
}

func (b *bench) remove(id compute.VMID, disposal compute.Disposal) {
	b.Helper()
	if err := b.Driver.Delete(b.Context(), b.fence, id, disposal); err != nil {
		b.Fatalf("Delete %s: %v", id, err)
	}
	b.absent(id)
}

// absent waits until the machine is gone.
func (b *bench) absent(id compute.VMID) {
	b.Helper()
	if !b.Wait(func() bool { _, ok := b.vm(id); return !ok }) {
		vm, _ := b.vm(id)
		b.Fatalf("deleted machine is still there: %+v", vm)
	}
}

func (b *bench) power(id compute.VMID, want compute.Power) {
	b.Helper()
	if err := b.Driver.Power(b.Context(), b.fence, id, want); err != nil {
		b.Fatalf("Power %s to %s: %v", id, want.Want, err)
	}
}

// await waits until the machine is in a state, with a boot number.
func (b *bench) await(id compute.VMID, want compute.State, boots int64) compute.VM {
	b.Helper()
	var vm compute.VM
	if !b.Wait(func() bool {
		vm, _ = b.vm(id)
		return vm.State == want && vm.Boots == boots
	}) {
		b.Fatalf("machine %s: want state %s with boot number %d, got %+v", id, want, boots, vm)
	}
	return vm
}

// list returns all machines by id and fails on an id that comes twice.
func (b *bench) list() map[compute.VMID]compute.VM {
	b.Helper()
	all := map[compute.VMID]compute.VM{}
	for vm, err := range b.Driver.List(b.Context()) {
		if err != nil {
			b.Fatalf("List: %v", err)
		}
		if _, twice := all[vm.ID]; twice {
			b.Errorf("List yields %s twice", vm.ID)
		}
		all[vm.ID] = vm
	}
	return all
}

// vm finds one machine in the list, and checks that Get agrees that it exists.
func (b *bench) vm(id compute.VMID) (compute.VM, bool) {
	b.Helper()
	vm, ok := b.list()[id]
	return vm, ok
}

// usage meters one machine; false if it is not metered, or the driver has no
// meter.
func (b *bench) usage(id compute.VMID) (compute.Usage, bool) {
	b.Helper()
	m, ok := b.Driver.(compute.Meter)
	if !ok {
		return compute.Usage{}, false
	}
	for u := range m.Meter(b.Context()) {
		if u.ID == id {
			return u, true
		}
	}
	return compute.Usage{}, false
}

// refused checks the kind of an error.
func (b *bench) refused(what string, err error, want resource.Kind) {
	b.Helper()
	if !resource.Is(err, want) {
		b.Errorf("%s: got error %v, want kind %s", what, err, want)
	}
}

// disks returns the identities of the disks, or nil if the fixture cannot tell.
func (b *bench) disks(id compute.VMID) map[string]string {
	if b.Disks == nil {
		return nil
	}
	return b.Disks(id)
}

// sameDisk and newDisk compare one disk before and after.
func (b *bench) sameDisk(name string, before, after map[string]string) {
	b.Helper()
	if b.Disks != nil && before[name] != after[name] {
		b.Errorf("disk %s was %q and is now %q: it should have been kept", name, before[name], after[name])
	}
}

func (b *bench) newDisk(name string, before, after map[string]string) {
	b.Helper()
	if b.Disks == nil {
		return
	}
	if after[name] == "" || before[name] == after[name] {
		b.Errorf("disk %s was %q and is now %q: it should have been made anew", name, before[name], after[name])
	}
}

func (b *bench) bootID(id compute.VMID) string {
	if b.BootID == nil {
		return ""
	}
	return b.BootID(id)
}

// rebooted checks whether the guest booted again since an earlier boot id.
func (b *bench) rebooted(id compute.VMID, before string, want bool) {
	b.Helper()
	if b.BootID == nil {
		return
	}
	if after := b.BootID(id); (after != before) != want {
		b.Errorf("boot id was %q and is now %q: booted again should be %t", before, after, want)
	}
}
