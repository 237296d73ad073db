package fleettest_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/compute/armcompute/v8"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/resources/armresources"

	"github.com/muster-vm/muster/internal/fleettest"
	"github.com/muster-vm/muster/internal/population"
)

// largest is the highest capacity of the crash story.
const largest = 5

// story is what a user does in a crash test. A step that fails because the
// control plane died is done again, as users do.
type story struct {
	t    *testing.T
	ctx  context.Context
	f    *fleettest.Fleet
	c    *fleettest.Client
	fuse *fleettest.Fuse
}

// step does something, again after a restart if the control plane dies of it.
func (s *story) step(name string, do func() error) {
	s.t.Helper()
	err := do()
	if s.fuse.Dead() {
		s.restart()
		err = do()
	}
	if err != nil {
		s.t.Fatalf("%s: %v", name, err)
	}
	if n := s.f.Machines(); n > largest {
		s.t.Fatalf("%s: there are %d machines, more than were ever wanted", name, n)
	}
}

func (s *story) restart() {
	s.t.Helper()
	s.f.Stop()
	s.fuse.Mend()
	if err := s.f.Start(s.ctx); err != nil {
		s.t.Fatal("restart:", err)
	}
}

func (s *story) put(set armcompute.VirtualMachineScaleSet) func() error {
	return func() error {
		p, err := s.c.Sets.BeginCreateOrUpdate(s.ctx, "lab", "web", set, nil)
		_, err = fleettest.Wait(s.ctx, p, err)
		return err
	}
}

// tell plays the story to its end.
func (s *story) tell() {
	s.step("group", func() error {
		_, err := s.c.Groups.CreateOrUpdate(s.ctx, "lab", armresources.ResourceGroup{Location: new(fleettest.Location)}, nil)
		return err
	})
	s.step("create", s.put(fleettest.Model(3)))
	s.step("scale out", s.put(fleettest.Capacity(largest)))
	s.step("scale in", s.put(fleettest.Capacity(2)))
	first, second := "", ""
	s.step("list", func() error { // a death may leave gaps in the ids
		all, err := s.c.Instances(s.ctx, "lab", "web")
		if err == nil && len(all) != 2 {
			err = fmt.Errorf("there are %d instances", len(all))
		}
		if err == nil {
			first, second = *all[0].InstanceID, *all[1].InstanceID
		}
		return err
	})
	s.step("restart", func() error {
		p, err := s.c.Sets.BeginRestart(s.ctx, "lab", "web", nil)
		_, err = fleettest.Wait(s.ctx, p, err)
		return err
	})
	s.step("reimage", func() error {
		p, err := s.c.VMs.BeginReimage(s.ctx, "lab", "web", first, nil)
		_, err = fleettest.Wait(s.ctx, p, err)
		return err
	})
	s.step("deallocate", func() error {
		p, err := s.c.VMs.BeginDeallocate(s.ctx, "lab", "web", second, nil)
		_, err = fleettest.Wait(s.ctx, p, err)
		return err
	})
	s.step("start", func() error {
		p, err := s.c.VMs.BeginStart(s.ctx, "lab", "web", second, nil)
		_, err = fleettest.Wait(s.ctx, p, err)
		return err
	})
	s.step("look", s.look)
	s.step("delete", func() error {
		p, err := s.c.Sets.BeginDelete(s.ctx, "lab", "web", nil)
		_, err = fleettest.Wait(s.ctx, p, err)
		return err
	})
}

// look checks that two instances are well and have addresses.
func (s *story) look() error {
	all, err := s.c.Instances(s.ctx, "lab", "web")
	if err != nil {
		return err
	}
	if got := powers(all); got["Succeeded running"] != 2 || len(all) != 2 || s.f.Machines() != 2 {
		return fmt.Errorf("instances %v and %d machines, want 2 running", got, s.f.Machines())
	}
	for _, vm := range all {
		nics, err := s.f.Get(s.ctx, *vm.ID+"/networkInterfaces?api-version=2018-10-01")
		if err != nil {
			return err
		}
		if !strings.Contains(nics, `"privateIPAddress":"10.`) {
			return fmt.Errorf("instance %s has no address: %s", *vm.InstanceID, nics)
		}
	}
	return nil
}

// TestADeathAtAnyCallLosesLeaksAndDoublesNothing kills the control plane at its
// n-th call of the store or a driver, before the call or between the call and its
// answer, for every n, restarts it, and expects the story to end as if nothing
// had happened.
func TestADeathAtAnyCallLosesLeaksAndDoublesNothing(t *testing.T) {
	calls := 0
	for _, after := range []bool{false, true} {
		for n := 1; ; n++ {
			died := false
			ok := t.Run(fmt.Sprintf("call %d, answer lost %v", n, after), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					fuse := fleettest.NewFuse(n, after)
					s := crashStory(t, fuse, fleettest.Options{})
					s.tell()
					died = s.fuse.Calls() >= n
					calls = max(calls, s.fuse.Calls())
					s.end()
				})
			})
			if !ok || !died {
				break
			}
		}
	}
	t.Logf("the story makes about %d calls", calls)
}

func crashStory(t *testing.T, fuse *fleettest.Fuse, opts fleettest.Options) *story {
	opts.Population = population.Default()
	opts.Population.Boot = population.Boot{Base: 3 * time.Second, Jitter: time.Second, Shutdown: time.Second}
	opts.Backend, opts.Driver, opts.Dead = fuse.Backend, fuse.Driver, fuse.Dead
	f := fleettest.New(t, opts)
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Hour) // of the fleet's time
	t.Cleanup(cancel)
	s := &story{t: t, ctx: ctx, f: f, c: f.Client(t), fuse: fuse}
	if err := f.Start(s.ctx); err != nil {
		if !fuse.Dead() {
			t.Fatal(err)
		}
		fuse.Mend()
		if err := f.Start(s.ctx); err != nil {
			t.Fatal("restart:", err)
		}
	}
	return s
}

// end checks that nothing is left.
func (s *story) end() {
	s.t.Helper()
	if s.fuse.Dead() {
		s.restart()
	}
	time.Sleep(30 * time.Minute) // for garbage
	left, err := s.f.Records(s.ctx)
	if err != nil || len(left) > 0 || s.f.Machines() > 0 {
		s.t.Errorf("deleted, and still there: %d machines, %v (%v)", s.f.Machines(), left, err)
	}
	for _, v := range s.f.Ledger.Violations() {
		s.t.Error(v)
	}
}
