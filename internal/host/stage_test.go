package host_test

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/muster-vm/muster/internal/host"
	"github.com/muster-vm/muster/internal/host/compute"
	"github.com/muster-vm/muster/internal/host/compute/sim"
	fabricsim "github.com/muster-vm/muster/internal/host/fabric/sim"
	"github.com/muster-vm/muster/internal/population"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/store/memstore"
	"github.com/muster-vm/muster/internal/vmss"
)

const uid vmss.UID = "6d757374-6572-4000-8000-000000000001"

// stage is one host over a store, with rows that the test writes in the place
// of the planner. Machines, ports and records outlive the host.
type stage struct {
	t      *testing.T
	db     *memstore.DB
	driver *sim.Driver
	fabric *fabricsim.Fabric
	calls  *recorder
	store  *store.Store
	broken *breakage
	vcpus  int
	lease  int64 // of the host
	tune   func(*host.Options)
	stop   func()
}

// onStage runs a test in a bubble, with a host named here that has room for four
// instances and fails as the faults say.
func onStage(t *testing.T, faults []population.Fault, test func(t *testing.T, s *stage)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		boot := population.Boot{Base: 20 * time.Second, Shutdown: 5 * time.Second}
		s := &stage{t: t, db: memstore.New(), fabric: fabricsim.New(netip.MustParsePrefix("10.0.0.0/24")), vcpus: 4, broken: &breakage{},
			driver: sim.New(sim.Options{Host: "here", Boot: boot, Seed: 1, Faults: faults})}
		s.calls = &recorder{Driver: s.driver}
		s.start()
		t.Cleanup(func() { s.stop(); s.driver.Close() })
		test(t, s)
	})
}

// start starts the host, as a new process does.
func (s *stage) start() {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(s.t.Context()))
	log := slog.New(slog.DiscardHandler)
	session := s.db.Open()
	var err error
	if s.store, err = store.Open(ctx, brokenBackend{session, s.broken}, log); err != nil {
		s.t.Fatal(err)
	}
	var wg sync.WaitGroup
	storing, stopStoring := context.WithCancel(context.WithoutCancel(ctx))
	wg.Go(func() { s.store.Run(storing) })
	lease, err := s.store.Acquire(ctx, "host/here")
	if err != nil {
		s.t.Fatal(err)
	}
	s.lease = lease.Revision
	_, known := s.store.SetByUID(uid)
	if !known {
		s.seed()
	}
	options := host.Options{Name: "here", Driver: s.calls, Fabric: s.fabric, Store: s.store, Log: log, Lease: lease, VCPUs: s.vcpus, Memory: 1 << 20,
		Size: func(name string) (vmss.Size, bool) {
			return vmss.Size{Name: name, VCPUs: len(name), MemoryMB: 1024}, name != "unknown"
		}}
	if s.tune != nil {
		s.tune(&options)
	}
	h := host.New(options)
	var running sync.WaitGroup
	running.Go(func() { h.Run(ctx) })
	s.stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
		h.Close()
		stopStoring()
		wg.Wait()
		session.Close()
	})
}

// seed writes a scale set with two models: the sizes "1" and "12" need as many
// vCPUs as their names have letters.
func (s *stage) seed() {
	s.t.Helper()
	set := vmss.ScaleSet{ID: resource.In("sub", "lab", "Microsoft.Compute", "virtualMachineScaleSets", "web"), UID: uid, Revision: 2}
	model := vmss.Model{Size: "1", Image: vmss.Image{Digest: "sha256:ok"}, OS: vmss.OSProfile{ComputerNamePrefix: "web"}, DataDisks: []vmss.Disk{{LUN: 0, SizeGB: 1}}}
	larger, unknown := model, model
	larger.Size, unknown.Size = "12", "unknown"
	changes := []store.Change{store.Put(store.ScaleSets, set.Key(), set)}
	for i, m := range []vmss.Model{model, larger, unknown} {
		n := vmss.RevisionNumber(i + 1)
		changes = append(changes, store.Put(store.Revisions, vmss.RevisionKey{Set: uid, Number: n}, vmss.Revision{Number: n, Model: m}))
	}
	s.commit(changes...)
}

func (s *stage) commit(changes ...store.Change) {
	s.t.Helper()
	if _, err := s.store.Commit(s.t.Context(), changes...); err != nil {
		s.t.Fatal(err)
	}
}

func key(id vmss.InstanceID) vmss.InstanceKey { return vmss.InstanceKey{Set: uid, ID: id} }

// newRow is a row as the planner makes it.
func newRow(id vmss.InstanceID) vmss.Instance {
	return vmss.Instance{ID: id, Revision: 1, Host: "here", Power: vmss.PowerRunning, Boots: 1, Disks: 1, DataDisks: 1, Generation: 1}
}

func (s *stage) write(row vmss.Instance) {
	s.t.Helper()
	s.commit(store.Put(store.Instances, key(row.ID), row))
}

// change edits a row as the planner does.
func (s *stage) change(id vmss.InstanceID, edit func(*vmss.Instance)) vmss.Instance {
	s.t.Helper()
	e, ok := store.Get(s.store, store.Instances, key(id))
	if !ok {
		s.t.Fatalf("there is no row %d", id)
	}
	row := *e.Value
	edit(&row)
	row.Generation++
	s.write(row)
	return row
}

