package plan

import (
	"fmt"
	"time"

	"github.com/muster-vm/muster/internal/vmss"
)

// Machine is the virtual machine of an instance as the instance planner sees
// it: what the driver reports, and whether it was made from the spec that the
// row asks for now.
type Machine struct {
	Disks   int64        // generation of its OS disk
	Boots   int64        // the boot that was last carried out
	State   MachineState //
	Since   time.Time    // of the state
	Matches bool         // made from the spec that row and model ask for
	Fits    bool         // has the data disks and limits that row and model ask for
	Fault   string       // why it stopped by itself, if not by its guest's wish

	Flows                  int       // established connections that came to it by load balancers
	DrainSince, DrainUntil time.Time // when they began to drain, and when they are cut; zero: they are not waited for
}

// MachineState is what a virtual machine is doing.
type MachineState string

// The states of a machine, as compute.State has them.
const (
	MachineIncomplete  MachineState = "incomplete"
	MachineStarting    MachineState = "starting"
	MachineRunning     MachineState = "running"
	MachineStopping    MachineState = "stopping"
	MachineStopped     MachineState = "stopped"
	MachineDeallocated MachineState = "deallocated"
)

// Action is what a Step does.
type Action string

// The actions. At most one driver call each.
const (
	Nothing  Action = ""         // wait, or all is well
	Make     Action = "create"   // driver.Create from the row's spec
	Unmake   Action = "delete"   // driver.Delete, Keep says what stays
	SetPower Action = "power"    // driver.Power
	Refit    Action = "refit"    // driver.Refit to the row's spec
	Forget   Action = "clean up" // what is left of a deleted instance: kept disks, its address
)

// Keep says which disks outlive an Unmake.
type Keep string

// What may be kept.
const (
	KeepNothing Keep = ""
	KeepData    Keep = "data disks" // reimage
	KeepDisks   Keep = "all disks"  // other hardware, same disks
)

// Step is what the host does next for one instance.
type Step struct {
	Do      Action
	Keep    Keep            // with Unmake
	Power   vmss.PowerState // with SetPower: running, stopped, deallocated
	Graces  bool            // with SetPower: the guest is asked first
	Why     string          // for the log
	Settled bool            // the row is fully carried out
	Leaves  bool            // it takes a running machine down, or waits to: who talks to the machine is cut off
	Drains  time.Time       // with Nothing: until when it waits for connections at most; zero if it does not
	Late    *vmss.Failure   // the guest did not report in time
	Died    string          // with SetPower: why the machine stopped by itself; the start counts as another try
	WakeAt  time.Time       // when time alone changes the answer; zero if never
}

// String shows the step in scenarios.
func (s Step) String() string {
	switch {
	case s.Settled && s.Do == Nothing:
		return "settled"
	case s.Do == Nothing && s.Late != nil:
		return "late: " + s.Late.Code
	case s.Do == Nothing && s.Why != "":
		return "wait: " + s.Why
	case s.Do == Nothing:
		return "wait"
	case s.Do == SetPower && s.Graces:
		return fmt.Sprintf("power %s gracefully: %s", s.Power, s.Why)
	case s.Do == SetPower:
		return fmt.Sprintf("power %s: %s", s.Power, s.Why)
	case s.Do == Unmake && s.Keep != KeepNothing:
		return fmt.Sprintf("delete keeping %s: %s", s.Keep, s.Why)
	}
	return string(s.Do) + ": " + s.Why
}

// ProvisioningLimit is how long a guest may take to report ready.
//
// Source: Azure gives up after about 40 minutes (OSProvisioningTimedOut).
const ProvisioningLimit = 40 * time.Minute

// Instance plans the next driver call for one row. vm is nil when the host has
// no machine of the instance.
func Instance(row vmss.Instance, seen vmss.Observation, vm *Machine, now time.Time) Step {
	return drained(row, vm, next(row, seen, vm, now), now)
}

// next plans without regard to connections.
func next(row vmss.Instance, seen vmss.Observation, vm *Machine, now time.Time) Step {
	if f := seen.Failure; f != nil && f.Generation == row.Generation && now.Before(f.RetryAt) && holdsBack(f, vm) {
		return Step{WakeAt: f.RetryAt, Why: "trying again later after " + f.Code}
	}
	switch {
	case row.Deleting:
		return remove(row, seen, vm)
	case vm == nil:
		return absent(row)
	case vm.Disks != row.Disks:
		return Step{Do: Unmake, Keep: KeepData, Why: "a new OS disk is wanted"}
	case vm.State == MachineIncomplete && vm.Matches:
		return Step{Do: Make, Why: "it was left half-made"}
	case !vm.Matches && up(vm):
		return Step{Do: SetPower, Power: vmss.PowerStopped, Graces: true, Why: "its hardware changes"}
	case !vm.Matches && vm.State == MachineStopping:
		return Step{Why: "it is shutting down"}
	case !vm.Matches:
		return Step{Do: Unmake, Keep: KeepDisks, Why: "its hardware changes"}
	}
	if !vm.Fits && fittable(row, vm) {
		return Step{Do: Refit, Why: "its disks or limits change"}
	}
	switch row.Power {
	case vmss.PowerStopped, vmss.PowerDeallocated:
		return down(row, vm)
	}
	return run(row, seen, vm, now)
}

