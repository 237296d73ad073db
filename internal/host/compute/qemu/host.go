package qemu

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/muster-vm/muster/internal/durable"
	"github.com/muster-vm/muster/internal/resource"
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
	for _, stale := range []string{qmpPrefix, agentSocket} {
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
	if err := withoutRights(cmd.Start); err != nil {
		return nil, errProgram(h.binary, "qemu-system-x86", err)
	}
	p, err := hold(cmd.Process.Pid, run, dir)
	if err != nil {
		cmd.Process.Kill() //nolint:errcheck // it is waited for
		cmd.Wait()         //nolint:errcheck // as we wished
		return nil, resource.Errorf(resource.Unavailable, "KernelTooOld",
			"The host's kernel cannot hold processes. It must be Linux 5.10 or newer.").Because(err)
	}
	go p.watchChild(cmd)
	return p, nil
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
	if d.sizeGB > 0 {
		words = append(words, fmt.Sprintf("%dG", d.sizeGB))
	}
	if err := os.RemoveAll(tmp); err != nil {
		return errDisk(d.path, err, "")
	}
	if _, said, err := qemuImg(ctx, words...); err != nil {
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
	if err := noSuchFile(path); err != nil {
		return 0, errNoImage(d.digest, path, err)
	}
	h.mu.Lock()
	size, known := h.images[path]
	h.mu.Unlock()
	if known {
		return size, nil
	}
	out, said, err := qemuImg(ctx, "info", "-U", "-f", d.image.Format, "--output=json", "--", path)
	exitError := &exec.ExitError{}
	if errors.As(err, &exitError) {
		return 0, errBadImage(d.digest, path, said)
	}
	if err != nil {
		return 0, diskFailure(ctx, path, said, err)
	}
	size, err = imageSize(out)
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

// imageSize reads what qemu-img says of an image.
func imageSize(info []byte) (int64, error) {
	var i struct {
		VirtualSize int64  `json:"virtual-size"`
		Backing     string `json:"backing-filename"`
		Specific    struct {
			Data struct {
				DataFile string `json:"data-file"`
			} `json:"data"`
		} `json:"format-specific"`
	}
	if err := json.Unmarshal(info, &i); err != nil {
		return 0, err
	}
	if i.Backing != "" || i.Specific.Data.DataFile != "" {
		return 0, fmt.Errorf("it refers to another file (%s%s)", i.Backing, i.Specific.Data.DataFile)
	}
	return i.VirtualSize, nil
}

// qemuImg runs qemu-img and returns what it printed, on standard output and
// the last line on standard error.
func qemuImg(ctx context.Context, words ...string) (out []byte, said string, err error) {
	cmd := exec.CommandContext(ctx, "qemu-img", words...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	err = withoutRights(func() (err error) {
		out, err = cmd.Output()
		return err
	})
	said = strings.TrimSpace(stderr.String())
	if i := strings.LastIndexByte(said, '\n'); i >= 0 {
		said = said[i+1:]
	}
	return out, strings.TrimPrefix(said, "qemu-img: "), err
}
