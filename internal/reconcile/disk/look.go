package disk

import (
	"cmp"
	"context"
	"reflect"
	"slices"
	"time"

	noun "github.com/muster-vm/muster/internal/disk"
	"github.com/muster-vm/muster/internal/plan"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/vmss"
)

// scene is a disk as its planner sees it, with the revisions of the records.
type scene struct {
	in     plan.DiskInput
	key    noun.Key
	holder vmss.InstanceKey // of the attachment

	record, state, attachment, row, custom int64 // revisions; 0 if there is no record
}

// differs reports whether a step says anything that is not written yet.
func (s scene) differs(step plan.DiskStep) bool {
	return len(step.Outcomes) > 0 || !reflect.DeepEqual(step.State, s.in.State)
}

// look loads everything about a disk.
func (r *Reconciler) look(ctx context.Context, key noun.Key) (s scene, ok bool, err error) {
	record, ok := store.Get(r.Store, store.Disks, key)
	if !ok {
		return s, false, nil
	}
	uid := record.Value.UID
	s = scene{key: key, record: record.Revision}
	s.in = plan.DiskInput{Now: time.Now().UTC(), Disk: *record.Value, Operations: r.Store.OpenOperations(vmss.UID(uid))}
	if state, ok := store.Get(r.Store, store.DiskStates, uid); ok {
		s.state, s.in.State = state.Revision, *state.Value
	}
	if a, ok := store.Get(r.Store, store.Attachments, uid); ok {
		s.attachment, s.in.Attachment = a.Revision, a.Value
		r.lookAtHolder(&s)
	}
	if s.in.State.Bytes > 0 {
		s.in.Present, err = r.Vault.Has(ctx, uid, s.in.State.Digest)
	}
	return s, true, err
}

// lookAtHolder finds out whether the instance that has the disk wants it.
func (r *Reconciler) lookAtHolder(s *scene) {
	s.holder = holderOf(*s.in.Attachment)
	listed := func(disks []vmss.Disk) bool {
		return slices.ContainsFunc(disks, func(d vmss.Disk) bool { return d.Volume == string(s.in.Disk.UID) })
	}
	if custom, ok := store.Get(r.Store, store.Customizations, s.holder); ok {
		s.custom, s.in.Holder.Wanted = custom.Revision, listed(custom.Value.Attached)
	}
	row, ok := store.Get(r.Store, store.Instances, s.holder)
	if !ok {
		return
	}
	s.row, s.in.Holder.Exists, s.in.Holder.Listed = row.Revision, true, listed(row.Value.Attached)
	if seen, ok := store.Get(r.Store, store.Observations, s.holder); ok {
		s.in.Holder.Settled = seen.Value.Generation == row.Value.Generation
	}
}

// order says what content a disk is to have.
func (r *Reconciler) order(d noun.Disk) noun.Order {
	o := noun.Order{UID: d.UID, Kind: d.Kind, SizeGB: d.SizeGB, Source: d.Source}
	switch d.Source.Option {
	case noun.Copy:
		if a, ok := store.Get(r.Store, store.Attachments, d.Source.Disk); ok {
			o.SourceAt = a.Value
		}
		if state, ok := store.Get(r.Store, store.DiskStates, d.Source.Disk); ok {
			o.SourceGB = state.Value.SizeGB
		}
	case noun.FromImage:
		o.SourceGB = r.imageGB(d.Source.Digest)
	case noun.Capture:
		o.Base, o.SourceGB = r.captured(d.Source.Instance)
	}
	return o
}

// imageGB returns the size of the image resource with a digest.
func (r *Reconciler) imageGB(digest string) int {
	for _, e := range store.All(r.Store, store.DiskStates) {
		if e.Value.Digest == digest {
			return e.Value.SizeGB
		}
	}
	return 0
}

// captured returns the image that an instance was made from, for its OS disk,
// and the size of the disk.
func (r *Reconciler) captured(from noun.Instance) (base string, sizeGB int) {
	row := r.Store.Instance(vmss.UID(from.Set), vmss.InstanceID(from.Instance))
	if row == nil {
		return "", 0
	}
	rev, ok := store.Get(r.Store, store.Revisions, vmss.RevisionKey{Set: vmss.UID(from.Set), Number: row.Row.Value.Revision})
	if !ok {
		return "", 0
	}
	m := rev.Value.Model
	if from.OS {
		return m.Image.Digest, cmp.Or(m.OSDisk.SizeGB, m.Image.SizeGB)
	}
	for _, d := range slices.Concat(m.DataDisks, row.Row.Value.Attached) {
		if d.LUN == from.LUN {
			return "", d.SizeGB
		}
	}
	return "", 0
}
