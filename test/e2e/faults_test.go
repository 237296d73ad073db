//go:build e2e

package e2e

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// accelerated keeps the server from booting a guest to find out what this
// machine can do.
const accelerated = "host:\n  accel: tcg\n"

// cover mounts an empty file system of a size over a directory, in the namespace
// of the test alone, and returns what takes it away. A second call of that does
// nothing.
func cover(t *testing.T, dir, size string) (uncover func()) {
	t.Helper()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Fatal(err)
	}
	done := false
	uncover = func() {
		if !done {
			done = true
			if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
				t.Error(err)
			}
		}
	}
	t.Cleanup(uncover)
	return uncover
}

func (s *server) says(text string, words ...string) {
	s.t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			s.t.Errorf("%q does not say %q", text, w)
		}
	}
}

// nothingHalfMade checks that no machine and no disk of one is left.
func (s *server) nothingHalfMade() {
	s.t.Helper()
	if left := s.machines(); len(left) > 0 {
		s.t.Errorf("virtual machines are left: %v", left)
	}
	_ = filepath.WalkDir(filepath.Join(s.dir, "compute"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && (strings.HasSuffix(path, ".qcow2") || strings.HasSuffix(path, ".iso")) {
			s.t.Errorf("%s is left", path)
		}
		return nil
	})
}

// failed waits until an instance counts as failed, and returns why.
func (s *server) failed(set, id string) string {
	s.t.Helper()
	why := ""
	s.eventually("instance "+id+" to fail", func() bool {
		_, _, view := s.call("GET", sets+set+"/virtualMachines/"+id+"/instanceView", nil)
		statuses, _ := view["statuses"].([]any)
		for _, status := range statuses {
			of, _ := status.(map[string]any)
			if strings.HasPrefix(fmt.Sprint(of["code"]), "ProvisioningState/failed/") {
				why = fmt.Sprint(of["code"], ": ", of["message"])
			}
		}
		return why != ""
	})
	return why
}

// TestAHostWithoutTapsSaysSo hides the device that taps are made with.
func TestAHostWithoutTapsSaysSo(t *testing.T) {
	s := prepare(t, "qemu", accelerated)
	uncover := cover(t, "/dev/net", "64k")
	if s.launch() {
		t.Fatal("it started")
	}
	uncover()
	s.says(s.log(), "/dev/net/tun", "modprobe tun")
	s.nothingIsLeft()
	s.start() // and nothing is in the way of the next start
}

// copyGuest copies the tiny guest's directory.
func copyGuest(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"manifest.json", "cmdline", "vmlinux", "initrd", "disk.qcow2"} {
		b, err := os.ReadFile(filepath.Join(tiny(), name))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// spoil overwrites a piece of a file.
func spoil(t *testing.T, file string) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(make([]byte, 4096), 1<<20); err != nil {
		t.Fatal(err)
	}
}

// TestADamagedImageIsNamed damages the guest's disk under a running server, where
// the instance says so, and then before a start, where the PUT does.
func TestADamagedImageIsNamed(t *testing.T) {
	s := prepare(t, "qemu", accelerated)
	s.tiny = copyGuest(t)
	disk := filepath.Join(s.tiny, "disk.qcow2")
	s.start()
	spoil(t, disk)
	s.do("PUT", "/resourceGroups/lab", map[string]any{"location": "local"})
	if status, _, answer := s.call("PUT", sets+"web", web(1, "", "")); status >= 300 {
		t.Fatalf("the set: %d %v", status, answer)
	}
	s.says(s.failed("web", "0"), "ImageNotFound", disk, "make guest")
	s.nothingHalfMade()
	s.do("DELETE", sets+"web", nil)
	s.terminate()

	s.start()
	s.says(s.log(), "an image cannot be used", disk)
	status, _, answer := s.call("PUT", sets+"other", web(1, "", ""))
	if status != 404 {
		t.Errorf("the PUT is answered with %d", status)
	}
	s.says(fmt.Sprint(answer), "ImageNotFound", disk, "make guest")
	if status, _, _ := s.call("GET", sets+"other", nil); status != 404 {
		t.Errorf("the set is there: %d", status)
	}
	s.nothingHalfMade()
}

// TestAFullDiskIsSaidAndLeavesNothing has the state on a disk that is too small to
// start, and then the machines on one that is full. With room again the instance
// comes up by itself.
func TestAFullDiskIsSaidAndLeavesNothing(t *testing.T) {
	s := prepare(t, "qemu", accelerated)
	state, machines := s.dir, filepath.Join(s.dir, "compute")
	uncover := cover(t, state, "24m")
	if s.launch() {
		t.Fatal("it started on 24 MB")
	}
	s.says(s.log(), filepath.Join(state, "etcd"), "no space left", "Free some")
	s.nothingIsLeft()
	uncover()

	if err := os.Mkdir(machines, 0o700); err != nil {
		t.Fatal(err)
	}
	cover(t, machines, "256m")
	s.start()
	filler := filepath.Join(machines, "filler")
	fill(t, filler)
	s.do("PUT", "/resourceGroups/lab", map[string]any{"location": "local"})
	if status, _, answer := s.call("PUT", sets+"web", web(1, "", "")); status >= 300 {
		t.Fatalf("the set: %d %v", status, answer)
	}
	s.says(s.failed("web", "0"), "HostDiskFull", machines, "Free some space")
	if left := s.machines(); len(left) > 0 {
		t.Errorf("virtual machines run: %v", left)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	s.running("web", "0")
	s.guest("web", "0")
	s.do("DELETE", sets+"web", nil)
	s.nothingHalfMade()
}

// running waits until an instance runs.
func (s *server) running(set, id string) {
	s.t.Helper()
	s.eventually("instance "+id+" to run", func() bool {
		_, _, vm := s.call("GET", sets+set+"/virtualMachines/"+id, nil)
		properties, _ := vm["properties"].(map[string]any)
		return properties["provisioningState"] == "Succeeded"
	})
}

// fill writes a file until the file system is full.
func fill(t *testing.T, file string) {
	t.Helper()
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 1<<20); len(block) > 0; {
		if _, err := f.Write(block); err != nil {
			block = block[:len(block)/2]
		}
	}
}
