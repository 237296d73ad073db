// Package disk is the executor of the disk planner: it loads a managed disk,
// snapshot or image, asks plan.Disk, and has a vault carry out the one step that
// it names. It holds no policy.
package disk

import (
	"context"
	"log/slog"
	"sync"
	"time"

	noun "github.com/muster-vm/muster/internal/disk"
	"github.com/muster-vm/muster/internal/plan"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/vmss"
)

// Vault keeps the content of disks. Methods are idempotent; errors are
// *resource.Error. What a caller gives up by its context leaves nothing that
// counts.
type Vault interface {
	// Make makes the content that the order asks for, or returns what was made
	// before. Cut short, it leaves nothing that counts.
	Make(ctx context.Context, o noun.Order) (noun.Made, error)
	// Grow makes a content larger, never smaller; at is who has it attached, nil
	// for nobody. NotFound if there is no content.
	Grow(ctx context.Context, uid noun.UID, sizeGB int, at *noun.Attachment) error
	// Remove removes a content; nil if there is none.
	Remove(ctx context.Context, uid noun.UID) error
	// SetAside takes a content out of the vault without destroying it, where there
	// is anything to destroy; nil if there is none.
	SetAside(ctx context.Context, uid noun.UID) error
	// Has reports whether a content that was made is there. digest is what Make
	// returned.
	Has(ctx context.Context, uid noun.UID, digest string) (bool, error)
	// List lists the contents there are, for what has no record any more.
	List(ctx context.Context) ([]noun.UID, error)
}

// Reconciler carries disks toward their documents. Make one with New.
type Reconciler struct {
	Options
	mu      sync.Mutex
	calls   map[noun.UID]*call
	orphans map[noun.UID]time.Time // since when; of Sweep
}

// Options is what a Reconciler is made of.
type Options struct {
	Store *store.Store
	Vault Vault
	Fence store.Change // what every commit depends on: the lease of the control plane
	Log   *slog.Logger
}

// New returns a reconciler.
func New(o Options) *Reconciler {
	return &Reconciler{Options: o, calls: map[noun.UID]*call{}, orphans: map[noun.UID]time.Time{}}
}

// maxRounds bounds how many steps one Reconcile takes.
const maxRounds = 8

// Reconcile takes steps for one disk until there is nothing to do now.
func (r *Reconciler) Reconcile(ctx context.Context, key noun.Key) (time.Time, error) {
	for range maxRounds {
		s, ok, err := r.look(ctx, key)
		if !ok || err != nil {
			return time.Time{}, err
		}
		step := plan.Disk(s.in)
		if step.Do == plan.DiskRest && !s.differs(step) {
			return step.WakeAt, nil
		}
		if err := r.carryOut(ctx, s, step); err != nil {
			return time.Time{}, err
		}
	}
	return time.Now(), nil
}

// carryOut does a step and writes what came of it.
func (r *Reconciler) carryOut(ctx context.Context, s scene, step plan.DiskStep) error {
	if step.Do == plan.DiskRest {
		return r.write(ctx, s, step)
	}
	r.Log.InfoContext(ctx, "disk", "disk", s.in.Disk.ID.String(), "do", string(step.Do), "reason", step.Why)
	if step.Do == plan.DiskRelease {
		return r.release(ctx, s)
	}
	made, err := r.call(ctx, s, step.Do)
	if err != nil && (ctx.Err() != nil || resource.Is(err, resource.Conflict)) {
		return err // it was given up, which is no failure
	}
	if err != nil {
		r.Log.WarnContext(ctx, "disk step failed", "disk", s.in.Disk.ID.String(), "do", string(step.Do), "err", err)
	}
	s.in.Now = time.Now().UTC()
	return r.write(ctx, s, s.in.Done(step.Do, made, err))
}

// write commits a planned state. It depends on the record that was planned for:
// a larger size that was asked for meanwhile is not reported as done.
func (r *Reconciler) write(ctx context.Context, s scene, step plan.DiskStep) error {
	uid := s.in.Disk.UID
	changes := []store.Change{r.Fence}
	if step.Gone {
		changes = append(changes, store.Delete(store.Disks, s.key, store.At(s.record)), store.Check(store.Attachments, uid, store.Absent),
			store.Delete(store.DiskStates, uid, store.Any), store.Delete(store.Counters, string(uid), store.Any))
	} else {
		changes = append(changes, store.Check(store.Disks, s.key, store.At(s.record)), store.Put(store.DiskStates, uid, step.State, at(s.state)))
	}
	for _, o := range step.Outcomes {
		why := ""
		if o.Outcome.Error != nil {
			why = o.Outcome.Error.Code
		}
		r.Log.InfoContext(ctx, "end operation", "operation", o.Operation.ID, "kind", o.Operation.Kind, "disk", s.in.Disk.ID.String(),
			"status", o.Outcome.Status, "reason", why)
		changes = append(changes, store.Put(store.Outcomes, o.Operation.Key(), o.Outcome, store.Absent))
	}
	_, err := r.Store.Commit(ctx, changes...)
	return err
}

// release deletes an attachment, provided that the instance still is as it was
// when it was seen to have let go.
func (r *Reconciler) release(ctx context.Context, s scene) error {
	_, err := r.Store.Commit(ctx, r.Fence, store.Check(store.Instances, s.holder, at(s.row)), store.Check(store.Customizations, s.holder, at(s.custom)),
		store.Delete(store.Attachments, s.in.Disk.UID, store.At(s.attachment)))
	return err
}

// at guards a record that had the revision, 0 if there was none.
func at(revision int64) store.Guard {
	if revision == 0 {
		return store.Absent
	}
	return store.At(revision)
}

// holderOf names the instance of an attachment.
func holderOf(a noun.Attachment) vmss.InstanceKey {
	return vmss.InstanceKey{Set: vmss.UID(a.Set), ID: vmss.InstanceID(a.Instance)}
}
