//go:build e2e

package qemu_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/muster-vm/muster/internal/host/compute"
	"github.com/muster-vm/muster/internal/host/compute/drivertest"
	"github.com/muster-vm/muster/internal/host/compute/qemu"
	"github.com/muster-vm/muster/internal/host/guest"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/vmss"
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
		NICs:      []compute.NIC{{MAC: vmss.MAC(vmss.UID(id.Set), vmss.InstanceID(id.Instance), 0), Port: "port"}},
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

// disks identifies an instance's disk files by generation, inode and birth: the
// number of an inode is soon another file's.
func (l *lab) disks(id compute.VMID) map[string]string {
	found := map[string]string{}
	dir := filepath.Join(l.opts.Root, "disks", id.Set+"-"+strconv.FormatInt(id.Instance, 10))
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		var info unix.Statx_t
		if err := unix.Statx(unix.AT_FDCWD, filepath.Join(dir, e.Name()), 0, unix.STATX_INO|unix.STATX_BTIME, &info); err != nil {
			l.t.Fatal(err)
		}
		name, _, _ := strings.Cut(strings.TrimSuffix(e.Name(), ".qcow2"), "-")
		if name == "data" {
			name += strings.Split(e.Name(), "-")[1]
		}
		found[name] = fmt.Sprintf("%s inode %d of %d.%09d", e.Name(), info.Ino, info.Btime.Sec, info.Btime.Nsec)
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

// volumes are managed disks: files in a directory.
type volumes string

func (v volumes) Volume(_ context.Context, uid string) (string, error) {
	return filepath.Join(string(v), uid+".qcow2"), nil
}

func (v volumes) make(t *testing.T, uid string, gb int) string {
	t.Helper()
	path := filepath.Join(string(v), uid+".qcow2")
	if out, err := exec.Command("qemu-img", "create", "-q", "-f", "qcow2", path, strconv.Itoa(gb)+"G").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

// seen returns the size in sectors of each disk that the guest has, by serial.
func (l *lab) seen(id compute.VMID) map[string]string {
	l.t.Helper()
	found := map[string]string{}
	for line := range strings.Lines(l.run(id, `for d in /sys/block/vd*; do echo "$(cat $d/serial) $(cat $d/size) ${d##*/}"; done`)) {
		fields := strings.Fields(line)
		found[fields[0]], found[fields[0]+" name"] = fields[1], fields[2]
	}
	return found
}

// until waits until the guest sees what it shall: its kernel takes a moment.
func (l *lab) until(what string, cond func() bool) {
	l.t.Helper()
	for deadline := time.Now().Add(patience); !cond(); {
		if time.Now().After(deadline) {
			l.t.Fatalf("the guest does not see that %s", what)
		}
	}
}

// TestDisksComeAndGoWhileAGuestRuns boots once.
func TestDisksComeAndGoWhileAGuestRuns(t *testing.T) {
	l := newLab(t)
	managed := volumes(t.TempDir())
	l.opts.Volumes = managed
	l.reopen()
	volume := managed.make(t, "volume", 1)
	ctx, fence := t.Context(), compute.Fence{Lease: 1, Generation: 1}
	s := spec(0)
	s.OSLimit = compute.Limit{IOPS: 5000, MBps: 200, BurstIOPS: 9000}
	if err := l.driver.Create(ctx, fence, s); err != nil {
		t.Fatal(err)
	}
	if !l.wait(func() bool { vm, _ := l.driver.Get(ctx, s.ID); return vm.State == compute.Running && vm.Fit == s.Fit() }) {
		t.Fatal("it does not come up")
	}
	boot := l.run(s.ID, "cat /proc/sys/kernel/random/boot_id")
	refit := func(what string) {
		t.Helper()
		if err := l.driver.Refit(ctx, fence, s); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	own := s.DataDisks
	s.DataDisks = append(slices.Clone(own), compute.Disk{LUN: 2, Volume: "volume", Limit: compute.Limit{IOPS: 120, MBps: 25}})
	refit("attach")
	l.until("a disk was attached", func() bool { return l.seen(s.ID)["lun2"] == "2097152" })
	limits, err := l.driver.Limits(ctx, s.ID)
	if err != nil || limits["os"] != [2]int64{200e6, 5000} || limits["lun2"] != [2]int64{25e6, 120} || limits["lun0"] != [2]int64{} {
		t.Errorf("QEMU has the limits %v, %v", limits, err)
	}
	name := l.seen(s.ID)["lun2 name"]
	l.run(s.ID, "mke2fs -q /dev/"+name+" && mount /dev/"+name+" /mnt && echo kept >/mnt/file && sync")

	l.copies(s.ID, volume)
	if err := l.driver.GrowDisk(ctx, s.ID, 2, 2); err != nil {
		t.Fatal(err)
	}
	l.until("it is larger", func() bool { return l.seen(s.ID)["lun2"] == "4194304" })

	l.run(s.ID, "umount /mnt")
	s.DataDisks = own
	refit("detach")
	if got := l.seen(s.ID); got["lun2"] != "" || got["lun0"] == "" {
		t.Errorf("after a detachment the guest sees %v", got)
	}
	if out, err := exec.Command("qemu-img", "check", "-q", volume).CombinedOutput(); err != nil {
		t.Errorf("nobody has the volume open, and yet: %v: %s", err, out)
	}
	s.DataDisks = []compute.Disk{{LUN: 5, Volume: "volume"}}
	s.OSLimit.IOPS = 600
	refit("attach at another LUN, and detach the first")
	l.until("it is back", func() bool { return l.seen(s.ID)["lun5"] == "4194304" })
	name = l.seen(s.ID)["lun5 name"]
	if got := l.run(s.ID, "mount /dev/"+name+" /mnt && cat /mnt/file"); got != "kept" {
		t.Errorf("the file has %q", got)
	}
	if limits, err := l.driver.Limits(ctx, s.ID); err != nil || limits["os"] != [2]int64{200e6, 600} {
		t.Errorf("QEMU has the limits %v, %v", limits, err)
	}
	s.DataDisks = nil // mounted: a kernel lets go all the same
	refit("detach what is mounted")
	l.console(s.ID)
	if again := l.run(s.ID, "cat /proc/sys/kernel/random/boot_id"); again != boot {
		t.Errorf("the guest booted again")
	}
}

// copies makes copies of the disks of a machine that runs, and looks at them.
func (l *lab) copies(id compute.VMID, volume string) {
	l.t.Helper()
	for file, ref := range map[string]compute.DiskRef{"os.qcow2": {OS: true}, "lun2.qcow2": {LUN: 2}} {
		path, last := filepath.Join(l.t.TempDir(), file), int64(0)
		err := l.driver.CopyDisk(l.t.Context(), id, ref, path, func(done, total int64) {
			if done < last || done > total {
				l.t.Errorf("progress went from %d to %d of %d", last, done, total)
			}
			last = done
		})
		if err != nil {
			l.t.Fatalf("copy of %+v: %v", ref, err)
		}
		out, err := exec.Command("qemu-img", "info", path).CombinedOutput()
		if err != nil || strings.Contains(string(out), "backing") {
			l.t.Errorf("the copy of %+v: %v: %s", ref, err, out)
		}
	}
}

// console logs in to nothing: it types, and sees it echoed after what the guest
// printed when it booted.
func (l *lab) console(id compute.VMID) {
	l.t.Helper()
	c, err := l.driver.Console(l.t.Context(), id)
	if err != nil {
		l.t.Fatal(err)
	}
	defer c.Close()
	l.run(id, "echo from the guest >/dev/ttyS0; (head -n1 </dev/ttyS0 >/tmp/typed; echo taken >/dev/ttyS0) >/dev/null 2>&1 &")
	var shown strings.Builder
	expect := func(text string) {
		l.t.Helper()
		give := time.AfterFunc(patience, func() { c.Close() })
		defer give.Stop()
		b := make([]byte, 4096)
		for !strings.Contains(shown.String(), text) {
			n, err := c.Read(b)
			if err != nil {
				l.t.Fatalf("%v before %q:\n%s", err, text, shown.String())
			}
			shown.Write(b[:n])
		}
	}
	expect("muster-guest: kernel") // printed long before
	expect("from the guest")
	if _, err := c.Write([]byte("typed here\n")); err != nil {
		l.t.Fatal(err)
	}
	expect("taken")
	if got := l.run(id, "cat /tmp/typed"); got != "typed here" {
		l.t.Errorf("the guest read %q", got)
	}
}
