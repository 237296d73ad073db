package plan

import (
	"fmt"

	"github.com/muster-vm/muster/internal/vmss"
)

// applyOperations lets each row take in, in order, the operations that are
// newer than the newest it has taken in. That makes every operation happen
// exactly once per row, whatever crashes in between.
func (d *draft) applyOperations() {
	for _, op := range d.ops {
		if !perRow(op.Kind) {
			continue
		}
		for _, e := range d.rows {
			if e.removed || e.Row.Operation >= op.Sequence || !op.Covers(e.Row.ID) {
				continue
			}
			d.apply(op, e)
		}
	}
}

// perRow: the other kinds change the set or its documents, and rows follow from
// those.
func perRow(k vmss.OperationKind) bool {
	switch k {
	case vmss.OpPut, vmss.OpDelete, vmss.OpCustomize, vmss.OpDeleteGroup:
		return false
	}
	return true
}

func (d *draft) apply(op vmss.Operation, e *entry) {
	e.Row.Operation = op.Sequence
	e.because("operation " + string(op.Kind))
	if e.Row.Deleting && op.Kind != vmss.OpDeleteSome {
		return
	}
	if e.Protection.FromScaleSetActions && !op.AtInstance && guarded(op.Kind) {
		return // Azure skips protected instances without an error
	}
	before := e.Row
	switch op.Kind {
	case vmss.OpDeleteSome:
		e.delete("asked by the user", op.Force)
		return
	case vmss.OpStart:
		e.Row.Power, e.Row.Graceful = vmss.PowerRunning, false
		if e.Seen.Power != vmss.PowerRunning || before.Power != vmss.PowerRunning {
			e.Row.Generation++ // an instance that stopped by itself starts again
		}
		return
	case vmss.OpPowerOff:
		if before.Power != vmss.PowerDeallocated {
			e.Row.Power, e.Row.Graceful = vmss.PowerStopped, !op.SkipShutdown
		}
	case vmss.OpDeallocate:
		e.Row.Power, e.Row.Graceful = vmss.PowerDeallocated, true
	case vmss.OpRestart, vmss.OpRedeploy:
		e.Row.Boots++
		e.Row.Graceful = true
		if op.Kind == vmss.OpRedeploy {
			e.Row.Power = vmss.PowerRunning
		}
	case vmss.OpReapply:
		e.Row.Generation++
		return
	case vmss.OpReimage, vmss.OpReimageAll:
		d.reimage(e, op.Kind == vmss.OpReimageAll)
	case vmss.OpManualUpgrade:
		d.toModel(e)
		return
	}
	if intentChanged(before, e.Row) {
		e.Row.Generation++
	}
}

// guarded says which set-level operations protection from scale-set actions
// stops. Deleting instances by name always works.
//
// Source: https://learn.microsoft.com/azure/virtual-machine-scale-sets/virtual-machine-scale-sets-instance-protection
func guarded(k vmss.OperationKind) bool {
	return k != vmss.OpDeleteSome
}

// reimage asks for a new OS disk from the row's own model, and with all for
// new data disks too.
func (d *draft) reimage(e *entry, all bool) {
	e.Row.Disks++
	if all {
		e.Row.DataDisks++
	}
}

func intentChanged(a, b vmss.Instance) bool {
	return a.Power != b.Power || a.Graceful != b.Graceful || a.Boots != b.Boots || a.Disks != b.Disks || a.DataDisks != b.DataDisks
}

// customize carries what instance-level PUTs said about disks into the rows.
func (d *draft) customize() {
	for _, e := range d.live() {
		if !sameDisks(e.Row.Attached, e.Attached) {
			e.Row.Attached = e.Attached
			e.Row.Generation++
			e.because("data disks of the instance")
		}
	}
}

func sameDisks(a, b []vmss.Disk) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// newest returns the highest sequence of the operations: rows made now have
// nothing to catch up on.
func (d *draft) newest() int64 {
	n := int64(0)
	for _, op := range d.ops {
		n = max(n, op.Sequence)
	}
	for _, e := range d.rows {
		n = max(n, e.Row.Operation)
	}
	return n
}

// count words a number of instances.
func count(n int) string {
	if n == 1 {
		return "1 instance"
	}
	return fmt.Sprintf("%d instances", n)
}
