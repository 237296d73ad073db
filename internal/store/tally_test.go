package store_test

import (
	"context"
	"testing"

	"pgregory.net/rapid"

	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/store/memstore"
	"github.com/muster-vm/muster/internal/vmss"
)

func TestTheTallyIsWhatACountOfTheRowsGives(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, stop := open(t, memstore.New())
		defer stop()
		for range rapid.IntRange(1, 40).Draw(t, "changes") {
			c := change(t)
			if id := vmss.InstanceID(rapid.IntRange(0, 5).Draw(t, "id")); rapid.Bool().Draw(t, "power") {
				power := rapid.SampledFrom([]vmss.PowerState{vmss.PowerRunning, vmss.PowerDeallocated}).Draw(t, "power state")
				c = store.Put(store.Instances, vmss.InstanceKey{Set: "a", ID: id}, vmss.Instance{ID: id, Power: power})
			}
			if _, err := s.Commit(context.Background(), c); err != nil {
				t.Fatal(err)
			}
			for _, uid := range []vmss.UID{"a", "b"} {
				var want store.Tally
				for _, rec := range s.Instances(uid, -1, 0) {
					want.Rows++
					if rec.Row.Value.Power == vmss.PowerDeallocated {
						want.Deallocated++
					}
				}
				if got := s.Tally(uid); got != want {
					t.Fatalf("set %s: got %+v, want %+v", uid, got, want)
				}
			}
		}
	})
}
