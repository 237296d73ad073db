//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// client is a command of the command line, with a configuration of this server's.
func (s *server) client(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(s.t.Context(), binary(), args...)
	cmd.Env = append(os.Environ(), "MUSTER_CONFIG_DIR="+filepath.Join(s.dir, "cli"))
	return cmd
}

// streamStory reaches into a real guest through the server: its SSH server, its web
// server, and its serial console.
func streamStory(t *testing.T, s *server, key string) {
	if out, err := s.client("login", "--state", s.dir, "--endpoint", s.endpoint).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	out, err := s.client("vmss", "ssh", "web", "0", "-i", key, "--", "-o", "BatchMode=yes", "hostname; exit 5").Output()
	exit := &exec.ExitError{}
	if !errors.As(err, &exit) || exit.ExitCode() != 5 || strings.TrimSpace(string(out)) != "web000000" {
		t.Fatalf("ssh: %v %s %s", err, out, s.log())
	}

	large := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	copied := s.client("vmss", "ssh", "web", "0", "-i", key, "--", "-o", "BatchMode=yes", "cat")
	copied.Stdin = bytes.NewReader(large)
	if out, err := copied.Output(); err != nil || !bytes.Equal(out, large) {
		t.Errorf("of %d bytes %d came back: %v", len(large), len(out), err)
	}

	listening := s.client("vmss", "tunnel", "web", "0", "--port", "80", "--listen", "127.0.0.1:0")
	said, err := listening.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := listening.Start(); err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(said).ReadString('\n')
	words := strings.Fields(line)
	if len(words) < 3 {
		t.Fatalf("tunnel says %q", line)
	}
	for range 2 {
		res, err := (&http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}).Get("http://" + words[2] + "/cgi-bin/id")
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(res.Body); err != nil || !strings.Contains(string(b), "host=web000000") {
			t.Errorf("through the tunnel: %s %v", b, err)
		}
		res.Body.Close()
	}
	_ = listening.Process.Signal(syscall.SIGTERM)
	if err := listening.Wait(); err != nil {
		t.Errorf("tunnel: %v", err)
	}

	closed := s.client("vmss", "tunnel", "web", "0", "--port", "81")
	if out, err := closed.CombinedOutput(); err == nil || !strings.Contains(string(out), "Nothing in the guest listens on port 81") {
		t.Errorf("a closed port: %v %s", err, out)
	}

	if out, err := s.client("vmss", "console", "web", "0").Output(); err != nil || !strings.Contains(string(out), "muster-guest: ready host=web000000") {
		t.Errorf("console: %v %s", err, out)
	}
	for _, want := range []string{`"stream opened" kind=tunnel`, `port=22`, `"stream closed" kind=console`} {
		raw, _ := os.ReadFile(filepath.Join(s.dir, "server.log"))
		if !strings.Contains(string(raw), want) {
			t.Errorf("the server's log lacks %s", want)
		}
	}
}

// reimagedStory logs in to an instance whose disk, and so whose host keys, are new.
func reimagedStory(t *testing.T, s *server, key string) {
	out, err := s.client("vmss", "ssh", "web", "0", "-i", key, "--", "-o", "BatchMode=yes", "hostname").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "web000000") || strings.Contains(string(out), "CHANGED") {
		t.Errorf("ssh: %v %s", err, out)
	}
	known, err := os.ReadFile(filepath.Join(s.dir, "cli", "known_hosts"))
	if err != nil || strings.Count(string(known), "\n") != 2 {
		t.Errorf("host keys of two disks are known: %v\n%s", err, known)
	}
	// Somebody else's key under the name of the same disk is refused.
	lines := strings.SplitAfter(string(known), "\n")
	name, _, _ := strings.Cut(lines[1], " ")
	_, other, _ := strings.Cut(lines[0], " ")
	if err := os.WriteFile(filepath.Join(s.dir, "cli", "known_hosts"), []byte(name+" "+other), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := s.client("vmss", "ssh", "web", "0", "-i", key, "--", "-o", "BatchMode=yes", "hostname").CombinedOutput(); err == nil {
		t.Errorf("another host key is accepted: %s", out)
	}
}
