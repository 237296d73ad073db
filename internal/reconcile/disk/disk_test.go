package disk_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/muster-vm/muster/internal/controller"
	noun "github.com/muster-vm/muster/internal/disk"
	"github.com/muster-vm/muster/internal/host/volume/sim"
	"github.com/muster-vm/muster/internal/plan"
	"github.com/muster-vm/muster/internal/reconcile/disk"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/store/memstore"
	"github.com/muster-vm/muster/internal/vmss"
)

// yard is a store and a vault, and the process that works on them.
type yard struct {
	t     *testing.T
	db    *memstore.DB
	vault *sim.Vault
	fail  func(op string, uid noun.UID) error
	fuse  *fuse // of the process; nil never blows

	store *store.Store // of the process
	lease store.Lease
	r     *disk.Reconciler
	disks *controller.Controller[noun.Key]
	stop  func()
}

var errDead = errors.New("the process is dead")

// fuse kills a process at its n-th call of the store or the vault, before the
// call or between the call and its answer.
type fuse struct {
	mu    sync.Mutex
	left  int
	after bool
	blown bool
}

func (f *fuse) do(call func() error) error {
	if f == nil {
		return call()
	}
	f.mu.Lock()
	if f.blown {
		f.mu.Unlock()
		return errDead
	}
	f.left--
	fatal := f.left == 0
	f.blown = fatal
	f.mu.Unlock()
	if fatal && !f.after {
		return errDead
	}
	if err := call(); err != nil || !fatal {
		return err
	}
	return errDead
}

func (f *fuse) dead() bool {
	if f == nil {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.blown
}

type fusedBackend struct {
	store.Backend
	fuse *fuse
}

func (b fusedBackend) Commit(ctx context.Context, ops []store.Op) (rev int64, err error) {
	err = b.fuse.do(func() error { rev, err = b.Backend.Commit(ctx, ops); return err })
	return rev, err
}

type fusedVault struct {
	*sim.Vault
	fuse *fuse
}

func (v fusedVault) Make(ctx context.Context, o noun.Order) (made noun.Made, err error) {
	err = v.fuse.do(func() error { made, err = v.Vault.Make(ctx, o); return err })
	return made, err
}

func (v fusedVault) Grow(ctx context.Context, uid noun.UID, gb int, at *noun.Attachment) error {
	return v.fuse.do(func() error { return v.Vault.Grow(ctx, uid, gb, at) })
}

func (v fusedVault) Remove(ctx context.Context, uid noun.UID) error {
	return v.fuse.do(func() error { return v.Vault.Remove(ctx, uid) })
}

func (v fusedVault) SetAside(ctx context.Context, uid noun.UID) error {
	return v.fuse.do(func() error { return v.Vault.SetAside(ctx, uid) })
}

// inYard runs a test in a bubble, with a process that lives for ever.
func inYard(t *testing.T, test func(t *testing.T, y *yard)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		y := newYard(t)
		y.start(nil)
		test(t, y)
		y.stop()
	})
}

func newYard(t *testing.T) *yard {
	t.Helper()
	y := &yard{t: t, db: memstore.New(), fail: func(string, noun.UID) error { return nil }}
	y.vault = sim.New(sim.Options{Fail: func(op string, uid noun.UID) error { return y.fail(op, uid) }})
	return y
}

