package qemu

import (
	"context"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// world is what the driver does outside its own records: programs, processes
// and sockets. Tests have one of their own.
type world interface {
	// makeDisk makes a qcow2 file. It is there complete or not at all.
	makeDisk(ctx context.Context, d newDisk) error
	// growDisk makes a qcow2 file that nobody has open larger, never smaller.
	growDisk(ctx context.Context, path string, bytes int64) error
	// copyDisk copies a qcow2 file that nobody writes to, with all that it is based
	// on, into a new one. progress hears bytes.
	copyDisk(ctx context.Context, from, to string, progress func(done, total int64)) error
	// start starts a machine's process in its directory. The files become
	// file descriptors 3, 4, ... of it.
	start(dir string, run int64, argv []string, files []*os.File) (process, error)
	// processes finds the machines' processes that exist, by the base name of
	// their directory.
	processes(vms string) (map[string]process, error)
	// dial connects to a socket in a machine's directory.
	dial(ctx context.Context, dir, socket string) (net.Conn, error)
}

// newDisk is a disk to make.
type newDisk struct {
	path   string
	sizeGB int    // 0 takes the image's size, or bytes
	bytes  int64  // the size, where it need not be whole GB
	digest string // of the image, for messages; empty for an empty disk
	image  Image
}

// process is a machine's QEMU process. It is what it was started as: a number
// that the system gave to another process since is not mistaken for it.
type process interface {
	Run() int64
	Kill() error           // at once; nil if it has ended
	Release()              // lets go of it and leaves it running; it is not used any more
	Done() <-chan struct{} // closed when it has ended
	Reason() string        // why it ended by itself, for people; empty if unknown
	// Worked returns the processor time that it has used, its threads included.
	Worked() (time.Duration, error)
}

// socket names in a machine's directory. That of the control socket carries
// the run, which is how an adopted process tells it.
const (
	agentSocket  = "agent.sock"
	serialSocket = "serial.sock"
	serialFile   = "serial.log"
	stderrFile   = "stderr.log"
	pidFile      = "pid"
	qmpPrefix    = "qmp."
	qmpSuffix    = ".sock"
)

// runOf reads the run from the argument that names the control socket.
func runOf(argument string) (int64, bool) {
	path, _, _ := strings.Cut(strings.TrimPrefix(argument, "unix:"), ",")
	number, ok := strings.CutPrefix(strings.TrimSuffix(path, qmpSuffix), qmpPrefix)
	run, err := strconv.ParseInt(number, 10, 64)
	return run, ok && err == nil && path == qmpSocket(run)
}

func qmpSocket(run int64) string { return qmpPrefix + itoa(run) + qmpSuffix }
