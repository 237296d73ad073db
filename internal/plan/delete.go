package plan

// removeGone takes away the rows whose host has nothing left of them.
func (d *draft) removeGone() {
	for _, e := range d.rows {
		if e.Row.Deleting && (e.Seen.Gone || e.Row.Host == "") {
			e.removed = true
		}
	}
}

// deleteAll marks every row of a deleted set, and says when its records may go.
func (d *draft) deleteAll() {
	for _, e := range d.live() {
		e.delete("the scale set is being deleted", d.in.Set.ForceDelete)
	}
	d.removeGone()
	d.plan.Remove = d.owned() == 0
}

// delete marks the row. The first reason stays; force only ever adds.
func (e *entry) delete(reason string, force bool) {
	if !e.Row.Deleting {
		e.Row.Deleting, e.Row.DeleteReason = true, reason
		e.Row.Generation++
		e.because("delete: " + reason)
	}
	if force && !e.Row.Force {
		e.Row.Force = true
		e.because("by force")
	}
}
