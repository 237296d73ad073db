// Package script runs the real binary as people type it: scripts against one
// simulated server.
package script

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestScripts(t *testing.T) {
	dir := t.TempDir()
	binary := filepath.Join(dir, "muster")
	if out, err := exec.Command("go", "build", "-o", binary, "../../cmd/muster").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	state := filepath.Join(dir, "state")
	endpoint := serve(t, binary, state)
	testscript.Run(t, testscript.Params{
		Dir: ".",
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", dir+string(os.PathListSeparator)+e.Getenv("PATH"))
			e.Setenv("MUSTER_CONFIG_DIR", filepath.Join(e.WorkDir, ".muster"))
			e.Setenv("STATE", state)
			e.Setenv("ENDPOINT", endpoint)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "eventually": eventually},
	})
}

// quick is a fleet whose guests boot at once: scripts are about what is said, not
// about waiting.
const quick = `{"hosts": [{"name": "host", "count": 3, "zones": ["1", "2", "3"], "vCPUs": 64, "memoryMB": 65536}],
	"boot": {"base": "20ms", "jitter": "5ms", "shutdown": "5ms"}}`

// serve starts a simulated server, which ends with the test, and returns where
// it listens.
func serve(t *testing.T, binary, state string) string {
	t.Helper()
	population, config := filepath.Join(t.TempDir(), "fleet.json"), filepath.Join(t.TempDir(), "muster.yaml")
	for file, text := range map[string]string{population: quick, config: "simulation: " + population + "\nmetrics: {interval: 1s}\n"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	server := exec.CommandContext(t.Context(), binary, "serve", "--config", config, "--state", state, "--driver", "sim", "--listen", "127.0.0.1:0")
	server.Cancel = func() error { return server.Process.Signal(syscall.SIGTERM) }
	out, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Wait(); err != nil && !errors.Is(err, context.Canceled) {
			t.Log("server:", err)
		}
	})
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if url, ok := strings.CutPrefix(lines.Text(), "ready "); ok {
			return url
		}
	}
	t.Fatal("the server ended before it was ready")
	return ""
}

// eventually runs a command, again and again, until its output matches:
// eventually PATTERN COMMAND...
func eventually(ts *testscript.TestScript, _ bool, args []string) {
	want := regexp.MustCompile("(?m)" + args[0])
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		ts.Check(ts.Exec(args[1], args[2:]...))
		if out := ts.ReadFile("stdout"); want.MatchString(out) {
			return
		} else if time.Now().After(deadline) {
			ts.Fatalf("%q never matched; at last it was:\n%s", args[0], out)
		}
	}
}

// exits runs a command and checks its exit code: exits CODE COMMAND...
func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if exit := (&exec.ExitError{}); errors.As(err, &exit) {
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("%s", fmt.Sprintf("exit code %d, want %d", got, want))
	}
}
