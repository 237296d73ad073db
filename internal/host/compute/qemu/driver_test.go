package qemu

import (
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/muster-vm/muster/internal/host/compute"
	"github.com/muster-vm/muster/internal/resource"
)

// inLab runs a test in a bubble, with a lab.
func inLab(t *testing.T, test func(t *testing.T, l *lab)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newLab(t)) })
}

func (l *lab) power(id compute.VMID, want compute.Power) {
	l.t.Helper()
	if err := l.d.Power(l.t.Context(), lease, id, want); err != nil {
		l.t.Fatalf("Power: %v", err)
	}
}

func TestARunningProcessIsAdoptedUndisturbed(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		id := labSpec(0).ID
		l.create(labSpec(0))
		before, boot := l.vm(id), l.process(id).bootID()
		time.Sleep(time.Hour)
		l.reopen()
		if now := l.vm(id); now != before {
			t.Errorf("the new driver sees %+v, the old one saw %+v", now, before)
		}
		time.Sleep(time.Hour)
		if now := l.vm(id); now != before || l.process(id).bootID() != boot || l.started() != 1 {
			t.Errorf("an hour later it sees %+v in %s, with %d processes started", now, l.process(id).bootID(), l.started())
		}
		l.power(id, compute.Power{Want: compute.Stopped, Graceful: true, Grace: time.Minute})
		l.await(id, compute.Stopped) // it hears the new driver
	})
}

func TestAProcessThatDiedUnwatchedIsReportedWithAFault(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		for n := range int64(2) {
			l.create(labSpec(n))
		}
		died, stopped := labSpec(0).ID, labSpec(1).ID
		l.power(stopped, compute.Power{Want: compute.Stopped})
		l.await(stopped, compute.Stopped)
		l.d.Close()
		l.process(died).end("the host lost power")
		l.reopen()
		if vm := l.vm(died); vm.State != compute.Stopped || vm.Fault == "" || vm.Agent != "" || !vm.Since.Equal(time.Now()) {
			t.Errorf("got %+v, want it stopped just now with a fault", vm)
		}
		if vm := l.vm(stopped); vm.State != compute.Stopped || vm.Fault != "" {
			t.Errorf("got %+v, want it stopped as was asked", vm)
		}
		l.power(died, compute.Power{Want: compute.Running, Boots: 1})
		l.await(died, compute.Running)
		if vm := l.vm(died); vm.Fault != "" {
			t.Errorf("it runs and has the fault %q", vm.Fault)
		}
	})
}

func TestAGuestThatShutsItselfDownIsNoFaultAndADeathIs(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		id := labSpec(0).ID
		l.create(labSpec(0))
		l.process(id).shutDown()
		l.await(id, compute.Stopped)
		if vm := l.vm(id); vm.Fault != "" || vm.Agent != "" {
			t.Errorf("after the guest shut itself down: %+v, want neither fault nor agent", vm)
		}
		time.Sleep(time.Hour)
		if n := l.started(); n != 1 {
			t.Errorf("%d processes were started, want the driver to leave that to the planner", n)
		}
		l.power(id, compute.Power{Want: compute.Running, Boots: 1})
		l.await(id, compute.Running)

		e := l.process(id)
		e.event("SHUTDOWN", `{"guest": true, "reason": "guest-panic"}`)
		e.end("")
		l.await(id, compute.Stopped)
		if vm := l.vm(id); !strings.Contains(vm.Fault, "panicked") {
			t.Errorf("after a panic the fault is %q", vm.Fault)
		}
		l.power(id, compute.Power{Want: compute.Running, Boots: 1})
		l.await(id, compute.Running)

		l.process(id).end("out of memory")
		l.await(id, compute.Stopped)
		if vm := l.vm(id); !strings.Contains(vm.Fault, "out of memory") {
			t.Errorf("after QEMU died the fault is %q, want its last words", vm.Fault)
		}
	})
}

func TestAGuestThatBootsAgainIsStartingUntilItReports(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		id := labSpec(0).ID
		l.create(labSpec(0))
		l.process(id).reboot()
		synctest.Wait()
		if vm := l.vm(id); vm.State != compute.Starting || vm.Agent != "" {
			t.Errorf("just after the reset: %+v, want it starting", vm)
		}
		l.await(id, compute.Running)
		if n := l.started(); n != 1 {
			t.Errorf("%d processes were started, want one", n)
		}
	})
}

func TestADeafGuestIsCutWhenItsTimeIsUp(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		id := labSpec(0).ID
		l.create(labSpec(0))
		l.process(id).setDeaf(true)
		begin := time.Now()
		l.power(id, compute.Power{Want: compute.Deallocated, Graceful: true, Grace: time.Minute})
		l.await(id, compute.Deallocated)
		if took := l.vm(id).Since.Sub(begin); took != time.Minute {
			t.Errorf("it was cut after %v, want a minute", took)
		}
	})
}

