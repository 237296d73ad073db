package main

import (
	"bufio"
	"bytes"
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
	"strings"
	"syscall"
	"time"
)

// server is a muster serve process with a client for it.
type server struct {
	options
	dir, endpoint       string
	cmd                 *exec.Cmd
	http                *http.Client
	token, subscription string
	started             time.Time
	ready               time.Duration // from process start to the ready line
}

// options are how a server runs.
type options struct {
	driver string
	accel  string   // of the driver qemu; empty lets the server find out
	env    []string // beside this process's
}

// launch starts a server on a fresh state directory.
func (b *bench) launch(ctx context.Context, o options) (*server, error) {
	dir, err := os.MkdirTemp(b.dir, "server-")
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &server{options: o, dir: dir, endpoint: "https://" + l.Addr().String()}
	l.Close()
	if err := s.configure(); err != nil {
		return nil, err
	}
	if err := s.start(ctx); err != nil {
		s.kill()
		return nil, err
	}
	_, _, err = s.call(ctx, http.MethodPut, "/resourceGroups/bench", map[string]any{"location": "local"})
	return s, err
}

// population is one simulated host that has room for everything and boots at
// once.
const population = `{"hosts":[{"name":"sim-1","vcpus":10000000,"memoryMB":1000000000}],"boot":{"base":"0s","jitter":"0s","shutdown":"0s"}}`

// configure writes the server's config, which lets it run more than it could
// otherwise.
func (s *server) configure() error {
	tiny, err := filepath.Abs(tinyDir)
	if err != nil {
		return err
	}
	text := fmt.Sprintf("images: {tiny: %q}\nlimits: {capacity: 1000000}\nlogLevel: warn\nhost: {cpuOvercommit: 100, accel: %q}\n", tiny, s.accel)
	text += "quotas: {cores: 10000000, virtualMachines: 10000000, musterFamily: 10000000}\n"
	if s.driver == "sim" {
		file := filepath.Join(s.dir, "population.json")
		text += fmt.Sprintf("network: {prefix: 10.0.0.0/8}\nsimulation: %q\n", file)
		if err := os.WriteFile(file, []byte(population), 0o600); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(s.dir, "config.yaml"), []byte(text), 0o600)
}

// start starts the server and returns when it is ready and has let us in.
func (s *server) start(ctx context.Context) error {
	s.cmd = exec.CommandContext(ctx, "bin/muster", "serve", "--state", filepath.Join(s.dir, "state"), "--listen", strings.TrimPrefix(s.endpoint, "https://"),
		"--driver", s.driver, "--config", filepath.Join(s.dir, "config.yaml"))
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	s.cmd.Stderr = log
	s.cmd.Env = append(os.Environ(), s.env...)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	s.started = time.Now()
	if err := s.cmd.Start(); err != nil {
		return err
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "ready https://") {
			s.ready = time.Since(s.started)
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return s.login(ctx)
		}
	}
	ended := s.cmd.Wait()
	said, _ := os.ReadFile(filepath.Join(s.dir, "log"))
	return fmt.Errorf("the server did not get ready: %w: %s", ended, said[max(0, len(said)-2000):])
}

// kill ends the server as a crash would.
func (s *server) kill() {
	if s == nil || s.cmd == nil || s.cmd.Process == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

func (s *server) login(ctx context.Context) error {
	ca, err := os.ReadFile(filepath.Join(s.dir, "state", "ca.pem"))
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	if s.http != nil {
		s.http.CloseIdleConnections()
	}
	s.http = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, MaxIdleConnsPerHost: 64, DisableCompression: true}}
	raw, err := os.ReadFile(filepath.Join(s.dir, "state", "admin.json"))
	if err != nil {
		return err
	}
	var admin struct{ SubscriptionID, ClientID, ClientSecret string }
	if err := json.Unmarshal(raw, &admin); err != nil {
		return err
	}
	s.subscription = admin.SubscriptionID
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {admin.ClientID}, "client_secret": {admin.ClientSecret}, "scope": {s.endpoint + "/.default"}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.endpoint+"/adfs/oauth2/token", strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := s.http.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		return err
	}
	s.token = answer.AccessToken
	return nil
}

// down kills the server and ends its machines and its network.
func (s *server) down() {
	s.kill()
	_ = exec.Command("bin/muster", "down", "--state", filepath.Join(s.dir, "state")).Run() //nolint:gosec // our own directory
}

