package rights

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

const rightsEnv = "MUSTER_TEST_RIGHTS"

// capabilities returns what a program that is started now can do.
func capabilities(t *testing.T, start func(func() error) error) (ambient, effective string) {
	t.Helper()
	cmd := exec.Command("cat", "/proc/self/status")
	var out strings.Builder
	cmd.Stdout = &out
	if err := start(cmd.Run); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		if _, err := fmt.Sscanf(line, "CapAmb: %s", &ambient); err == nil {
			continue
		}
		_, _ = fmt.Sscanf(line, "CapEff: %s", &effective) // most lines are others
	}
	return ambient, effective
}

// TestProgramsGetNoneOfTheServersRights is run again as a process that has
// capabilities without being root, in the eyes of the kernel.
func TestProgramsGetNoneOfTheServersRights(t *testing.T) {
	const none, netAdmin = "0000000000000000", "0000000000001000"
	if os.Getenv(rightsEnv) == "" {
		if _, err := exec.LookPath("setpriv"); err != nil || os.Geteuid() != 0 {
			t.Skip("it needs root and setpriv, to have rights to lose")
		}
		cmd := exec.Command("setpriv", "--securebits=+noroot,+no_setuid_fixup", "--inh-caps=-all,+net_admin", "--ambient-caps=-all,+net_admin",
			os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), rightsEnv+"=1")
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS") {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	plainly := func(f func() error) error { return f() }
	if ambient, effective := capabilities(t, plainly); ambient != netAdmin || effective != netAdmin {
		t.Fatalf("the test has no rights to lose: %s, %s", ambient, effective)
	}
	if ambient, effective := capabilities(t, Without); ambient != none || effective != none {
		t.Errorf("a program gets %s, %s", ambient, effective)
	}
	if ambient, _ := capabilities(t, plainly); ambient != netAdmin {
		t.Errorf("this process has lost its own: %s", ambient)
	}
}
