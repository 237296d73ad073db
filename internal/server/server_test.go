package server_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/muster-vm/muster/internal/server"
)

// patience is how long a test waits for what must come, before it gives up.
const patience = 2 * time.Minute

// configOf is a server of a simulated fleet on a free port.
func configOf(state string) server.Config {
	c := server.Default()
	c.State, c.Driver, c.Listen, c.LogLevel, c.CheckPlan = state, "sim", "127.0.0.1:0", "debug", true
	return c
}

// running is a server that runs in this process.
type running struct {
	t        *testing.T
	endpoint string
	stop     context.CancelFunc
	ended    chan error
	log      *journal
	http     *http.Client
	admin    struct{ TenantID, SubscriptionID, ClientID, ClientSecret string }
	token    string
}

// journal is a log that is kept.
type journal struct {
	mu  sync.Mutex
	all bytes.Buffer
}

// Write implements io.Writer.
func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.all.Write(p)
}

// String returns what was written.
func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.all.String()
}

// serve starts a server and returns once it says that it is ready. All that it
// writes is in the journal.
func serve(t *testing.T, c server.Config) *running {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	s := &running{t: t, stop: stop, ended: make(chan error, 1), log: &journal{}}
	read, write := io.Pipe()
	go func() {
		s.ended <- server.Serve(ctx, c, write, slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug})))
		write.Close()
	}()
	lines := bufio.NewScanner(io.TeeReader(read, s.log))
	for lines.Scan() {
		if at, ok := strings.CutPrefix(lines.Text(), "ready "); ok {
			s.endpoint = at
			break
		}
	}
	if s.endpoint == "" {
		t.Fatalf("the server did not get ready: %v\n%s", <-s.ended, s.log)
	}
	go func() { _, _ = io.Copy(s.log, read) }()
	t.Cleanup(s.end)
	s.connect(c.State)
	return s
}

// end stops the server as SIGTERM does, and holds it to its promise to end.
func (s *running) end() {
	s.t.Helper()
	s.stop()
	select {
	case err := <-s.ended:
		if err != nil {
			s.t.Errorf("the server ended with %v\n%s", err, s.log)
		}
		s.ended <- nil // for whoever ends it again
	case <-time.After(10 * time.Second):
		s.t.Fatalf("the server did not end within 10 s\n%s", s.log)
	}
}

// connect reads the files that a start leaves, and logs in.
func (s *running) connect(state string) {
	s.t.Helper()
	ca, err := os.ReadFile(filepath.Join(state, "ca.pem"))
	if err != nil {
		s.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	s.http = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}, Timeout: patience}
	s.t.Cleanup(s.http.CloseIdleConnections)
	raw, err := os.ReadFile(filepath.Join(state, "admin.json"))
	if err != nil {
		s.t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &s.admin); err != nil {
		s.t.Fatal(err)
	}
	s.login()
}

// login gets a token for the owner.
func (s *running) login() {
	s.t.Helper()
	res, err := s.http.PostForm(s.endpoint+"/adfs/oauth2/token", url.Values{"grant_type": {"client_credentials"},
		"client_id": {s.admin.ClientID}, "client_secret": {s.admin.ClientSecret}, "scope": {s.endpoint + "/.default"}})
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil || answer.AccessToken == "" {
		s.t.Fatalf("no token: %v", err)
	}
	s.token = answer.AccessToken
}

// call makes one request and returns status, headers and body.
func (s *running) call(method, target, body string) (int, http.Header, string) {
	s.t.Helper()
	if !strings.HasPrefix(target, "https://") {
		target = s.endpoint + target
	}
	r, err := http.NewRequestWithContext(s.t.Context(), method, target, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+s.token)
	res, err := s.http.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return res.StatusCode, res.Header, string(raw)
}

// group is the path of the group that tests use, and set that of a set in it.
func (s *running) group() string {
	return "/subscriptions/" + s.admin.SubscriptionID + "/resourceGroups/lab"
}

func (s *running) set() string {
	return s.group() + "/providers/Microsoft.Compute/virtualMachineScaleSets/web"
}

const groupVersion, setVersion = "?api-version=2021-04-01", "?api-version=2024-07-01"

// put makes the group and a set, and wants it accepted.
func (s *running) put(body string) {
	s.t.Helper()
	if status, _, answer := s.call("PUT", s.group()+groupVersion, `{"location": "local"}`); status >= 300 {
		s.t.Fatalf("the group: %d %s", status, answer)
	}
	if status, _, answer := s.call("PUT", s.set()+setVersion, body); status >= 300 {
		s.t.Fatalf("the set: %d %s", status, answer)
	}
}

// web is the body of a set of one tiny guest, with further members of its
// osProfile.
func web(osProfile string) string {
	return `{"location": "local", "sku": {"name": "Muster_T1", "capacity": 1}, "properties": {"upgradePolicy": {"mode": "Manual"},
"virtualMachineProfile": {"osProfile": {"computerNamePrefix": "web", "adminUsername": "muster"` + osProfile + `},
"storageProfile": {"imageReference": {"publisher": "muster", "offer": "tiny", "sku": "debian", "version": "latest"}},
"networkProfile": {"networkInterfaceConfigurations": [{"name": "nic", "properties": {"ipConfigurations": [{"name": "ip"}]}}]}}}}`
}
