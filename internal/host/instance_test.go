package host_test

import (
	"strings"
	"testing"
	"time"

	"github.com/muster-vm/muster/internal/host/compute"
	"github.com/muster-vm/muster/internal/host/fabric"
	"github.com/muster-vm/muster/internal/population"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/vmss"
)

func TestRowsAreCarriedOutWithThePlannedCallsAlone(t *testing.T) {
	onStage(t, nil, func(t *testing.T, s *stage) {
		s.run(0)
		s.expect("create", "create 0.1 boots 1")
		if seen := s.seen(0); seen.Power != vmss.PowerRunning || seen.Address != "10.0.0.4" || seen.MAC == "" || seen.Provisioned.IsZero() || seen.Agent == "" {
			t.Errorf("observed %+v, want it running with its address", seen)
		}
		disks := s.driver.Disks(vmid(0, 1))
		for _, tt := range []struct {
			what string
			edit func(*vmss.Instance)
			want []string
		}{
			{"reapply", func(*vmss.Instance) {}, nil},
			{"restart", func(r *vmss.Instance) { r.Boots++; r.Graceful = true }, []string{"power 0.1 running boots 2 gracefully"}},
			{"power off", func(r *vmss.Instance) { r.Power = vmss.PowerStopped }, []string{"power 0.1 stopped boots 2 gracefully"}},
			{"attach while stopped", func(r *vmss.Instance) { r.Attached = []vmss.Disk{{LUN: 2, SizeGB: 1, Attached: 8}} },
				[]string{"refit 0.1 with 2 data disks"}},
			{"deallocate", func(r *vmss.Instance) { r.Power = vmss.PowerDeallocated }, []string{"power 0.1 deallocated boots 2 gracefully"}},
			{"start", func(r *vmss.Instance) { r.Power, r.Graceful = vmss.PowerRunning, false }, []string{"power 0.1 running boots 2"}},
			{"detach", func(r *vmss.Instance) { r.Attached = nil }, []string{"refit 0.1 with 1 data disks"}},
			{"attach and restart", func(r *vmss.Instance) { r.Attached, r.Boots = []vmss.Disk{{LUN: 2, SizeGB: 1, Attached: 9}}, 3 },
				[]string{"power 0.1 running boots 3", "refit 0.1 with 2 data disks"}},
			{"hard power off", func(r *vmss.Instance) { r.Power = vmss.PowerStopped }, []string{"power 0.1 stopped boots 3"}},
			{"start again", func(r *vmss.Instance) { r.Power = vmss.PowerRunning }, []string{"power 0.1 running boots 3"}},
			{"other hardware", func(r *vmss.Instance) { r.Revision = 2 },
				[]string{"power 0.1 stopped boots 3 gracefully", "delete 0.1 keeping disks", "create 0.1 boots 3"}},
		} {
			row := s.change(0, tt.edit)
			seen := s.settle(0)
			s.expect(tt.what, tt.want...)
			if seen.Power != row.Power || seen.Boots != row.Boots || seen.Revision != row.Revision || seen.Address != "10.0.0.4" {
				t.Errorf("after %s: observed %+v", tt.what, seen)
			}
		}
		s.reimage(disks)
	})
}

// reimage makes the OS disk anew, then both, then deletes the instance.
func (s *stage) reimage(before map[string]string) {
	s.t.Helper()
	if now := s.driver.Disks(vmid(0, 1)); now["os"] != before["os"] || now["data0"] != before["data0"] {
		s.t.Errorf("disks were %v and are now %v", before, now)
	}
	s.change(0, func(r *vmss.Instance) { r.Disks++ })
	s.settle(0)
	s.expect("reimage", "delete 0.1 keeping data", "create 0.2 boots 3")
	if now := s.driver.Disks(vmid(0, 2)); now["os"] == before["os"] || now["data0"] != before["data0"] {
		s.t.Errorf("after a reimage disks were %v and are now %v", before, now)
	}
	s.change(0, func(r *vmss.Instance) { r.Disks++; r.DataDisks++ })
	s.settle(0)
	s.expect("reimage all", "delete 0.2 keeping data", "create 0.3 boots 3")
	if now := s.driver.Disks(vmid(0, 3)); now["data0"] == before["data0"] {
		s.t.Errorf("after a reimage of all disks were %v and are now %v", before, now)
	}
	s.change(0, func(r *vmss.Instance) { r.Deleting, r.DeleteReason = true, "scale in" })
	s.settle(0)
	s.expect("delete", "power 0.3 stopped boots 3 gracefully", "delete 0.3 all", "delete 0.3 all")
	if ids, ports := s.machines(), s.ports(); len(ids) > 0 || len(ports) > 0 {
		s.t.Errorf("left behind: machines %v, ports %v", ids, ports)
	}
}

