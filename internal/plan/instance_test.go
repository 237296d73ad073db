package plan_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"pgregory.net/rapid"

	"github.com/muster-vm/muster/internal/plan"
	"github.com/muster-vm/muster/internal/vmss"
)

// TestInstanceScenarios shows which driver call follows from a row and what its
// host observed.
func TestInstanceScenarios(t *testing.T) {
	datadriven.Walk(t, "testdata/instance", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			row := vmss.Instance{Power: vmss.PowerRunning, Boots: 1, Disks: 1, DataDisks: 1, Generation: 1, DeleteReason: "scale in"}
			seen := vmss.Observation{}
			vm := &plan.Machine{Disks: 1, Boots: 1, Since: epoch, Matches: !d.HasArg("differs"), Fits: !d.HasArg("unfit")}
			var s string
			d.MaybeScanArgs(t, "generation", &row.Generation)
			d.MaybeScanArgs(t, "seen", &seen.Generation)
			d.MaybeScanArgs(t, "boots", &row.Boots)
			d.MaybeScanArgs(t, "disks", &row.Disks)
			if d.MaybeScanArgs(t, "power", &s) {
				row.Power = vmss.PowerState(s)
			}
			row.Deleting, row.Force, row.Graceful = d.HasArg("deleting"), d.HasArg("force"), d.HasArg("graceful")
			if d.MaybeScanArgs(t, "vm", &s) {
				vm.State = plan.MachineState(s)
			} else {
				vm = nil
			}
			if d.HasArg("fault") {
				vm.Fault = "killed by signal 9"
			}
			seen.Gone = d.HasArg("gone")
			if d.HasArg("failed") {
				seen.Failure = &vmss.Failure{Code: "AllocationFailed", RetryAt: epoch.Add(time.Minute), Generation: 1}
			}
			if d.HasArg("died") {
				seen.Failure = &vmss.Failure{Code: plan.DiedCode, RetryAt: epoch.Add(time.Minute), Generation: 1}
			}
			now := epoch
			if d.MaybeScanArgs(t, "after", &s) {
				after, err := time.ParseDuration(s)
				if err != nil {
					d.Fatalf(t, "%v", err)
				}
				now = now.Add(after)
			}
			if d.MaybeScanArgs(t, "flows", &s) { // they drain for half a minute
				if _, err := fmt.Sscan(s, &vm.Flows); err != nil {
					d.Fatalf(t, "%v", err)
				}
				vm.DrainSince, vm.DrainUntil = epoch, epoch.Add(30*time.Second)
			}
			step := plan.Instance(row, seen, vm, now)
			if !step.Drains.IsZero() {
				return fmt.Sprintf("%s; looks again after %v", step, step.WakeAt.Sub(now))
			}
			return step.String()
		})
	})
}

// TestAHostComesToRest plays a driver that does what it is told: whatever the
// row says, the instance planner settles after a few calls and never makes a
// machine while there is another.
func TestAHostComesToRest(t *testing.T) {
	states := []plan.MachineState{plan.MachineIncomplete, plan.MachineStarting, plan.MachineRunning, plan.MachineStopping, plan.MachineStopped, plan.MachineDeallocated}
	rapid.Check(t, func(t *rapid.T) {
		row := vmss.Instance{Power: rapid.SampledFrom([]vmss.PowerState{vmss.PowerRunning, vmss.PowerStopped, vmss.PowerDeallocated}).Draw(t, "power"),
			Boots: rapid.Int64Range(1, 3).Draw(t, "boots"), Disks: rapid.Int64Range(1, 3).Draw(t, "disks"), Generation: 5,
			Deleting: rapid.Bool().Draw(t, "deleting"), Force: rapid.Bool().Draw(t, "force"), Graceful: rapid.Bool().Draw(t, "graceful")}
		seen := vmss.Observation{Generation: rapid.Int64Range(0, 5).Draw(t, "seen")}
		var vm *plan.Machine
		if rapid.Bool().Draw(t, "exists") {
			vm = &plan.Machine{Disks: rapid.Int64Range(1, row.Disks).Draw(t, "its disks"), Boots: rapid.Int64Range(1, row.Boots).Draw(t, "its boots"),
				State: rapid.SampledFrom(states).Draw(t, "state"), Matches: rapid.Bool().Draw(t, "matches"), Fits: rapid.Bool().Draw(t, "fits"),
				Flows: rapid.IntRange(0, 2).Draw(t, "flows"), DrainSince: epoch, DrainUntil: epoch.Add(10 * time.Second)}
		}
		now := epoch
		for range 24 {
			step := plan.Instance(row, seen, vm, now)
			if !step.Drains.IsZero() {
				if !step.WakeAt.After(now) {
					t.Fatalf("at %v it waits until %v", now, step.WakeAt)
				}
				now = step.WakeAt
			}
			if step.Settled {
				if vm != nil && !row.Deleting && (!vm.Matches || !vm.Fits) {
					t.Fatalf("it rests with the wrong machine %+v", vm)
				}
				return
			}
			vm = carryOut(t, row, &seen, vm, step)
		}
		t.Fatalf("no rest: row %+v, machine %+v", row, vm)
	})
}

// carryOut plays an obedient driver.
func carryOut(t *rapid.T, row vmss.Instance, seen *vmss.Observation, vm *plan.Machine, step plan.Step) *plan.Machine {
	switch step.Do {
	case plan.Make:
		if vm != nil && vm.State != plan.MachineIncomplete {
			t.Fatalf("a second machine is made beside %+v", vm)
		}
		return &plan.Machine{Disks: row.Disks, Boots: row.Boots, State: plan.MachineStarting, Matches: true, Fits: true}
	case plan.Refit:
		vm.Fits = true
	case plan.Unmake:
		return nil
	case plan.Forget:
		seen.Gone = true
	case plan.SetPower:
		vm.State = map[vmss.PowerState]plan.MachineState{vmss.PowerRunning: plan.MachineStarting, vmss.PowerStopped: plan.MachineStopping,
			vmss.PowerDeallocated: plan.MachineDeallocated}[step.Power]
		vm.Boots = max(vm.Boots, row.Boots)
	case plan.Nothing: // time passes
		switch vm.State {
		case plan.MachineStarting:
			vm.State = plan.MachineRunning
		case plan.MachineStopping:
			vm.State = plan.MachineStopped
		}
	}
	return vm
}
