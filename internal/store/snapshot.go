package store

import (
	"maps"
	"slices"

	"github.com/muster-vm/muster/internal/vmss"
)

// Snapshot is everything about one scale set at one moment.
type Snapshot struct {
	Set       Entry[vmss.ScaleSet]
	State     Entry[vmss.State]
	Revisions []*vmss.Revision // by number
	Instances []*Record        // by id
	Open      []vmss.Operation // without outcome, by sequence
}

// Snapshot returns everything about the set with this UID.
func (s *Store) Snapshot(uid vmss.UID) (Snapshot, bool) {
	s.cache.mu.RLock()
	defer s.cache.mu.RUnlock()
	set, ok := s.cache.setOf(uid)
	if !ok {
		return Snapshot{}, false
	}
	f := s.cache.fleets[uid]
	snap := Snapshot{Set: set, State: s.cache.states[uid], Open: f.openOperations(), Instances: make([]*Record, 0, f.records.n)}
	for _, n := range slices.Sorted(maps.Keys(f.revisions)) {
		snap.Revisions = append(snap.Revisions, f.revisions[n].Value)
	}
	snap.Instances = slices.AppendSeq(snap.Instances, f.records.after(-1))
	return snap, true
}

// Instances returns the set's instances with ids above after, in order, at most
// limit of them if it is not 0.
func (s *Store) Instances(uid vmss.UID, after vmss.InstanceID, limit int) []*Record {
	s.cache.mu.RLock()
	defer s.cache.mu.RUnlock()
	f := s.cache.fleets[uid]
	if f == nil {
		return nil
	}
	var out []*Record
	for rec := range f.records.after(after) {
		if out = append(out, rec); len(out) == limit {
			break
		}
	}
	return out
}

// Instance returns one instance of a set, or nil.
func (s *Store) Instance(uid vmss.UID, id vmss.InstanceID) *Record {
	s.cache.mu.RLock()
	defer s.cache.mu.RUnlock()
	if rec := s.cache.record(vmss.InstanceKey{Set: uid, ID: id}); rec != nil && rec.Row.Value != nil {
		return rec
	}
	return nil
}

// OpenOperations returns the set's operations without outcome, in order. An
// empty UID stands for the operations of no set.
func (s *Store) OpenOperations(uid vmss.UID) []vmss.Operation {
	s.cache.mu.RLock()
	defer s.cache.mu.RUnlock()
	if f := s.cache.fleets[uid]; f != nil {
		return f.openOperations()
	}
	return nil
}

// LastOperation returns the set's newest operation of a kind that match accepts,
// with its outcome, nil while it is in progress.
func (s *Store) LastOperation(uid vmss.UID, match func(vmss.Operation) bool) (vmss.Operation, *vmss.Outcome, bool) {
	s.cache.mu.RLock()
	defer s.cache.mu.RUnlock()
	f := s.cache.fleets[uid]
	if f == nil {
		return vmss.Operation{}, nil, false
	}
	newest := int64(-1)
	for n, op := range f.operations {
		if n > newest && match(*op.Value) {
			newest = n
		}
	}
	if newest < 0 {
		return vmss.Operation{}, nil, false
	}
	return *f.operations[newest].Value, f.outcomes[newest].Value, true
}

// Rowless returns the instances of which there are records, but no row.
func (s *Store) Rowless() (keys []vmss.InstanceKey) {
	s.cache.mu.RLock()
	defer s.cache.mu.RUnlock()
	for uid, f := range s.cache.fleets {
		for _, chunk := range f.records.chunks {
			for _, rec := range chunk {
				if rec.Row.Value == nil {
					keys = append(keys, vmss.InstanceKey{Set: uid, ID: rec.ID})
				}
			}
		}
	}
	return keys
}

// Tally counts the rows of a scale set.
type Tally struct {
	Rows        int // in any state
	Deallocated int // of those, the ones that shall be deallocated
}

func (t *Tally) count(row *vmss.Instance, by int) {
	if row == nil {
		return
	}
	t.Rows += by
	if row.Power == vmss.PowerDeallocated {
		t.Deallocated += by
	}
}

// Tally returns how many rows the set has, without looking at them.
func (s *Store) Tally(uid vmss.UID) Tally {
	s.cache.mu.RLock()
	defer s.cache.mu.RUnlock()
	if f := s.cache.fleets[uid]; f != nil {
		return f.tally
	}
	return Tally{}
}
