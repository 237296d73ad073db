// Package set is the executor of the set planner: it loads a scale set, asks
// plan.Set, and commits the edits. It holds no policy.
package set

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/muster-vm/muster/internal/plan"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/vmss"
)

// Reconciler carries scale sets toward their documents.
type Reconciler struct {
	Store *store.Store
	Hosts func() []vmss.Host // with what they offer; what is used is filled in here
	Size  func(name string) (vmss.Size, bool)
	Fence store.Change // what every commit depends on: the lease of the control plane
	Check bool         // refuse to carry out a plan that breaks a law
	Log   *slog.Logger
}

// Reconcile plans once for the set and commits the plan.
func (r *Reconciler) Reconcile(ctx context.Context, uid vmss.UID) (time.Time, error) {
	snap, ok := r.Store.Snapshot(uid)
	if !ok {
		return time.Time{}, nil
	}
	in := r.input(snap)
	p := plan.Set(in)
	if r.Check {
		if broken := plan.Check(in, p); len(broken) > 0 {
			return time.Time{}, fmt.Errorf("plan for %s breaks the law: %s", snap.Set.Value.ID, strings.Join(broken, "; "))
		}
	}
	return p.WakeAt, r.commit(ctx, snap, p)
}

// Explain returns what is wanted for the set now and not done, and why. It is
// the same plan that Reconcile would carry out.
func (r *Reconciler) Explain(uid vmss.UID) []plan.Blocked {
	snap, ok := r.Store.Snapshot(uid)
	if !ok {
		return nil
	}
	return plan.Set(r.input(snap)).Blocked
}

// input turns a snapshot into what the planner looks at.
func (r *Reconciler) input(snap store.Snapshot) plan.Input {
	in := plan.Input{Now: time.Now().UTC(), Set: *snap.Set.Value, Size: r.Size, Revisions: map[vmss.RevisionNumber]*vmss.Revision{},
		Operations: snap.Open, Instances: make([]plan.Member, len(snap.Instances))}
	if snap.State.Value != nil {
		in.State = *snap.State.Value
	}
	for _, rev := range snap.Revisions {
		in.Revisions[rev.Number] = rev
	}
	in.Model = in.Revisions[in.Set.Revision]
	live, unplaced := 0, false
	for i, rec := range snap.Instances {
		m := plan.Member{Row: *rec.Row.Value}
		if rec.Seen != nil {
			m.Seen = *rec.Seen
		}
		if rec.Custom != nil {
			m.Protection, m.Attached = rec.Custom.Protection, rec.Custom.Attached
		}
		if !m.Row.Deleting {
			live++
			unplaced = unplaced || m.Row.Host == ""
		}
		in.Instances[i] = m
	}
	if live < in.Set.SKU.Capacity || unplaced {
		in.Hosts = r.hosts() // nobody needs a place otherwise, and counting is not free
	}
	return in
}

// hosts returns the hosts with what the rows of all sets use of them.
func (r *Reconciler) hosts() []vmss.Host {
	hosts := r.Hosts()
	index := make(map[string]int, len(hosts))
	for i, h := range hosts {
		index[h.Name] = i
	}
	for _, set := range store.All(r.Store, store.ScaleSets) {
		sizes := map[vmss.RevisionNumber]vmss.Size{}
		for _, rec := range r.Store.Instances(set.Value.UID, -1, 0) {
			row := rec.Row.Value
			i, ok := index[row.Host]
			if !ok || row.Power == vmss.PowerDeallocated {
				continue
			}
			size, ok := sizes[row.Revision]
			if !ok {
				if rev, found := store.Get(r.Store, store.Revisions, vmss.RevisionKey{Set: set.Value.UID, Number: row.Revision}); found {
					size, _ = r.Size(rev.Value.Model.Size)
				}
				sizes[row.Revision] = size
			}
			hosts[i].UsedVCPUs += size.VCPUs
			hosts[i].UsedMB += size.MemoryMB
		}
	}
	return hosts
}

// maxOps is how many edits go into one transaction, its guards aside.
const maxOps = 90

