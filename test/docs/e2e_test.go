//go:build e2e

package docs

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestPagesShowWhatHappensToRealMachines runs the pages that need root, real
// virtual machines or the real az. What they do to the machine's directories,
// network and processes is gone when they end.
func TestPagesShowWhatHappensToRealMachines(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("it needs root, for namespaces and taps")
	}
	for _, tool := range []string{"qemu-system-x86_64", "qemu-img"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed (scripts/install-deps.sh test)", tool)
		}
	}
	if _, err := os.Stat(filepath.Join(root(), ".cache", "tiny", "manifest.json")); err != nil {
		t.Skip("the tiny guest is not built (make guest)")
	}
	runPages(t, true)
}

// TestAnEndToEndPageCannotHarmTheMachine tries to write everywhere, and looks
// whether anything of it is there.
func TestAnEndToEndPageCannotHarmTheMachine(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("it needs root, for namespaces")
	}
	const name = "muster-docs-test"
	s := start(t, t.TempDir(), true)
	for _, dir := range []string{"/", "/root", "/home", "/srv", os.TempDir()} {
		if shown, code := s.run("touch " + filepath.Join(dir, name)); code == 0 {
			t.Errorf("a page writes to %s %s", dir, shown)
		}
	}
	for _, dir := range []string{"/usr", "/etc", "/var"} {
		if shown, code := s.run("touch " + filepath.Join(dir, name)); code != 0 {
			t.Errorf("a page cannot write to its own %s: %s", dir, shown)
		}
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			t.Errorf("a page writes to the machine's %s", dir)
		}
	}
}
