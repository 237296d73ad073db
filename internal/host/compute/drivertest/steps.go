package drivertest

import (
	"strings"

	"github.com/muster-vm/muster/internal/host/compute"
	"github.com/muster-vm/muster/internal/resource"
)

// steps are in the order of the story.
var steps = []step{
	{"CreatingAgainChangesNothing", createAgain},
	{"OneInstanceHasOneMachine", oneMachine},
	{"OlderLeaseIsRefused", olderLease},
	{"ListAndGetAgree", listAndGet},
	{"TheMeterCountsWhatRuns", meter},
	{"RestartHappensOncePerBootNumber", restartOnce},
	{"RefitChangesDisksAndLimitsWithoutARestart", refit},
	{"StoppedAndDeallocatedMachinesComeBack", stopAndStart},
	{"NewDriverAdoptsTheMachine", adopt},
	{"ReimageMakesAnOSDiskAndKeepsData", reimage},
	{"OtherHardwareKeepsAllDisks", resize},
}

func createAgain(b *bench, spec *compute.Spec) {
	boot, disks := b.bootID(spec.ID), b.disks(spec.ID)
	b.create(*spec)
	again := *spec
	again.Boots += 3 // not part of the spec's hash: only Power restarts
	b.create(again)
	vm := b.await(spec.ID, compute.Running, spec.Boots)
	if vm.Hash != spec.Hash() {
		b.Errorf("hash is %s, want the spec's, %s", vm.Hash, spec.Hash())
	}
	b.rebooted(spec.ID, boot, false)
	for name := range disks {
		b.sameDisk(name, disks, b.disks(spec.ID))
	}
}

func oneMachine(b *bench, spec *compute.Spec) {
	other := *spec
	other.MemoryMB++
	b.refused("Create with another spec", b.Driver.Create(b.Context(), b.fence, other), resource.Conflict)
	next := *spec
	next.ID.Disks++
	b.refused("Create of the next disk generation", b.Driver.Create(b.Context(), b.fence, next), resource.Conflict)
	b.refused("Power of the next disk generation",
		b.Driver.Power(b.Context(), b.fence, next.ID, compute.Power{Want: compute.Stopped}), resource.NotFound)
	if err := b.Driver.Delete(b.Context(), b.fence, next.ID, compute.All); err != nil {
		b.Errorf("Delete of a generation that is not there: %v", err)
	}
	if all := b.list(); len(all) != 1 {
		b.Errorf("got %d machines, want 1: %v", len(all), all)
	}
	b.await(spec.ID, compute.Running, spec.Boots)
}

func olderLease(b *bench, spec *compute.Spec) {
	boot := b.bootID(spec.ID)
	old := b.fence
	b.fence.Lease += 5
	b.create(*spec) // the driver learns of the newer lease
	old.Generation += 100
	b.refused("Create", b.Driver.Create(b.Context(), old, *spec), resource.Conflict)
	b.refused("Delete", b.Driver.Delete(b.Context(), old, spec.ID, compute.All), resource.Conflict)
	b.refused("Power", b.Driver.Power(b.Context(), old, spec.ID, compute.Power{Want: compute.Stopped}), resource.Conflict)
	b.refused("Refit", b.Driver.Refit(b.Context(), old, *spec), resource.Conflict)
	b.await(spec.ID, compute.Running, spec.Boots)
	b.rebooted(spec.ID, boot, false)
}

func listAndGet(b *bench, spec *compute.Spec) {
	listed := b.await(spec.ID, compute.Running, spec.Boots)
	if listed.VCPUs != spec.VCPUs || listed.MemoryMB != spec.MemoryMB || listed.Since.IsZero() {
		b.Errorf("List: got %+v, want the spec's %d vCPUs and %d MB, and a time", listed, spec.VCPUs, spec.MemoryMB)
	}
	getter, ok := b.Driver.(compute.Getter)
	if !ok {
		return
	}
	next, stranger := spec.ID, spec.ID
	next.Disks++
	stranger.Instance += 1000
	for _, id := range []compute.VMID{spec.ID, next} {
		got, err := getter.Get(b.Context(), id)
		if err != nil || got.ID != spec.ID || got.Hash != listed.Hash || got.State != listed.State || got.Boots != listed.Boots {
			b.Errorf("Get %s: got %+v, %v; want %+v", id, got, err, listed)
		}
	}
	_, err := getter.Get(b.Context(), stranger)
	b.refused("Get of an instance without machine", err, resource.NotFound)
}

