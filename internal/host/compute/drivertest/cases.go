package drivertest

import (
	"context"
	"fmt"
	"sync"

	"github.com/muster-vm/muster/internal/host/compute"
	"github.com/muster-vm/muster/internal/resource"
)

// cases are for drivers whose boots are cheap; the story covers the first two.
var cases = []testCase{
	{"WithoutMachinesThereIsNothing", nothing},
	{"MachinesDoNotDisturbEachOther", neighbours},
	{"ConcurrentCreatesMakeOneMachine", concurrentCreates},
	{"ReimageAllMakesDataDisksAnew", reimageAll},
	{"ADataDiskThatIsNotWantedAnyMoreIsRemoved", detach},
	{"AStoppedMachineIsRefittedToo", refitStopped},
	{"ManagedDisksAreNeverRemoved", volumes},
	{"KeptDisksGoWithTheInstance", keptDisksGo},
	{"OldGenerationDoesNotTouchTheNew", oldGeneration},
	{"StartingAStoppedMachineKeepsItsBootNumber", startAgain},
	{"GracefulRestartHappensOnce", gracefulRestart},
	{"HardStopOvertakesAGracefulOne", hardStop},
	{"StopOfAStartingMachineHolds", stopWhileStarting},
	{"ListenersHearOfEveryMachine", notifications},
	{"CanceledCallsDoNothing", canceled},
}

// nothing checks a driver without machines, and what can never become one.
func nothing(b *bench) {
	b.Helper()
	spec := b.Spec(0)
	if all := b.list(); len(all) != 0 {
		b.Errorf("List yields %v, want nothing", all)
	}
	b.refused("Power of a machine that is not there",
		b.Driver.Power(b.Context(), b.fence, spec.ID, compute.Power{Want: compute.Running, Boots: 9}), resource.NotFound)
	if err := b.Driver.Delete(b.Context(), b.fence, spec.ID, compute.All); err != nil {
		b.Errorf("Delete of a machine that is not there: %v", err)
	}
	b.refused("Refit of a machine that is not there", b.Driver.Refit(b.Context(), b.fence, spec), resource.NotFound)
	bad := spec
	bad.VCPUs = 0
	b.refused("Create without vCPUs", b.Driver.Create(b.Context(), b.fence, bad), resource.Invalid)
	if b.Missing != "" {
		bad = spec
		bad.Image = b.Missing
		b.refused("Create from a missing image", b.Driver.Create(b.Context(), b.fence, bad), resource.NotFound)
	}
	if _, ok := b.vm(spec.ID); ok {
		b.remove(spec.ID, compute.All) // a refused Create may leave a half
	}
}

// neighbour checks that another instance comes and goes beside those that are
// there, without waiting for its boot.
func neighbour(b *bench) {
	b.Helper()
	before := b.list()
	spec := b.Spec(1)
	b.create(spec)
	if all := b.list(); len(all) != len(before)+1 {
		b.Errorf("got %d machines, want %d: %v", len(all), len(before)+1, all)
	}
	b.remove(spec.ID, compute.All)
	for id, vm := range before {
		b.await(id, vm.State, vm.Boots)
	}
}

func neighbours(b *bench) {
	spec := b.Spec(0)
	b.running(spec)
	neighbour(b)
	last(b, spec)
}

func concurrentCreates(b *bench) {
	spec := b.Spec(0)
	var calls sync.WaitGroup
	for range 8 {
		calls.Go(func() {
			if err := b.Driver.Create(b.Context(), b.fence, spec); err != nil {
				b.Errorf("Create: %v", err)
			}
		})
	}
	calls.Wait()
	b.await(spec.ID, compute.Running, spec.Boots)
	if all := b.list(); len(all) != 1 {
		b.Errorf("got %d machines, want 1: %v", len(all), all)
	}
}

func reimageAll(b *bench) {
	spec := b.Spec(0)
	b.running(spec)
	before := b.disks(spec.ID)
	b.remove(spec.ID, compute.KeepData)
	spec.ID.Disks++
	spec.DataDisks = append([]compute.Disk(nil), spec.DataDisks...)
	for i := range spec.DataDisks {
		spec.DataDisks[i].Generation++
	}
	b.running(spec)
	for name := range before {
		b.newDisk(name, before, b.disks(spec.ID))
	}
	last(b, spec)
}

