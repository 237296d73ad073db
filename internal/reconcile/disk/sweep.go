package disk

import (
	"context"
	"errors"
	"time"

	noun "github.com/muster-vm/muster/internal/disk"
)

// Grace is how long a content must have been without a record before it goes.
const Grace = 10 * time.Minute

// sweeps is the time between two looks at all contents.
const sweeps = 5 * time.Minute

// Sweep sets contents aside that no record speaks of. Records come before contents
// and go after them, so there are none but after a mishap, such as older records
// that were restored: nothing is lost by waiting for Grace, and what is meant to be
// garbage may be all that is left of a disk. Only one Sweep may run at a time.
func (r *Reconciler) Sweep(ctx context.Context) (time.Time, error) {
	contents, err := r.Vault.List(ctx)
	if err != nil {
		return time.Time{}, err
	}
	now := time.Now()
	still := map[noun.UID]time.Time{}
	for _, uid := range contents {
		if _, ok := r.Store.DiskByUID(uid); ok {
			continue
		}
		since, known := r.orphans[uid]
		if !known {
			since = now
		}
		if now.Sub(since) < Grace {
			still[uid] = since
			continue
		}
		r.Log.WarnContext(ctx, "set the content of a disk aside of which there is no record", "uid", uid)
		if e := r.Vault.SetAside(ctx, uid); e != nil {
			still[uid] = since
			err = errors.Join(err, e)
		}
	}
	r.orphans = still
	return now.Add(sweeps), err
}