// fittable reports whether now is the time to change the disks of a machine that
// stays. One that goes down anyway, or boots again, goes first: its guest need not
// let go of a disk then.
func fittable(row vmss.Instance, vm *Machine) bool {
	goesDown := row.Power != vmss.PowerRunning || vm.Boots < row.Boots
	return vm.State != MachineStopping && (!up(vm) || !goesDown)
}

// DiedCode is the code of a failure that was not a call's but the machine's: it
// stopped by itself.
const DiedCode = "VMStoppedUnexpectedly"

// holdsBack reports whether nothing is done for the instance until the failure
// may be tried again. A machine that died and is up again is no matter of
// trying.
func holdsBack(f *vmss.Failure, vm *Machine) bool {
	switch f.Code {
	case lateCode:
		return false
	case DiedCode:
		return vm != nil && vm.State == MachineStopped
	}
	return true
}

// remove ends the machine, then cleans up.
func remove(row vmss.Instance, seen vmss.Observation, vm *Machine) Step {
	switch {
	case seen.Gone:
		return Step{Settled: true}
	case vm == nil:
		return Step{Do: Forget, Why: row.DeleteReason}
	case row.Force || !up(vm) && vm.State != MachineStopping:
		return Step{Do: Unmake, Why: row.DeleteReason}
	case vm.State == MachineStopping:
		return Step{Why: "it is shutting down before it is deleted"}
	case vm.State == MachineStarting:
		return Step{Do: Unmake, Why: row.DeleteReason} // no guest yet that could be asked
	}
	return Step{Do: SetPower, Power: vmss.PowerStopped, Graces: true, Why: row.DeleteReason}
}

// absent makes the machine, unless it shall not run anyway.
func absent(row vmss.Instance) Step {
	if row.Power != vmss.PowerRunning {
		return Step{Settled: true}
	}
	return Step{Do: Make, Why: "there is no virtual machine"}
}

// down brings a machine to stopped or deallocated.
func down(row vmss.Instance, vm *Machine) Step {
	switch {
	case vm.State == MachineDeallocated, vm.State == MachineStopped && row.Power == vmss.PowerStopped:
		return Step{Settled: true}
	case vm.State == MachineStopping:
		return Step{Why: "it is shutting down"}
	}
	return Step{Do: SetPower, Power: row.Power, Graces: row.Graceful, Why: "it shall be " + string(row.Power)}
}

// run brings a machine up, in the boot that the row asks for. A guest that shut
// itself down stays down, as in Azure, until a newer intent; a machine that
// died is started again.
//
// Source: https://learn.microsoft.com/azure/virtual-machines/states-billing
func run(row vmss.Instance, seen vmss.Observation, vm *Machine, now time.Time) Step {
	switch {
	case vm.State == MachineStopping:
		return Step{Why: "it is shutting down"}
	case up(vm) && vm.Boots < row.Boots:
		return Step{Do: SetPower, Power: vmss.PowerRunning, Graces: row.Graceful, Why: "a restart is wanted"}
	case vm.State == MachineRunning:
		return Step{Settled: true}
	case vm.State == MachineStarting:
		return starting(row, vm, now)
	case vm.Fault == "" && seen.Generation == row.Generation && vm.State == MachineStopped:
		return Step{Settled: true, Why: "the guest shut itself down"}
	case vm.Fault != "":
		return Step{Do: SetPower, Power: vmss.PowerRunning, Why: "it stopped unexpectedly: " + vm.Fault, Died: vm.Fault}
	}
	return Step{Do: SetPower, Power: vmss.PowerRunning, Why: "it shall be running"}
}

const lateCode = "OSProvisioningTimedOut"

// starting waits for the guest to report, and says so when it is late.
func starting(row vmss.Instance, vm *Machine, now time.Time) Step {
	limit := vm.Since.Add(ProvisioningLimit)
	if now.Before(limit) {
		return Step{Why: "the guest has not reported yet", WakeAt: limit}
	}
	return Step{Late: &vmss.Failure{Code: lateCode, Message: fmt.Sprintf("The guest did not report ready within %s of its start. Look at its serial log.", ProvisioningLimit),
		Since: limit, Attempts: 1, Final: true, Generation: row.Generation}}
}

func up(vm *Machine) bool { return vm.State == MachineStarting || vm.State == MachineRunning }
