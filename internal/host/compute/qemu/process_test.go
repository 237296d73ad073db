package qemu

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/muster-vm/muster/internal/host/compute"
	pidfd "github.com/muster-vm/muster/internal/host/compute/qemu/process"
)

// stranger runs a shell in a directory until the test ends, with words that it
// does not look at.
func stranger(t *testing.T, dir string, words ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/bin/sh", append([]string{"-c", "echo ready; read line", "sh"}, words...)...)
	cmd.Dir = dir
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Skipf("no shell: %v", err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil { // it is what it was started as
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		io.Copy(io.Discard, out) //nolint:errcheck // until it ends
		cmd.Wait()               //nolint:errcheck // it may have been killed
	})
	return cmd
}

func vmDir(t *testing.T, vms string, id compute.VMID) string {
	t.Helper()
	dir := filepath.Join(vms, id.String())
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestProcessesAreToldByWhatTheyAre(t *testing.T) {
	vms, err := realDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	ours := labSpec(1).ID
	cmd := stranger(t, vmDir(t, vms, ours), "-qmp", "unix:"+qmpSocket(3)+",server=on,wait=off", "-m", "96")
	stranger(t, vmDir(t, vms, labSpec(2).ID), "-m", "96")       // another program in a machine's directory
	stranger(t, vmDir(t, vms, labSpec(3).ID), "-qmp", "stdio")  // QEMU, but none of ours
	stranger(t, t.TempDir(), "-qmp", "unix:"+qmpSocket(4)+",x") // not below the driver's root
	stranger(t, vmDir(t, vms+"/deeper", labSpec(4).ID), "-qmp", qmpSocket(1))

	found, err := (&host{}).processes(vms)
	if err != nil {
		t.Fatal(err)
	}
	p := found[ours.String()]
	if len(found) != 1 || p == nil || p.Run() != 3 {
		t.Fatalf("found %v, want run 3 of %s alone", found, ours)
	}
	select {
	case <-p.Done():
		t.Error("it is told to have ended")
	default:
	}
	if err := p.Kill(); err != nil {
		t.Errorf("kill: %v", err)
	}
	<-p.Done()
	cmd.Wait() //nolint:errcheck // it was killed
	if err := p.Kill(); err != nil {
		t.Errorf("a second kill: %v", err)
	}
	p.Release()
	if again, err := (&host{}).processes(vms); err != nil || len(again) != 0 {
		t.Errorf("after its end: found %v, %v", again, err)
	}
}

func TestAPIDFileOfAnotherProgramIsNotActedOn(t *testing.T) {
	root := t.TempDir()
	spec := labSpec(0)
	inLab(t, func(t *testing.T, l *lab) {
		l.root = root
		l.reopen()
		l.create(spec)
	}) // the host went down with all its processes
	other := stranger(t, t.TempDir())
	pid := []byte(strconv.Itoa(other.Process.Pid) + "\n")
	if err := os.WriteFile(filepath.Join(root, "vms", spec.ID.String(), pidFile), pid, 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := Open(t.Context(), Options{Root: root, Images: shelf{}})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if vm, err := d.Get(t.Context(), spec.ID); err != nil || vm.State != compute.Stopped {
		t.Errorf("got %+v, %v, want a machine without process", vm, err)
	}
	if err := d.Power(t.Context(), lease, spec.ID, compute.Power{Want: compute.Deallocated}); err != nil {
		t.Errorf("Power: %v", err)
	}
	if err := d.Delete(t.Context(), lease, spec.ID, compute.All); err != nil {
		t.Errorf("Delete: %v", err)
	}
	p, err := pidfd.Hold(other.Process.Pid, 0, "")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Release()
	if p.Exited() {
		t.Error("the other program was ended")
	}
}
