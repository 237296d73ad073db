package qemu

import (
	"context"
	"fmt"
	"os"

	"github.com/muster-vm/muster/internal/host/compute/qemu/probe"
)

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
	if err := probe.Boot(ctx, DefaultBinary, "kvm", probe.Kernel{Image: guest.Kernel, Initrd: guest.Initrd, CommandLine: guest.CommandLine}); err != nil {
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