func meter(b *bench, spec *compute.Spec) {
	if _, ok := b.Driver.(compute.Meter); !ok {
		return
	}
	var last compute.Usage
	for range 3 {
		var u compute.Usage
		if !b.Wait(func() (ok bool) {
			u, ok = b.usage(spec.ID)
			return ok && u.CPU >= 0 && u.DiskRead >= 0 && u.DiskWrites >= 0 && u.At.After(last.At)
		}) {
			b.Fatalf("a running machine is not metered, or not in full: %+v", u)
		}
		switch {
		case u.VCPUs != spec.VCPUs || u.Run == 0:
			b.Errorf("got %+v, want %d vCPUs and a run", u, spec.VCPUs)
		case last.Run != 0 && last.Run != u.Run:
			b.Errorf("the run was %d and is %d, without a restart", last.Run, u.Run)
		case u.AvailableMemory > int64(spec.MemoryMB)<<20:
			b.Errorf("%d bytes are available of %d MB", u.AvailableMemory, spec.MemoryMB)
		case u.CPU < last.CPU || u.DiskRead < last.DiskRead || u.DiskWritten < last.DiskWritten || u.DiskReads < last.DiskReads || u.DiskWrites < last.DiskWrites:
			b.Errorf("counters went down from %+v to %+v", last, u)
		}
		last = u
	}
}

func restartOnce(b *bench, spec *compute.Spec) {
	boot, disks := b.bootID(spec.ID), b.disks(spec.ID)
	spec.Boots++
	want := compute.Power{Want: compute.Running, Boots: spec.Boots}
	b.power(spec.ID, want)
	b.power(spec.ID, want)
	b.await(spec.ID, compute.Running, spec.Boots)
	b.rebooted(spec.ID, boot, true)

	boot = b.bootID(spec.ID)
	b.power(spec.ID, want)
	b.power(spec.ID, compute.Power{Want: compute.Running, Boots: spec.Boots - 1})
	b.await(spec.ID, compute.Running, spec.Boots)
	b.rebooted(spec.ID, boot, false)
	for name := range disks {
		b.sameDisk(name, disks, b.disks(spec.ID))
	}
}

func stopAndStart(b *bench, spec *compute.Spec) {
	disks := b.disks(spec.ID)
	stop := compute.Power{Want: compute.Stopped, Graceful: true, Grace: b.Grace}
	b.power(spec.ID, stop)
	b.power(spec.ID, stop)
	b.await(spec.ID, compute.Stopped, spec.Boots)
	if _, ok := b.usage(spec.ID); ok {
		b.Errorf("a stopped machine is metered")
	}
	b.power(spec.ID, stop)
	b.power(spec.ID, compute.Power{Want: compute.Deallocated})
	b.await(spec.ID, compute.Deallocated, spec.Boots)
	b.create(*spec) // exists: stays as it is
	b.await(spec.ID, compute.Deallocated, spec.Boots)
	if b.Reopen != nil {
		b.Driver = b.Reopen()
		b.await(spec.ID, compute.Deallocated, spec.Boots)
	}
	spec.Boots++
	b.power(spec.ID, compute.Power{Want: compute.Running, Boots: spec.Boots})
	b.await(spec.ID, compute.Running, spec.Boots)
	for name := range disks {
		b.sameDisk(name, disks, b.disks(spec.ID))
	}
}

func adopt(b *bench, spec *compute.Spec) {
	if b.Reopen == nil {
		return
	}
	boot, before := b.bootID(spec.ID), b.await(spec.ID, compute.Running, spec.Boots)
	b.Driver = b.Reopen()
	after := b.await(spec.ID, compute.Running, spec.Boots)
	if after.Hash != before.Hash {
		b.Errorf("hash was %s and is now %s", before.Hash, after.Hash)
	}
	old := compute.Fence{Lease: b.fence.Lease - 1}
	b.refused("Power with a lease older than any seen before the restart",
		b.Driver.Power(b.Context(), old, spec.ID, compute.Power{Want: compute.Stopped}), resource.Conflict)
	b.create(*spec)
	b.await(spec.ID, compute.Running, spec.Boots)
	b.rebooted(spec.ID, boot, false)
}

func reimage(b *bench, spec *compute.Spec) {
	before := b.disks(spec.ID)
	b.remove(spec.ID, compute.KeepData)
	b.remove(spec.ID, compute.KeepData)
	spec.ID.Disks++
	spec.Guest.InstanceID += "x"
	spec.Boots++
	b.running(*spec)
	after := b.disks(spec.ID)
	b.newDisk("os", before, after)
	for name := range before {
		if strings.HasPrefix(name, "data") {
			b.sameDisk(name, before, after)
		}
	}
}

func resize(b *bench, spec *compute.Spec) {
	before := b.disks(spec.ID)
	b.power(spec.ID, compute.Power{Want: compute.Deallocated})
	b.await(spec.ID, compute.Deallocated, spec.Boots)
	b.remove(spec.ID, compute.KeepDisks)
	b.remove(spec.ID, compute.KeepDisks)
	spec.MemoryMB += 16
	spec.Boots++
	b.running(*spec)
	for name := range before {
		b.sameDisk(name, before, b.disks(spec.ID))
	}
}
