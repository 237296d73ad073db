package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/store/memstore"
	"github.com/muster-vm/muster/internal/vmss"
)

// openStore opens an empty store whose cache follows until done is called.
func openStore(t interface{ Fatal(...any) }) (s *store.Store, done func()) {
	ctx, cancel := context.WithCancel(context.Background())
	session := memstore.New().Open()
	s, err := store.Open(ctx, session, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() { s.Run(ctx) })
	return s, func() { cancel(); running.Wait(); session.Close() }
}

// addressAndPort is what a member of a small fleet wants: there are 11 addresses and
// 9 ports.
func addressAndPort(id vmss.InstanceID) []network.Want {
	who := network.Reservation{Set: "s", Instance: int64(id), NIC: "nic", Config: "ip"}
	inside := who
	inside.Subnet = "front"
	return []network.Want{
		{Space: network.AddressSpace("net"), For: inside, Within: netip.MustParsePrefix("10.0.0.0/28"), Of: "front"},
		{Space: network.PortSpace("lb", "ssh"), For: who, Ports: network.Ports{First: 50000, Last: 50008}, Of: "ssh"},
	}
}

// attempt is a draft on its way to the store.
type attempt struct {
	ledger *Ledger
	id     vmss.InstanceID
	draft  draft
}

// TestNoInterleavingGivesOneNameToTwo lets makes and forgets of a few instances
// overlap in any way, by two ledgers that know of each other through the store
// alone. Each attempt is drafted, committed and finished at moments of its own.
func TestNoInterleavingGivesOneNameToTwo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, done := openStore(t)
		defer done()
		ledgers := []*Ledger{NewLedger(s), NewLedger(s)}
		underway := map[vmss.InstanceID]attempt{}
		has := map[vmss.InstanceID][]string{} // by what callers were told
		for range rapid.IntRange(1, 40).Draw(t, "moments") {
			id := vmss.InstanceID(rapid.Int64Range(0, 11).Draw(t, "instance"))
			a, ok := underway[id]
			if !ok {
				if a, ok = draftOne(t, s, ledgers, id); ok {
					underway[id] = a
				}
				continue
			}
			delete(underway, id)
			finishOne(t, s, a, has)
		}
		for _, a := range underway {
			finishOne(t, s, a, has)
		}
		for id := range vmss.InstanceID(12) {
			l := ledgers[id%2]
			if _, err := l.assign(context.Background(), store.Change{}, func() []network.Held { return l.held(key(id)) }, nil, nothing); err != nil {
				t.Fatal(err)
			}
		}
		if left := store.All(s, store.Reservations); len(left) > 0 {
			t.Fatalf("%d names are left that nobody wants", len(left))
		}
		for _, l := range ledgers {
			for _, w := range addressAndPort(0) {
				l.hears(w)
			}
			names, err := l.assign(context.Background(), store.Change{}, func() []network.Held { return l.held(key(0)) }, addressAndPort(0), nothing)
			if err != nil || !slices.Equal(names, []string{"10.0.0.4", "50000"}) || len(l.busy) > 0 {
				t.Fatalf("of what is free the lowest are said to be %v, %v; busy: %v", names, err, l.busy)
			}
		}
	})
}

func key(id vmss.InstanceID) vmss.InstanceKey { return vmss.InstanceKey{Set: "s", ID: id} }

func nothing() error { return nil }

// draftOne begins to make an instance, or to forget it.
func draftOne(t *rapid.T, s *store.Store, ledgers []*Ledger, id vmss.InstanceID) (attempt, bool) {
	l := rapid.SampledFrom(ledgers).Draw(t, "ledger")
	var wants []network.Want
	if rapid.Bool().Draw(t, "make") {
		wants = addressAndPort(id)
	}
	d, err := l.draft(l.held(key(id)), wants)
	switch {
	case resource.Is(err, resource.Exhausted) && len(s.Reserved(network.PortSpace("lb", "ssh")))+len(l.busy)/2 < 9:
		t.Fatalf("there is room, and yet: %v", err)
	case err != nil && !resource.Is(err, resource.Exhausted):
		t.Fatal(err)
	}
	return attempt{l, id, d}, err == nil
}