// seen is the stored observation.
func (s *stage) seen(id vmss.InstanceID) vmss.Observation {
	if e, ok := store.Get(s.store, store.Observations, key(id)); ok {
		return *e.Value
	}
	return vmss.Observation{}
}

// settle waits until the row is carried out.
func (s *stage) settle(id vmss.InstanceID) vmss.Observation {
	s.t.Helper()
	done := func() bool {
		row, ok := store.Get(s.store, store.Instances, key(id))
		seen := s.seen(id)
		return ok && (seen.Generation == row.Value.Generation || row.Value.Deleting && seen.Gone) && seen.Failure == nil
	}
	for range 3600 {
		synctest.Wait()
		if done() {
			return s.seen(id)
		}
		time.Sleep(time.Second)
	}
	s.t.Fatalf("instance %d is not settled after an hour: %+v, failure %+v", id, s.seen(id), s.seen(id).Failure)
	return vmss.Observation{}
}

// run makes an instance and waits until it runs.
func (s *stage) run(id vmss.InstanceID) {
	s.t.Helper()
	s.write(newRow(id))
	s.settle(id)
}

func vmid(id vmss.InstanceID, disks int64) compute.VMID {
	return compute.VMID{Set: string(uid), Instance: int64(id), Disks: disks}
}

// machines lists the host's machines.
func (s *stage) machines() (ids []compute.VMID) {
	for vm, err := range s.driver.List(s.t.Context()) {
		if err != nil {
			s.t.Fatal(err)
		}
		ids = append(ids, vm.ID)
	}
	return ids
}

func (s *stage) ports() []string {
	ports, err := s.fabric.Ports(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return ports
}

// recorder notes the calls that change something, and when they came.
type recorder struct {
	*sim.Driver
	mu    sync.Mutex
	calls []string
	at    []time.Time
}

var _ interface {
	compute.Driver
	compute.Getter
	compute.Notifier
	List(ctx context.Context) iter.Seq2[compute.VM, error]
} = (*recorder)(nil)

func (r *recorder) note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls, r.at = append(r.calls, fmt.Sprintf(format, args...)), append(r.at, time.Now())
}

// take returns the calls since the last time.
func (r *recorder) take() ([]string, []time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	calls, at := r.calls, r.at
	r.calls, r.at = nil, nil
	return calls, at
}

func (r *recorder) Create(ctx context.Context, f compute.Fence, spec compute.Spec) error {
	r.note("create %d.%d boots %d", spec.ID.Instance, spec.ID.Disks, spec.Boots)
	return r.Driver.Create(ctx, f, spec)
}

func (r *recorder) Delete(ctx context.Context, f compute.Fence, id compute.VMID, what compute.Disposal) error {
	r.note("delete %d.%d %s", id.Instance, id.Disks, []string{"all", "keeping data", "keeping disks"}[what])
	return r.Driver.Delete(ctx, f, id, what)
}

func (r *recorder) Power(ctx context.Context, f compute.Fence, id compute.VMID, want compute.Power) error {
	how := ""
	if want.Graceful {
		how = " gracefully"
	}
	r.note("power %d.%d %s boots %d%s", id.Instance, id.Disks, want.Want, want.Boots, how)
	return r.Driver.Power(ctx, f, id, want)
}

func (r *recorder) Refit(ctx context.Context, f compute.Fence, spec compute.Spec) error {
	r.note("refit %d.%d with %d data disks", spec.ID.Instance, spec.ID.Disks, len(spec.DataDisks))
	return r.Driver.Refit(ctx, f, spec)
}

// expect checks the calls since the last time. Calls for one instance come in
// order; those for several come in any, and are sorted by it.
func (s *stage) expect(what string, want ...string) {
	s.t.Helper()
	got, _ := s.calls.take()
	slices.SortStableFunc(got, byInstance)
	if !slices.Equal(got, want) {
		s.t.Errorf("%s: the driver was called\n%q, want\n%q", what, got, want)
	}
}

// byInstance orders calls by the instance that they are about.
func byInstance(a, b string) int { return strings.Compare(strings.Fields(a)[1], strings.Fields(b)[1]) }

// breakage makes a store refuse observations.
type breakage struct {
	mu      sync.Mutex
	broken  bool
	refused int
}

func (b *breakage) set(broken bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.broken = broken
}

func (b *breakage) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.refused
}

type brokenBackend struct {
	store.Backend
	*breakage
}

func (b brokenBackend) Commit(ctx context.Context, ops []store.Op) (int64, error) {
	b.mu.Lock()
	broken := b.broken && slices.ContainsFunc(ops, func(o store.Op) bool { return strings.HasPrefix(o.Key, "observations/") })
	if broken {
		b.refused++
	}
	b.mu.Unlock()
	if broken {
		return 0, resource.Errorf(resource.Unavailable, "StateStoreUnavailable", "The state store is broken.")
	}
	return b.Backend.Commit(ctx, ops)
}
