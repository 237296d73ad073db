//go:build e2e

package e2e

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// az is the real Azure CLI, logged in to a server with a configuration of its
// own.
type az struct {
	t   *testing.T
	env []string
}

// login points az at the server, as the README says.
func (s *server) login(t *testing.T) *az {
	t.Helper()
	if _, err := os.Stat("/usr/bin/az"); err != nil {
		t.Skip("az is not installed (scripts/install-deps.sh test)")
	}
	a := &az{t: t, env: append(os.Environ(), "REQUESTS_CA_BUNDLE="+filepath.Join(s.dir, "ca.pem"), "AZURE_CONFIG_DIR="+t.TempDir(),
		"AZURE_CORE_COLLECT_TELEMETRY=false", "AZURE_CORE_NO_COLOR=true", "PYTHONWARNINGS=ignore")}
	a.run("cloud", "register", "-n", "muster", "--endpoint-resource-manager", s.endpoint, "--endpoint-vm-image-alias-doc", s.endpoint+"/aliases.json")
	a.run("cloud", "set", "-n", "muster")
	a.run("login", "--service-principal", "-u", s.admin.ClientID, "-p", s.admin.ClientSecret, "--tenant", s.admin.TenantID)
	return a
}

// run calls az and returns what it printed.
func (a *az) run(args ...string) []byte {
	a.t.Helper()
	cmd := exec.Command("/usr/bin/az", args...)
	cmd.Env = a.env
	out, err := cmd.Output()
	if err != nil {
		var stderr []byte
		exit := &exec.ExitError{}
		if errors.As(err, &exit) {
			stderr = exit.Stderr
		}
		a.t.Fatalf("az %v: %v\n%s", args, err, stderr)
	}
	return out
}

// json calls az and decodes what it printed.
func (a *az) json(into any, args ...string) {
	a.t.Helper()
	if err := json.Unmarshal(a.run(append(args, "-o", "json")...), into); err != nil {
		a.t.Fatalf("az %v: %v", args, err)
	}
}
