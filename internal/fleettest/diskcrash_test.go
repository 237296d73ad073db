package fleettest_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/muster-vm/muster/internal/disk"
	"github.com/muster-vm/muster/internal/fleettest"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/vmss"
)

// diskStory is what a user does with disks, as records: each step is a document
// and an operation that asks for it.
type diskStory struct {
	t       *testing.T
	f       *fleettest.Fleet
	fuse    *fleettest.Fuse
	records *store.Store // beside the control plane
}

func named(kind disk.Kind, size int, source disk.Source) disk.Disk {
	uid := disk.UID("uid-" + kind)
	return disk.Disk{ID: resource.In("sub", "lab", "Microsoft.Compute", string(kind), "x"), UID: uid, Kind: kind, SizeGB: size, Source: source}
}

// do asks for a document, and waits for its operation to end. A control plane
// that dies is started again.
func (s *diskStory) do(sequence int64, d disk.Disk) {
	s.t.Helper()
	kind := vmss.OpPutDisk
	if d.Deleting {
		kind = vmss.OpDeleteDisk
	}
	op := vmss.Operation{ID: fmt.Sprint(d.UID, sequence), Set: vmss.UID(d.UID), Sequence: sequence, Kind: kind, Target: d.ID}
	if _, err := s.records.Commit(s.t.Context(), store.Put(store.Disks, d.Key(), d), store.Put(store.Operations, op.Key(), op)); err != nil {
		s.t.Fatal(err)
	}
	for range 3600 {
		if s.fuse.Dead() {
			s.start()
		}
		if o, ok := store.Get(s.records, store.Outcomes, op.Key()); ok {
			if o.Value.Status != vmss.OperationSucceeded {
				s.t.Errorf("%s of %s ended %+v", kind, d.UID, o.Value.Error)
			}
			return
		}
		time.Sleep(time.Second)
	}
	s.t.Fatalf("%s of %s does not end", kind, d.UID)
}

// start starts the control plane, which may be dead or about to die of it.
func (s *diskStory) start() {
	s.t.Helper()
	s.f.Stop()
	if s.fuse.Dead() {
		s.fuse.Mend()
	}
	err := s.f.Start(s.t.Context())
	if err != nil && s.fuse.Dead() {
		s.fuse.Mend()
		err = s.f.Start(s.t.Context())
	}
	if err != nil {
		s.t.Fatal("start:", err)
	}
}

func (s *diskStory) tell() {
	s.start()
	data := named(disk.Managed, 4, disk.Source{Option: disk.Empty})
	s.do(1, data)
	image := named(disk.Image, 0, disk.Source{Option: disk.Copy, Disk: data.UID})
	s.do(1, image)
	snapshot := named(disk.Snapshot, 0, disk.Source{Option: disk.Copy, Disk: data.UID})
	s.do(1, snapshot)
	data.SizeGB = 8
	s.do(2, data)
	if there, err := s.f.Contents(s.t.Context()); err != nil || len(there) != 3 {
		s.t.Errorf("there are %v (%v), want three contents", there, err)
	}
	for _, d := range []disk.Disk{data, image, snapshot} {
		d.Deleting = true
		s.do(3, d)
	}
}

// TestADeathWhileDisksAreMadeLosesLeaksAndDoublesNothing kills the control plane
// at its n-th call of the store or the vault, before the call or between the call
// and its answer, for every n, and expects the story to end as if nothing had
// happened.
func TestADeathWhileDisksAreMadeLosesLeaksAndDoublesNothing(t *testing.T) {
	calls := 0
	for _, after := range []bool{false, true} {
		for n, died := 1, true; died && !t.Failed(); n++ {
			synctest.Test(t, func(t *testing.T) {
				fuse := fleettest.NewFuse(n, after)
				f := fleettest.New(t, fleettest.Options{Backend: fuse.Backend, Vault: fuse.Vault, Dead: fuse.Dead})
				s := &diskStory{t: t, f: f, fuse: fuse}
				session := f.Session()
				ctx, cancel := context.WithCancel(t.Context())
				records, err := store.Open(ctx, session, slog.New(slog.DiscardHandler))
				if err != nil {
					t.Fatal(err)
				}
				s.records = records
				var running sync.WaitGroup
				running.Go(func() { records.Run(ctx) })
				s.tell()
				time.Sleep(30 * time.Minute) // for garbage
				contents, err := f.Contents(ctx)
				left, leftErr := f.Records(ctx)
				if err != nil || leftErr != nil || len(contents)+len(left) > 0 {
					t.Errorf("killed at call %d, answer lost %t: %v and %v are left (%v, %v)", n, after, contents, left, err, leftErr)
				}
				died, calls = fuse.Calls() >= n, max(calls, fuse.Calls())
				cancel()
				running.Wait()
				session.Close()
			})
		}
	}
	t.Logf("the story makes about %d calls", calls)
}