func TestAGuestThatWasAskedTooEarlyIsAskedAgain(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		id := labSpec(0).ID
		if err := l.d.Create(t.Context(), lease, labSpec(0)); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		l.power(id, compute.Power{Want: compute.Stopped, Graceful: true, Grace: time.Minute}) // it boots for three seconds yet
		l.await(id, compute.Stopped)
		if took := l.vm(id).Since.Sub(begin); took <= l.boot || took >= time.Minute {
			t.Errorf("it went after %v, want it asked again before its minute was up", took)
		}
	})
}

func TestAStartThatFailsIsAFaultAndCreatingAgainMendsIt(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		spec := labSpec(0)
		l.refuse(resource.Errorf(resource.Unavailable, "QemuNotInstalled", "QEMU is not there."))
		if err := l.d.Create(t.Context(), lease, spec); !resource.Is(err, resource.Unavailable) {
			t.Errorf("Create: %v, want Unavailable", err)
		}
		if vm := l.vm(spec.ID); vm.State != compute.Incomplete || vm.Fault != "QEMU is not there." {
			t.Errorf("got %+v, want it incomplete, with the reason", vm)
		}
		l.refuse(nil)
		l.create(spec)
		if vm := l.vm(spec.ID); vm.Fault != "" || l.started() != 1 {
			t.Errorf("got %+v after %d starts, want it well after one", vm, l.started())
		}
	})
}

func TestARecordThatCannotBeReadIsReportedAndCanOnlyBeDeleted(t *testing.T) {
	for name, content := range map[string]string{"empty": "", "cut off": `{"Spec": {"ID"`, "null": "null", "of nothing": "{}",
		"of another machine": `{"Spec": {"ID": {"Set": "x", "Instance": 1, "Disks": 1}}, "Phase": "made"}`} {
		t.Run(name, func(t *testing.T) {
			inLab(t, func(t *testing.T, l *lab) {
				spec := labSpec(0)
				l.create(spec)
				l.create(labSpec(1)) // which must not suffer
				if err := os.WriteFile(l.path(spec.ID, recordFile), []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
				l.reopen()
				if vm := l.vm(spec.ID); vm.ID != spec.ID || vm.State != compute.Incomplete || vm.Fault == "" {
					t.Errorf("got %+v, want it incomplete with a fault", vm)
				}
				if err := l.d.Create(t.Context(), lease, spec); !resource.Is(err, resource.Conflict) {
					t.Errorf("Create: %v, want Conflict", err)
				}
				if err := l.d.Power(t.Context(), lease, spec.ID, compute.Power{Want: compute.Running}); !resource.Is(err, resource.Conflict) {
					t.Errorf("Power: %v, want Conflict", err)
				}
				disks := l.diskFiles(spec.ID)
				if err := l.d.Delete(t.Context(), lease, spec.ID, compute.KeepDisks); err != nil {
					t.Errorf("Delete: %v", err)
				}
				if len(l.alive()) != 1 || l.vm(labSpec(1).ID).State != compute.Running {
					t.Errorf("%d processes are left and the other machine is %s", len(l.alive()), l.vm(labSpec(1).ID).State)
				}
				l.create(spec)
				for file, content := range l.diskFiles(spec.ID) {
					if disks[file] != content {
						t.Errorf("disk %s was made anew", file)
					}
				}
			})
		})
	}
}

func TestTheHighestLeaseOutlivesTheDriver(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		spec := labSpec(0)
		l.create(spec)
		newer := compute.Fence{Lease: lease.Lease + 7}
		if err := l.d.Create(t.Context(), newer, spec); err != nil {
			t.Fatal(err)
		}
		l.reopen()
		if got := l.d.Lease(); got != newer.Lease {
			t.Errorf("the new driver knows of lease %d, want %d", got, newer.Lease)
		}
		for what, err := range map[string]error{
			"Create": l.d.Create(t.Context(), lease, labSpec(1)),
			"Power":  l.d.Power(t.Context(), lease, spec.ID, compute.Power{Want: compute.Stopped}),
			"Delete": l.d.Delete(t.Context(), lease, spec.ID, compute.All),
		} {
			if !resource.Is(err, resource.Conflict) {
				t.Errorf("%s with an older lease: %v, want Conflict", what, err)
			}
		}
		if l.vm(spec.ID).State != compute.Running || l.vm(labSpec(1).ID).State != "" {
			t.Error("a refused call had an effect")
		}
	})
}
