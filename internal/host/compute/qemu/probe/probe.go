// Package probe finds out whether guests run here with an accelerator, by running
// one for a moment.
package probe

import (
	"bytes"
	"cmp"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/muster-vm/muster/internal/rights"
)

// probeLimit is how long a guest may take to show that its kernel runs. With
// hardware that helps it takes a fraction of a second.
const probeLimit = 10 * time.Second

// sign is what a kernel writes first on its console.
const sign = "Linux version"

// Kernel is what is booted.
type Kernel struct{ Image, Initrd, CommandLine string }

// Boot starts the kernel with an accelerator and returns nil once it writes to its
// console.
func Boot(ctx context.Context, binary, accel string, k Kernel) error {
	dir, err := os.MkdirTemp("", "muster-probe-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory
	serial := filepath.Join(dir, "serial")
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "-nodefaults", "-no-user-config", "-display", "none", "-machine", "pc", "-accel", accel, "-cpu", "host",
		"-m", "96", "-no-reboot", "-serial", "file:"+serial, "-kernel", k.Image, "-initrd", k.Initrd, "-append", k.CommandLine)
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := rights.Without(cmd.Start); err != nil {
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
