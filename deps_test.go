package muster_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestLinkedModulesAreKnown compares the modules linked into the binary with
// deps.txt, so that a new dependency is seen in review. Run with -update after
// an intended change.
func TestLinkedModulesAreKnown(t *testing.T) {
	if _, err := os.Stat("cmd/muster/main.go"); errors.Is(err, fs.ErrNotExist) {
		t.Skip("cmd/muster/main.go does not exist")
	}
	got := linkedModules(t)
	if *update {
		if err := os.WriteFile("deps.txt", []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("deps.txt")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Fields(string(want)), strings.Fields(got)); diff != "" {
		t.Errorf("modules linked into cmd/muster (-deps.txt +now):\n%srun make golden if this is wanted", diff)
	}
}

// linkedModules lists the module paths behind cmd/muster on linux/amd64, one a
// line, sorted. The platform is fixed so that every machine gets one answer.
func linkedModules(t *testing.T) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", "./cmd/muster")
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	modules := strings.Fields(string(out))
	slices.Sort(modules)
	modules = slices.Compact(modules)
	modules = slices.DeleteFunc(modules, func(m string) bool { return m == module })
	return strings.Join(modules, "\n") + "\n"
}
