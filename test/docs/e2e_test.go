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
