package qemu

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-vm/muster/internal/host/compute"
	"github.com/muster-vm/muster/internal/resource"
)

// with returns the lab's spec with one more data disk.
func with(d compute.Disk) compute.Spec {
	s := labSpec(0)
	s.DataDisks = append(s.DataDisks, d)
	return s
}

func (l *lab) refit(spec compute.Spec) error { return l.d.Refit(l.t.Context(), lease, spec) }

func (e *emulator) setClinging(clings bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.clings = clings
}

func TestAGuestThatKeepsADiskIsReportedAndTriedAgain(t *testing.T) {
	for _, how := range []string{"it lets go later", "it is restarted"} {
		t.Run(how, func(t *testing.T) {
			inLab(t, func(t *testing.T, l *lab) {
				l.create(labSpec(0))
				spec := labSpec(0)
				spec.DataDisks = spec.DataDisks[1:]
				l.process(spec.ID).setClinging(true)
				for range 2 { // asking again does no harm
					err := l.refit(spec)
					if !resource.Is(err, resource.Unavailable) || !strings.Contains(err.Error(), "lun0") || !strings.Contains(err.Error(), "Unmount") {
						t.Fatalf("Refit: %v, want it unavailable, and what to do", err)
					}
				}
				if vm := l.vm(spec.ID); vm.Fit == spec.Fit() || vm.Fit == labSpec(0).Fit() {
					t.Errorf("it claims to fit %q", vm.Fit)
				}
				if _, there := l.diskFiles(spec.ID)["data-0-1.qcow2"]; !there {
					t.Error("the disk that the guest has was removed")
				}
				if how == "it is restarted" {
					l.power(spec.ID, compute.Power{Want: compute.Running, Boots: 2, Graceful: true, Grace: time.Minute})
					if err := l.refit(spec); !resource.Is(err, resource.Unavailable) {
						t.Errorf("Refit while it shuts down: %v, want Unavailable", err)
					}
					if !wait(func() bool { return l.vm(spec.ID).Boots == 2 }) {
						t.Fatal("it was not restarted")
					}
				} else {
					l.process(spec.ID).unplug("/machine/peripheral/disk-lun0/virtio-backend")
				}
				if err := l.refit(spec); err != nil {
					t.Fatalf("Refit again: %v", err)
				}
				if _, there := l.diskFiles(spec.ID)["data-0-1.qcow2"]; there || l.vm(spec.ID).Fit != spec.Fit() {
					t.Error("the disk is still there")
				}
			})
		})
	}
}

func TestADiskIsNotTakenFromAGuestThatIsStillBooting(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		spec := labSpec(0)
		if err := l.d.Create(t.Context(), lease, spec); err != nil {
			t.Fatal(err)
		}
		more := with(compute.Disk{LUN: 9, SizeGB: 1, Generation: 1})
		if err := l.refit(more); err != nil {
			t.Fatalf("a disk more: %v", err)
		}
		if err := l.refit(spec); !resource.Is(err, resource.Unavailable) {
			t.Fatalf("a disk less: %v, want Unavailable", err)
		}
		l.await(spec.ID, compute.Running)
		if err := l.refit(spec); err != nil {
			t.Fatal(err)
		}
	})
}

func TestAManagedDiskThatAnotherMachineHasIsRefusedInWords(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.volume("shared")
		spec := with(compute.Disk{LUN: 9, Volume: "shared"})
		l.create(spec)
		second := labSpec(1)
		l.create(second)
		second.DataDisks = spec.DataDisks
		err := l.refit(second)
		if !resource.Is(err, resource.Unavailable) || !strings.Contains(err.Error(), "in use by another program") {
			t.Errorf("hot: %v", err)
		}
		l.power(second.ID, compute.Power{Want: compute.Running, Boots: 2})
		l.await(second.ID, compute.Stopped)
		if vm := l.vm(second.ID); !strings.Contains(vm.Fault, "in use by another program") {
			t.Errorf("cold: %+v", vm)
		}
		missing := with(compute.Disk{LUN: 9, Volume: "missing"})
		if err := l.refit(missing); !resource.Is(err, resource.NotFound) {
			t.Errorf("a disk without content: %v, want NotFound", err)
		}
	})
}

func TestMoreDisksThanSlotsAreRefused(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		spec := labSpec(0)
		l.create(spec)
		for lun := 10; lun < 33; lun++ {
			spec.DataDisks = append(spec.DataDisks, compute.Disk{LUN: lun, SizeGB: 1, Generation: 1})
		}
		if err := l.refit(spec); err != nil {
			t.Errorf("25 data disks: %v", err)
		}
		spec.DataDisks = append(spec.DataDisks, compute.Disk{LUN: 40, SizeGB: 1, Generation: 1})
		if err := l.refit(spec); !resource.Is(err, resource.Invalid) || !strings.Contains(err.Error(), "room for 25") {
			t.Errorf("26 data disks: %v", err)
		}
	})
}