// start starts a process, which the fuse may kill.
func (y *yard) start(f *fuse) {
	y.t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(y.t.Context()))
	session, log := y.db.Open(), slog.New(slog.DiscardHandler)
	s, err := store.Open(ctx, fusedBackend{session, f}, log)
	if err != nil {
		y.t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() { s.Run(ctx) })
	held, err := s.Acquire(ctx, "plane")
	if err != nil {
		y.t.Fatal(err)
	}
	y.fuse, y.store, y.lease = f, s, held
	y.r = disk.New(disk.Options{Store: s, Vault: fusedVault{y.vault, f}, Fence: held.Held(), Log: log})
	y.disks = controller.New(controller.Options[noun.Key]{Name: "disk", Workers: 2, Log: log, Reconciler: y.r, List: func(context.Context) (keys []noun.Key, err error) {
		for k := range store.Each(s, store.Disks) {
			keys = append(keys, k)
		}
		return keys, nil
	}})
	store.OnChange(s, store.Disks, func(k noun.Key) { y.r.Interrupt(k); y.disks.Poke(k) })
	running.Go(func() { y.disks.Run(ctx) })
	y.stop = func() { cancel(); running.Wait(); held.Release(); session.Close() }
}

func (y *yard) commit(changes ...store.Change) {
	y.t.Helper()
	if _, err := y.store.Commit(y.t.Context(), changes...); err != nil {
		y.t.Fatal(err)
	}
}

// data is a managed disk.
func data(size int, source noun.Source) noun.Disk {
	return noun.Disk{ID: resource.In("sub", "lab", "Microsoft.Compute", "disks", "data"), UID: "uid-1", Kind: noun.Managed, SizeGB: size, Source: source}
}

var empty = noun.Source{Option: noun.Empty}

// put writes a record with the operation that asks for it, as the API does.
func (y *yard) put(d noun.Disk, sequence int64) vmss.OperationKey {
	y.t.Helper()
	kind := vmss.OpPutDisk
	if d.Deleting {
		kind = vmss.OpDeleteDisk
	}
	op := vmss.Operation{ID: fmt.Sprint(d.UID, sequence), Set: vmss.UID(d.UID), Sequence: sequence, Kind: kind, Target: d.ID}
	y.commit(store.Put(store.Disks, d.Key(), d), store.Put(store.Operations, op.Key(), op))
	return op.Key()
}

// ended waits until an operation has ended and returns how.
func (y *yard) ended(key vmss.OperationKey) vmss.Outcome {
	y.t.Helper()
	for range 1000 {
		if o, ok := store.Get(y.store, store.Outcomes, key); ok {
			return *o.Value
		}
		if y.fuse.dead() {
			return vmss.Outcome{}
		}
		time.Sleep(time.Second)
	}
	y.t.Fatalf("operation %v does not end", key)
	return vmss.Outcome{}
}

func (y *yard) succeeded(key vmss.OperationKey) {
	y.t.Helper()
	if o := y.ended(key); o.Status != vmss.OperationSucceeded && !y.fuse.dead() {
		y.t.Errorf("operation %v ended %+v", key, o.Error)
	}
}

// contents lists what the vault has.
func (y *yard) contents() []noun.UID {
	all, err := y.vault.List(y.t.Context())
	if err != nil {
		y.t.Fatal(err)
	}
	return all
}

func (y *yard) state(uid noun.UID) noun.State {
	if s, ok := store.Get(y.store, store.DiskStates, uid); ok {
		return *s.Value
	}
	return noun.State{}
}

func TestADiskIsMadeGrowsAndGoes(t *testing.T) {
	inYard(t, func(t *testing.T, y *yard) {
		d := data(4, empty)
		y.succeeded(y.put(d, 1))
		if s := y.state(d.UID); !s.Ready || s.SizeGB != 4 {
			t.Errorf("it is %+v", s)
		}
		d.SizeGB = 9
		y.succeeded(y.put(d, 2))
		if s := y.state(d.UID); s.SizeGB != 9 || s.Grown.IsZero() {
			t.Errorf("it is %+v", s)
		}
		d.Deleting = true
		y.succeeded(y.put(d, 3))
		if _, ok := store.Get(y.store, store.Disks, d.Key()); ok || len(y.contents()) > 0 || len(store.All(y.store, store.DiskStates)) > 0 {
			t.Errorf("left are the record %t, contents %v", ok, y.contents())
		}
	})
}

