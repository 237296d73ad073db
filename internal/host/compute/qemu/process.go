package qemu

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// unixProcess is a QEMU process of this host: a child, or one that an earlier
// server started. It is held by a process file descriptor, so a signal can
// never reach a process that got the number later.
type unixProcess struct {
	number int64
	pid    int
	dir    string
	pidfd  *os.File
	ended  chan struct{}
	exit   error // of a child; set before ended is closed
}

func (p *unixProcess) run() int64            { return p.number }
func (p *unixProcess) done() <-chan struct{} { return p.ended }

// kill implements process.
func (p *unixProcess) kill() error {
	var sent error
	if err := p.control(func(fd uintptr) { sent = unix.PidfdSendSignal(int(fd), unix.SIGKILL, nil, 0) }); err != nil {
		return err
	}
	if errors.Is(sent, unix.ESRCH) {
		return nil
	}
	return sent
}

// control calls f with the descriptor, which File.Fd would make blocking.
func (p *unixProcess) control(f func(fd uintptr)) error {
	conn, err := p.pidfd.SyscallConn()
	if err != nil {
		return err
	}
	return conn.Control(f)
}

func (p *unixProcess) hasExited() (yes bool) {
	return p.control(func(fd uintptr) { yes = exited(fd) }) == nil && yes
}

// release implements process. Whoever watches a process that is not our child
// stops; a child is waited for all the same.
func (p *unixProcess) release() { p.pidfd.Close() }

// reason implements process: QEMU's last words, or the signal that ended it.
func (p *unixProcess) reason() string {
	if said := lastWords(filepath.Join(p.dir, stderrFile)); said != "" {
		return said
	}
	if p.exit != nil {
		return p.exit.Error()
	}
	return ""
}

// ticks is how many of the kernel's clock ticks /proc counts a second in.
const ticks = 100

// worked implements process.
func (p *unixProcess) worked() (time.Duration, error) {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.pid), "stat"))
	if err != nil {
		return 0, err
	}
	if p.hasExited() { // the number may be another process's by now
		return 0, fs.ErrNotExist
	}
	return workedOf(string(b))
}

// workedOf reads the processor time out of a line of /proc/PID/stat. The
// program's name, in parentheses, may have anything in it.
func workedOf(stat string) (time.Duration, error) {
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	const user, system = 11, 12 // after the name
	if len(fields) <= system {
		return 0, errors.New("/proc/PID/stat is too short")
	}
	var sum int64
	for _, field := range fields[user : system+1] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return time.Duration(sum) * time.Second / ticks, nil
}

// lastWords returns the last line of a file that is no warning.
func lastWords(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	lines := strings.Split(string(b[max(0, len(b)-4096):]), "\n")
	for _, line := range slices.Backward(lines) {
		line := strings.TrimSpace(line)
		if _, said, ok := strings.Cut(line, ": "); ok {
			line = said // what precedes is the program's name
		}
		if line != "" && !strings.HasPrefix(line, "warning:") {
			return strings.TrimSuffix(line, ".")
		}
	}
	return ""
}

// hold opens a process by its number and watches it.
func hold(pid int, run int64, dir string) (*unixProcess, error) {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return nil, err
	}
	return &unixProcess{number: run, pid: pid, dir: dir, pidfd: os.NewFile(uintptr(fd), "pidfd"), ended: make(chan struct{})}, nil
}

// watchChild waits for a child. It must be called for every child.
func (p *unixProcess) watchChild(cmd *exec.Cmd) {
	p.exit = cmd.Wait()
	close(p.ended)
}

// watchOther waits for a process that is not our child: its descriptor becomes
// readable when it has ended.
func (p *unixProcess) watchOther() {
	conn, err := p.pidfd.SyscallConn()
	if err != nil {
		return
	}
	if err := conn.Read(exited); err == nil {
		close(p.ended)
	}
}

func exited(pidfd uintptr) bool {
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, 0)
	return err == nil && n > 0
}

// adopt returns the process of this number if it is a machine's in a directory
// below vms, and nil if it is anything else.
func adopt(pid int, vms string) *unixProcess {
	p, err := hold(pid, 0, "")
	if err != nil {
		return nil
	}
	// What is read from here on belongs to the process that is held, or to
	// none: were the number given away since, the descriptor would show the end.
	dir, run, ok := identify(pid)
	if !ok || filepath.Dir(dir) != vms || p.hasExited() {
		p.release()
		return nil
	}
	p.dir, p.number = dir, run
	return p
}

// identify returns the directory that a process runs in and the run that its
// command line names, and false if it is no machine's process.
func identify(pid int) (dir string, run int64, ok bool) {
	proc := filepath.Join("/proc", strconv.Itoa(pid))
	dir, err := os.Readlink(filepath.Join(proc, "cwd"))
	if err != nil {
		return "", 0, false
	}
	line, err := os.ReadFile(filepath.Join(proc, "cmdline"))
	if err != nil {
		return "", 0, false
	}
	words := bytes.Split(bytes.TrimSuffix(line, []byte{0}), []byte{0})
	for i, word := range words[:len(words)-1] {
		if string(word) == "-qmp" {
			run, ok = runOf(string(words[i+1]))
			return dir, run, ok
		}
	}
	return "", 0, false
}

// runOf reads the run from the argument that names the control socket.
func runOf(argument string) (int64, bool) {
	path, _, _ := strings.Cut(strings.TrimPrefix(argument, "unix:"), ",")
	number, ok := strings.CutPrefix(strings.TrimSuffix(path, qmpSuffix), qmpPrefix)
	run, err := strconv.ParseInt(number, 10, 64)
	return run, ok && err == nil && path == qmpSocket(run)
}

// processes finds the machines' processes that exist, by directory.
func (h *host) processes(vms string) (map[string]process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	found := map[string]process{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if dir, err := os.Readlink(filepath.Join("/proc", e.Name(), "cwd")); err != nil || filepath.Dir(dir) != vms {
			continue
		}
		if p := adopt(pid, vms); p != nil {
			go p.watchOther()
			found[filepath.Base(p.dir)] = p
		}
	}
	return found, nil
}

// noSuchFile reports whether path does not exist.
func noSuchFile(path string) error {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
