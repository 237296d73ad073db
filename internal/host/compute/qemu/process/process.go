// Package process holds QEMU processes: children, and those that an earlier server
// started. It finds the latter by the directory that they run in, and never takes a
// process for one that had its number before.
package process

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

// A Process is a QEMU process of this host: a child, or one that an earlier
// server started. It is held by a process file descriptor, so a signal can
// never reach a process that got the number later.
type Process struct {
	number int64
	pid    int
	dir    string
	said   string // file of its standard error
	pidfd  *os.File
	ended  chan struct{}
	exit   error // of a child; set before ended is closed
}

// Run returns the number that it was started as.
func (p *Process) Run() int64 { return p.number }

// Done is closed when it has ended.
func (p *Process) Done() <-chan struct{} { return p.ended }

// Kill ends it at once; nil if it has ended.
func (p *Process) Kill() error {
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
func (p *Process) control(f func(fd uintptr)) error {
	conn, err := p.pidfd.SyscallConn()
	if err != nil {
		return err
	}
	return conn.Control(f)
}

// Exited reports whether it has ended.
func (p *Process) Exited() (yes bool) {
	return p.control(func(fd uintptr) { yes = exited(fd) }) == nil && yes
}

// Release lets go of it. Whoever watches a process that is not our child stops; a
// child is waited for all the same.
func (p *Process) Release() { p.pidfd.Close() }

// Reason returns QEMU's last words, or the signal that ended it.
func (p *Process) Reason() string {
	if said := lastWords(p.said); said != "" {
		return said
	}
	if p.exit != nil {
		return p.exit.Error()
	}
	return ""
}

// ticks is how many of the kernel's clock ticks /proc counts a second in.
const ticks = 100

// Worked returns the processor time that it has used.
func (p *Process) Worked() (time.Duration, error) {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.pid), "stat"))
	if err != nil {
		return 0, err
	}
	if p.Exited() { // the number may be another process's by now
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

// Hold opens a process by its number. run is what it was started as, and said the
// file of its standard error.
func Hold(pid int, run int64, said string) (*Process, error) {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return nil, err
	}
	return &Process{number: run, pid: pid, said: said, pidfd: os.NewFile(uintptr(fd), "pidfd"), ended: make(chan struct{})}, nil
}

// WatchChild waits for a child. It must be called for every child.
func (p *Process) WatchChild(cmd *exec.Cmd) {
	p.exit = cmd.Wait()
	close(p.ended)
}

// watchOther waits for a process that is not our child: its descriptor becomes
// readable when it has ended.
func (p *Process) watchOther() {
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

// Root is where processes of a kind are found.
type Root struct {
	Dir    string                                     // each runs in a directory below
	Stderr string                                     // name of the file there that has its standard error
	Run    func(argument string) (run int64, ok bool) // reads what it was started as from the argument of -qmp
}

// Find returns the processes that exist, by the name of their directory.
func (r Root) Find() (map[string]*Process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	found := map[string]*Process{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if dir, err := os.Readlink(filepath.Join("/proc", e.Name(), "cwd")); err != nil || filepath.Dir(dir) != r.Dir {
			continue
		}
		if p := r.adopt(pid); p != nil {
			go p.watchOther()
			found[filepath.Base(p.dir)] = p
		}
	}
	return found, nil
}

// adopt returns the process of this number if it is one of the root's, and nil if it
// is anything else.
func (r Root) adopt(pid int) *Process {
	p, err := Hold(pid, 0, "")
	if err != nil {
		return nil
	}
	// What is read from here on belongs to the process that is held, or to
	// none: were the number given away since, the descriptor would show the end.
	dir, run, ok := r.identify(pid)
	if !ok || filepath.Dir(dir) != r.Dir || p.Exited() {
		p.Release()
		return nil
	}
	p.dir, p.number, p.said = dir, run, filepath.Join(dir, r.Stderr)
	return p
}

// identify returns the directory that a process runs in and the run that its
// command line names, and false if it is none of the root's.
func (r Root) identify(pid int) (dir string, run int64, ok bool) {
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
			run, ok = r.Run(string(words[i+1]))
			return dir, run, ok
		}
	}
	return "", 0, false
}