func TestADeleteByForceAsksNoGuest(t *testing.T) {
	onStage(t, nil, func(_ *testing.T, s *stage) {
		s.run(0)
		s.calls.take()
		s.change(0, func(r *vmss.Instance) { r.Deleting, r.Force = true, true })
		s.settle(0)
		s.expect("forced delete", "delete 0.1 all", "delete 0.1 all")
	})
}

func TestARowOfAnotherHostIsLeftAlone(t *testing.T) {
	onStage(t, nil, func(t *testing.T, s *stage) {
		other := newRow(0)
		other.Host = "elsewhere"
		s.write(other)
		nowhere := newRow(1)
		nowhere.Host = ""
		s.write(nowhere)
		time.Sleep(time.Hour)
		s.expect("an hour later")
		if all := store.All(s.store, store.Observations); len(all) > 0 {
			t.Errorf("observed %+v", all)
		}
	})
}

func TestMachinesAndPortsWithoutARowAreSwept(t *testing.T) {
	onStage(t, nil, func(t *testing.T, s *stage) {
		s.run(0)
		s.stop()
		s.calls.take()
		orphan := compute.Spec{ID: vmid(7, 3), Name: "web_7", VCPUs: 4, MemoryMB: 1, Image: "sha256:ok", DataDisks: []compute.Disk{{LUN: 0, SizeGB: 1}}}
		if err := s.driver.Create(t.Context(), compute.Fence{Lease: s.lease}, orphan); err != nil {
			t.Fatal(err)
		}
		s.attach("7-0")
		s.attach("8-1") // a port alone
		s.start()
		time.Sleep(time.Second)
		s.expect("at the start", "delete 7.1 all", "delete 7.1 all", "delete 7.3 all", "delete 8.1 all")
		if ids, ports := s.machines(), s.ports(); len(ids) != 1 || len(ports) != 1 || ids[0] != vmid(0, 1) {
			t.Errorf("machines %v and ports %v are left, want those of instance 0", ids, ports)
		}
		if disks := s.driver.Disks(orphan.ID); len(disks) > 0 {
			t.Errorf("disks of the orphan are left: %v", disks)
		}
		s.run(1) // the orphan's room is free

		s.attach("9-0")
		time.Sleep(6 * time.Minute)
		if ports := s.ports(); len(ports) != 2 {
			t.Errorf("a resync left the ports %v, want those of two instances", ports)
		}
	})
}

func (s *stage) attach(name string) {
	s.t.Helper()
	if _, err := s.fabric.Attach(s.t.Context(), fabric.Port{Name: string(uid) + "-" + name}); err != nil {
		s.t.Fatal(err)
	}
}

func TestAGuestThatShutsItselfDownStaysDownAndOneThatDiedIsStartedAgain(t *testing.T) {
	onStage(t, nil, func(t *testing.T, s *stage) {
		s.run(0)
		s.calls.take()
		s.driver.Crash(vmid(0, 1), "")
		time.Sleep(time.Hour)
		s.expect("after a shutdown")
		if seen := s.seen(0); seen.Power != vmss.PowerStopped || seen.Failure != nil {
			t.Errorf("observed %+v, want it stopped and well", seen)
		}
		s.change(0, func(*vmss.Instance) {}) // the user starts it
		s.settle(0)
		s.expect("start", "power 0.1 running boots 1")

		s.driver.Crash(vmid(0, 1), "The kernel panicked.")
		time.Sleep(time.Minute)
		s.expect("after a death", "power 0.1 running boots 1")
		if seen := s.seen(0); seen.Power != vmss.PowerRunning {
			t.Errorf("observed %+v, want it running again", seen)
		}
	})
}

func TestFailuresBackOffFromASecondToFiveMinutes(t *testing.T) {
	broken := []population.Fault{{Op: population.Create, Kind: resource.Unavailable, Code: "HostNotReady", Message: "Not now.", Count: 13}}
	onStage(t, broken, func(t *testing.T, s *stage) {
		begin := time.Now()
		s.write(newRow(0))
		time.Sleep(20 * time.Minute)
		calls, at := s.calls.take()
		wait := time.Second
		for i := 1; i < len(at); i++ {
			if got := at[i].Sub(at[i-1]); got < wait || got > wait+10*time.Millisecond {
				t.Errorf("try %d came after %v, want %v", i+1, got, wait)
			}
			wait = min(2*wait, 5*time.Minute)
		}
		f := s.seen(0).Failure
		if len(calls) != 12 || f == nil || f.Attempts != 12 || f.Final || !f.Counts() || f.Code != "HostNotReady" || f.Message != "Not now." {
			t.Errorf("%d tries, failure %+v, want twelve", len(calls), f)
		}
		if f != nil && f.Since.Sub(begin) > time.Second {
			t.Errorf("it fails since %v, want since the first try", f.Since.Sub(begin))
		}
		s.change(0, func(*vmss.Instance) {}) // a newer row is tried at once
		time.Sleep(500 * time.Millisecond)
		if f := s.seen(0).Failure; f == nil || f.Attempts != 1 || f.Generation != 2 {
			t.Errorf("the failure of the newer row is %+v, want its first", f)
		}
		s.settle(0)
	})
}

