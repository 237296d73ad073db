package host_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/muster-vm/muster/internal/population"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/vmss"
)

func TestAHostThatIsFullRefusesInNumbersAndTriesAgain(t *testing.T) {
	for what, leave := range map[string]func(*vmss.Instance){
		"deallocate": func(r *vmss.Instance) { r.Power = vmss.PowerDeallocated },
		"delete":     func(r *vmss.Instance) { r.Deleting = true },
	} {
		onStage(t, nil, func(t *testing.T, s *stage) {
			for id := range vmss.InstanceID(4) {
				s.run(id)
			}
			s.change(1, func(r *vmss.Instance) { r.Power = vmss.PowerStopped })
			s.settle(1) // a stopped instance keeps its place
			s.write(newRow(4))
			time.Sleep(time.Minute)
			f := s.seen(4).Failure
			if f == nil || f.Code != "AllocationFailed" || !f.Final || !strings.Contains(f.Message, "0 of 4 vCPU and 1044480 of 1048576 MB free; the instance needs 1 vCPU and 1024 MB") {
				t.Fatalf("failure %+v, want a refusal in numbers", f)
			}
			if n := len(s.machines()); n != 4 {
				t.Fatalf("there are %d machines, want four", n)
			}
			s.change(0, leave)
			s.settle(0)
			if seen := s.settle(4); seen.Power != vmss.PowerRunning {
				t.Errorf("after the %s of another: observed %+v, want it running", what, seen)
			}
		})
	}
}

func TestAStartNeedsRoomAgain(t *testing.T) {
	onStage(t, nil, func(t *testing.T, s *stage) {
		s.run(0)
		s.change(0, func(r *vmss.Instance) { r.Power = vmss.PowerDeallocated })
		s.settle(0)
		for id := range vmss.InstanceID(4) {
			s.run(id + 1)
		}
		s.change(0, func(r *vmss.Instance) { r.Power = vmss.PowerRunning })
		time.Sleep(time.Minute)
		if f := s.seen(0).Failure; f == nil || f.Code != "AllocationFailed" || s.seen(0).Power != vmss.PowerDeallocated {
			t.Errorf("observed %+v with failure %+v, want it deallocated for lack of room", s.seen(0), f)
		}
		s.change(1, func(r *vmss.Instance) { r.Power = vmss.PowerDeallocated })
		s.settle(1)
		s.settle(0)
	})
}

func TestMachinesThatAreThereCountAfterARestart(t *testing.T) {
	onStage(t, nil, func(t *testing.T, s *stage) {
		for id := range vmss.InstanceID(4) {
			s.run(id)
		}
		s.change(3, func(r *vmss.Instance) { r.Power = vmss.PowerDeallocated })
		s.settle(3)
		s.stop()
		s.start()
		s.run(4)
		s.write(newRow(5))
		time.Sleep(time.Minute)
		if f := s.seen(5).Failure; f == nil || f.Code != "AllocationFailed" {
			t.Errorf("failure %+v, want no room for a fifth", f)
		}
		s.change(0, func(r *vmss.Instance) { r.Boots++ }) // who has a place keeps it
		s.settle(0)
		s.change(1, func(r *vmss.Instance) { r.Disks++ })
		if seen := s.settle(1); seen.Disks != 2 {
			t.Errorf("observed %+v, want another disk", seen)
		}
	})
}

func TestACreateThatFailedHoldsNoRoom(t *testing.T) {
	broken := []population.Fault{{Op: population.Create, Match: "web_0", Kind: resource.NotFound, Code: "ImageNotFound"}}
	onStage(t, broken, func(t *testing.T, s *stage) {
		s.write(newRow(0))
		time.Sleep(time.Second / 2)
		s.change(0, func(r *vmss.Instance) { r.Power = vmss.PowerDeallocated })
		s.settle(0)
		for id := range vmss.InstanceID(4) {
			s.run(id + 1)
		}
	})
}

func TestTheJournalKeepsWhatTheStoreDoesNotTake(t *testing.T) {
	onStage(t, nil, func(t *testing.T, s *stage) {
		s.broken.set(true)
		for id := range vmss.InstanceID(3) {
			s.write(newRow(id))
		}
		time.Sleep(10 * time.Minute)
		if n := s.broken.count(); n < 300 || n > 700 {
			t.Errorf("the store was asked %d times in ten minutes, want once a second", n)
		}
		s.expect("meanwhile", "create 0.1 boots 1", "create 1.1 boots 1", "create 2.1 boots 1")
		s.change(1, func(r *vmss.Instance) { r.Power = vmss.PowerStopped })
		time.Sleep(time.Minute)
		s.expect("with a newer row", "power 1.1 stopped boots 1")
		s.broken.set(false)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		for id, want := range []vmss.PowerState{vmss.PowerRunning, vmss.PowerStopped, vmss.PowerRunning} {
			if seen := s.seen(vmss.InstanceID(id)); seen.Power != want || seen.Address == "" {
				t.Errorf("observed of %d: %+v, want it %s", id, seen, want)
			}
		}
	})
}

func TestWhatWasObservedLastIsWrittenBeforeTheHostEnds(t *testing.T) {
	onStage(t, nil, func(t *testing.T, s *stage) {
		s.broken.set(true)
		s.write(newRow(0))
		time.Sleep(time.Minute + 500*time.Millisecond)
		s.broken.set(false)
		s.stop()
		s.start()
		if seen := s.seen(0); seen.Power != vmss.PowerRunning {
			t.Errorf("observed %+v, want it running", seen)
		}
	})
}
