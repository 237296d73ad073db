// Package garbage removes records that nobody needs any more: operations that
// ended long ago, what was written of an instance or a disk at the very moment its
// row or record went, and addresses and ports whose owner was lost with its host.
package garbage

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/muster-vm/muster/internal/disk"
	"github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/vmss"
)

// Keep is how long operations are kept after they ended. Of the operations of one
// scale set beyond the newest KeepNewest, that is KeepAtLeast: whoever changes a set
// in a loop for a day must not fill the store.
const (
	Keep        = 24 * time.Hour
	KeepAtLeast = 10 * time.Minute
	KeepNewest  = 1000
)

// period is how often records are looked through.
const period = 10 * time.Minute

// commitSize is how many records go in one commit.
const commitSize = 100

// Reconciler removes garbage. Its only key is the empty struct.
type Reconciler struct {
	Store *store.Store
	Fence store.Change // what every commit depends on: the lease of the control plane
	Log   *slog.Logger
}

// Reconcile looks through all records once.
func (r *Reconciler) Reconcile(ctx context.Context, _ struct{}) (time.Time, error) {
	now := time.Now()
	changes := slices.Concat(r.operations(now), r.orphans(), r.diskless(), r.ownerless(ctx))
	for len(changes) > 0 {
		n := min(len(changes), commitSize)
		if _, err := r.Store.Commit(ctx, append([]store.Change{r.Fence}, changes[:n]...)...); err != nil {
			return time.Time{}, err
		}
		r.Log.DebugContext(ctx, "remove old records", "records", n)
		changes = changes[n:]
	}
	return now.Add(period), nil
}

// operations lists the operations that ended long ago, with their outcomes. The
// newest PUT of a set or a disk stays: how it ended is part of its state.
func (r *Reconciler) operations(now time.Time) (changes []store.Change) {
	all := store.All(r.Store, store.Operations)
	crowded := beyondNewest(all)
	for _, e := range all {
		key := e.Value.Key()
		outcome, ended := store.Get(r.Store, store.Outcomes, key)
		keep := Keep
		if e.Value.Sequence < crowded[e.Value.Set] {
			keep = KeepAtLeast
		}
		if ended && now.Sub(outcome.Value.Finished) > keep && !r.isState(*e.Value) {
			changes = append(changes, store.Delete(store.Outcomes, key, store.At(outcome.Revision)), store.Delete(store.Operations, key, store.At(e.Revision)))
		}
	}
	return changes
}

// beyondNewest returns, for each set with more than KeepNewest operations, the
// sequence number at which the newest begin. Deletions of groups belong to no
// set and are few.
func beyondNewest(all []store.Entry[vmss.Operation]) map[vmss.UID]int64 {
	of := map[vmss.UID][]int64{}
	for _, e := range all {
		if e.Value.Set != "" {
			of[e.Value.Set] = append(of[e.Value.Set], e.Value.Sequence)
		}
	}
	from := map[vmss.UID]int64{}
	for uid, sequences := range of {
		if len(sequences) > KeepNewest {
			slices.Sort(sequences)
			from[uid] = sequences[len(sequences)-KeepNewest]
		}
	}
	return from
}

func (r *Reconciler) isState(op vmss.Operation) bool {
	put := vmss.OpPut
	if _, ok := r.Store.SetByUID(op.Set); !ok {
		if _, ok := r.Store.DiskByUID(disk.UID(op.Set)); !ok {
			return false
		}
		put = vmss.OpPutDisk
	}
	newest, _, ok := r.Store.LastOperation(op.Set, func(o vmss.Operation) bool { return o.Kind == put })
	return ok && newest.Sequence == op.Sequence
}

// diskless lists what was written of disks that have no record. A UID is never
// used twice.
func (r *Reconciler) diskless() (changes []store.Change) {
	return append(withoutRecord(r.Store, store.DiskStates), withoutRecord(r.Store, store.Attachments)...)
}

func withoutRecord[V any](s *store.Store, kind store.Kind[disk.UID, V]) (changes []store.Change) {
	for uid, e := range store.Each(s, kind) {
		if _, ok := s.DiskByUID(uid); !ok {
			changes = append(changes, store.Delete(kind, uid, store.At(e.Revision)))
		}
	}
	return changes
}

// orphans lists what was written of instances that have no row. An instance id
// is never used twice, so nobody will ever ask for it again.
func (r *Reconciler) orphans() (changes []store.Change) {
	for _, key := range r.Store.Rowless() {
		row := store.Check(store.Instances, key, store.Absent)
		changes = append(changes, row, store.Delete(store.Observations, key, store.Any), store.Delete(store.Customizations, key, store.Any))
	}
	return changes
}

// ownerless lists the addresses and ports that nobody has any more: of instances
// whose host was lost, and then their set deleted; and of resources that are gone. An
// instance whose set is there has a host that frees them, and only once its machine
// is gone. A UID is never used twice; the id of a resource may be.
func (r *Reconciler) ownerless(ctx context.Context) (changes []store.Change) {
	checked := map[network.Key]bool{}
	for key, e := range store.Each(r.Store, store.Reservations) {
		owner, gone := r.lostOwner(*e.Value)
		if !gone {
			continue
		}
		r.Log.InfoContext(ctx, "free what nobody has any more", "space", key.Space, "name", key.Name, "set", e.Value.Set, "instance", e.Value.Instance, "resource", e.Value.By)
		changes = append(changes, store.Delete(store.Reservations, key, store.At(e.Revision)))
		if owner != (network.Key{}) && !checked[owner] {
			checked[owner] = true
			changes = append(changes, store.Check(store.Networks, owner, store.Absent))
		}
	}
	return changes
}

// lostOwner reports whether the owner of a reservation is gone, and which resource
// that is, if it is one.
func (r *Reconciler) lostOwner(res network.Reservation) (owner network.Key, gone bool) {
	if res.Set != "" {
		_, alive := r.Store.SetByUID(vmss.UID(res.Set))
		return owner, !alive && r.Store.Instance(vmss.UID(res.Set), vmss.InstanceID(res.Instance)) == nil
	}
	id, err := resource.ParseID(res.By)
	if err != nil {
		return owner, false // whose it is, nobody can say
	}
	owner, ok := network.KeyOf(id)
	if !ok {
		return owner, false
	}
	_, alive := store.Get(r.Store, store.Networks, owner)
	return owner, !alive
}