func TestLimitsHoldAfterEveryStartAndAdoption(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		spec := labSpec(0)
		spec.OSLimit, spec.DataDisks[1].Limit = compute.Limit{IOPS: 500, MBps: 60, BurstIOPS: 3500, BurstMBps: 60}, compute.Limit{MBps: 25}
		want := []string{
			"lun0 has data-0-1.qcow2 of 1 GB, 0 bytes and 0 operations a second",
			"lun3 has data-3-1.qcow2 of 1 GB, 2.5e+07 bytes and 0 operations a second",
			"os has os-1.qcow2 of 1 GB, 6e+07 bytes and 500 operations a second",
			"os may do more: [0 0 3500 1800]",
			"seed has seed.iso of 1 GB, 0 bytes and 0 operations a second",
		}
		check := func(when string) {
			t.Helper()
			wait(func() bool { return l.vm(spec.ID).Fit == spec.Fit() })
			if diff := cmp.Diff(want, l.process(spec.ID).plugged()); diff != "" || l.vm(spec.ID).Fit != spec.Fit() {
				t.Errorf("%s (-want +got):\n%s", when, diff)
			}
		}
		l.create(spec)
		check("created")
		l.power(spec.ID, compute.Power{Want: compute.Running, Boots: 2})
		l.await(spec.ID, compute.Running)
		check("restarted")
		l.reopen()
		check("adopted")
		spec.OSLimit = compute.Limit{}
		if err := l.refit(spec); err != nil {
			t.Fatal(err)
		}
		want = slices.Replace(want, 2, 4, "os has os-1.qcow2 of 1 GB, 0 bytes and 0 operations a second")
		check("without a limit")
	})
}

// TestAMachineOfAnEarlierVersionIsTakenOverAsItIs makes a record and a process as
// they were when disks were part of the hash and devices had no ids.
func TestAMachineOfAnEarlierVersionIsTakenOverAsItIs(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		spec := labSpec(0)
		l.create(spec)
		l.d.Close()
		var old map[string]any
		b, err := os.ReadFile(l.path(spec.ID, recordFile))
		if err != nil || json.Unmarshal(b, &old) != nil {
			t.Fatal(err)
		}
		old["Hash"] = "of all"
		delete(old, "Fit")
		if err := writeJSON(l.path(spec.ID, recordFile), old); err != nil {
			t.Fatal(err)
		}
		e := l.process(spec.ID)
		e.mu.Lock()
		for i := range e.devices {
			e.devices[i].path = fmt.Sprintf("/machine/peripheral-anon/device[%d]/virtio-backend", i)
		}
		e.mu.Unlock()
		l.reopen()
		if vm := l.vm(spec.ID); vm.Hash != spec.Hash() || vm.Fit != spec.Fit() || vm.State != compute.Running {
			t.Fatalf("adopted as %+v", vm)
		}
		next := spec
		next.OSLimit.IOPS = 500
		next.DataDisks = []compute.Disk{spec.DataDisks[1], {LUN: 4, SizeGB: 1, Generation: 2}}
		if err := l.refit(next); err != nil {
			t.Fatal(err)
		}
		want := []string{
			"lun3 has data-3-1.qcow2 of 1 GB, 0 bytes and 0 operations a second",
			"lun4 has data-4-2.qcow2 of 1 GB, 0 bytes and 0 operations a second",
			"os has os-1.qcow2 of 1 GB, 0 bytes and 500 operations a second",
			"seed has seed.iso of 1 GB, 0 bytes and 0 operations a second",
		}
		if diff := cmp.Diff(want, l.process(spec.ID).plugged()); diff != "" || l.started() != 1 {
			t.Errorf("refitted (-want +got):\n%s", diff)
		}
	})
}

func TestADiskThatTheGuestHasIsTheOneThatARestartGivesIt(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.volume("managed")
		l.create(labSpec(0))
		spec := with(compute.Disk{LUN: 1, Volume: "managed", Limit: compute.Limit{IOPS: 120}})
		spec.DataDisks[0].Generation = 5
		if err := l.refit(spec); err != nil {
			t.Fatal(err)
		}
		hot := l.process(spec.ID).plugged()
		l.power(spec.ID, compute.Power{Want: compute.Running, Boots: 2})
		l.await(spec.ID, compute.Running)
		wait(func() bool { return l.vm(spec.ID).Fit == spec.Fit() })
		if cold := l.process(spec.ID).plugged(); !slices.Equal(hot, cold) {
			t.Errorf("hot %q, cold %q", hot, cold)
		}
	})
}

func TestAProcessThatDiesWhileItsDisksChangeIsNoSuccess(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.create(labSpec(0))
		spec := labSpec(0)
		spec.DataDisks = nil
		l.process(spec.ID).setClinging(true)
		time.AfterFunc(3*time.Second, func() { l.find(l.d.root.vm(spec.ID)).end("killed") })
		if err := l.refit(spec); err == nil {
			t.Error("Refit succeeded")
		}
		l.await(spec.ID, compute.Stopped)
		synctest.Wait()
		if err := l.refit(spec); err != nil || l.vm(spec.ID).Fit != spec.Fit() {
			t.Errorf("Refit of what is left: %v", err)
		}
	})
}

func TestADiskThatTheGuestLetsGoOfTooLateComesBack(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.volume("managed")
		spec := with(compute.Disk{LUN: 1, Volume: "managed"})
		l.create(spec)
		e := l.process(spec.ID)
		e.setClinging(true)
		if err := l.refit(labSpec(0)); !resource.Is(err, resource.Unavailable) {
			t.Fatalf("the guest does not let go, and yet: %v", err)
		}
		if err := l.refit(spec); err != nil { // it still has it
			t.Fatal(err)
		}
		e.setClinging(false)
		e.unplug("/machine/peripheral/disk-lun1/virtio-backend")
		plugged := func() bool {
			return slices.ContainsFunc(e.plugged(), func(d string) bool { return strings.HasPrefix(d, "lun1 has managed") })
		}
		if !wait(plugged) || l.vm(spec.ID).Fit != spec.Fit() {
			t.Errorf("the guest has %q, and the machine fits %q", e.plugged(), l.vm(spec.ID).Fit)
		}
	})
}
