package docs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// patience bounds how long a command may take; it says nothing about how long
// it should.
const patience = 5 * time.Minute

// session is a shell in namespaces of its own: every page has all ports of a
// machine, can write nowhere but in its home, and nothing that it starts
// survives it.
type session struct {
	t    *testing.T
	home string
	in   io.WriteCloser
	out  *stream
	runs int // of blocks in the background
}

// enter prepares the namespaces. The machine's files are read-only but for the
// directories that are named: the home, and what a build writes. Pages of the
// end-to-end tests may write to /usr, /etc and /var as well: into a layer that
// is gone afterwards.
//
//nolint:dupword // "mount -t overlay overlay" is how it is written
const enter = `set -e
mode=$1; shift
ip link set lo up
for dir; do mount --bind "$dir" "$dir"; done
if [ "$mode" = e2e ]; then
	mkdir -p /run/netns && mount -t tmpfs none /run/netns
	mount -t tmpfs none /mnt
	for dir in usr etc var; do
		mkdir -p /mnt/$dir/upper /mnt/$dir/work
		mount -t overlay overlay -o lowerdir=/$dir,upperdir=/mnt/$dir/upper,workdir=/mnt/$dir/work /$dir
	done
fi
mount -o remount,bind,ro /
cd "$HOME"
exec bash --norc --noprofile`

// start opens a session with an empty home. It skips, with the reason, where
// there can be no namespaces.
func start(t *testing.T, binaries string, e2e bool) *session {
	t.Helper()
	for _, tool := range []string{"unshare", "mount", "ip", "bash"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed", tool)
		}
	}
	args := []string{"--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"}
	if os.Geteuid() != 0 {
		args = append([]string{"--user", "--map-root-user"}, args...)
	}
	if out, err := exec.Command("unshare", append(args, "true")...).CombinedOutput(); err != nil {
		t.Skipf("no namespaces can be made here: %s", bytes.TrimSpace(out))
	}
	s := &session{t: t, home: t.TempDir(), out: newStream()}
	env := append(os.Environ(), "HOME="+s.home, "TMPDIR="+s.home, "PATH="+binaries+":"+os.Getenv("PATH"), "LC_ALL=C.UTF-8", "TERM=dumb", "NO_COLOR=1",
		"PYTHONWARNINGS=ignore", "PYTHONDONTWRITEBYTECODE=1", "AZURE_CORE_COLLECT_TELEMETRY=false", "MUSTER_CONFIG_DIR=", "AZURE_CONFIG_DIR=")
	mode, writable := "sim", []string{s.home}
	if e2e {
		mode = "e2e"
		more, dirs := building(t)
		env, writable = append(env, more...), append(writable, dirs...)
	}
	cmd := exec.Command("unshare", append(append(args, "--", "/bin/sh", "-c", enter, "sh", mode), writable...)...)
	cmd.Env, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = env, s.out, s.out, 10*time.Second
	var err error
	if s.in, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = s.in.Close() // the shell ends, and with it all processes of its namespace
		exit := &exec.ExitError{}
		if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
			t.Error(err)
		}
	})
	return s
}

// building returns what Go has to be told in another home, and the directories
// that a build writes to.
func building(t *testing.T) (env, dirs []string) {
	t.Helper()
	dirs = []string{root()}
	if cache, err := filepath.EvalSymlinks(filepath.Join(root(), ".cache")); err == nil {
		dirs = append(dirs, cache)
	}
	for _, name := range []string{"GOCACHE", "GOMODCACHE"} {
		out, err := exec.Command("go", "env", name).Output()
		if err != nil {
			t.Fatal(err)
		}
		dir := string(bytes.TrimSpace(out))
		env, dirs = append(env, name+"="+dir), append(dirs, dir)
	}
	return env, dirs
}

// run runs a command, and returns what it shows and its exit code.
func (s *session) run(text string) (string, int) {
	s.t.Helper()
	const end = "\x01end of command\x01"
	s.out.take()
	if _, err := fmt.Fprintf(s.in, "eval %s </dev/null 2>&1; printf '%s%%d\\n' $?\n", quote(text), end); err != nil {
		s.t.Fatalf("%v\n%s", err, s.out)
	}
	var shown, code string
	if !s.out.wait(s.t.Context(), func(all string) (done bool) {
		shown, code, done = strings.Cut(all, end)
		return done && strings.HasSuffix(code, "\n")
	}) {
		s.t.Fatalf("still waiting for the end of: %s\n%s", text, s.out)
	}
	n, err := strconv.Atoi(strings.TrimSpace(code))
	if err != nil {
		s.t.Fatalf("%s: %v", text, err)
	}
	return shown, n
}

// goOn starts a command that goes on, and returns once it has shown what it
// shall.
func (s *session) goOn(c command) {
	s.t.Helper()
	s.runs++
	log := s.log(s.runs)
	if shown, code := s.run(fmt.Sprintf("{ %s\necho \"[ended with $?]\"; } >%s 2>&1 &", c.text, quote(log))); code != 0 {
		s.t.Fatalf("%s\n%s", c.text, shown)
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	for {
		raw, _ := os.ReadFile(log) // it comes with the first line
		if c.begins(string(raw)) {
			return
		}
		if bytes.Contains(raw, []byte("[ended with ")) {
			s.t.Fatalf("%s ended, and showed\n%s", c.text, raw)
		}
		select {
		case <-ctx.Done():
			s.t.Fatalf("still waiting for %s to show %q; it shows\n%s", c.text, c.want, raw)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (s *session) log(n int) string {
	return filepath.Join(s.home, fmt.Sprintf(".background-%d", n))
}

// logs returns the ends of what goes on in the background.
func (s *session) logs() (all string) {
	for n := range s.runs {
		raw, _ := os.ReadFile(s.log(n + 1))
		all += fmt.Sprintf("\nin the background:\n%s", raw[max(0, len(raw)-4000):])
	}
	return all
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// stream collects what a shell writes, and tells when there is more.
type stream struct {
	more chan struct{}
	all  chan []byte // the bytes, while nobody has them
}

func newStream() *stream {
	s := &stream{more: make(chan struct{}, 1), all: make(chan []byte, 1)}
	s.all <- nil
	return s
}

// Write implements io.Writer.
func (s *stream) Write(p []byte) (int, error) {
	s.all <- append(<-s.all, p...)
	select {
	case s.more <- struct{}{}:
	default:
	}
	return len(p), nil
}

// String returns what there is.
func (s *stream) String() string {
	b := <-s.all
	s.all <- b
	return string(b)
}

// take forgets what there is.
func (s *stream) take() { <-s.all; s.all <- nil }

// wait returns true once done does, and false if it does not in time.
func (s *stream) wait(ctx context.Context, done func(string) bool) bool {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for !done(s.String()) {
		select {
		case <-ctx.Done():
			return false
		case <-s.more:
		}
	}
	return true
}
