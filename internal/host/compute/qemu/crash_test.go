package qemu

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-vm/muster/internal/host/compute"
	"github.com/muster-vm/muster/internal/resource"
)

// errDied is what a driver sees of anything that it does after its death. Its
// kind keeps the driver from writing down that it died.
var errDied = resource.Errorf(resource.Canceled, "", "The process has died.")

// death has a driver die before a step.
type death struct {
	mu   sync.Mutex
	left int    // steps to come before it dies; negative when it never will
	at   string // the step it died before; empty while it lives
	stop func() // what the driver does beside its calls
}

func (d *death) step(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.at != "":
		return errDied
	case d.left == 0:
		d.at = name
		d.stop()
		return errDied
	}
	d.left--
	return nil
}

// in has the driver die after some more steps.
func (d *death) in(steps int, stop func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.left, d.at, d.stop = steps, "", stop
}

func (d *death) diedAt() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.at
}

// act is a call during which a driver may die, and what comes of it.
type act struct {
	name    string
	before  compute.State // of the machine that is there; empty for none
	call    func(ctx context.Context, d *Driver, id compute.VMID) error
	machine compute.State // afterwards; empty for none
}

func power(want compute.Power) func(context.Context, *Driver, compute.VMID) error {
	return func(ctx context.Context, d *Driver, id compute.VMID) error { return d.Power(ctx, lease, id, want) }
}

func dispose(what compute.Disposal) func(context.Context, *Driver, compute.VMID) error {
	return func(ctx context.Context, d *Driver, id compute.VMID) error { return d.Delete(ctx, lease, id, what) }
}

// refit changes the disks or limits of the lab's machine.
func refit(change func(*compute.Spec)) func(context.Context, *Driver, compute.VMID) error {
	return func(ctx context.Context, d *Driver, id compute.VMID) error {
		spec := labSpec(id.Instance)
		change(&spec)
		return d.Refit(ctx, lease, spec)
	}
}

var acts = []act{
	{"create", "", func(ctx context.Context, d *Driver, id compute.VMID) error {
		return d.Create(ctx, lease, labSpec(id.Instance))
	}, compute.Running},
	{"restart", compute.Running, power(compute.Power{Want: compute.Running, Boots: 2, Graceful: true, Grace: time.Minute}), compute.Running},
	{"hard restart", compute.Running, power(compute.Power{Want: compute.Running, Boots: 2}), compute.Running},
	{"power off", compute.Running, power(compute.Power{Want: compute.Stopped, Graceful: true, Grace: time.Minute}), compute.Stopped},
	{"hard power off", compute.Running, power(compute.Power{Want: compute.Stopped}), compute.Stopped},
	{"deallocate", compute.Running, power(compute.Power{Want: compute.Deallocated, Graceful: true, Grace: time.Minute}), compute.Deallocated},
	{"deallocate a stopped one", compute.Stopped, power(compute.Power{Want: compute.Deallocated}), compute.Deallocated},
	{"start", compute.Deallocated, power(compute.Power{Want: compute.Running, Boots: 2}), compute.Running},
	{"delete keeping data", compute.Running, dispose(compute.KeepData), ""},
	{"delete keeping disks", compute.Running, dispose(compute.KeepDisks), ""},
	{"delete", compute.Running, dispose(compute.All), ""},
	{"delete a stopped one", compute.Stopped, dispose(compute.All), ""},
	{"reimage", compute.Running, func(ctx context.Context, d *Driver, id compute.VMID) error {
		if err := d.Delete(ctx, lease, id, compute.KeepData); err != nil {
			return err
		}
		next := labSpec(id.Instance)
		next.ID.Disks, next.Boots = 2, 2
		return d.Create(ctx, lease, next)
	}, compute.Running},
	{"attach", compute.Running, refit(func(s *compute.Spec) {
		s.DataDisks = append(s.DataDisks, compute.Disk{LUN: 1, SizeGB: 1, Generation: 7, Limit: compute.Limit{IOPS: 120, MBps: 25}})
	}), compute.Running},
	{"attach a managed disk", compute.Running, refit(func(s *compute.Spec) {
		s.DataDisks = append(s.DataDisks, compute.Disk{LUN: 1, Volume: "managed"})
	}), compute.Running},
	{"detach", compute.Running, refit(func(s *compute.Spec) { s.DataDisks = s.DataDisks[1:] }), compute.Running},
	{"detach and attach at the same LUN", compute.Running, refit(func(s *compute.Spec) { s.DataDisks[0].Generation++ }), compute.Running},
	{"detach from a stopped one", compute.Stopped, refit(func(s *compute.Spec) { s.DataDisks = nil }), compute.Stopped},
	{"copy", compute.Running, func(ctx context.Context, d *Driver, id compute.VMID) error {
		return d.CopyDisk(ctx, id, osDisk, filepath.Join(string(d.opts.Volumes.(shelved)), "copy"), nil)
	}, compute.Running},
	{"grow", compute.Running, refit(func(s *compute.Spec) { s.DataDisks[0].SizeGB = 5 }), compute.Running},
	{"limit", compute.Running, refit(func(s *compute.Spec) {
		s.OSLimit.IOPS, s.DataDisks[1].Limit.MBps = 500, 60
	}), compute.Running},
	{"resize", compute.Running, func(ctx context.Context, d *Driver, id compute.VMID) error {
		next := labSpec(id.Instance)
		next.MemoryMB *= 2
		if vm, err := d.Get(ctx, id); err == nil && vm.Hash != next.Hash() {
			if err := d.Delete(ctx, lease, id, compute.KeepDisks); err != nil {
				return err
			}
		}
		return d.Create(ctx, lease, next)
	}, compute.Running},
}