// finishOne commits an attempt, which another may have overtaken, and checks that
// everybody still has what they were told.
func finishOne(t *rapid.T, s *store.Store, a attempt, has map[vmss.InstanceID][]string) {
	_, err := s.Commit(context.Background(), a.draft.changes...)
	a.ledger.finish(a.draft, err == nil)
	if err != nil && !resource.Is(err, resource.Conflict) {
		t.Fatal(err)
	}
	if err == nil {
		has[a.id] = a.draft.names
	}
	taken := map[string]vmss.InstanceID{}
	for id, names := range has {
		var stored []string
		for _, h := range a.ledger.held(key(id)) {
			stored = append(stored, h.Name)
		}
		slices.Sort(stored)
		if !slices.Equal(stored, names) {
			t.Fatalf("instance %d was told %v and has %v", id, names, stored)
		}
		for _, name := range names {
			if other, ok := taken[name]; ok {
				t.Fatalf("instances %d and %d both have %s", id, other, name)
			}
			taken[name] = id
		}
	}
}

func TestManyWorkersFillASubnetWithoutAGapAndOneMoreIsRefused(t *testing.T) {
	s, done := openStore(t)
	defer done()
	l := NewLedger(s)
	const n = 100
	names := make([]string, n)
	want := func(id int) []network.Want {
		w := addressAndPort(vmss.InstanceID(id))[:1]
		w[0].Within = netip.MustParsePrefix("10.1.0.0/24")
		return w
	}
	none := func() []network.Held { return nil }
	var running sync.WaitGroup
	for worker := range 16 {
		running.Go(func() {
			for id := worker; id < n; id += 16 {
				got, err := l.assign(t.Context(), store.Change{}, none, want(id), nothing)
				if err != nil {
					t.Error(err)
					return
				}
				names[id] = got[0]
			}
		})
	}
	running.Wait()
	inUse := map[string]bool{}
	for _, name := range names {
		inUse[name] = true
	}
	for i := range n {
		if name := fmt.Sprintf("10.1.0.%d", 4+i); !inUse[name] {
			t.Errorf("%s was not given out, and higher ones were", name)
		}
	}
	for id := n; ; id++ {
		_, err := l.assign(t.Context(), store.Change{}, none, want(id), nothing)
		if err == nil && id < 251 {
			continue
		}
		if e, ok := errors.AsType[*resource.Error](err); !ok || e.Code != "SubnetIsFull" || id != 251 {
			t.Errorf("instance %d gets %v, want SubnetIsFull for 251", id, err)
		}
		return
	}
}

func TestANameGoesFromOneCardOfAnInstanceToAnother(t *testing.T) {
	s, done := openStore(t)
	defer done()
	l := NewLedger(s)
	wants := addressAndPort(0)[:1]
	wants[0].Within = netip.MustParsePrefix("10.0.0.0/29") // three addresses
	for _, nic := range []string{"a", "b", "c"} {
		wants[0].For.NIC = nic
		names, err := l.assign(t.Context(), store.Change{}, func() []network.Held { return l.held(key(0)) }, wants, nothing)
		if err != nil || names[0] != "10.0.0.4" {
			t.Errorf("card %s gets %v, %v", nic, names, err)
		}
		if all := l.held(key(0)); len(all) != 1 || all[0].For.NIC != nic {
			t.Errorf("the instance has %+v, want the one of card %s", all, nic)
		}
	}
}

func TestWhoIsOvertakenLooksAgain(t *testing.T) {
	s, done := openStore(t)
	defer done()
	l := NewLedger(s)
	wants := addressAndPort(0)[:1]
	first := network.ReservationKey{Space: wants[0].Space, Name: "10.0.0.4"}
	tries := 0
	names, err := l.assign(t.Context(), store.Change{}, func() []network.Held { return nil }, wants, func() error {
		if tries++; tries == 1 {
			_, err := s.Commit(t.Context(), store.Put(store.Reservations, first, network.Reservation{By: "frontend"}))
			return err
		}
		return nil
	})
	if err != nil || names[0] != "10.0.0.5" || tries != 2 {
		t.Errorf("after %d tries it is %v, %v", tries, names, err)
	}
	if _, err := s.Commit(t.Context(), store.Delete(store.Reservations, first, store.Any)); err != nil { // as another process does
		t.Fatal(err)
	}
	wants[0].For.Instance = 1
	l.hears(wants[0])
	if names, err := l.assign(t.Context(), store.Change{}, func() []network.Held { return nil }, wants, nothing); err != nil || names[0] != "10.0.0.4" {
		t.Errorf("once it is free again: %v, %v", names, err)
	}
}

// hears waits until the ledger has heard of everything in the range being free.
func (l *Ledger) hears(w network.Want) {
	lowest, _, _ := w.Choose(0, func(string) bool { return false })
	at, _ := network.PlaceOf(lowest)
	hint := func() network.Place {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.hints[w.Space][spanOf(w)]
	}
	for deadline := time.Now().Add(time.Minute); hint() > at && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
}
