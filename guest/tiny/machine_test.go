//go:build e2e && linux

package tiny_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait for a guest. It decides nothing: a guest that is
// merely slow gets there, one that hangs ends the test with its console.
const patience = 10 * time.Minute

// A machine is a guest under emulation with user-mode networking.
type machine struct {
	t     *testing.T
	ctx   context.Context
	cmd   *exec.Cmd
	lines chan string // the console, line by line
	agent *peer       // the guest agent
	qmp   *peer       // QEMU's monitor

	mu  sync.Mutex
	log strings.Builder // guarded by mu: all of the console so far
}

// boot starts a guest from the image with the given disks, in that order.
func boot(t *testing.T, image string, disks ...string) *machine {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	m := &machine{t: t, ctx: ctx, lines: make(chan string, 10000)}

	// QEMU connects to us, so there is nothing to wait for.
	dir := t.TempDir()
	monitor, agent := listen(t, dir+"/qmp"), listen(t, dir+"/agent")
	m.cmd = exec.CommandContext(ctx, "qemu-system-x86_64", arguments(t, image, dir, disks)...)
	m.cmd.Stderr = os.Stderr
	// A test binary that is killed takes its guest along.
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	console, err := m.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	copied := make(chan struct{})
	go func() { defer close(copied); m.copyConsole(console) }()
	t.Cleanup(func() {
		cancel()
		<-copied
		_ = m.cmd.Wait()
		if t.Failed() {
			t.Logf("console:\n%s", m.console())
		}
	})
	m.qmp, m.agent = accept(t, monitor), accept(t, agent)
	m.qmp.call(t, "qmp_capabilities", nil)
	return m
}

func arguments(t *testing.T, image, dir string, disks []string) []string {
	t.Helper()
	cmdline, err := os.ReadFile(filepath.Join(image, "cmdline"))
	if err != nil {
		t.Fatal(err)
	}
	args := []string{
		"-M", "pc", "-accel", "tcg,thread=multi,tb-size=32", "-cpu", "Nehalem", "-m", "96",
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio",
		"-kernel", filepath.Join(image, "vmlinux"), "-initrd", filepath.Join(image, "initrd"),
		"-append", string(cmdline),
		"-chardev", "socket,id=qmp,path=" + dir + "/qmp", "-mon", "chardev=qmp,mode=control",
		"-netdev", "user,id=net0,hostfwd=tcp:127.0.0.1:0-:80,hostfwd=tcp:127.0.0.1:0-:22",
		"-device", "virtio-net-pci,netdev=net0,romfile=",
		"-chardev", "socket,id=agent,path=" + dir + "/agent", "-device", "virtio-serial-pci",
		"-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0",
		"-device", "virtio-rng-pci",
	}
	for _, disk := range disks {
		format := strings.TrimPrefix(filepath.Ext(disk), ".")
		args = append(args, "-drive", "if=virtio,file="+disk+",format="+format)
	}
	return args
}

func (m *machine) copyConsole(r io.Reader) {
	defer close(m.lines)
	for in := bufio.NewScanner(r); in.Scan(); {
		m.mu.Lock()
		m.log.WriteString(in.Text() + "\n")
		m.mu.Unlock()
		m.lines <- in.Text()
	}
}

func (m *machine) console() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.log.String()
}

// await returns when the console says want.
func (m *machine) await(want string) {
	m.t.Helper()
	for line := range m.lines {
		if strings.Contains(line, want) {
			return
		}
	}
	m.t.Fatalf("the guest ended before it said %q", want)
}

// forward returns the address on this machine that leads to a port of the guest.
func (m *machine) forward(port string) string {
	m.t.Helper()
	var table string
	m.qmp.into(m.t, &table, "human-monitor-command", map[string]any{"command-line": "info usernet"})
	found := regexp.MustCompile(`HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d+)\s+\S+\s+` + port + `\s`).FindStringSubmatch(table)
	if found == nil {
		m.t.Fatalf("no forward to port %s in\n%s", port, table)
	}
	return net.JoinHostPort("127.0.0.1", found[1])
}

// shutdown asks the guest agent to end the guest and waits for QEMU to end well.
func (m *machine) shutdown(mode string) {
	m.t.Helper()
	m.agent.send(m.t, "guest-shutdown", map[string]any{"mode": mode})
	for range m.lines { // until the console closes
	}
	if err := m.cmd.Wait(); err != nil {
		m.t.Errorf("shutdown %s: qemu: %v", mode, err)
	}
}

// run runs a shell command as root through the guest agent.
func (m *machine) run(command string) (output string, status int) {
	m.t.Helper()
	var started struct{ PID int }
	m.agent.into(m.t, &started, "guest-exec", map[string]any{
		"path": "/bin/sh", "arg": []string{"-c", command}, "capture-output": true})
	var done struct {
		Exited   bool
		ExitCode int
		OutData  []byte `json:"out-data"`
	}
	for !done.Exited {
		m.agent.into(m.t, &done, "guest-exec-status", map[string]any{"pid": started.PID})
	}
	return string(done.OutData), done.ExitCode
}

// usage tells what the emulator has used so far.
func (m *machine) usage() string {
	const ticksPerSecond = 100
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", m.cmd.Process.Pid))
	fields := strings.Fields(string(stat))
	if len(fields) < 24 {
		return "unknown"
	}
	var user, system, pages int
	_, _ = fmt.Sscan(fields[13]+" "+fields[14]+" "+fields[23], &user, &system, &pages)
	return fmt.Sprintf("%.1f CPU seconds, %d MB resident",
		float64(user+system)/ticksPerSecond, pages*os.Getpagesize()>>20)
}

// A peer speaks QEMU's JSON protocol: the monitor or the guest agent.
type peer struct {
	conn net.Conn
	in   *json.Decoder
}

func listen(t *testing.T, path string) net.Listener {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func accept(t *testing.T, l net.Listener) *peer {
	t.Helper()
	_ = l.(*net.UnixListener).SetDeadline(time.Now().Add(patience))
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { _ = conn.Close() })
	return &peer{conn: conn, in: json.NewDecoder(conn)}
}

func (p *peer) send(t *testing.T, command string, arguments any) {
	t.Helper()
	request := map[string]any{"execute": command}
	if arguments != nil {
		request["arguments"] = arguments
	}
	if err := json.NewEncoder(p.conn).Encode(request); err != nil {
		t.Fatalf("%s: %v", command, err)
	}
}

// call runs a command and returns its answer; greetings and events are skipped.
func (p *peer) call(t *testing.T, command string, arguments any) json.RawMessage {
	t.Helper()
	p.send(t, command, arguments)
	for {
		var answer struct{ Return, Error json.RawMessage }
		if err := p.in.Decode(&answer); err != nil {
			t.Fatalf("%s: %v", command, err)
		}
		switch {
		case answer.Error != nil:
			t.Fatalf("%s: %s", command, answer.Error)
		case answer.Return != nil:
			return answer.Return
		}
	}
}

func (p *peer) into(t *testing.T, value any, command string, arguments any) {
	t.Helper()
	answer := p.call(t, command, arguments)
	if err := json.Unmarshal(answer, value); err != nil {
		t.Fatalf("%s: %s: %v", command, answer, err)
	}
}
