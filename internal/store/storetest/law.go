package storetest

import (
	"iter"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
)

// model is the simplest thing that does what a backend should: a map of the
// records, the items of each revision, and every revision that there was.
type model struct {
	records   map[string]store.Item
	batches   []store.Batch
	revisions []int64
}

// commitsFollowTheModel is the law that any series of commits leaves the
// records, and shows a watch the batches, that the model has.
func commitsFollowTheModel(t *testing.T, b store.Backend) {
	first := commit(t, b, put("a", "", store.Any))
	next, stop := iter.Pull2(b.Watch(t.Context(), first-1))
	defer stop()
	rapid.Check(t, func(rt *rapid.T) {
		clean(t, b)
		_, start := load(t, b)
		m := model{records: make(map[string]store.Item), revisions: []int64{start}}
		for range rapid.IntRange(1, 12).Draw(rt, "commits") {
			ops := m.draw(rt)
			revision, err := b.Commit(t.Context(), ops)
			m.check(rt, ops, revision, err)
		}
		records, revision := load(t, b)
		if diff := cmp.Diff(m.records, records); diff != "" {
			rt.Errorf("records (-model +backend):\n%s", diff)
		}
		if last := m.revisions[len(m.revisions)-1]; revision != last {
			rt.Errorf("loaded at revision %d, want %d", revision, last)
		}
		for _, want := range m.batches {
			if diff := cmp.Diff(want, nextAfter(rt, next, start)); diff != "" {
				rt.Errorf("batches (-model +backend):\n%s", diff)
			}
		}
	})
}

// nextAfter returns the next batch of a watch that is after a revision.
func nextAfter(rt *rapid.T, next func() (store.Batch, error, bool), revision int64) store.Batch {
	for {
		batch, err, ok := next()
		if err != nil || !ok {
			rt.Fatalf("Watch ends with %v", err)
		}
		if batch.Revision > revision {
			return sorted([]store.Batch{batch})[0]
		}
	}
}

// clean drops all records.
func clean(t *testing.T, b store.Backend) {
	t.Helper()
	records, _ := load(t, b)
	var ops []store.Op
	for key := range records {
		ops = append(ops, drop(key, store.Any))
	}
	for chunk := range slices.Chunk(ops, store.MaxOps) {
		commit(t, b, chunk...)
	}
}

// draw makes up a commit, most of whose guards hold.
func (m *model) draw(rt *rapid.T) []store.Op {
	keys := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "a/b", "b", "c", "d"}), 0, 5, rapid.ID[string]).Draw(rt, "keys")
	ops := make([]store.Op, len(keys))
	for i, key := range keys {
		current := store.At(m.records[key].Revision) // Absent if there is none
		guards := []store.Guard{store.Any, current, current, current, store.Absent, store.At(m.revisions[0])}
		ops[i] = store.Op{
			Do:    rapid.SampledFrom([]store.Do{store.Look, store.Write, store.Write, store.Drop}).Draw(rt, "do"),
			Key:   key,
			Guard: rapid.SampledFrom(guards).Draw(rt, "guard"),
		}
		if ops[i].Do == store.Write {
			ops[i].Value = rapid.SliceOfN(rapid.Byte(), 0, 4).Draw(rt, "value")
		}
	}
	return ops
}

// check applies ops to the model and compares what the backend answered.
func (m *model) check(rt *rapid.T, ops []store.Op, revision int64, err error) {
	for _, op := range ops {
		if op.Guard != store.Any && m.records[op.Key].Revision != int64(op.Guard) {
			if !resource.Is(err, resource.Conflict) {
				rt.Fatalf("Commit(%v) = %v, want Conflict for %s", ops, err, op.Key)
			}
			return
		}
	}
	if err != nil {
		rt.Fatalf("Commit(%v) = %v, want success", ops, err)
	}
	next := maps.Clone(m.records)
	batch := store.Batch{Revision: revision}
	for _, op := range ops {
		item := store.Item{Key: op.Key, Revision: revision}
		if _, exists := next[op.Key]; op.Do == store.Look || (op.Do == store.Drop && !exists) {
			continue
		}
		delete(next, op.Key)
		if op.Do == store.Write {
			item.Value = append([]byte{}, op.Value...)
			next[op.Key] = item
		}
		batch.Items = append(batch.Items, item)
	}
	m.advance(rt, batch)
	m.records = next
}

// advance notes the revision of a batch, which is new if anything changed.
func (m *model) advance(rt *rapid.T, batch store.Batch) {
	last := m.revisions[len(m.revisions)-1]
	if len(batch.Items) == 0 {
		if batch.Revision != last {
			rt.Fatalf("revision %d of a commit that changed nothing, want %d", batch.Revision, last)
		}
		return
	}
	if batch.Revision <= last {
		rt.Fatalf("revision %d after %d", batch.Revision, last)
	}
	m.revisions = append(m.revisions, batch.Revision)
	m.batches = append(m.batches, sorted([]store.Batch{batch})...)
}
