package server

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/muster-vm/muster/internal/server/doctor"
)

// TestTheDoctorIsACommand runs it on this machine, with whatever rights there
// are, for the simulator.
func TestTheDoctorIsACommand(t *testing.T) {
	state := filepath.Join(t.TempDir(), "none")
	run := func(args ...string) (string, error) {
		var out bytes.Buffer
		cmd := doctorCommand()
		cmd.SilenceErrors, cmd.SilenceUsage = true, true
		cmd.SetOut(&out)
		cmd.SetErr(io.Discard)
		cmd.SetArgs(append([]string{"--driver", "sim", "--state", state}, args...))
		err := cmd.ExecuteContext(t.Context())
		return out.String(), err
	}
	said, err := run("--listen", "127.0.0.1:0", "-o", "json")
	if err != nil {
		t.Fatal(Explain(err), said)
	}
	var all []doctor.Check
	if err := json.Unmarshal([]byte(said), &all); err != nil || len(all) != 8 {
		t.Errorf("%v\n%s", err, said)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	said, err = run("--listen", l.Addr().String())
	if err == nil || !strings.Contains(Explain(err), "1 of 8 checks failed") || !strings.Contains(said, "FAIL") || !strings.Contains(said, "-> Stop it") {
		t.Errorf("%v\n%s", err, said)
	}
	if exists(state) == nil {
		t.Error("it made a state directory")
	}
}