func detach(b *bench) {
	spec := b.Spec(0)
	b.running(spec)
	before := b.disks(spec.ID)
	all := spec.DataDisks
	b.remove(spec.ID, compute.KeepDisks)
	spec.DataDisks = nil
	b.running(spec)
	without := b.disks(spec.ID)
	if b.Disks != nil && len(without) != len(before)-len(all) {
		b.Errorf("disks are %v after the data disks were left out of %v", without, before)
	}
	b.sameDisk("os", before, without)
	b.remove(spec.ID, compute.KeepDisks)
	spec.DataDisks = all // the same again are other disks
	b.running(spec)
	for _, d := range all {
		b.newDisk(fmt.Sprintf("data%d", d.LUN), before, b.disks(spec.ID))
	}
	last(b, spec)
}

func keptDisksGo(b *bench) {
	spec := b.Spec(0)
	b.running(spec)
	b.remove(spec.ID, compute.KeepDisks)
	b.sameDisk("os", b.disks(spec.ID), b.disks(spec.ID))
	spec.ID.Disks++ // the next generation was never made
	last(b, spec)
}

func oldGeneration(b *bench) {
	spec := b.Spec(0)
	b.running(spec)
	old := spec.ID
	b.remove(old, compute.KeepData)
	spec.ID.Disks++
	b.running(spec)
	boot, disks := b.bootID(spec.ID), b.disks(spec.ID)
	if err := b.Driver.Delete(b.Context(), b.fence, old, compute.All); err != nil {
		b.Errorf("Delete of the old generation: %v", err)
	}
	b.await(spec.ID, compute.Running, spec.Boots)
	b.rebooted(spec.ID, boot, false)
	for name := range disks {
		b.sameDisk(name, disks, b.disks(spec.ID))
	}
}

func startAgain(b *bench) {
	spec := b.Spec(0)
	b.running(spec)
	boot := b.bootID(spec.ID)
	b.power(spec.ID, compute.Power{Want: compute.Stopped})
	b.await(spec.ID, compute.Stopped, spec.Boots)
	b.power(spec.ID, compute.Power{Want: compute.Running, Boots: spec.Boots})
	b.await(spec.ID, compute.Running, spec.Boots)
	b.rebooted(spec.ID, boot, true)
}

func gracefulRestart(b *bench) {
	spec := b.Spec(0)
	b.running(spec)
	boot := b.bootID(spec.ID)
	want := compute.Power{Want: compute.Running, Boots: spec.Boots + 1, Graceful: true, Grace: b.Grace}
	b.power(spec.ID, want)
	b.power(spec.ID, want)
	b.await(spec.ID, compute.Running, want.Boots)
	b.rebooted(spec.ID, boot, true)
	boot = b.bootID(spec.ID)
	b.power(spec.ID, want)
	b.await(spec.ID, compute.Running, want.Boots)
	b.rebooted(spec.ID, boot, false)
}

func hardStop(b *bench) {
	spec := b.Spec(0)
	b.running(spec)
	b.power(spec.ID, compute.Power{Want: compute.Stopped, Graceful: true, Grace: b.Grace})
	b.power(spec.ID, compute.Power{Want: compute.Deallocated})
	b.await(spec.ID, compute.Deallocated, spec.Boots)
}

func stopWhileStarting(b *bench) {
	spec := b.Spec(0)
	b.create(spec)
	b.power(spec.ID, compute.Power{Want: compute.Stopped})
	b.await(spec.ID, compute.Stopped, spec.Boots)
}

func notifications(b *bench) {
	notifier, ok := b.Driver.(compute.Notifier)
	if !ok {
		return
	}
	var mu sync.Mutex
	heard := map[compute.VMID]int{}
	notifier.Notify(func(id compute.VMID) {
		mu.Lock()
		defer mu.Unlock()
		heard[id]++
	})
	count := func(id compute.VMID) int {
		mu.Lock()
		defer mu.Unlock()
		return heard[id]
	}
	for i := range int64(2) {
		spec := b.Spec(i)
		b.running(spec)
		if !b.Wait(func() bool { return count(spec.ID) > 0 }) {
			b.Errorf("nobody was told that %s runs", spec.ID)
		}
		before := count(spec.ID)
		b.power(spec.ID, compute.Power{Want: compute.Stopped})
		b.await(spec.ID, compute.Stopped, spec.Boots)
		if !b.Wait(func() bool { return count(spec.ID) > before }) {
			b.Errorf("nobody was told that %s stopped", spec.ID)
		}
	}
}

func canceled(b *bench) {
	spec := b.Spec(0)
	ctx, cancel := context.WithCancel(b.Context())
	cancel()
	if err := b.Driver.Create(ctx, b.fence, spec); err == nil {
		b.Errorf("Create with a canceled context succeeded")
	}
	b.running(spec) // whatever came of the first call, the next one completes it
}
