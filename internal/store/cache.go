package store

import (
	"iter"
	"maps"
	"slices"
	"sync"

	"github.com/muster-vm/muster/internal/disk"
	"github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/vmss"
)

// Entry is a record as the cache has it. Nobody changes its value.
type Entry[V any] struct {
	Value    *V // nil if there is no record
	Revision int64
}

// table is the part of the cache that holds one kind.
type table[K comparable, V any] interface {
	get(K) (Entry[V], bool)
	put(K, Entry[V])
	remove(K)
	all() iter.Seq2[K, Entry[V]]
}

// cache holds every record, with the indexes that reads need. What concerns one
// scale set hangs together in a fleet.
type cache struct {
	mu       sync.RWMutex
	groups   index[GroupKey, resource.Group]
	sets     index[vmss.Key, vmss.ScaleSet]
	states   index[vmss.UID, vmss.State]
	counters index[string, int64]
	fleets   map[vmss.UID]*fleet
	byGUID   map[string]vmss.OperationKey

	disks       index[disk.Key, disk.Disk]
	diskStates  index[disk.UID, disk.State]
	attachments index[disk.UID, disk.Attachment]
	byUID       map[disk.UID]disk.Key

	networks  index[network.Key, network.Resource]
	networkOf map[network.UID]network.Key
	reserved  map[network.Space]map[string]Entry[network.Reservation]
	holders   map[vmss.InstanceKey][]network.ReservationKey
}

// fleet is everything that a scale set owns. Operations of no set have one too.
type fleet struct {
	set        vmss.Key
	revisions  index[vmss.RevisionNumber, vmss.Revision]
	operations index[int64, vmss.Operation]
	outcomes   index[int64, vmss.Outcome]
	open       map[int64]*vmss.Operation // without outcome
	records    roster
	tally      Tally
}

func newCache() *cache {
	return &cache{groups: index[GroupKey, resource.Group]{}, sets: index[vmss.Key, vmss.ScaleSet]{}, states: index[vmss.UID, vmss.State]{},
		counters: index[string, int64]{}, fleets: map[vmss.UID]*fleet{}, byGUID: map[string]vmss.OperationKey{},
		disks: index[disk.Key, disk.Disk]{}, diskStates: index[disk.UID, disk.State]{}, attachments: index[disk.UID, disk.Attachment]{},
		byUID:    map[disk.UID]disk.Key{},
		networks: index[network.Key, network.Resource]{}, networkOf: map[network.UID]network.Key{},
		reserved: map[network.Space]map[string]Entry[network.Reservation]{}, holders: map[vmss.InstanceKey][]network.ReservationKey{}}
}

// fleet returns what a set owns, to add to it.
func (c *cache) fleet(uid vmss.UID) *fleet {
	f := c.fleets[uid]
	if f == nil {
		f = &fleet{revisions: index[vmss.RevisionNumber, vmss.Revision]{}, operations: index[int64, vmss.Operation]{},
			outcomes: index[int64, vmss.Outcome]{}, open: map[int64]*vmss.Operation{}}
		c.fleets[uid] = f
	}
	return f
}

// tidy forgets a fleet of which nothing is left.
func (c *cache) tidy(uid vmss.UID) {
	f := c.fleets[uid]
	if f != nil && f.set == (vmss.Key{}) && len(f.revisions)+len(f.operations)+len(f.outcomes)+f.records.n == 0 {
		delete(c.fleets, uid)
	}
}

// index is a table without further ado.
type index[K comparable, V any] map[K]Entry[V]

func (x index[K, V]) get(k K) (Entry[V], bool)    { e, ok := x[k]; return e, ok }
func (x index[K, V]) put(k K, e Entry[V])         { x[k] = e }
func (x index[K, V]) remove(k K)                  { delete(x, k) }
func (x index[K, V]) all() iter.Seq2[K, Entry[V]] { return maps.All(x) }

// setTable holds scale sets, which their fleets point at.
type setTable struct{ *cache }

func (t setTable) get(k vmss.Key) (Entry[vmss.ScaleSet], bool)    { return t.sets.get(k) }
func (t setTable) all() iter.Seq2[vmss.Key, Entry[vmss.ScaleSet]] { return t.sets.all() }

func (t setTable) put(k vmss.Key, e Entry[vmss.ScaleSet]) {
	t.remove(k)
	t.sets[k] = e
	t.fleet(e.Value.UID).set = k
}

