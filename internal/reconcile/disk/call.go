package disk

import (
	"context"

	noun "github.com/muster-vm/muster/internal/disk"
	"github.com/muster-vm/muster/internal/plan"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
)

// call is a call of the vault that has not ended.
type call struct {
	cancel      context.CancelFunc
	making      bool
	overtaken   bool // by a delete
	done, total int64
}

// call makes the one call of a step. It fails with Conflict if the disk was to
// be deleted meanwhile: then it is planned again.
func (r *Reconciler) call(ctx context.Context, s scene, do plan.DiskAction) (made noun.Made, err error) {
	d := s.in.Disk
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c := &call{cancel: cancel, making: do == plan.DiskMake}
	r.mu.Lock()
	r.calls[d.UID] = c
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.calls, d.UID)
		if err != nil && c.overtaken {
			err = resource.Errorf(resource.Conflict, "", "The disk %s is to be deleted.", d.ID.Name()).Because(err)
		}
	}()
	switch do {
	case plan.DiskMake:
		r.Interrupt(s.key) // it may have been deleted when there was nothing to interrupt yet
		o := r.order(d)
		o.Progress = func(done, total int64) { r.progress(c, done, total) }
		return r.Vault.Make(ctx, o)
	case plan.DiskGrow:
		return made, r.Vault.Grow(ctx, d.UID, d.SizeGB, s.in.Attachment)
	default:
		return made, r.Vault.Remove(ctx, d.UID)
	}
}

func (r *Reconciler) progress(c *call, done, total int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c.done, c.total = done, total
}

// Progress returns how far the making of a content is, in bytes, and false if it
// is not being made. total is 0 while it is not known.
func (r *Reconciler) Progress(uid noun.UID) (done, total int64, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c, ok := r.calls[uid]
	if !ok || !c.making {
		return 0, 0, false
	}
	return c.done, c.total, true
}

// Interrupt ends what is being made for a disk that is to be deleted. Whoever
// sees a disk's record change calls it.
func (r *Reconciler) Interrupt(key noun.Key) {
	record, ok := store.Get(r.Store, store.Disks, key)
	if !ok || !record.Value.Deleting {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if c, ok := r.calls[record.Value.UID]; ok && c.making && !c.overtaken {
		c.overtaken = true
		c.cancel()
	}
}
