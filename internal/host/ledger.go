package host

import (
	"context"
	"sync"
	"time"

	"github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/vmss"
)

// Ledger gives instances what is given out once: addresses and frontend ports. What
// it gives is a record in the store, and the store decides; a Ledger knows besides
// which names are on their way there, so that workers do not choose the same one,
// and where the lowest free name of a range may be. The hosts of one process share
// one. It is safe for concurrent use.
type Ledger struct {
	store *store.Store

	mu    sync.Mutex
	busy  map[network.ReservationKey]bool
	hints map[network.Space]map[span]network.Place // everything of the span below is taken
}

// span is a range of names in a space.
type span struct{ first, end network.Place }

// NewLedger returns a ledger over a store.
func NewLedger(s *store.Store) *Ledger {
	l := &Ledger{store: s, busy: map[network.ReservationKey]bool{}, hints: map[network.Space]map[span]network.Place{}}
	store.OnChange(s, store.Reservations, func(k network.ReservationKey) {
		if !s.IsReserved(k) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.lower(k)
		}
	})
	return l
}

// draft is one try to give an instance what it wants.
type draft struct {
	names   []string // for each want
	changes []store.Change
	chosen  []network.ReservationKey
	freed   []network.ReservationKey
}

// Tries to commit while others change the same records, and the first wait between
// two.
const (
	ledgerTries = 6
	ledgerWait  = 5 * time.Millisecond
)

// assign makes the instance have what it wants and nothing else of what has yields,
// in one commit, and returns the name for each want. before is called when that
// changes anything, ahead of the commit.
func (l *Ledger) assign(ctx context.Context, fence store.Change, has func() []network.Held, wants []network.Want, before func() error) (names []string, err error) {
	for try := range ledgerTries {
		if err := pause(ctx, try); err != nil {
			return nil, err
		}
		d, err := l.draft(has(), wants)
		if err != nil || len(d.changes) == 0 {
			return d.names, err
		}
		if err = before(); err == nil {
			_, err = l.store.Commit(ctx, append(d.changes, fence)...)
		}
		l.finish(d, err == nil)
		if !resource.Is(err, resource.Conflict) {
			return d.names, err
		}
	}
	return nil, resource.Errorf(resource.Unavailable, "RetryableError", "Others reserve the same addresses or ports at the same time. The host tries again.")
}

// pause waits before a try that is not the first, for the cache to show what it
// failed for.
func pause(ctx context.Context, try int) error {
	if try == 0 {
		return nil
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(ledgerWait << try):
		return nil
	}
}

// draft chooses names. They are busy until the draft is finished.
func (l *Ledger) draft(has []network.Held, wants []network.Want) (draft, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	names, surplus := network.Match(wants, has)
	spare := make(map[network.ReservationKey]network.Held, len(surplus))
	for _, h := range surplus {
		spare[h.ReservationKey] = h
		l.lower(h.ReservationKey)
	}
	d := draft{names: names}
	for i, w := range wants {
		if names[i] != "" {
			continue
		}
		name, err := l.choose(w, spare)
		if err != nil {
			l.settle(d.chosen)
			return draft{}, err
		}
		key, guard := network.ReservationKey{Space: w.Space, Name: name}, store.Absent
		if own, ok := spare[key]; ok { // it goes from one card of the instance to another
			guard = store.At(own.Revision)
			delete(spare, key)
		}
		l.busy[key] = true
		names[i], d.chosen = name, append(d.chosen, key)
		d.changes = append(d.changes, store.Put(store.Reservations, key, w.For, guard))
	}
	for _, h := range surplus {
		if _, ok := spare[h.ReservationKey]; ok {
			d.freed = append(d.freed, h.ReservationKey)
			d.changes = append(d.changes, store.Delete(store.Reservations, h.ReservationKey, store.At(h.Revision)))
		}
	}
	return d, nil
}

// choose returns the lowest name that nobody has and nobody is being given.
func (l *Ledger) choose(w network.Want, spare map[network.ReservationKey]network.Held) (string, error) {
	taken := func(name string) bool {
		key := network.ReservationKey{Space: w.Space, Name: name}
		_, own := spare[key]
		return l.busy[key] || !own && l.store.IsReserved(key)
	}
	if l.hints[w.Space] == nil {
		l.hints[w.Space] = map[span]network.Place{}
	}
	hints, of := l.hints[w.Space], spanOf(w)
	name, at, err := w.Choose(hints[of], taken)
	if err != nil && hints[of] > 0 { // a name may have become free that nobody has told of yet
		name, at, err = w.Choose(0, taken)
	}
	if err == nil {
		hints[of] = at + 1
	}
	return name, err
}

func spanOf(w network.Want) span {
	if !w.Within.IsValid() {
		return span{network.Place(w.Ports.First), network.Place(w.Ports.Last) + 1}
	}
	first, _ := network.PlaceOf(w.Within.Addr().String())
	return span{first, first + 1<<(32-w.Within.Bits())}
}

// lower corrects the hints for a name that is free.
func (l *Ledger) lower(k network.ReservationKey) {
	at, _ := network.PlaceOf(k.Name)
	for of, hint := range l.hints[k.Space] {
		if of.first <= at && at < of.end && at < hint {
			l.hints[k.Space][of] = at
		}
	}
}

// finish ends a draft that was committed, or was not.
func (l *Ledger) finish(d draft, committed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !committed {
		l.settle(d.chosen)
		return
	}
	for _, k := range d.chosen {
		delete(l.busy, k)
	}
	for _, k := range d.freed {
		l.lower(k)
	}
}

// settle gives back names that were chosen in vain.
func (l *Ledger) settle(chosen []network.ReservationKey) {
	for _, k := range chosen {
		delete(l.busy, k)
		l.lower(k)
	}
}

// held lists what an instance has.
func (l *Ledger) held(holder vmss.InstanceKey) (all []network.Held) {
	for _, k := range l.store.ReservedBy(holder) {
		if e, ok := store.Get(l.store, store.Reservations, k); ok {
			all = append(all, network.Held{ReservationKey: k, For: *e.Value, Revision: e.Revision})
		}
	}
	return all
}
