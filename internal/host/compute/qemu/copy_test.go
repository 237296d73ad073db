package qemu

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/muster-vm/muster/internal/host/compute"
	"github.com/muster-vm/muster/internal/resource"
)

var osDisk = compute.DiskRef{OS: true}

// copyOf copies a disk into a file of this name.
func (l *lab) copyOf(ctx context.Context, ref compute.DiskRef, name string) (content string, err error) {
	file := filepath.Join(string(l.volumes), name)
	err = l.d.CopyDisk(ctx, labSpec(0).ID, ref, file, func(done, total int64) {
		if done > total || total == 0 {
			l.t.Errorf("progress is %d of %d", done, total)
		}
	})
	b, _ := os.ReadFile(file) // nothing, if there is no such file
	return string(b), err
}

// idle checks that the machine's process does nothing beside its guest.
func (l *lab) idle() {
	l.t.Helper()
	e := l.process(labSpec(0).ID)
	e.mu.Lock()
	jobs := len(e.jobs)
	e.mu.Unlock()
	if all := strings.Join(e.plugged(), "\n"); jobs > 0 || strings.Contains(all, "not plugged in") {
		l.t.Errorf("%d jobs are left, and\n%s", jobs, all)
	}
}

func TestADiskIsCopiedWhetherItsMachineRunsOrNot(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		spec := with(compute.Disk{LUN: 5, Volume: "managed"})
		l.volume("managed")
		l.create(spec)
		disks := l.diskFiles(spec.ID)
		check := func(when string) {
			t.Helper()
			for ref, want := range map[compute.DiskRef]string{osDisk: disks["os-1.qcow2"], {LUN: 3}: disks["data-3-1.qcow2"], {LUN: 5}: "managed"} {
				if got, err := l.copyOf(t.Context(), ref, "copy"); err != nil || got != want {
					t.Errorf("%s: the copy of %+v has %q, %v; want %q", when, ref, got, err, want)
				}
			}
			_, err := l.copyOf(t.Context(), compute.DiskRef{LUN: 9}, "copy")
			if !resource.Is(err, resource.NotFound) {
				t.Errorf("%s: the copy of a disk that is not there: %v", when, err)
			}
		}
		check("running")
		l.idle()
		l.power(spec.ID, compute.Power{Want: compute.Stopped})
		l.await(spec.ID, compute.Stopped)
		check("stopped")
		if err := l.d.CopyDisk(t.Context(), labSpec(7).ID, osDisk, "/nowhere", nil); !resource.Is(err, resource.NotFound) {
			t.Errorf("a machine that is not there: %v", err)
		}
	})
}

func TestCopiesAtOnceDoNotDisturbEachOther(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.create(labSpec(0))
		errs := make(chan error, 3)
		for i, ref := range []compute.DiskRef{osDisk, osDisk, {LUN: 0}} {
			go func() {
				_, err := l.copyOf(t.Context(), ref, "copy"+strconv.Itoa(i))
				errs <- err
			}()
			time.Sleep(time.Second)
		}
		more := with(compute.Disk{LUN: 9, SizeGB: 1, Generation: 1})
		if err := l.refit(more); err != nil {
			t.Errorf("attaching meanwhile: %v", err)
		}
		for range 3 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		l.idle()
	})
}

func TestACopyThatIsGivenUpLeavesNothingInTheProcess(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.create(labSpec(0))
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		if _, err := l.copyOf(ctx, osDisk, "copy"); !resource.Is(err, resource.Canceled) {
			t.Errorf("the copy: %v, want it canceled", err)
		}
		l.idle()
		e := l.process(labSpec(0).ID)
		e.mu.Lock()
		e.copyFault = "No space left on device"
		e.mu.Unlock()
		if _, err := l.copyOf(t.Context(), osDisk, "copy"); !resource.Is(err, resource.Exhausted) {
			t.Errorf("the copy onto a full disk: %v, want Exhausted", err)
		}
		l.idle()
	})
}

func TestACopyWhoseDriverDiedIsMadeAgain(t *testing.T) {
	for _, next := range []string{"copy", "refit"} {
		inLab(t, func(t *testing.T, l *lab) {
			spec := labSpec(0)
			l.create(spec)
			file := filepath.Join(string(l.volumes), "copy")
			s := l.d.find(spec.ID).session
			if err := l.d.find(spec.ID).beginCopy(t.Context(), s, "os", file); err != nil {
				t.Fatal(err)
			}
			l.reopen()
			if next == "refit" {
				spec.OSLimit.IOPS = 500
				if err := l.refit(spec); err != nil {
					t.Fatal(err)
				}
				l.idle()
				return
			}
			if got, err := l.copyOf(t.Context(), osDisk, "copy"); err != nil || got != l.diskFiles(spec.ID)["os-1.qcow2"] {
				t.Errorf("the copy has %q, %v", got, err)
			}
			l.idle()
		})
	}
}

func TestAStartDoesNotWaitForACopyOfItsDisks(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		spec := labSpec(0)
		l.create(spec)
		l.power(spec.ID, compute.Power{Want: compute.Stopped})
		l.await(spec.ID, compute.Stopped)
		done := make(chan error, 1)
		go func() {
			_, err := l.copyOf(t.Context(), osDisk, "copy")
			done <- err
		}()
		synctest.Wait()
		l.power(spec.ID, compute.Power{Want: compute.Running, Boots: 2})
		if err := <-done; !resource.Is(err, resource.Unavailable) {
			t.Errorf("the copy: %v, want Unavailable", err)
		}
		l.await(spec.ID, compute.Running)
	})
}

func TestDisksGrowAndNeverShrink(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.volume("managed")
		spec := with(compute.Disk{LUN: 5, Volume: "managed"})
		l.create(spec)
		volume, own := filepath.Join(string(l.volumes), "managed.qcow2"), filepath.Join(l.d.root.disks(spec.ID), "data-0-1.qcow2")
		check := func(what string, err error, path string, gb int64) {
			t.Helper()
			if got := l.size(path) >> 30; err != nil || got != gb {
				t.Errorf("%s: %v, and %d GB, want %d", what, err, got, gb)
			}
		}
		check("a volume grows", l.d.GrowDisk(t.Context(), spec.ID, 5, 4), volume, 4)
		check("a volume does not shrink", l.d.GrowDisk(t.Context(), spec.ID, 5, 2), volume, 4)
		spec.DataDisks[0].SizeGB = 3
		check("a disk of its own grows", l.refit(spec), own, 3)
		if err := l.d.GrowDisk(t.Context(), spec.ID, 9, 4); !resource.Is(err, resource.NotFound) {
			t.Errorf("a disk that is not there: %v", err)
		}
		l.power(spec.ID, compute.Power{Want: compute.Stopped})
		l.await(spec.ID, compute.Stopped)
		if err := l.d.GrowDisk(t.Context(), spec.ID, 5, 8); !resource.Is(err, resource.NotFound) {
			t.Errorf("a machine that does not run: %v", err)
		}
		spec.DataDisks[0].SizeGB = 6
		check("a disk of its own grows while it is stopped", l.refit(spec), own, 6)
	})
}