func TestAMachineThatDiesInEveryBootIsTriedLessAndLessAndFails(t *testing.T) {
	dies := []population.Fault{{Op: population.NoBoot, Message: "The disk cannot be read.", Count: 8}}
	onStage(t, dies, func(t *testing.T, s *stage) {
		s.write(newRow(0))
		time.Sleep(3 * time.Minute)
		f := s.seen(0).Failure
		if !f.Counts() || f.Code != "VMStoppedUnexpectedly" || f.Message != "The disk cannot be read." {
			t.Errorf("after some boots the failure is %+v, want it to count, with the reason", f)
		}
		time.Sleep(time.Hour)
		calls, at := s.calls.take()
		if len(calls) != 9 {
			t.Fatalf("calls %q, want one create and eight starts", calls)
		}
		const boot = 20 * time.Second
		for i, want := range []time.Duration{boot, boot, boot, boot, boot, boot, 32 * time.Second, 64 * time.Second} {
			if got := at[i+1].Sub(at[i]); got < want || got > want+100*time.Millisecond {
				t.Errorf("start %d came %v after the one before, want %v", i+1, got, want)
			}
		}
		if seen := s.seen(0); seen.Power != vmss.PowerRunning || seen.Failure != nil || seen.Generation != 1 {
			t.Errorf("once it boots: observed %+v, failure %+v", seen, seen.Failure)
		}
	})
}

func TestFailuresThatTimeDoesNotMendAreFinalAtOnce(t *testing.T) {
	for kind, want := range map[resource.Kind]bool{resource.Invalid: true, resource.NotFound: true, resource.Exhausted: true,
		resource.Unavailable: false, resource.Conflict: false, resource.Throttled: false, resource.Internal: false} {
		onStage(t, []population.Fault{{Op: population.Create, Kind: kind, Code: "Code", Message: "The text of the driver."}}, func(t *testing.T, s *stage) {
			s.write(newRow(0))
			time.Sleep(500 * time.Millisecond)
			f := s.seen(0).Failure
			if f == nil || f.Final != want || f.Counts() != want {
				t.Fatalf("%s: failure %+v, want it final: %t", kind, f, want)
			}
			if hidden := strings.Contains(f.Message, "driver"); hidden == (kind == resource.Internal) {
				t.Errorf("%s: users read %q", kind, f.Message)
			}
		})
	}
	onStage(t, nil, func(t *testing.T, s *stage) {
		row := newRow(0)
		row.Revision = 3 // of an unknown size
		s.write(row)
		time.Sleep(time.Second / 2)
		if f := s.seen(0).Failure; f == nil || !f.Final {
			t.Errorf("unknown size: failure %+v, want it final", f)
		}
	})
}

func TestAGuestThatNeverReportsIsLateAndWellOnceItDoes(t *testing.T) {
	onStage(t, []population.Fault{{Op: population.Hang, Count: 1}}, func(t *testing.T, s *stage) {
		s.write(newRow(0))
		time.Sleep(41 * time.Minute)
		if f := s.seen(0).Failure; f == nil || f.Code != "OSProvisioningTimedOut" || !f.Final {
			t.Errorf("failure %+v, want a provisioning timeout", f)
		}
		s.expect("meanwhile", "create 0.1 boots 1")
		s.change(0, func(r *vmss.Instance) { r.Boots++ })
		s.settle(0)
	})
}

func TestAnAddressIsFoundAgainAfterACrashBeforeItWasWrittenDown(t *testing.T) {
	onStage(t, nil, func(t *testing.T, s *stage) {
		s.broken.set(true)
		s.write(newRow(0))
		time.Sleep(time.Minute)
		s.stop()
		want, seen := s.ports(), s.seen(0)
		if len(want) != 1 || len(s.machines()) != 1 || seen.Address != "" {
			t.Fatalf("ports %v, machines %v, observed %+v: want a machine of which nothing was written down", want, s.machines(), seen)
		}
		s.broken.set(false)
		s.start()
		if seen := s.settle(0); seen.Address != "10.0.0.4" || seen.MAC != vmss.MAC(vmss.UID(vmid(0, 1).Set), 0, 0) {
			t.Errorf("observed %+v, want the address that it has", seen)
		}
		s.expect("in both lives", "create 0.1 boots 1")
		if got := s.ports(); len(got) != 1 || got[0] != want[0] {
			t.Errorf("ports were %v and are now %v", want, got)
		}
	})
}
