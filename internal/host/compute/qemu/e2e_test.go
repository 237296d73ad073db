//go:build e2e

package qemu_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/muster-vm/muster/internal/host/compute"
	"github.com/muster-vm/muster/internal/host/compute/drivertest"
	"github.com/muster-vm/muster/internal/host/compute/qemu"
	"github.com/muster-vm/muster/internal/host/guest"
	"github.com/muster-vm/muster/internal/resource"
)

const tinyDigest = "sha256:tiny"

// patience is what a test gives up after. It is no pass condition: nothing
// checked here gets better or worse by taking long.
const patience = 5 * time.Minute

// tinyImages is the tiny guest as the only image.
type tinyImages struct{ image qemu.Image }

func (t tinyImages) Image(_ context.Context, digest string) (qemu.Image, error) {
	if digest != tinyDigest {
		return qemu.Image{}, resource.Errorf(resource.NotFound, "ImageNotFound", "The host has no image %s.", digest)
	}
	return t.image, nil
}

func tiny(t *testing.T) tinyImages {
	t.Helper()
	dir := os.Getenv("MUSTER_TINY")
	if dir == "" {
		dir = "../../../../.cache/tiny"
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		t.Fatal(err)
	}
	commandLine, err := os.ReadFile(filepath.Join(dir, "cmdline"))
	if err != nil {
		t.Skipf("the tiny guest is not built (make guest): %v", err)
	}
	return tinyImages{qemu.Image{
		Disk: filepath.Join(dir, "disk.qcow2"), Format: "qcow2",
		Kernel: filepath.Join(dir, "vmlinux"), Initrd: filepath.Join(dir, "initrd"), CommandLine: string(commandLine), Agent: true,
	}}
}

// lab is a driver under test that can be replaced by another on the same root.
type lab struct {
	t      *testing.T
	opts   qemu.Options
	driver *qemu.Driver
	change chan struct{}
}

func newLab(t *testing.T) *lab {
	l := &lab{t: t, opts: qemu.Options{Root: t.TempDir(), Images: tiny(t)}, change: make(chan struct{}, 1)}
	l.reopen()
	t.Cleanup(func() {
		for vm := range l.driver.List(context.Background()) { //nolint:errcheck // reported below
			l.driver.Delete(context.Background(), compute.Fence{Lease: 1 << 40}, vm.ID, compute.All) //nolint:errcheck // reported below
		}
		for vm := range l.driver.List(context.Background()) { //nolint:errcheck // there is nothing to list then
			t.Errorf("left behind: %+v", vm)
		}
		l.driver.Close()
	})
	return l
}

func (l *lab) reopen() compute.Driver {
	l.t.Helper()
	if l.driver != nil {
		l.driver.Close()
	}
	d, err := qemu.Open(l.t.Context(), l.opts)
	if err != nil {
		l.t.Fatal(err)
	}
	d.Notify(func(compute.VMID) {
		select {
		case l.change <- struct{}{}:
		default:
		}
	})
	l.driver = d
	return d
}

// wait looks again whenever the driver tells of a change.
func (l *lab) wait(cond func() bool) bool {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for !cond() {
		select {
		case <-l.change:
		case <-deadline.C:
			return cond()
		}
	}
	return true
}

func spec(instance int64) compute.Spec {
	id := compute.VMID{Set: "6d757374-6572-4000-8000-000000000001", Instance: instance, Disks: 1}
	return compute.Spec{
		ID: id, Name: fmt.Sprintf("web_%d", instance), VCPUs: 1, MemoryMB: 96, Image: tinyDigest, Boots: 1,
		DataDisks: []compute.Disk{{LUN: 0, SizeGB: 1, Generation: 1}},
		NICs:      []compute.NIC{{MAC: id.MAC(0), Port: "port"}},
		Guest: compute.Guest{InstanceID: id.String(), HostName: fmt.Sprintf("web%06d", instance),
			AdminUser: "anna", SSHKeys: []string{"ssh-ed25519 AAAA anna"}},
		Tags: map[string]string{"host": "lab"},
	}
}

// run runs a shell command in the machine's guest.
func (l *lab) run(id compute.VMID, script string) string {
	l.t.Helper()
	agent, err := l.driver.Agent(id)
	if err != nil {
		l.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r, err := agent.Exec(ctx, guest.Command{Path: "/bin/sh", Args: []string{"-c", script}})
	if err != nil || r.ExitCode != 0 {
		l.t.Fatalf("%s: %v, exit code %d: %s", script, err, r.ExitCode, r.Stderr)
	}
	return strings.TrimSpace(string(r.Stdout))
}

// disks identifies an instance's disk files by generation and inode.
func (l *lab) disks(id compute.VMID) map[string]string {
	found := map[string]string{}
	dir := filepath.Join(l.opts.Root, "disks", id.Set+"-"+strconv.FormatInt(id.Instance, 10))
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			l.t.Fatal(err)
		}
		name, _, _ := strings.Cut(strings.TrimSuffix(e.Name(), ".qcow2"), "-")
		if name == "data" {
			name += strings.Split(e.Name(), "-")[1]
		}
		found[name] = fmt.Sprintf("%s inode %d", e.Name(), info.Sys().(*syscall.Stat_t).Ino)
	}
	return found
}

func TestConformsWithRealMachines(t *testing.T) {
	drivertest.Run(t, func(t *testing.T) drivertest.Fixture {
		l := newLab(t)
		return drivertest.Fixture{
			Driver: l.driver, Spec: spec, Wait: l.wait, Expensive: true, Reopen: l.reopen, Disks: l.disks,
			BootID:  func(id compute.VMID) string { return l.run(id, "cat /proc/sys/kernel/random/boot_id") },
			Missing: "sha256:missing",
		}
	})
}
