package server_test

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/muster-vm/muster/internal/host/image"
	"github.com/muster-vm/muster/internal/identity"
	"github.com/muster-vm/muster/internal/population"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/server"
	"github.com/muster-vm/muster/internal/store/memstore"
)

// refused runs a server that cannot start and returns what it says.
func refused(t *testing.T, c server.Config) string {
	t.Helper()
	var out bytes.Buffer
	err := server.Serve(t.Context(), c, &out, slog.New(slog.DiscardHandler))
	if err == nil {
		t.Fatalf("it started: %s", &out)
	}
	if resource.Is(err, resource.Internal) || out.Len() > 0 {
		t.Errorf("%v; out: %s", err, &out)
	}
	return server.Explain(err)
}

func wantWords(t *testing.T, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("%q does not say %q", text, w)
		}
	}
}

func TestAPortInUseIsNamed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := configOf(t.TempDir())
	c.Listen = l.Addr().String()
	wantWords(t, refused(t, c), l.Addr().String(), "--listen")
	left, err := os.ReadDir(c.State)
	if err != nil || len(left) > 1 || len(left) == 1 && left[0].Name() != "lock" {
		t.Errorf("left in the state directory: %v %v", left, err)
	}
	c.Listen = "nonsense"
	wantWords(t, refused(t, c), "nonsense", "--listen")
}

func TestTheSecondServerOfADirectoryNamesTheFirst(t *testing.T) {
	c := configOf(t.TempDir())
	s := serve(t, c)
	wantWords(t, refused(t, c), c.State, fmt.Sprintf("process %d", os.Getpid()), "Stop that server", "--state")
	if status, _, _ := s.call("GET", "/readyz", ""); status != http.StatusOK {
		t.Errorf("the first server answers %d", status)
	}
}

// TestABadConfigIsExplained runs the commands on files that are wrong.
func TestABadConfigIsExplained(t *testing.T) {
	dir := t.TempDir()
	for name, tt := range map[string]struct {
		text  string
		words []string
	}{
		"unknown key": {"images:\n  tinny: /x\n", []string{"bad.yaml", "tinny", "muster config"}},
		"wrong type":  {"host:\n  vcpus: many\n", []string{"bad.yaml", "host.vcpus", "muster config"}},
		"no YAML":     {"images: [", []string{"bad.yaml", "muster config"}},
		"twice":       {"driver: sim\ndriver: qemu\n", []string{"bad.yaml", "driver"}},
		"several": {"driver: magic\nnetwork:\n  prefix: 10.0.0.0/99\nhost:\n  cpuOvercommit: 0\nlimits:\n  capacity: 0\n  imageGB: 0\nimages:\n  hosts: [ok.lab, \"http://a\"]\nmetrics:\n  interval: 5m\nlogLevel: loud\n",
			[]string{"9 problems", "limits.imageGB: ", "images.hosts[1]: ", "http://a", "metrics.interval: ", "state: ", "--state", "driver: ", "magic", "network.prefix: ", "10.0.0.0/99", "host.cpuOvercommit: ", "limits.capacity: ", "logLevel: ", "loud"}},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(dir, "bad.yaml")
			if err := os.WriteFile(file, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			wantWords(t, command(t, "serve", "--config", file), tt.words...)
		})
	}
	wantWords(t, command(t, "serve", "--config", filepath.Join(dir, "none.yaml")), "none.yaml", "no such file")
	state := filepath.Join(dir, "state")
	c := configOf(state)
	c.Driver = "magic"
	refused(t, c)
	if _, err := os.Stat(state); err == nil {
		t.Error("a config that is not valid makes a state directory")
	}
}

// command runs a command that fails and returns what it says.
func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	all := server.Commands()
	cmd := all[slices.IndexFunc(all, func(c *cobra.Command) bool { return c.Name() == name })]
	cmd.SetArgs(args)
	cmd.SetOut(io.Discard)
	cmd.SetErr(io.Discard)
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	err := cmd.ExecuteContext(t.Context())
	if err == nil {
		t.Fatalf("%s %v succeeded", name, args)
	}
	return server.Explain(err)
}