func TestProgressIsKnownWhileAContentIsMade(t *testing.T) {
	inYard(t, func(t *testing.T, y *yard) {
		key := y.put(data(4, empty), 1)
		time.Sleep(1200 * time.Millisecond) // of two seconds
		if done, total, ok := y.r.Progress("uid-1"); !ok || done != 2<<30 || total != 4<<30 {
			t.Errorf("half way it is %d of %d, %t", done, total, ok)
		}
		y.succeeded(key)
		if _, _, ok := y.r.Progress("uid-1"); ok {
			t.Error("what is made has progress")
		}
	})
}

func TestADeleteInterruptsWhatIsBeingMade(t *testing.T) {
	inYard(t, func(t *testing.T, y *yard) {
		d := data(4, empty)
		first := y.put(d, 1)
		time.Sleep(time.Second)
		d.Deleting = true
		begin := time.Now()
		y.succeeded(y.put(d, 2))
		if o := y.ended(first); o.Status != vmss.OperationCanceled || time.Since(begin) > 2*time.Second || y.vault.Makes(d.UID) != 0 {
			t.Errorf("the PUT ended %+v after %v, made %d times", o, time.Since(begin), y.vault.Makes(d.UID))
		}
	})
}

func TestFailuresAreTriedAgainAndThenFailTheOperation(t *testing.T) {
	inYard(t, func(t *testing.T, y *yard) {
		tries := 0
		y.fail = func(string, noun.UID) error {
			tries++
			return resource.Errorf(resource.Unavailable, "FileUnavailable", "The server answers 503.")
		}
		d := data(4, empty)
		if o := y.ended(y.put(d, 1)); o.Status != vmss.OperationFailed || o.Error.Code != "FileUnavailable" || tries != 3 {
			t.Errorf("after %d tries it ended %+v", tries, o)
		}
		time.Sleep(time.Hour)
		if tries != 3 || d.Provisioning(y.state(d.UID)) != noun.Failed {
			t.Errorf("an hour later there were %d tries, and it is %+v", tries, y.state(d.UID))
		}
		y.fail = func(string, noun.UID) error { return nil }
		y.succeeded(y.put(d, 2))
	})
}

func TestAContentThatIsMissingIsReportedAndNotMadeAgain(t *testing.T) {
	inYard(t, func(t *testing.T, y *yard) {
		d := data(4, empty)
		y.succeeded(y.put(d, 1))
		y.vault.Lose(d.UID)
		if o := y.ended(y.put(d, 2)); o.Status != vmss.OperationFailed || o.Error.Code != plan.LostCode {
			t.Errorf("a PUT ended %+v", o)
		}
		if s := y.state(d.UID); s.Ready || s.Failure == nil || y.vault.Makes(d.UID) != 1 {
			t.Errorf("it is %+v, made %d times", s, y.vault.Makes(d.UID))
		}
		y.vault.Adopt(d.UID, noun.Made{SizeGB: 4, Bytes: 4 << 30})
		y.succeeded(y.put(d, 3))
		d.Deleting = true
		y.vault.Lose(d.UID)
		y.succeeded(y.put(d, 4))
	})
}

