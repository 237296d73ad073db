package network

import (
	"maps"
	"net/netip"

	noun "github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/store"
)

// changes are what is committed with a resource: what is given out and given back,
// other resources that change with it, and what has to hold.
type changes struct {
	store    *store.Store
	with     []store.Change
	seen     map[noun.Key]store.Change                               // the others, checked or written
	reserved map[noun.Space]map[string]store.Entry[noun.Reservation] // as it will be
	given    map[noun.ReservationKey]store.Change                    // likewise
}

func newChanges(s *store.Store) changes {
	return changes{store: s, seen: map[noun.Key]store.Change{}, reserved: map[noun.Space]map[string]store.Entry[noun.Reservation]{}, given: map[noun.ReservationKey]store.Change{}}
}

func (c *changes) add(change store.Change) { c.with = append(c.with, change) }

// rely makes the commit depend on another resource being as it is.
func (c *changes) rely(on entry) {
	if _, done := c.seen[on.Value.Key()]; !done {
		c.seen[on.Value.Key()] = store.Check(store.Networks, on.Value.Key(), store.At(on.Revision))
	}
}

// write changes another resource.
func (c *changes) write(next noun.Resource, revision int64) {
	c.seen[next.Key()] = store.Put(store.Networks, next.Key(), next, store.At(revision))
}

// all returns the changes.
func (c *changes) all() []store.Change {
	out := append([]store.Change{}, c.with...)
	for change := range maps.Values(c.seen) {
		out = append(out, change)
	}
	for change := range maps.Values(c.given) {
		out = append(out, change)
	}
	return out
}

// space returns what is given out in a space.
func (c *changes) space(s noun.Space) map[string]store.Entry[noun.Reservation] {
	if c.reserved[s] == nil {
		c.reserved[s] = c.store.Reserved(s)
		if c.reserved[s] == nil {
			c.reserved[s] = map[string]store.Entry[noun.Reservation]{}
		}
	}
	return c.reserved[s]
}

// taken tells whether an address is given out.
func (c *changes) taken(s noun.Space) func(netip.Addr) bool {
	all := c.space(s)
	return func(a netip.Addr) bool { _, ok := all[a.String()]; return ok }
}

// reserve gives an address out. It must be free.
func (c *changes) reserve(s noun.Space, a netip.Addr, r noun.Reservation) {
	key := noun.ReservationKey{Space: s, Name: a.String()}
	guard := store.Absent
	if was, ok := store.Get(c.store, store.Reservations, key); ok {
		guard = store.At(was.Revision) // given back in the same commit
	}
	c.space(s)[key.Name] = store.Entry[noun.Reservation]{Value: &r}
	c.given[key] = store.Put(store.Reservations, key, r, guard)
}

// release gives an address back.
func (c *changes) release(s noun.Space, a netip.Addr) {
	key := noun.ReservationKey{Space: s, Name: a.String()}
	if was, ok := c.space(s)[key.Name]; ok {
		delete(c.space(s), key.Name)
		c.given[key] = store.Delete(store.Reservations, key, store.At(was.Revision))
	}
}