func TestAPopulationThatIsWrongIsExplained(t *testing.T) {
	c := configOf(t.TempDir())
	c.Simulation = filepath.Join(t.TempDir(), "fleet.json")
	wantWords(t, refused(t, c), "fleet.json", "no such file", "simulation")
	for text, words := range map[string][]string{
		"{":            {"fleet.json"},
		`{"racks": 3}`: {"fleet.json", "racks"},
		`{"boot": {"base": "soon"}, "hosts": []}`: {"fleet.json", "boot.base", "soon", "hosts"},
	} {
		if err := os.WriteFile(c.Simulation, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		wantWords(t, refused(t, c), words...)
	}
	c.Simulation = ""
	serve(t, c).end() // what was refused left nothing that is in the way
}

func TestAStateDirectoryThatIsAFileIsNamed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	wantWords(t, refused(t, configOf(file)), file, "--state")
	wantWords(t, refused(t, configOf(filepath.Join(file, "below"))), file, "--state")
}

// TestDamagedStateIsNamedAndKept damages each of the two files that state is in.
// What is damaged may be all that is left: a server that cannot read it must
// not lose it. The log comes last, for an etcd that breaks down over it holds its
// locks as long as the process lives.
func TestDamagedStateIsNamedAndKept(t *testing.T) {
	c := configOf(t.TempDir())
	s := serve(t, c)
	s.put(web(""))
	s.end()
	repair := damage(t, c, filepath.Join("snap", "db"))
	repair()
	s = serve(t, c)
	if status, _, answer := s.call("GET", s.set()+setVersion, ""); status != http.StatusOK {
		t.Errorf("after the repair: %d %s", status, answer)
	}
	s.end()
	damage(t, c, filepath.Join("wal", "*.wal"))
}

// damage spoils a file of the state, wants a server to refuse it and to keep it,
// and returns what puts the backup back.
func damage(t *testing.T, c server.Config, pattern string) func() {
	t.Helper()
	etcd := filepath.Join(c.State, "etcd")
	files, err := filepath.Glob(filepath.Join(etcd, "member", pattern))
	if err != nil || len(files) == 0 {
		t.Fatal("no", pattern, err)
	}
	was, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	spoiled := slices.Clone(was)
	for i := range min(len(spoiled), 64<<10) {
		spoiled[i] = 0xa5
	}
	if err := os.WriteFile(files[0], spoiled, 0o600); err != nil {
		t.Fatal(err)
	}
	wantWords(t, refused(t, c), etcd, "damaged", "backup")
	now, err := os.ReadFile(files[0])
	aside, _ := os.ReadFile(files[0] + ".broken") // where etcd puts a log before it looks what can be saved
	if err != nil || !bytes.Equal(now, spoiled) && !bytes.Equal(aside, spoiled) {
		t.Errorf("%s is gone (%v)", files[0], err)
	}
	return func() {
		if err := os.WriteFile(files[0], was, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAMissingGuestImageIsSaidAtThePUT starts without the tiny guest, as on a
// machine where nobody built it.
func TestAMissingGuestImageIsSaidAtThePUT(t *testing.T) {
	none := filepath.Join(t.TempDir(), "tiny")
	images, err := image.Open(t.Context(), image.Options{Tiny: none, CacheDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if faults := images.Faults(); len(faults) != 1 || !strings.Contains(faults[0].Msg, none) {
		t.Errorf("the start warns of %v", faults)
	}
	who, admin, err := identity.Open(t.TempDir(), nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	c := configOf("")
	backend := memstore.New().Open()
	t.Cleanup(func() { backend.Close() })
	plane, err := server.Assemble(t.Context(), server.Parts{Config: c, Backend: backend, Identity: who, Images: images,
		Hosts: server.SimulatedHosts(c, population.Default(), images, nil), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(plane.Close)
	https := httptest.NewTLSServer(plane.Handler)
	t.Cleanup(https.Close)
	s := &running{t: t, endpoint: strings.Replace(https.URL, "127.0.0.1", "localhost", 1), http: https.Client()}
	s.admin.SubscriptionID, s.admin.ClientID, s.admin.ClientSecret = admin.SubscriptionID, admin.ClientID, admin.ClientSecret
	s.http.Transport.(*http.Transport).TLSClientConfig.ServerName = "example.com" // of the test server's certificate
	s.login()
	s.call("PUT", s.group()+groupVersion, `{"location": "local"}`)
	status, _, answer := s.call("PUT", s.set()+setVersion, web(""))
	if status != http.StatusNotFound {
		t.Errorf("%d, want 404", status)
	}
	wantWords(t, answer, "ImageNotFound", "muster:tiny:debian", none, "make guest")
	if status, _, answer := s.call("GET", s.set()+setVersion, ""); status != http.StatusNotFound {
		t.Errorf("the set was made: %d %s", status, answer)
	}
}
