package plan

import (
	"fmt"
	"time"

	"github.com/muster-vm/muster/internal/vmss"
)

// How soon a machine that drains is looked at again: as late as it drains by now,
// within these bounds.
const (
	firstLook = 250 * time.Millisecond
	lastLook  = 2 * time.Second
)

// drained holds back a step that takes a running machine down while connections
// that came to it by load balancers go on, until they end or their time is over.
// Who asks for no grace waits for nothing.
func drained(row vmss.Instance, vm *Machine, step Step, now time.Time) Step {
	step.Leaves = takesDown(vm, step)
	hurry := row.Force || step.Do == SetPower && !step.Graces
	if !step.Leaves || hurry || vm.Flows == 0 || !now.Before(vm.DrainUntil) {
		return step
	}
	next := now.Add(min(max(now.Sub(vm.DrainSince), firstLook), lastLook))
	if next.After(vm.DrainUntil) {
		next = vm.DrainUntil
	}
	noun := "connections drain"
	if vm.Flows == 1 {
		noun = "connection drains"
	}
	return Step{Leaves: true, Drains: vm.DrainUntil, Why: fmt.Sprintf("%d %s until %s", vm.Flows, noun, vm.DrainUntil.UTC().Format(time.RFC3339)), WakeAt: next}
}

// takesDown reports whether the step ends what a running machine does.
func takesDown(vm *Machine, step Step) bool {
	return vm != nil && vm.State == MachineRunning && (step.Do == Unmake || step.Do == SetPower)
}
