package qemu

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/muster-vm/muster/internal/durable"
	"github.com/muster-vm/muster/internal/host/compute/qemu/img"
	pidfd "github.com/muster-vm/muster/internal/host/compute/qemu/process"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/rights"
)

// host is the world as it is.
type host struct {
	binary string

	mu     sync.Mutex
	images map[string]int64 // virtual size of image files that have been looked at, by path
}

var _ world = (*host)(nil)

// start implements world. The process has a session of its own, so that
// neither the server's end nor a key press in its terminal reaches it.
func (h *host) start(dir string, run int64, argv []string, files []*os.File) (process, error) {
	for _, stale := range []string{qmpPrefix, agentSocket, serialSocket} {
		if err := removePrefixed(dir, stale, ""); err != nil {
			return nil, errDisk(dir, err, "")
		}
	}
	said, err := os.OpenFile(filepath.Join(dir, stderrFile), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, errDisk(dir, err, "")
	}
	defer said.Close()
	cmd := exec.Command(h.binary, argv...)
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = dir, said, said, files
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := rights.Without(cmd.Start); err != nil {
		return nil, errProgram(h.binary, "qemu-system-x86", err)
	}
	p, err := pidfd.Hold(cmd.Process.Pid, run, said.Name())
	if err != nil {
		cmd.Process.Kill() //nolint:errcheck // it is waited for
		cmd.Wait()         //nolint:errcheck // as we wished
		return nil, resource.Errorf(resource.Unavailable, "KernelTooOld",
			"The host's kernel cannot hold processes. It must be Linux 5.10 or newer.").Because(err)
	}
	go p.WatchChild(cmd)
	return p, nil
}

// processes implements world.
func (h *host) processes(vms string) (map[string]process, error) {
	found, err := pidfd.Root{Dir: vms, Stderr: stderrFile, Run: runOf}.Find()
	all := make(map[string]process, len(found))
	for name, p := range found {
		all[name] = p
	}
	return all, err
}

// dial implements world.
func (h *host) dial(ctx context.Context, dir, socket string) (net.Conn, error) {
	var d net.Dialer
	path := filepath.Join(dir, socket)
	if len(path) < 100 {
		return d.DialContext(ctx, "unix", path)
	}
	// The kernel takes socket paths of up to 107 bytes; a directory that is
	// open has a short one.
	open, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer open.Close()
	return d.DialContext(ctx, "unix", fmt.Sprintf("/proc/self/fd/%d/%s", open.Fd(), socket))
}

// makeDisk implements world.
func (h *host) makeDisk(ctx context.Context, d newDisk) error {
	tmp := d.path + ".new"
	words := []string{"create", "-q", "-f", "qcow2"}
	if d.image.Disk != "" {
		size, err := h.inspect(ctx, d)
		if err != nil {
			return err
		}
		if want := int64(d.sizeGB) << 30; d.sizeGB > 0 && want < size {
			return resource.Errorf(resource.Invalid, "InvalidParameter",
				"The OS disk of %d GB is smaller than its image, which needs %d GB.", d.sizeGB, (size+1<<30-1)>>30)
		}
		words = append(words, "-F", d.image.Format, "-b", d.image.Disk)
	}
	words = append(words, "--", tmp)
	switch {
	case d.sizeGB > 0:
		words = append(words, fmt.Sprintf("%dG", d.sizeGB))
	case d.bytes > 0:
		words = append(words, itoa(d.bytes))
	}
	if err := os.RemoveAll(tmp); err != nil {
		return errDisk(d.path, err, "")
	}
	if _, said, err := img.Run(ctx, words...); err != nil {
		os.Remove(tmp) //nolint:errcheck // the first error says more
		return diskFailure(ctx, d.path, said, err)
	}
	return errDisk(d.path, durable.Settle(tmp, d.path), "")
}

// diskFailure classifies a failure of qemu-img over a file.
func diskFailure(ctx context.Context, path, said string, err error) error {
	if ctx.Err() != nil {
		return canceled(ctx.Err())
	}
	e := &exec.ExitError{}
	if errors.As(err, &e) {
		return errDisk(path, fmt.Errorf("qemu-img: %s: %w", said, e), said)
	}
	return errProgram("qemu-img", "qemu-utils", err)
}

// inspect returns the virtual size of an image file, after making sure that it
// is what it is said to be and refers to no other file of the host.
func (h *host) inspect(ctx context.Context, d newDisk) (int64, error) {
	path := d.image.Disk
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return 0, errNoImage(d.digest, path, err)
	}
	h.mu.Lock()
	size, known := h.images[path]
	h.mu.Unlock()
	if known {
		return size, nil
	}
	out, said, err := img.Run(ctx, "info", "-U", "-f", d.image.Format, "--output=json", "--", path)
	exitError := &exec.ExitError{}
	if errors.As(err, &exitError) {
		return 0, errBadImage(d.digest, path, said)
	}
	if err != nil {
		return 0, diskFailure(ctx, path, said, err)
	}
	size, err = img.Whole(out)
	if err != nil {
		return 0, errBadImage(d.digest, path, err.Error())
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.images == nil {
		h.images = map[string]int64{}
	}
	h.images[path] = size
	return size, nil
}

// growDisk implements world.
func (h *host) growDisk(ctx context.Context, path string, bytes int64) error {
	size, err := h.size(ctx, path)
	if err != nil || size >= bytes {
		return err
	}
	if _, said, err := img.Run(ctx, "resize", "-q", "-f", "qcow2", "--", path, itoa(bytes)); err != nil {
		return diskFailure(ctx, path, said, err)
	}
	return nil
}

// size returns how large a qcow2 file is for its guest.
func (h *host) size(ctx context.Context, path string) (int64, error) {
	out, said, err := img.Run(ctx, "info", "-U", "-f", "qcow2", "--output=json", "--", path)
	if err != nil {
		return 0, diskFailure(ctx, path, said, err)
	}
	bytes, err := img.Size(out)
	return bytes, errDisk(path, err, "")
}

// copyDisk implements world.
func (h *host) copyDisk(ctx context.Context, from, to string, progress func(done, total int64)) error {
	total, err := h.size(ctx, from)
	if err != nil {
		return err
	}
	tell := func(percent float64) { progress(int64(percent/100*float64(total)), total) }
	if said, err := img.Convert(ctx, from, to, tell); err != nil {
		return diskFailure(ctx, to, said, err)
	}
	return nil
}
