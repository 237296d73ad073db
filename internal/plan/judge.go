package plan

import (
	"fmt"
	"slices"

	"github.com/muster-vm/muster/internal/vmss"
)

// judge says which operations ended. An operation ends well when every row it
// touched reached its goal, and badly when all that are left have failed.
func (d *draft) judge() {
	for i, op := range d.ops {
		switch {
		case d.preempted(op, d.ops[i+1:]):
			d.end(op, vmss.OperationCanceled, &vmss.OperationError{Code: "OperationPreempted",
				Message: "A newer operation on the scale set took over."})
		case op.Kind == vmss.OpDelete:
			if d.plan.Remove {
				d.end(op, vmss.OperationSucceeded, nil)
			}
		default:
			d.judgeRows(op)
		}
	}
}

// preempted: a later PUT ends an earlier one, a delete ends everything.
func (d *draft) preempted(op vmss.Operation, later []vmss.Operation) bool {
	return op.Kind != vmss.OpDelete && slices.ContainsFunc(later, func(l vmss.Operation) bool {
		return l.Kind == vmss.OpDelete || l.Kind == vmss.OpPut && op.Kind == vmss.OpPut
	})
}

func (d *draft) judgeRows(op vmss.Operation) {
	waiting, failed := d.progress(op)
	missing := 0
	if op.Kind == vmss.OpPut {
		missing = d.in.Set.SKU.Capacity - d.owned()
		if op.Kind == vmss.OpPut && missing < 0 {
			d.judgeSurplus(op, -missing, waiting)
			return
		}
	}
	switch {
	case waiting > 0 || missing > 0 && len(failed) == 0 && d.plan.State.Breaker.OpenUntil.IsZero():
		return
	case len(failed) > 0 || missing > 0:
		d.end(op, vmss.OperationFailed, describeFailures(failed, missing, d.plan.State.Breaker.Reason))
	case d.unsettledEdits(op):
		return
	default:
		d.end(op, vmss.OperationSucceeded, nil)
	}
}

// judgeSurplus: a scale-in waits for the rows to go, and fails when protection
// keeps what is left.
func (d *draft) judgeSurplus(op vmss.Operation, surplus, waiting int) {
	live := d.live()
	if extra := len(live) - d.in.Set.SKU.Capacity; extra <= 0 || extra < surplus || waiting > 0 {
		return // some are still being deleted
	}
	var kept []vmss.InstanceID
	for _, e := range live {
		if e.Protection.ScaleIn() {
			kept = append(kept, e.Row.ID)
		}
	}
	d.end(op, vmss.OperationFailed, &vmss.OperationError{Code: "OperationNotAllowed",
		Message: fmt.Sprintf("Scale-in protection keeps %s above the capacity of %d. Protected: %s.", count(surplus), d.in.Set.SKU.Capacity, list(kept))})
}

// progress counts the covered rows that are still on their way and collects
// those that failed.
func (d *draft) progress(op vmss.Operation) (waiting int, failed []*entry) {
	for _, e := range d.rows {
		if e.removed || !d.concerns(op, e) {
			continue
		}
		f := vmss.FailureOf(e.Row, e.Seen)
		switch {
		case op.Kind == vmss.OpDeleteSome:
			waiting++
		case e.Row.Deleting && op.Kind != vmss.OpPut:
			// somebody else is deleting it: nothing to wait for
		case e.Row.Deleting:
			waiting++
		case e.Seen.Generation == e.Row.Generation && e.Row.Generation > 0 && !f.Counts():
			// reached its goal
		case f.Counts() && (e.Row.Unplaced != "" || f.Generation == e.Row.Generation):
			failed = append(failed, e)
		default:
			waiting++
		}
	}
	return waiting, failed
}

// concerns reports whether the operation waits for the row.
func (d *draft) concerns(op vmss.Operation, e *entry) bool {
	return op.Kind == vmss.OpPut || op.Covers(e.Row.ID)
}

// unsettledEdits reports whether this very plan still changes a covered row.
func (d *draft) unsettledEdits(op vmss.Operation) bool {
	for _, e := range d.rows {
		if !e.removed && d.concerns(op, e) && (e.created || e.Row.Generation != e.was.Generation) {
			return true
		}
	}
	return false
}

func (d *draft) end(op vmss.Operation, status vmss.OperationStatus, err *vmss.OperationError) {
	d.plan.Outcomes = append(d.plan.Outcomes, Ended{op, vmss.Outcome{Status: status, Finished: d.in.Now, Error: err}})
}

// maxDetails bounds how many instances an operation's error names one by one.
const maxDetails = 20

func describeFailures(failed []*entry, missing int, breaker string) *vmss.OperationError {
	if len(failed) == 0 {
		return &vmss.OperationError{Code: "AllocationFailed", Message: count(missing) + " could not be created. " + breaker}
	}
	first := vmss.FailureOf(failed[0].Row, failed[0].Seen)
	err := &vmss.OperationError{Code: first.Code}
	var ids []vmss.InstanceID
	for _, e := range failed {
		ids = append(ids, e.Row.ID)
		if f := vmss.FailureOf(e.Row, e.Seen); len(err.Details) < maxDetails {
			err.Details = append(err.Details, vmss.OperationError{Code: f.Code, Message: f.Message, Target: e.Row.ID.String()})
		}
	}
	err.Message = fmt.Sprintf("%s failed (%s). The first: %s", count(len(failed)), list(ids), first.Message)
	return err
}

// list words ids, the first few of them.
func list(ids []vmss.InstanceID) string {
	slices.Sort(ids)
	s := ""
	for i, id := range ids {
		if i == maxDetails {
			return s + fmt.Sprintf(" and %d more", len(ids)-i)
		}
		if i > 0 {
			s += ", "
		}
		s += id.String()
	}
	return s
}
