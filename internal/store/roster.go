package store

import (
	"cmp"
	"iter"
	"slices"

	"github.com/muster-vm/muster/internal/vmss"
)

// Record is everything there is about one instance. It is never changed: news
// replace it.
type Record struct {
	ID     vmss.InstanceID
	Row    Entry[vmss.Instance] // its Value is nil only inside the cache
	Seen   *vmss.Observation    // nil before the host looked
	Custom *vmss.Customization  // nil unless it was customised

	seenAt, customAt int64 // revisions
}

// roster holds the records of one set by id, in chunks of bounded length, so
// that neither a change nor a page of a set of a hundred thousand is costly.
type roster struct {
	chunks [][]*Record
	n      int
}

const chunkSize = 512

// find returns the chunk that the id is or would be in, and the place in it.
func (r *roster) find(id vmss.InstanceID) (chunk, at int, found bool) {
	chunk, _ = slices.BinarySearchFunc(r.chunks, id, func(c []*Record, id vmss.InstanceID) int { return cmp.Compare(c[len(c)-1].ID, id) })
	if chunk == len(r.chunks) {
		return chunk, 0, false
	}
	at, found = slices.BinarySearchFunc(r.chunks[chunk], id, func(rec *Record, id vmss.InstanceID) int { return cmp.Compare(rec.ID, id) })
	return chunk, at, found
}

// get returns the record, or nil.
func (r *roster) get(id vmss.InstanceID) *Record {
	if chunk, at, found := r.find(id); found {
		return r.chunks[chunk][at]
	}
	return nil
}

// change replaces the record by what f makes of a copy; what is empty goes.
func (r *roster) change(id vmss.InstanceID, f func(*Record)) {
	next := Record{ID: id}
	chunk, at, found := r.find(id)
	if found {
		next = *r.chunks[chunk][at]
	}
	f(&next)
	empty := next.Row.Value == nil && next.Seen == nil && next.Custom == nil
	switch {
	case found && empty:
		r.remove(chunk, at)
	case found:
		r.chunks[chunk][at] = &next
	case !empty:
		r.insert(chunk, at, &next)
	}
}

func (r *roster) remove(chunk, at int) {
	r.n--
	r.chunks[chunk] = slices.Delete(r.chunks[chunk], at, at+1)
	if len(r.chunks[chunk]) == 0 {
		r.chunks = slices.Delete(r.chunks, chunk, chunk+1)
	}
}

func (r *roster) insert(chunk, at int, rec *Record) {
	r.n++
	if chunk == len(r.chunks) { // above all
		if chunk > 0 && len(r.chunks[chunk-1]) < chunkSize {
			r.chunks[chunk-1] = append(r.chunks[chunk-1], rec)
			return
		}
		r.chunks = append(r.chunks, append(make([]*Record, 0, chunkSize), rec))
		return
	}
	c := slices.Insert(r.chunks[chunk], at, rec)
	r.chunks[chunk] = c
	if len(c) > chunkSize {
		half := len(c) / 2
		r.chunks[chunk] = slices.Clone(c[:half])
		r.chunks = slices.Insert(r.chunks, chunk+1, slices.Clone(c[half:]))
	}
}

// after yields the records with a row whose ids are above after, in order.
func (r *roster) after(after vmss.InstanceID) iter.Seq[*Record] {
	return func(yield func(*Record) bool) {
		chunk, at, found := r.find(after)
		if found {
			at++
		}
		for ; chunk < len(r.chunks); chunk++ {
			for _, rec := range r.chunks[chunk][at:] {
				if rec.Row.Value != nil && !yield(rec) {
					return
				}
			}
			at = 0
		}
	}
}

// The three kinds that a Record is made of.
type (
	rowTable    struct{ *cache }
	seenTable   struct{ *cache }
	customTable struct{ *cache }
)

func (c *cache) record(k vmss.InstanceKey) *Record {
	if f := c.fleets[k.Set]; f != nil {
		return f.records.get(k.ID)
	}
	return nil
}

func (c *cache) changeRecord(k vmss.InstanceKey, f func(*Record)) {
	c.fleet(k.Set).records.change(k.ID, f)
	c.tidy(k.Set)
}

// allRecords yields the part of every record that part picks.
func allRecords[V any](c *cache, part func(*Record) Entry[V]) iter.Seq2[vmss.InstanceKey, Entry[V]] {
	return func(yield func(vmss.InstanceKey, Entry[V]) bool) {
		for uid, f := range c.fleets {
			for _, chunk := range f.records.chunks {
				for _, rec := range chunk {
					if e := part(rec); e.Value != nil && !yield(vmss.InstanceKey{Set: uid, ID: rec.ID}, e) {
						return
					}
				}
			}
		}
	}
}

func rowOf(r *Record) Entry[vmss.Instance]     { return r.Row }
func seenOf(r *Record) Entry[vmss.Observation] { return Entry[vmss.Observation]{r.Seen, r.seenAt} }
func customOf(r *Record) Entry[vmss.Customization] {
	return Entry[vmss.Customization]{r.Custom, r.customAt}
}

func pick[V any](r *Record, part func(*Record) Entry[V]) (Entry[V], bool) {
	if r == nil {
		return Entry[V]{}, false
	}
	e := part(r)
	return e, e.Value != nil
}

func (t rowTable) get(k vmss.InstanceKey) (Entry[vmss.Instance], bool) {
	return pick(t.record(k), rowOf)
}
func (t rowTable) put(k vmss.InstanceKey, e Entry[vmss.Instance]) {
	tally := &t.fleet(k.Set).tally
	t.changeRecord(k, func(r *Record) {
		tally.count(r.Row.Value, -1)
		tally.count(e.Value, 1)
		r.Row = e
	})
}
func (t rowTable) remove(k vmss.InstanceKey) { t.put(k, Entry[vmss.Instance]{}) }
func (t rowTable) all() iter.Seq2[vmss.InstanceKey, Entry[vmss.Instance]] {
	return allRecords(t.cache, rowOf)
}

func (t seenTable) get(k vmss.InstanceKey) (Entry[vmss.Observation], bool) {
	return pick(t.record(k), seenOf)
}
func (t seenTable) put(k vmss.InstanceKey, e Entry[vmss.Observation]) {
	t.changeRecord(k, func(r *Record) { r.Seen, r.seenAt = e.Value, e.Revision })
}
func (t seenTable) remove(k vmss.InstanceKey) { t.put(k, Entry[vmss.Observation]{}) }
func (t seenTable) all() iter.Seq2[vmss.InstanceKey, Entry[vmss.Observation]] {
	return allRecords(t.cache, seenOf)
}

func (t customTable) get(k vmss.InstanceKey) (Entry[vmss.Customization], bool) {
	return pick(t.record(k), customOf)
}
func (t customTable) put(k vmss.InstanceKey, e Entry[vmss.Customization]) {
	t.changeRecord(k, func(r *Record) { r.Custom, r.customAt = e.Value, e.Revision })
}
func (t customTable) remove(k vmss.InstanceKey) { t.put(k, Entry[vmss.Customization]{}) }
func (t customTable) all() iter.Seq2[vmss.InstanceKey, Entry[vmss.Customization]] {
	return allRecords(t.cache, customOf)
}
