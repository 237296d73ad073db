package qemu

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// probeLimit is how long a guest may take to show that its kernel runs. With
// hardware that helps it takes a fraction of a second.
const probeLimit = 10 * time.Second

// sign is what a kernel writes first on its console.
const sign = "Linux version"

// ProbeAccel returns the accelerator that machines run best with here and, for
// the log, why. A /dev/kvm that opens proves nothing, so the image's kernel is
// booted with it: what does not reach the kernel's first line is not used.
func ProbeAccel(ctx context.Context, guest Image) (accel, why string) {
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return DefaultAccel, "no hardware acceleration: " + err.Error()
	}
	f.Close()
	if guest.Kernel == "" {
		return DefaultAccel, "hardware acceleration could not be tried: the tiny guest is not built"
	}
	if err := boot(ctx, "kvm", guest); err != nil {
		return DefaultAccel, "hardware acceleration does not boot a guest: " + err.Error()
	}
	return "kvm", "a guest booted with it"
}

// translation returns the accelerator of one machine. Translated code that does
// not fit in its buffer is thrown away and translated again: a distribution
// spends most of its boot on that with what is plenty for a tiny guest. The
// buffer therefore grows with the machine, to at most a quarter of its memory.
// An accelerator that the operator chose stays as it is.
func translation(accel string, memoryMB int) string {
	if accel != DefaultAccel {
		return accel
	}
	const least, most = 32, 256
	return fmt.Sprintf("%s,tb-size=%d", emulation, min(max(memoryMB/4, least), most))
}

// boot starts the image's kernel and returns nil once it writes to its console.
func boot(ctx context.Context, accel string, guest Image) error {
	dir, err := os.MkdirTemp("", "muster-probe-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory
	serial := filepath.Join(dir, "serial")
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, DefaultBinary, "-nodefaults", "-no-user-config", "-display", "none", "-machine", "pc", "-accel", accel, "-cpu", "host",
		"-m", "96", "-no-reboot", "-serial", "file:"+serial, "-kernel", guest.Kernel, "-initrd", guest.Initrd, "-append", guest.CommandLine)
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case err := <-ended:
			return &probeError{cmp.Or(lastLine(said.Bytes()), "QEMU ended"), err}
		case <-time.After(20 * time.Millisecond):
		}
		if b, err := os.ReadFile(serial); err == nil && bytes.Contains(b, []byte(sign)) {
			cancel()
			<-ended //nolint:errcheck // it was killed
			return nil
		}
	}
}

// probeError is why a guest did not boot.
type probeError struct {
	said string
	err  error
}

// Error implements error.
func (e *probeError) Error() string { return e.said }

// Unwrap returns how the process ended.
func (e *probeError) Unwrap() error { return e.err }

func lastLine(b []byte) string {
	b = bytes.TrimSpace(b)
	return string(b[bytes.LastIndexByte(b, '\n')+1:])
}