func TestADeathAtAnyStepIsMendedByCallingAgain(t *testing.T) {
	for _, a := range acts {
		t.Run(a.name, func(t *testing.T) {
			want, _ := a.play(t, -1)
			for steps := 0; ; steps++ {
				got, at := a.play(t, steps)
				if at == "" {
					if steps == 0 {
						t.Error("there is no step to die at")
					}
					return
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("after a death before step %d, %q, the host differs (-undisturbed +mended):\n%s", steps, at, diff)
				}
			}
		})
	}
}

// play carries the act out with a death after some steps, if there is one,
// calls again, and returns what is there in the end.
func (a act) play(t *testing.T, steps int) (outcome []string, diedAt string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		reaper := &death{left: -1}
		l := newLab(t)
		l.crash = reaper.step
		l.reopen()
		id := labSpec(0).ID
		l.volume("managed")
		l.prepare(id, a.before)
		before := l.diskFiles(id)
		reaper.in(steps, l.d.stop)
		err := a.call(t.Context(), l.d, id)
		wait(func() bool { return reaper.diedAt() != "" || l.settled(id, a.machine) })
		if diedAt = reaper.diedAt(); diedAt == "" && err != nil {
			t.Fatalf("%s: %v", a.name, err)
		}
		reaper.in(-1, nil)
		if diedAt != "" {
			l.reopen()
		}
		if err := a.call(t.Context(), l.d, id); err != nil {
			t.Errorf("%s again, after a death before %q: %v", a.name, diedAt, err)
		}
		if !wait(func() bool { return l.settled(id, a.machine) }) {
			t.Errorf("%s again, after a death before %q: want the machine %q, got %+v", a.name, diedAt, a.machine, l.vm(id))
		}
		outcome = l.outcome(id, before)
		if b, err := os.ReadFile(filepath.Join(string(l.volumes), "copy")); err == nil {
			outcome = append(outcome, "copy of "+string(b))
		}
	})
	return outcome, diedAt
}

// prepare brings a machine to a state.
func (l *lab) prepare(id compute.VMID, want compute.State) {
	l.t.Helper()
	if want == "" {
		return
	}
	l.create(labSpec(id.Instance))
	if want != compute.Running {
		if err := l.d.Power(l.t.Context(), lease, id, compute.Power{Want: want}); err != nil {
			l.t.Fatal(err)
		}
		l.await(id, want)
	}
}

// settled reports whether the machine is in a state and has nothing to do.
func (l *lab) settled(id compute.VMID, want compute.State) bool {
	m := l.d.find(id)
	if m == nil || want == "" {
		return m == nil && want == ""
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return stateOf(m.rec, m.alive()) == want && m.rec.Fit == m.rec.Spec.Fit() && settled(m.rec, m.alive()) && m.rec.Booted == m.rec.Boots
}

// outcome lists all that is there: machines, processes, files, and whether a
// disk is the one that was there before.
func (l *lab) outcome(id compute.VMID, before map[string]string) []string {
	l.t.Helper()
	list := []string{fmt.Sprintf("%d processes were started", l.started())}
	for vm, err := range l.d.List(l.t.Context()) {
		if err != nil {
			l.t.Fatal(err)
		}
		vm.Since = time.Time{}
		list = append(list, fmt.Sprintf("machine %+v", vm))
	}
	for _, e := range l.alive() {
		list = append(list, "process "+e.bootID())
		for _, disk := range e.plugged() {
			list = append(list, "process with "+disk)
		}
	}
	for name, content := range l.diskFiles(id) {
		age := "new"
		for _, old := range before {
			if old == content {
				age = "as it was"
			}
		}
		list = append(list, "disk "+name+" "+age)
	}
	err := filepath.WalkDir(l.root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() || strings.Contains(path, "/vms/") || strings.Contains(path, "/disks/") {
			list = append(list, strings.TrimPrefix(path, l.root))
		}
		return err
	})
	if err != nil {
		l.t.Fatal(err)
	}
	slices.Sort(list)
	return list
}

func TestAHalfDeletedMachineIsIncompleteAndDoesNotRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for steps := 1; ; steps++ { // after the first write the delete is accepted
			reaper := &death{left: -1}
			l := newLab(t)
			l.crash = reaper.step
			l.reopen()
			id := labSpec(0).ID
			l.prepare(id, compute.Running)
			reaper.in(steps, l.d.stop)
			_ = l.d.Delete(t.Context(), lease, id, compute.All) // it may die of it
			at := reaper.diedAt()
			if at == "" {
				return
			}
			reaper.in(-1, nil)
			l.reopen()
			if vm := l.vm(id); at != "write" && vm.State != compute.Incomplete {
				t.Errorf("after a death before %q: %+v, want it incomplete", at, vm)
			}
			if err := l.d.Power(t.Context(), lease, id, compute.Power{Want: compute.Running}); at != "write" && !resource.Is(err, resource.Conflict) {
				t.Errorf("Power after a death before %q: %v, want Conflict", at, err)
			}
		}
	})
}

func TestWhatACrashLeftHalfNamedIsClearedAway(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		id := labSpec(0).ID
		for _, prefix := range []string{newPrefix, gonePrefix} {
			if err := os.MkdirAll(filepath.Join(l.d.root.vms(), prefix+id.String(), "deep"), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		l.reopen()
		if entries, err := os.ReadDir(l.d.root.vms()); err != nil || len(entries) > 0 {
			t.Errorf("left: %v, %v", entries, err)
		}
	})
}
