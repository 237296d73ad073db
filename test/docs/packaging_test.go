package docs

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// unit reads one of the systemd units.
func unit(t *testing.T, name string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(root(), "packaging", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// TestUnitsAreOnesThatSystemdTakes has systemd look at them, and hold them to the
// exposure that docs/systemd.md tells of, from 0 to 100.
func TestUnitsAreOnesThatSystemdTakes(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("systemd-analyze is not installed")
	}
	for name, exposure := range map[string]string{"muster.service": "53", "muster-sim.service": "13"} {
		text := strings.ReplaceAll(unit(t, name), "/usr/local/bin/muster", "/bin/true") // it wants a program that is there
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("systemd-analyze", "verify", "--man=no", file).CombinedOutput(); err != nil || strings.Contains(string(out), name) {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
		help, _ := exec.Command("systemd-analyze", "--help").Output() // of one that cannot tell, nothing is asked
		if !strings.Contains(string(help), "--offline") {
			t.Log("this systemd-analyze cannot judge files")
			continue
		}
		if out, err := exec.Command("systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold="+exposure, file).CombinedOutput(); err != nil {
			t.Errorf("%s is more exposed than %s: %v\n%s", name, exposure, err, out)
		}
	}
}

// mountNamespace matches settings that give a service a mount namespace.
var mountNamespace = regexp.MustCompile(`(?m)^(Protect(System|Home|Proc|KernelTunables|KernelModules|KernelLogs|ControlGroups)|Private(Tmp|Devices|Mounts|Users)|` +
	`ProcSubset|(ReadOnly|ReadWrite|Inaccessible|Exec|NoExec|Bind|BindReadOnly)Paths|TemporaryFileSystem|RootDirectory|RootImage|DynamicUser|MountFlags|MountAPIVFS|RestrictFileSystems)=`)

// TestTheNetworkOfGuestsOutlivesTheService keeps out of the unit what would hide
// the names of network namespaces from the next start, or end the machines.
func TestTheNetworkOfGuestsOutlivesTheService(t *testing.T) {
	text := unit(t, "muster.service")
	if found := mountNamespace.FindString(text); found != "" {
		t.Errorf("%s gives the server a mount namespace: the next start would not find the network of its virtual machines", found)
	}
	for _, line := range []string{"KillMode=process", "User=muster", "Type=notify"} {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("the unit lacks %s", line)
		}
	}
}