func TestAnAttachmentGoesWhenTheInstanceHasLetGo(t *testing.T) {
	inYard(t, func(t *testing.T, y *yard) {
		d := data(4, empty)
		y.succeeded(y.put(d, 1))
		key := vmss.InstanceKey{Set: "web", ID: 3}
		mine := []vmss.Disk{{LUN: 1, Volume: "uid-1"}}
		attached := func() bool {
			y.disks.Poke(d.Key())
			time.Sleep(time.Second)
			_, ok := store.Get(y.store, store.Attachments, d.UID)
			return ok
		}
		y.commit(store.Put(store.Attachments, d.UID, noun.Attachment{Set: "web", Instance: 3, LUN: 1}), store.Put(store.Customizations, key, vmss.Customization{Attached: mine}),
			store.Put(store.Instances, key, vmss.Instance{ID: 3, Generation: 1}), store.Put(store.Observations, key, vmss.Observation{Generation: 1}))
		if !attached() {
			t.Fatal("it was released before the row had it")
		}
		y.commit(store.Put(store.Instances, key, vmss.Instance{ID: 3, Generation: 2, Attached: mine}), store.Put(store.Customizations, key, vmss.Customization{}))
		if !attached() {
			t.Error("it was released while the row has it")
		}
		y.commit(store.Put(store.Instances, key, vmss.Instance{ID: 3, Generation: 3}))
		if !attached() {
			t.Error("it was released before the host had carried that out")
		}
		y.commit(store.Put(store.Observations, key, vmss.Observation{Generation: 3}))
		if attached() {
			t.Error("it is not released")
		}
		y.commit(store.Put(store.Attachments, d.UID, noun.Attachment{Set: "web", Instance: 4}))
		if attached() {
			t.Error("an instance that is gone has it")
		}
	})
}

func TestADiskIsNotDeletedWhileAnInstanceHasIt(t *testing.T) {
	inYard(t, func(t *testing.T, y *yard) {
		d := data(4, empty)
		y.succeeded(y.put(d, 1))
		key := vmss.InstanceKey{Set: "web", ID: 3}
		y.commit(store.Put(store.Attachments, d.UID, noun.Attachment{Set: "web", Instance: 3}), store.Put(store.Instances, key, vmss.Instance{ID: 3, Generation: 1}))
		d.Deleting = true
		op := y.put(d, 2)
		time.Sleep(time.Hour)
		if len(y.contents()) != 1 {
			t.Fatal("the content of an attached disk was removed")
		}
		y.commit(store.Delete(store.Instances, key, store.Any))
		y.disks.Poke(d.Key())
		y.succeeded(op)
	})
}

func TestOrdersSayWhatRecordsKnowOfTheSource(t *testing.T) {
	inYard(t, func(t *testing.T, y *yard) {
		y.commit(store.Put(store.Revisions, vmss.RevisionKey{Set: "web", Number: 2}, vmss.Revision{Number: 2, Model: vmss.Model{Image: vmss.Image{Digest: "sha256:tiny", SizeGB: 7}, DataDisks: []vmss.Disk{{LUN: 5, SizeGB: 11}}}}),
			store.Put(store.Instances, vmss.InstanceKey{Set: "web", ID: 3}, vmss.Instance{ID: 3, Revision: 2}))
		for i, tt := range []struct {
			source noun.Source
			wantGB int
		}{
			{noun.Source{Option: noun.Capture, Instance: noun.Instance{Set: "web", Instance: 3, OS: true}}, 7},
			{noun.Source{Option: noun.Capture, Instance: noun.Instance{Set: "web", Instance: 3, LUN: 5}}, 11},
			{noun.Source{Option: noun.Copy, Disk: "uid-1"}, 11},
		} {
			d := data(0, tt.source)
			d.UID = noun.UID(fmt.Sprintf("uid-%d", i))
			d.ID = resource.In("sub", "lab", "Microsoft.Compute", "disks", string(d.UID))
			y.succeeded(y.put(d, 1))
			if s := y.state(d.UID); s.SizeGB != tt.wantGB {
				t.Errorf("from %+v it has %d GB, want %d", tt.source, s.SizeGB, tt.wantGB)
			}
		}
	})
}