func (t setTable) remove(k vmss.Key) {
	old, ok := t.sets[k]
	if !ok {
		return
	}
	delete(t.sets, k)
	t.fleet(old.Value.UID).set = vmss.Key{}
	t.tidy(old.Value.UID)
}

// revisionTable holds model revisions by fleet.
type revisionTable struct{ *cache }

func (t revisionTable) get(k vmss.RevisionKey) (Entry[vmss.Revision], bool) {
	if f := t.fleets[k.Set]; f != nil {
		return f.revisions.get(k.Number)
	}
	return Entry[vmss.Revision]{}, false
}

func (t revisionTable) put(k vmss.RevisionKey, e Entry[vmss.Revision]) {
	t.fleet(k.Set).revisions.put(k.Number, e)
}

func (t revisionTable) remove(k vmss.RevisionKey) {
	t.fleet(k.Set).revisions.remove(k.Number)
	t.tidy(k.Set)
}

func (t revisionTable) all() iter.Seq2[vmss.RevisionKey, Entry[vmss.Revision]] {
	return func(yield func(vmss.RevisionKey, Entry[vmss.Revision]) bool) {
		for uid, f := range t.fleets {
			for n, e := range f.revisions {
				if !yield(vmss.RevisionKey{Set: uid, Number: n}, e) {
					return
				}
			}
		}
	}
}

// operationTable holds operations by fleet, and finds them by GUID.
type operationTable struct{ *cache }

func (t operationTable) get(k vmss.OperationKey) (Entry[vmss.Operation], bool) {
	if f := t.fleets[k.Set]; f != nil {
		return f.operations.get(k.Sequence)
	}
	return Entry[vmss.Operation]{}, false
}

func (t operationTable) put(k vmss.OperationKey, e Entry[vmss.Operation]) {
	f := t.fleet(k.Set)
	f.operations.put(k.Sequence, e)
	t.byGUID[e.Value.ID] = k
	if _, ended := f.outcomes[k.Sequence]; !ended {
		f.open[k.Sequence] = e.Value
	}
}

func (t operationTable) remove(k vmss.OperationKey) {
	f := t.fleet(k.Set)
	if e, ok := f.operations[k.Sequence]; ok {
		delete(t.byGUID, e.Value.ID)
	}
	f.operations.remove(k.Sequence)
	delete(f.open, k.Sequence)
	t.tidy(k.Set)
}

func (t operationTable) all() iter.Seq2[vmss.OperationKey, Entry[vmss.Operation]] {
	return func(yield func(vmss.OperationKey, Entry[vmss.Operation]) bool) {
		for uid, f := range t.fleets {
			for n, e := range f.operations {
				if !yield(vmss.OperationKey{Set: uid, Sequence: n}, e) {
					return
				}
			}
		}
	}
}

// outcomeTable holds outcomes by fleet. An operation with one is not open.
type outcomeTable struct{ *cache }

func (t outcomeTable) get(k vmss.OperationKey) (Entry[vmss.Outcome], bool) {
	if f := t.fleets[k.Set]; f != nil {
		return f.outcomes.get(k.Sequence)
	}
	return Entry[vmss.Outcome]{}, false
}

func (t outcomeTable) put(k vmss.OperationKey, e Entry[vmss.Outcome]) {
	f := t.fleet(k.Set)
	f.outcomes.put(k.Sequence, e)
	delete(f.open, k.Sequence)
}

func (t outcomeTable) remove(k vmss.OperationKey) {
	f := t.fleet(k.Set)
	f.outcomes.remove(k.Sequence)
	if e, ok := f.operations[k.Sequence]; ok {
		f.open[k.Sequence] = e.Value
	}
	t.tidy(k.Set)
}

func (t outcomeTable) all() iter.Seq2[vmss.OperationKey, Entry[vmss.Outcome]] {
	return func(yield func(vmss.OperationKey, Entry[vmss.Outcome]) bool) {
		for uid, f := range t.fleets {
			for n, e := range f.outcomes {
				if !yield(vmss.OperationKey{Set: uid, Sequence: n}, e) {
					return
				}
			}
		}
	}
}

// openOperations lists a fleet's operations without outcome, in order.
func (f *fleet) openOperations() []vmss.Operation {
	ops := make([]vmss.Operation, 0, len(f.open))
	for _, n := range slices.Sorted(maps.Keys(f.open)) {
		ops = append(ops, *f.open[n])
	}
	return ops
}
