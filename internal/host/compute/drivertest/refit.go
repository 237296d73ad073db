package drivertest

import (
	"fmt"
	"slices"

	"github.com/muster-vm/muster/internal/host/compute"
	"github.com/muster-vm/muster/internal/resource"
)

// refitted refits a machine and checks that it says so, and that it did not boot
// again if it ran.
func (b *bench) refitted(spec compute.Spec) {
	b.Helper()
	for range 2 { // the second time there is nothing to do
		if err := b.Driver.Refit(b.Context(), b.fence, spec); err != nil {
			b.Fatalf("Refit %s: %v", spec.ID, err)
		}
		if vm, _ := b.vm(spec.ID); vm.Fit != spec.Fit() || vm.Hash != spec.Hash() {
			b.Fatalf("after Refit: got %+v, want it to fit %s", vm, spec.Fit())
		}
	}
}

// fits waits until a machine that has been started has its limits, too.
func (b *bench) fits(spec compute.Spec) {
	b.Helper()
	if !b.Wait(func() bool { vm, _ := b.vm(spec.ID); return vm.Fit == spec.Fit() }) {
		vm, _ := b.vm(spec.ID)
		b.Fatalf("machine %s does not fit %s: %+v", spec.ID, spec.Fit(), vm)
	}
}

func refit(b *bench, spec *compute.Spec) {
	boot, before := b.bootID(spec.ID), b.disks(spec.ID)
	b.fits(*spec)
	b.refitted(*spec)
	other := *spec
	other.MemoryMB++
	b.refused("Refit to other hardware", b.Driver.Refit(b.Context(), b.fence, other), resource.Conflict)
	next := *spec
	next.ID.Disks++
	b.refused("Refit of the next disk generation", b.Driver.Refit(b.Context(), b.fence, next), resource.NotFound)
	if len(spec.DataDisks) == 0 {
		return
	}
	all := spec.DataDisks
	more := *spec
	more.OSLimit = compute.Limit{IOPS: 500, MBps: 60}
	more.DataDisks = append(slices.Clone(all), compute.Disk{LUN: 7, SizeGB: 1, Generation: 9, Limit: compute.Limit{IOPS: 120, MBps: 25}})
	b.refitted(more)
	for name := range before {
		b.sameDisk(name, before, b.disks(spec.ID))
	}
	attached := b.disks(spec.ID)
	b.newDisk("data7", before, attached)

	fewer := more
	fewer.DataDisks = more.DataDisks[len(all):] // the disks it was made with go, one that came later stays
	b.refitted(fewer)
	b.sameDisk("data7", attached, b.disks(spec.ID))
	for _, d := range all {
		if name := fmt.Sprintf("data%d", d.LUN); b.disks(spec.ID)[name] != "" {
			b.Errorf("disk %s is still there after it was detached", name)
		}
	}
	b.refitted(*spec)
	for _, d := range all { // the same again are other disks
		b.newDisk(fmt.Sprintf("data%d", d.LUN), before, b.disks(spec.ID))
	}
	b.await(spec.ID, compute.Running, spec.Boots)
	b.rebooted(spec.ID, boot, false)
	b.sameDisk("os", before, b.disks(spec.ID))
}

func refitStopped(b *bench) {
	spec := b.Spec(0)
	b.running(spec)
	b.power(spec.ID, compute.Power{Want: compute.Deallocated})
	b.await(spec.ID, compute.Deallocated, spec.Boots)
	before := b.disks(spec.ID)
	spec.OSLimit.IOPS = 500
	spec.DataDisks = append(slices.Clone(spec.DataDisks), compute.Disk{LUN: 7, SizeGB: 1, Generation: 1})
	b.refitted(spec)
	b.await(spec.ID, compute.Deallocated, spec.Boots)
	after := b.disks(spec.ID)
	b.newDisk("data7", before, after)
	b.power(spec.ID, compute.Power{Want: compute.Running, Boots: spec.Boots + 1})
	b.await(spec.ID, compute.Running, spec.Boots+1)
	b.fits(spec)
	for name := range after {
		b.sameDisk(name, after, b.disks(spec.ID))
	}
	last(b, spec)
}

func volumes(b *bench) {
	if b.Volume == nil {
		return
	}
	there := b.Volume("managed-1")
	spec := b.Spec(0)
	own := spec.DataDisks
	with := append(slices.Clone(own), compute.Disk{LUN: 5, Volume: "managed-1", Limit: compute.Limit{IOPS: 120}})
	stays := func(after string) {
		b.Helper()
		if !there() {
			b.Fatalf("the managed disk is gone after %s", after)
		}
	}
	spec.DataDisks = with
	b.running(spec)
	b.fits(spec)
	spec.DataDisks = own
	b.refitted(spec)
	stays("it was detached")
	spec.DataDisks = with
	b.refitted(spec)
	b.remove(spec.ID, compute.KeepData)
	stays("the machine was deleted keeping data")
	spec.ID.Disks++
	b.running(spec)
	b.remove(spec.ID, compute.KeepDisks)
	stays("the machine was deleted keeping disks")
	b.running(spec)
	b.remove(spec.ID, compute.All)
	stays("the instance was deleted")
	other := b.Spec(1) // it is free for another
	other.DataDisks = with
	b.running(other)
	last(b, other)
	stays("another instance that had it was deleted")
}