// commit writes the plan in chunks, each guarded by the document and the planner
// state that the plan was made on. What a crash leaves out is planned again.
func (r *Reconciler) commit(ctx context.Context, snap store.Snapshot, p plan.Plan) error {
	uid := snap.Set.Value.UID
	c := chunk{store: r.Store, fence: r.Fence, snap: snap, state: snap.State.Revision}
	if snap.State.Value == nil || *snap.State.Value != p.State {
		rev, err := r.Store.Commit(ctx, r.Fence, c.document(), store.Put(store.States, uid, p.State, guard(c.state)))
		if err != nil {
			return err
		}
		c.state = rev
	}
	rows := make(map[vmss.InstanceID]int64, len(snap.Instances))
	for _, rec := range snap.Instances {
		rows[rec.ID] = rec.Row.Revision
	}
	for _, e := range p.Edits {
		r.Log.DebugContext(ctx, "edit row", "scale_set", snap.Set.Value.ID.Name(), "edit", e.String())
		if err := c.add(ctx, edit(uid, e, rows)...); err != nil {
			return err
		}
	}
	if err := r.finish(ctx, &c, p); err != nil {
		return err
	}
	return c.flush(ctx)
}

func guard(revision int64) store.Guard {
	if revision == 0 {
		return store.Absent
	}
	return store.At(revision)
}

// edit turns one edit into record changes.
func edit(uid vmss.UID, e plan.Edit, rows map[vmss.InstanceID]int64) []store.Change {
	switch e := e.(type) {
	case plan.Create:
		return []store.Change{store.Put(store.Instances, vmss.InstanceKey{Set: uid, ID: e.Row.ID}, e.Row, store.Absent)}
	case plan.Change:
		return []store.Change{store.Put(store.Instances, vmss.InstanceKey{Set: uid, ID: e.Row.ID}, e.Row, store.At(rows[e.Row.ID]))}
	case plan.Remove:
		key := vmss.InstanceKey{Set: uid, ID: e.ID}
		return []store.Change{store.Delete(store.Instances, key, store.At(rows[e.ID])), store.Delete(store.Observations, key, store.Any),
			store.Delete(store.Customizations, key, store.Any)}
	}
	panic(fmt.Sprintf("unknown edit %T", e))
}

// finish writes the ends of operations, drops old revisions and, when the set
// is gone, its records.
func (r *Reconciler) finish(ctx context.Context, c *chunk, p plan.Plan) error {
	set := c.snap.Set.Value
	drop := p.Drop
	if p.Remove {
		drop = nil
		for _, rev := range c.snap.Revisions {
			drop = append(drop, rev.Number)
		}
	}
	for _, n := range drop {
		if err := c.add(ctx, store.Delete(store.Revisions, vmss.RevisionKey{Set: set.UID, Number: n}, store.Any)); err != nil {
			return err
		}
	}
	var last []store.Change
	for _, o := range p.Outcomes {
		r.Log.InfoContext(ctx, "end operation", "operation", o.Operation.ID, "kind", o.Operation.Kind, "scale_set", set.ID.Name(),
			"status", o.Outcome.Status, "reason", reason(o.Outcome))
		put := store.Put(store.Outcomes, o.Operation.Key(), o.Outcome, store.Absent)
		if p.Remove && o.Operation.Kind == vmss.OpDelete {
			last = append(last, put)
			continue
		}
		if err := c.add(ctx, put); err != nil {
			return err
		}
	}
	if !p.Remove {
		return nil
	}
	// The document goes last, in one transaction with its state and the end of
	// the delete: whoever sees either may be sure that nothing else is left.
	if err := c.flush(ctx); err != nil {
		return err
	}
	last = append(last, r.Fence, store.Delete(store.ScaleSets, set.Key(), store.At(c.snap.Set.Revision)),
		store.Delete(store.States, set.UID, guard(c.state)), store.Delete(store.Counters, string(set.UID), store.Any))
	_, err := r.Store.Commit(ctx, last...)
	return err
}

func reason(o vmss.Outcome) string {
	if o.Error == nil {
		return ""
	}
	return o.Error.Code + ": " + o.Error.Message
}

// chunk collects changes and commits them when it is full.
type chunk struct {
	store   *store.Store
	fence   store.Change
	snap    store.Snapshot
	state   int64 // revision of the planner state
	changes []store.Change
}

// document makes a commit depend on the document that the plan was made for, so
// that a capacity that was lowered meanwhile stops creates.
func (c *chunk) document() store.Change {
	return store.Check(store.ScaleSets, c.snap.Set.Value.Key(), store.At(c.snap.Set.Revision))
}

func (c *chunk) add(ctx context.Context, changes ...store.Change) error {
	if len(c.changes)+len(changes) > maxOps {
		if err := c.flush(ctx); err != nil {
			return err
		}
	}
	c.changes = append(c.changes, changes...)
	return nil
}

func (c *chunk) flush(ctx context.Context) error {
	if len(c.changes) == 0 {
		return nil
	}
	guards := []store.Change{c.fence, c.document(), store.Check(store.States, c.snap.Set.Value.UID, guard(c.state))}
	_, err := c.store.Commit(ctx, append(guards, c.changes...)...)
	c.changes = nil
	return err
}
