package sim

import (
	"context"
	"iter"
	"math"
	"time"

	"github.com/muster-vm/muster/internal/host/compute"
)

// operation is how many bytes an operation on a disk moves.
const operation = 4096

// Meter implements compute.Meter. What a guest has used follows from the load
// and how long it has been up: nothing is counted.
func (d *Driver) Meter(ctx context.Context) iter.Seq[compute.Usage] {
	return func(yield func(compute.Usage) bool) {
		d.mu.Lock()
		all := append([]*machine(nil), d.order...)
		d.mu.Unlock()
		for _, m := range all {
			if ctx.Err() != nil {
				return
			}
			if m == nil {
				continue
			}
			if u, ok := d.usage(m); ok && !yield(u) {
				return
			}
		}
	}
}

func (d *Driver) usage(m *machine) (compute.Usage, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if m.state != compute.Running {
		return compute.Usage{}, false
	}
	now := time.Now()
	up, load := now.Sub(m.since), d.opts.Load
	network, disk := int64(load.Network*up.Seconds()), int64(load.Disk*up.Seconds())
	return compute.Usage{
		ID: m.id(), Run: int64(m.booted), At: now, VCPUs: int(m.vcpus),
		CPU:             time.Duration(float64(m.vcpus) * d.worked(m, up) * float64(time.Second)),
		AvailableMemory: int64(m.memoryMB) << 20 / 2,
		NetworkIn:       network, NetworkOut: network, DiskRead: disk, DiskWritten: disk, DiskReads: disk / operation, DiskWrites: disk / operation,
	}, true
}

// worked returns how many seconds each vCPU has worked after so long: the
// integral of a mean with a sine on top, whose phase is the machine's own.
func (d *Driver) worked(m *machine, up time.Duration) float64 {
	l, t := d.opts.Load, up.Seconds()
	percent := l.CPU * t
	if l.Swing > 0 {
		const parts = 1 << 20
		phase := 2 * math.Pi * float64(jitter(d.opts.Seed, m, parts)) / parts
		turns := 2 * math.Pi / l.Period.Seconds()
		percent += l.Swing / turns * (math.Cos(phase) - math.Cos(turns*t+phase))
	}
	return percent / 100
}
