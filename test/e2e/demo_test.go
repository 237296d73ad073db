//go:build e2e

package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestTheDemoShowsAFleetAndLeavesNothing runs what `make demo` runs, twice over
// the same directory, the first one cut short by what Ctrl-C sends.
func TestTheDemoShowsAFleetAndLeavesNothing(t *testing.T) {
	s := &server{t: t, dir: filepath.Join(t.TempDir(), "state")}
	demo := func(env ...string) *exec.Cmd {
		cmd := exec.Command(filepath.Join(root(), "scripts", "demo.sh"), s.dir)
		cmd.Env = append(append(os.Environ(), "MUSTER_DEMO_PORT=18443"), env...)
		return cmd
	}
	var first lockedBuffer
	cut := demo()
	cut.Stdout, cut.Stderr = &first, &first
	if err := cut.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cut.Process.Signal(os.Interrupt) }) // if it still runs
	s.eventually("the demo to say that the server is ready", func() bool { return strings.Contains(first.String(), "ready https://") })
	_ = cut.Process.Signal(os.Interrupt)
	if err := cut.Wait(); err == nil {
		t.Error("a demo that was interrupted ends as if nothing had happened")
	}
	s.nothingIsLeft()

	out, err := demo("MUSTER_DEMO_ONCE=1").CombinedOutput()
	if err != nil {
		t.Fatalf("the demo failed: %v\n%s", err, out)
	}
	for _, want := range []string{"ready https://", "web000002  running", "curl http://10.240.0.", "az cloud register", "az login --service-principal", "3 virtual machines ended"} {
		if !bytes.Contains(out, []byte(want)) {
			t.Errorf("the demo does not say %q:\n%s", want, out)
		}
	}
	s.nothingIsLeft()
}