func TestContentsWithoutRecordGoAfterAWhile(t *testing.T) {
	inYard(t, func(t *testing.T, y *yard) {
		d := data(4, empty)
		y.succeeded(y.put(d, 1))
		y.vault.Adopt("stray", noun.Made{SizeGB: 1, Bytes: 1 << 30})
		sweep := func(want int) {
			t.Helper()
			next, err := y.r.Sweep(t.Context())
			if err != nil || !next.After(time.Now()) || len(y.contents()) != want {
				t.Errorf("Sweep: %v, %v; %v are left, want %d", next, err, y.contents(), want)
			}
		}
		sweep(2)
		time.Sleep(disk.Grace - time.Second)
		sweep(2)
		y.fail = func(string, noun.UID) error { return resource.Errorf(resource.Unavailable, "", "No.") }
		time.Sleep(time.Second)
		if _, err := y.r.Sweep(t.Context()); err == nil || len(y.contents()) != 2 {
			t.Errorf("a removal that failed: %v, %v are left", err, y.contents())
		}
		y.fail = func(string, noun.UID) error { return nil }
		sweep(1)
	})
}

func TestAReconcilerThatLostItsLeaseWritesNothing(t *testing.T) {
	inYard(t, func(t *testing.T, y *yard) {
		y.disks.Close() // it is called by hand here
		y.lease.Release()
		d := data(4, empty)
		y.put(d, 1)
		if _, err := y.r.Reconcile(t.Context(), d.Key()); !resource.Is(err, resource.Conflict) {
			t.Errorf("Reconcile: %v, want Conflict", err)
		}
		if s := y.state("uid-1"); s.Ready || len(store.All(y.store, store.Outcomes)) > 0 {
			t.Errorf("without the lease it wrote %+v", s)
		}
	})
}

// TestACrashAtAnyCallChangesNothingInTheEnd kills the process at every call of
// the store and the vault, before the call and between the call and its answer.
// Whatever the user asks for again is what there is in the end: nothing is made
// twice, lost or left.
func TestACrashAtAnyCallChangesNothingInTheEnd(t *testing.T) {
	const most = 60
	for n := 1; n <= most; n++ {
		for _, after := range []bool{false, true} {
			finished := false
			synctest.Test(t, func(t *testing.T) {
				y := newYard(t)
				f := &fuse{left: n + 1, after: after} // the first call takes the lease
				y.start(f)
				steps := []noun.Disk{data(4, empty), data(9, empty), func() noun.Disk { d := data(9, empty); d.Deleting = true; return d }()}
				for i, d := range steps {
					key := y.tryPut(d, int64(i+1))
					y.ended(key)
					if f.dead() {
						y.stop()
						f = nil
						y.start(nil)
						key = y.tryPut(d, int64(i+1))
					}
					y.succeeded(key)
					if got, want := len(y.contents()), []int{1, 1, 0}[i]; got != want {
						t.Errorf("killed at %d (after: %t), step %d: %d contents, want %d", n, after, i, got, want)
					}
				}
				if y.vault.Makes("uid-1") != 1 || len(store.All(y.store, store.DiskStates))+len(store.All(y.store, store.Disks)) > 0 {
					t.Errorf("killed at %d (after: %t): made %d times, left are %d records", n, after, y.vault.Makes("uid-1"), len(store.All(y.store, store.Disks)))
				}
				finished = f != nil // the fuse did not blow: the story has fewer calls
				y.stop()
			})
			if finished && after {
				return
			}
		}
	}
	t.Fatalf("the story has more than %d calls", most)
}

// tryPut is put by a client that asks again if it got no answer.
func (y *yard) tryPut(d noun.Disk, sequence int64) vmss.OperationKey {
	kind := vmss.OpPutDisk
	if d.Deleting {
		kind = vmss.OpDeleteDisk
	}
	op := vmss.Operation{ID: fmt.Sprint(d.UID, sequence), Set: vmss.UID(d.UID), Sequence: sequence, Kind: kind, Target: d.ID}
	if _, ok := store.Get(y.store, store.Operations, op.Key()); !ok {
		y.store.Commit(y.t.Context(), store.Put(store.Disks, d.Key(), d), store.Put(store.Operations, op.Key(), op)) //nolint:errcheck // it may die of it
	}
	return op.Key()
}
