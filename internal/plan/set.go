package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/muster-vm/muster/internal/vmss"
)

// Input is everything the set planner may look at. It holds values, never
// handles; nothing in it is changed.
type Input struct {
	Now        time.Time
	Set        vmss.ScaleSet
	State      vmss.State
	Model      *vmss.Revision                         // the set's current revision
	Revisions  map[vmss.RevisionNumber]*vmss.Revision // all that are kept
	Instances  []Member                               // in any order
	Operations []vmss.Operation                       // without outcome, in any order
	Hosts      []vmss.Host                            // with what all sets' rows use
	Size       func(name string) (vmss.Size, bool)    `json:"-"` // the table of VM sizes
}

// Member is one row with what is known about it.
type Member struct {
	Row        vmss.Instance
	Seen       vmss.Observation // zero before the host looked
	Protection vmss.Protection
	Attached   []vmss.Disk // by instance-level PUT
}

// Plan is the result of planning. The zero Plan (but for State, which is
// carried over) means that the set is converged.
type Plan struct {
	Edits    []Edit                // at most one per instance, by id
	State    vmss.State            // the planner state after the edits
	Outcomes []Ended               // operations that ended, by sequence
	Drop     []vmss.RevisionNumber // model revisions that nobody needs any more
	Remove   bool                  // the deleted set has no rows left: its records may go
	Blocked  []Blocked             // each wanted change that was not planned, and why
	WakeAt   time.Time             // when time alone could change the answer; zero if never
}

// Edit is one edit of one instance row. The set of edits is closed: Create,
// Change, Remove.
type Edit interface {
	fmt.Stringer
	isEdit()
}

type (
	// Create makes a row.
	Create struct{ Row vmss.Instance }
	// Change replaces a row.
	Change struct {
		Row vmss.Instance
		Why string
	}
	// Remove takes away the row of an instance that is gone from its host.
	Remove struct{ ID vmss.InstanceID }
)

func (Create) isEdit() {}
func (Change) isEdit() {}
func (Remove) isEdit() {}

// String shows the edit in scenarios and logs.
func (e Create) String() string {
	s := fmt.Sprintf("create %d model=%d", e.Row.ID, e.Row.Revision)
	if e.Row.Zone != "" {
		s += " zone=" + e.Row.Zone
	}
	if e.Row.Host == "" {
		return s + " unplaced"
	}
	return s + " host=" + e.Row.Host
}

// String shows the edit in scenarios and logs.
func (e Change) String() string { return fmt.Sprintf("change %d: %s", e.Row.ID, e.Why) }

// String shows the edit in scenarios and logs.
func (e Remove) String() string { return fmt.Sprintf("remove %d", e.ID) }

// Ended is the end of an operation.
type Ended struct {
	Operation vmss.Operation
	Outcome   vmss.Outcome
}

// Blocked is a wanted change that was not planned.
type Blocked struct {
	Kind      string            // scaleOut, scaleIn, upgrade, place, ...
	Reason    string            // a sentence for users
	Instances []vmss.InstanceID // that it is about, if any
}

// String shows the reason in scenarios and logs.
func (b Blocked) String() string {
	if len(b.Instances) == 0 {
		return b.Kind + ": " + b.Reason
	}
	return fmt.Sprintf("%s: %s %v", b.Kind, b.Reason, b.Instances)
}

// Set plans the next step for one scale set. Kinds of change are tried in
// order, each seeing what the earlier ones did; one that is blocked says why
// and yields to the next.
func Set(in Input) Plan {
	d := newDraft(in)
	d.removeGone()
	d.applyOperations()
	if in.Set.Deleting {
		d.deleteAll()
	} else {
		d.customize()
		d.scale()
		d.upgrade()
		d.place()
	}
	return d.finish()
}

// draft is a plan in the making: the rows as they will be.
type draft struct {
	in   Input
	rows []*entry // by id
	ops  []vmss.Operation
	plan Plan
}

// entry is one row of the draft.
type entry struct {
	Member                // as it was, with Row as it shall be
	was     vmss.Instance // the row before
	why     []string
	created bool
	removed bool
}

func newDraft(in Input) *draft {
	d := &draft{in: in, rows: make([]*entry, 0, len(in.Instances)), ops: slices.Clone(in.Operations)}
	d.plan.State = in.State
	entries := make([]entry, len(in.Instances))
	for i, inst := range in.Instances {
		entries[i] = entry{Member: inst, was: inst.Row}
		d.rows = append(d.rows, &entries[i])
	}
	slices.SortFunc(d.rows, func(a, b *entry) int { return cmp.Compare(a.Row.ID, b.Row.ID) })
	slices.SortFunc(d.ops, func(a, b vmss.Operation) int { return cmp.Compare(a.Sequence, b.Sequence) })
	return d
}

// because notes why the row changes.
func (e *entry) because(why string) {
	if !slices.Contains(e.why, why) {
		e.why = append(e.why, why)
	}
}

func (d *draft) block(kind, reason string, ids ...vmss.InstanceID) {
	slices.Sort(ids)
	d.plan.Blocked = append(d.plan.Blocked, Blocked{kind, reason, ids})
}

// wake asks to be called again at t, if nothing earlier was asked.
func (d *draft) wake(t time.Time) {
	if d.plan.WakeAt.IsZero() || t.Before(d.plan.WakeAt) {
		d.plan.WakeAt = t
	}
}

// live lists the rows that are there to stay.
func (d *draft) live() []*entry {
	out := make([]*entry, 0, len(d.rows))
	for _, e := range d.rows {
		if !e.removed && !e.Row.Deleting {
			out = append(out, e)
		}
	}
	return out
}

// owned counts the rows that the set owns in any state.
func (d *draft) owned() int {
	n := 0
	for _, e := range d.rows {
		if !e.removed {
			n++
		}
	}
	return n
}

// finish turns the draft into edits and judges the operations.
func (d *draft) finish() Plan {
	d.judge()
	d.dropRevisions()
	for _, e := range d.rows {
		switch {
		case e.removed:
			d.plan.Edits = append(d.plan.Edits, Remove{e.Row.ID})
		case e.created:
			d.plan.Edits = append(d.plan.Edits, Create{e.Row})
		case len(e.why) > 0:
			d.plan.Edits = append(d.plan.Edits, Change{e.Row, strings.Join(e.why, ", ")})
		}
	}
	return d.plan
}
