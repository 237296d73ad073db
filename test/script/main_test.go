// Package script runs muster as people type it: scripts against one
// simulated server.
package script

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/muster-vm/muster/internal/program"
)

// TestMain lets this program be muster too, so that the race detector sees the
// server. Commands are run from a build without it: there are hundreds of them, and
// with it each takes most of a second to start.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"muster": func() {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		code := program.Run(ctx, "test", os.Args[1:], os.Stderr)
		stop()
		os.Exit(code)
	}})
}

func TestScripts(t *testing.T) {
	state, programs := filepath.Join(t.TempDir(), "state"), build(t)
	endpoint := serve(t, state)
	testscript.Run(t, testscript.Params{
		Dir: ".",
		Setup: func(e *testscript.Env) error {
			e.Setenv("MUSTER_CONFIG_DIR", filepath.Join(e.WorkDir, ".muster"))
			e.Setenv("PATH", programs+string(os.PathListSeparator)+e.Getenv("PATH"))
			e.Setenv("MUSTER", filepath.Join(programs, "muster"))
			e.Setenv("STATE", state)
			e.Setenv("ENDPOINT", endpoint)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "eventually": eventually},
	})
}

// build compiles the program, and returns the directory that it is in.
func build(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("go", "build", "-buildvcs=false", "-trimpath", "-ldflags", "-s -w", "-o", dir, "../../cmd/muster")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return dir
}

// quick is a fleet whose guests boot at once: scripts are about what is said, not
// about waiting. One name is unlucky.
const quick = `{"hosts": [{"name": "host", "count": 3, "zones": ["1", "2", "3"], "vCPUs": 64, "memoryMB": 65536}],
	"boot": {"base": "20ms", "jitter": "5ms", "shutdown": "5ms"}, "copy": "20ms",
	"faults": [{"op": "create", "match": "odd_1", "kind": "Invalid", "code": "BadImage", "message": "The image is odd."}]}`

// serve starts a simulated server, which ends with the test, and returns where
// it listens.
func serve(t *testing.T, state string) string {
	t.Helper()
	population, config := filepath.Join(t.TempDir(), "fleet.json"), filepath.Join(t.TempDir(), "muster.yaml")
	for file, text := range map[string]string{population: quick, config: "simulation: " + population + "\nmetrics: {interval: 1s}\n"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	server := exec.CommandContext(t.Context(), "muster", "serve", "--config", config, "--state", state, "--driver", "sim", "--listen", "127.0.0.1:0")
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
