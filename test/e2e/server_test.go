//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// server is one muster serve in a state directory, with a client for it.
type server struct {
	t        *testing.T
	dir      string
	driver   string
	endpoint string
	cmd      *exec.Cmd
	http     *http.Client
	token    string
	admin    struct{ TenantID, SubscriptionID, ClientID, ClientSecret string }
	config   string        // further lines of its config file
	as       []string      // what runs the server, as another user
	tiny     string        // directory of the tiny guest
	images   string        // further lines of the config file, below images
	patience time.Duration // 0 for what is usual
}

// newServer starts a server on a free port. It is stopped, and its machines
// ended, when the test ends.
func newServer(t *testing.T, driver, config string) *server {
	t.Helper()
	s := prepare(t, driver, config)
	s.start()
	return s
}

// prepare is newServer without the start.
func prepare(t *testing.T, driver, config string) *server {
	t.Helper()
	s := &server{t: t, dir: t.TempDir(), driver: driver, config: config, tiny: tiny()}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.endpoint = "https://" + l.Addr().String()
	l.Close()
	t.Cleanup(func() {
		s.terminate()
		out, err := exec.Command(binary(), "down", "--state", s.dir).CombinedOutput()
		if err != nil {
			t.Errorf("muster down: %v\n%s", err, out)
		}
		s.nothingIsLeft()
	})
	return s
}

// start runs the server until it says that it is ready.
func (s *server) start() {
	s.t.Helper()
	if !s.launch() {
		s.t.Fatalf("the server did not get ready:\n%s", s.log())
	}
	s.connect()
}

// launch runs the server and reports whether it gets ready.
func (s *server) launch() bool {
	s.t.Helper()
	config := filepath.Join(s.dir, "config.yaml")
	text := fmt.Sprintf("images:\n  tiny: %s\n%scheckPlan: true\n%s", s.tiny, s.images, s.config)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil { //nolint:gosec // another user may run the server
		s.t.Fatal(err)
	}
	words := append(slices.Clone(s.as), binary(), "serve", "--state", s.dir, "--listen", strings.TrimPrefix(s.endpoint, "https://"), "--driver", s.driver, "--config", config)
	s.cmd = exec.Command(words[0], words[1:]...)
	log, err := os.OpenFile(filepath.Join(s.dir, "server.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	s.cmd.Stderr = log
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "ready https://") {
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return true
		}
	}
	_ = s.cmd.Wait()
	return false
}

func (s *server) log() string {
	b, _ := os.ReadFile(filepath.Join(s.dir, "server.log"))
	return string(b[max(0, len(b)-8000):])
}

// terminate ends the server as an operator would, and holds it to its promise
// to end.
func (s *server) terminate() {
	if s.cmd == nil || s.cmd.ProcessState != nil {
		return
	}
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	if err := s.cmd.Wait(); err != nil {
		s.t.Errorf("the server ended with %v\n%s", err, s.log())
	}
}

// kill ends the server as a power cut would.
func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

// connect reads the files that a start leaves, and logs in.
func (s *server) connect() {
	s.t.Helper()
	ca, err := os.ReadFile(filepath.Join(s.dir, "ca.pem"))
	if err != nil {
		s.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	s.http = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}, Timeout: time.Minute}
	raw, err := os.ReadFile(filepath.Join(s.dir, "admin.json"))
	if err != nil {
		s.t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &s.admin); err != nil {
		s.t.Fatal(err)
	}
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

// call makes one request below the subscription and returns status, headers and
// the decoded body.
func (s *server) call(method, path string, body any) (int, http.Header, map[string]any) {
	s.t.Helper()
	var payload io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			s.t.Fatal(err)
		}
		payload = bytes.NewReader(b)
	}
	target := path
	if !strings.HasPrefix(path, "https://") {
		version := "2024-07-01"
		if !strings.Contains(path, "/providers/") {
			version = "2021-04-01"
		}
		sep := "?"
		if strings.Contains(path, "?") {
			sep = "&"
		}
		target = s.endpoint + "/subscriptions/" + s.admin.SubscriptionID + path + sep + "api-version=" + version
	}
	req, err := http.NewRequestWithContext(s.t.Context(), method, target, payload)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.token)
	req.Header.Set("Content-Type", "application/json")
	res, err := s.http.Do(req)
	if err != nil {
		s.t.Fatalf("%s %s: %v\n%s", method, target, err, s.log())
	}
	defer res.Body.Close()
	raw, _ := io.ReadAll(res.Body)
	var out map[string]any
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &out); err != nil {
			s.t.Fatalf("%s %s: %v in %s", method, target, err, raw)
		}
	}
	return res.StatusCode, res.Header, out
}

// do makes a request and waits until its operation has succeeded.
func (s *server) do(method, path string, body any) {
	s.t.Helper()
	status, header, answer := s.call(method, path, body)
	if status >= 300 {
		s.t.Fatalf("%s %s: %d %v", method, path, status, answer)
	}
	poll := header.Get("Azure-AsyncOperation")
	if poll == "" {
		return
	}
	s.eventually(path+" to end", func() bool {
		_, _, op := s.call("GET", poll, nil)
		switch op["status"] {
		case "InProgress":
			return false
		case "Succeeded":
			return true
		}
		s.t.Fatalf("%s %s ended as %v\n%s", method, path, op, s.log())
		return false
	})
}

// eventually waits for a condition. The server's patience bounds how long a test
// waits for what must come; it says nothing about how long that should take.
func (s *server) eventually(what string, holds func() bool) {
	s.t.Helper()
	patience := cmp.Or(s.patience, 4*time.Minute)
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	for !holds() {
		select {
		case <-ctx.Done():
			s.t.Fatalf("still waiting for %s after %s\n%s", what, patience, s.log())
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// machines lists the processes of this server's virtual machines.
func (s *server) machines() []int {
	var pids []int
	dirs, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range dirs {
		b, err := os.ReadFile(f)
		if err != nil || !bytes.HasPrefix(b, []byte("qemu-system")) && !bytes.Contains(b[:min(len(b), 64)], []byte("/qemu-system")) {
			continue
		}
		var pid int
		if _, err := fmt.Sscanf(f, "/proc/%d/cmdline", &pid); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// nothingIsLeft checks that after muster down the namespace of the test is as
// it was: no machine, no namespace, no device but lo, no nftables table.
func (s *server) nothingIsLeft() {
	s.t.Helper()
	if left := s.machines(); len(left) > 0 {
		s.t.Errorf("virtual machines are left: %v", left)
	}
	for what, args := range map[string][]string{"namespaces": {"ip", "netns", "list"}, "nftables tables": {"nft", "list", "tables"}} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil || len(bytes.TrimSpace(out)) > 0 {
			s.t.Errorf("%s are left: %s %v", what, out, err)
		}
	}
	links, err := net.Interfaces()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, l := range links {
		if l.Name != "lo" {
			s.t.Errorf("network device %s is left", l.Name)
		}
	}
}

// lockedBuffer collects what a process writes while a test reads it.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String returns what was written so far.
func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
