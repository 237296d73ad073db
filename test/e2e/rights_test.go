//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestTheServerNeedsThreeRightsAndQEMUNone runs the server as packaging's unit
// does: as a user of its own with the unit's capabilities.
func TestTheServerNeedsThreeRightsAndQEMUNone(t *testing.T) {
	if _, err := exec.LookPath("setpriv"); err != nil {
		t.Skip("setpriv is not installed")
	}
	const nobody = 65534
	s := prepare(t, "qemu", "")
	lend(t, nobody, s.dir)
	s.as = []string{"setpriv", fmt.Sprint("--reuid=", nobody), fmt.Sprint("--regid=", nobody), "--clear-groups", "--no-new-privs",
		"--inh-caps=" + rights(t), "--ambient-caps=" + rights(t), "--bounding-set=" + rights(t)}
	s.tiny = lendGuest(t)
	s.start()
	s.do("PUT", "/resourceGroups/lab", map[string]any{"location": "local"})
	s.do("PUT", sets+"web", web(1, "", ""))
	before := s.guest("web", "0")
	for _, pid := range s.machines() {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"Uid:\t65534\t65534", "CapPrm:\t0000000000000000", "CapEff:\t0000000000000000", "CapAmb:\t0000000000000000", "NoNewPrivs:\t1"} {
			if !strings.Contains(string(status), want) {
				t.Errorf("QEMU does not have %q:\n%s", want, status)
			}
		}
	}
	s.kill()
	s.start()
	if after := s.guest("web", "0"); before["boot"] == "" || after["boot"] != before["boot"] {
		t.Errorf("the guest of before is %v, and of after %v", before, after)
	}
}

// rights reads the capabilities of the unit, as setpriv takes them.
func rights(t *testing.T) string {
	t.Helper()
	unit, err := os.ReadFile(filepath.Join(root(), "packaging", "muster.service"))
	if err != nil {
		t.Fatal(err)
	}
	ambient := regexp.MustCompile(`(?m)^AmbientCapabilities=(.*)$`).FindSubmatch(unit)
	bounding := regexp.MustCompile(`(?m)^CapabilityBoundingSet=(.*)$`).FindSubmatch(unit)
	if ambient == nil || bounding == nil || string(ambient[1]) != string(bounding[1]) {
		t.Fatalf("the unit has the capabilities %q within %q", ambient, bounding)
	}
	all := "-all"
	for name := range strings.FieldsSeq(string(ambient[1])) {
		all += ",+" + strings.ToLower(strings.TrimPrefix(name, "CAP_"))
	}
	return all
}

// lend gives a user what the unit and its tmpfiles do: a state directory, leave
// to name network namespaces, and taps. The mounts end with the namespace that
// the tests are in.
func lend(t *testing.T, user int, state string) {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for dir := filepath.Dir(state); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		check(os.Chmod(dir, 0o755)) //nolint:gosec // directories of the test
	}
	check(os.Chown(state, user, user))
	check(os.Chown("/run/netns", 0, user))
	check(os.Chmod("/run/netns", 0o775)) //nolint:gosec // as the unit has it
	t.Cleanup(func() { _ = os.Chown("/run/netns", 0, 0) })
	devices := t.TempDir() // where devices are files only, one cannot be opened
	check(unix.Mount("tmpfs", devices, "tmpfs", 0, ""))
	t.Cleanup(func() { _ = unix.Unmount(devices, unix.MNT_DETACH) })
	tun := filepath.Join(devices, "tun")
	check(unix.Mknod(tun, unix.S_IFCHR|0o666, int(unix.Mkdev(10, 200))))
	check(os.Chmod(tun, 0o666)) //nolint:gosec // as Debian has it
	check(unix.Mount(tun, "/dev/net/tun", "", unix.MS_BIND, ""))
	t.Cleanup(func() { _ = unix.Unmount("/dev/net/tun", unix.MNT_DETACH) })
}

// lendGuest puts the tiny guest where any user can read it.
func lendGuest(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for path := dir; path != os.TempDir() && path != "/"; path = filepath.Dir(path) {
		if err := os.Chmod(path, 0o755); err != nil { //nolint:gosec // directories of the test
			t.Fatal(err)
		}
	}
	real, err := filepath.EvalSymlinks(tiny())
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(real, dir, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}