const computeVersion = "2024-07-01"

const sets = "/resourceGroups/bench/providers/Microsoft.Compute/virtualMachineScaleSets/"

// call makes one request; path is absolute or below the subscription.
func (s *server) call(ctx context.Context, method, path string, body any) (*http.Response, []byte, error) {
	var payload io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, nil, err
		}
		payload = bytes.NewReader(b)
	}
	var into bytes.Buffer
	res, err := s.send(ctx, method, path, payload, &into)
	return res, into.Bytes(), err
}

// fetch gets what may be large into a buffer that is used again and again, for
// the client is not what is measured.
func (s *server) fetch(ctx context.Context, path string, into *bytes.Buffer) ([]byte, error) {
	into.Reset()
	_, err := s.send(ctx, http.MethodGet, path, nil, into)
	return into.Bytes(), err
}

func (s *server) send(ctx context.Context, method, path string, payload io.Reader, into *bytes.Buffer) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, s.url(path), payload)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+s.token)
	res, err := s.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	_, err = into.ReadFrom(res.Body)
	if err == nil && res.StatusCode >= 300 {
		err = fmt.Errorf("%s %s: %s %s", method, path, res.Status, into)
	}
	return res, err
}

func (s *server) url(path string) string {
	if strings.HasPrefix(path, "https://") {
		return path
	}
	version, sep := computeVersion, "?"
	if !strings.Contains(path, "/providers/") {
		version = "2021-04-01"
	}
	if strings.Contains(path, "?") {
		sep = "&"
	}
	return s.endpoint + "/subscriptions/" + s.subscription + path + sep + "api-version=" + version
}

// do makes a request and waits for its operation, polling every few
// milliseconds so that the figure is the server's and not the poll's.
func (s *server) do(ctx context.Context, method, path string, body any) error {
	res, _, err := s.call(ctx, method, path, body)
	if err != nil {
		return err
	}
	poll := res.Header.Get("Azure-AsyncOperation")
	for poll != "" {
		_, raw, err := s.call(ctx, http.MethodGet, poll, nil)
		if err != nil {
			return err
		}
		var op struct{ Status string }
		if err := json.Unmarshal(raw, &op); err != nil {
			return err
		}
		switch op.Status {
		case "Succeeded":
			return nil
		case "InProgress":
			if err := pause(ctx, 20*time.Millisecond); err != nil {
				return err
			}
		default:
			return fmt.Errorf("%s %s ended as %s", method, path, raw)
		}
	}
	return nil
}

// pause waits, but not longer than ctx.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// scale writes the capacity of a scale set, makes the set if need be, and
// returns how long it took until the operation had succeeded.
func (s *server) scale(ctx context.Context, set string, capacity int) (time.Duration, error) {
	begin := time.Now()
	err := s.do(ctx, http.MethodPut, sets+set, model(capacity))
	return time.Since(begin), err
}

// running asks how many instances of a set are running.
func (s *server) running(ctx context.Context, set string) (n int, err error) {
	_, raw, err := s.call(ctx, http.MethodGet, sets+set+"/instanceView", nil)
	if err != nil {
		return 0, err
	}
	var view struct {
		VirtualMachine struct{ StatusesSummary []status }
	}
	if err := json.Unmarshal(raw, &view); err != nil {
		return 0, err
	}
	for _, s := range view.VirtualMachine.StatusesSummary {
		if s.Code == "PowerState/running" {
			n = s.Count
		}
	}
	return n, nil
}

type status struct {
	Code  string
	Count int
}

// model is a scale set of tiny guests.
func model(capacity int) map[string]any {
	return map[string]any{
		"location": "local",
		"sku":      map[string]any{"name": "Muster_T1", "capacity": capacity},
		"properties": map[string]any{
			"singlePlacementGroup": false,
			"upgradePolicy":        map[string]any{"mode": "Manual"},
			"virtualMachineProfile": map[string]any{
				"osProfile":      map[string]any{"computerNamePrefix": "web", "adminUsername": "muster"},
				"storageProfile": map[string]any{"imageReference": map[string]any{"publisher": "muster", "offer": "tiny", "sku": "debian", "version": "latest"}},
				"networkProfile": map[string]any{"networkInterfaceConfigurations": []any{map[string]any{"name": "nic",
					"properties": map[string]any{"primary": true, "ipConfigurations": []any{map[string]any{"name": "ip"}}}}}},
			},
		},
	}
}
