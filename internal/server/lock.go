package server

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/muster-vm/muster/internal/resource"
)

// lock keeps a state directory for one process. The kernel lets go of it when
// the process ends, however it ends.
type lock struct{ file *os.File }

const lockFile = "lock"

// takeLock takes the lock of a state directory. It fails with Conflict, naming
// the process that has it.
func takeLock(state string) (*lock, error) {
	f, err := os.OpenFile(filepath.Join(state, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, resource.Errorf(resource.Unavailable, "", "The state directory %s cannot be written: %v. Choose another with --state, or make it writable.", state, err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, resource.Errorf(resource.Conflict, "StateInUse",
				"The state directory %s is in use by process %s. Stop that server first, or choose another directory with --state.", state, holder(f))
		}
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	if err := f.Truncate(0); err != nil {
		return nil, err
	}
	_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return &lock{f}, err
}

// holder returns the process id that is written in the lock's file.
func holder(f *os.File) string {
	b := make([]byte, 16)
	n, _ := f.ReadAt(b, 0)
	return strings.TrimSpace(string(b[:n]))
}

func (l *lock) release() { l.file.Close() }

// evict ends the server that holds the lock, if there is one, and takes the
// lock. It gives up after limit.
func evict(state string, limit time.Duration) (*lock, error) {
	l, err := takeLock(state)
	if !resource.Is(err, resource.Conflict) {
		return l, err
	}
	raw, readErr := os.ReadFile(filepath.Join(state, lockFile))
	pid, parseErr := strconv.Atoi(strings.TrimSpace(string(raw)))
	if readErr != nil || parseErr != nil || pid <= 1 {
		return nil, err
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		return nil, fmt.Errorf("stop the server, process %d: %w", pid, err)
	}
	for end := time.Now().Add(limit); resource.Is(err, resource.Conflict) && time.Now().Before(end); {
		time.Sleep(50 * time.Millisecond)
		l, err = takeLock(state)
	}
	return l, err
}
