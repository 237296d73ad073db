//go:build e2e

package e2e

import (
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// muster runs a command of the binary.
func (s *server) muster(args ...string) (string, error) {
	out, err := exec.Command(binary(), args...).CombinedOutput()
	return string(out), err
}

// TestARestoreFindsTheRunningMachineAgain backs up a server while it runs, loses
// its records, and restores them: the machine goes on as if nothing had
// happened.
func TestARestoreFindsTheRunningMachineAgain(t *testing.T) {
	s := newServer(t, "qemu", "")
	s.do("PUT", "/resourceGroups/lab", map[string]any{"location": "local"})
	s.do("PUT", sets+"web", web(1, "", ""))
	before := s.guest("web", "0")
	pids := s.machines()
	file := filepath.Join(t.TempDir(), "backup")
	if out, err := s.muster("backup", file, "--state", s.dir); err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, s.log())
	}
	s.do("PUT", sets+"web", web(2, "", "")) // what the backup does not know
	s.guest("web", "1")
	if out, err := s.muster("restore", file, "--state", s.dir, "--force"); err == nil {
		t.Fatalf("restored under a running server\n%s", out)
	}
	s.kill()
	if err := os.RemoveAll(filepath.Join(s.dir, "etcd")); err != nil {
		t.Fatal(err)
	}
	if out, err := s.muster("restore", file, "--state", s.dir, "--force"); err == nil || !bytes.Contains([]byte(out), []byte("made after the backup")) {
		t.Fatalf("instance 1 is not asked for: %v\n%s", err, out)
	}
	if out, err := s.muster("restore", file, "--state", s.dir, "--force", "--discard-vms"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s.start()
	after := s.guest("web", "0")
	if before["boot"] == "" || after["boot"] != before["boot"] {
		t.Errorf("the guest of before is %v, and of after %v", before, after)
	}
	s.eventually("the machine that the backup does not know to be gone", func() bool { return len(s.machines()) == 1 })
	if now := s.machines(); len(now) != 1 || now[0] != pids[0] {
		t.Errorf("machines are %v, were %v", now, pids)
	}
	status, _, answer := s.call("GET", sets+"web/virtualMachines/0", nil)
	if status != http.StatusOK {
		t.Errorf("the instance: %d %v", status, answer)
	}
	s.do("POST", sets+"web/virtualMachines/0/restart", nil) // the driver takes calls with the new store's lease
	if again := s.guest("web", "0"); again["boot"] == before["boot"] {
		t.Errorf("it was not restarted: %v", again)
	}
	if out, err := s.muster("doctor", "--state", s.dir, "--listen", s.endpoint[len("https://"):], "--config", filepath.Join(s.dir, "config.yaml")); err != nil {
		t.Errorf("doctor: %v\n%s", err, out)
	}
}
