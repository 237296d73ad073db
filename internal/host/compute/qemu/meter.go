package qemu

import (
	"context"
	"iter"
	"time"

	"github.com/muster-vm/muster/internal/host/compute"
)

const (
	// meterLimit is how long QEMU, and then the guest's agent, may take to
	// answer for its figures.
	meterLimit = time.Second
	// agentPause is how long an agent that did not answer is left alone.
	agentPause = time.Minute
)

// Meter implements compute.Meter: processor time from the kernel, disks from
// QEMU, memory from the guest's agent, network from the taps.
func (d *Driver) Meter(ctx context.Context) iter.Seq[compute.Usage] {
	return func(yield func(compute.Usage) bool) {
		var traffic map[string][2]int64
		if taps, ok := d.opts.Taps.(Traffic); ok {
			var err error
			if traffic, err = taps.Bytes(ctx); err != nil {
				d.opts.Log.DebugContext(ctx, "traffic is not known", "err", err)
			}
		}
		for _, m := range d.sorted() {
			if ctx.Err() != nil {
				return
			}
			if u, ok := m.usage(ctx, traffic); ok && !yield(u) {
				return
			}
		}
	}
}

// usage returns what the machine has used, and false if it does not run.
func (m *machine) usage(ctx context.Context, traffic map[string][2]int64) (compute.Usage, bool) {
	m.mu.Lock()
	proc, s, rec := m.proc, m.session, m.rec
	running := proc != nil && s != nil && stateOf(rec, m.alive()) == compute.Running
	m.mu.Unlock()
	if !running {
		return compute.Usage{}, false
	}
	u := compute.Unknown(m.id)
	u.Run, u.VCPUs = proc.Run(), rec.Spec.VCPUs
	for i, card := range rec.Spec.NICs {
		bytes, known := traffic[card.Port]
		if !known {
			u.NetworkIn, u.NetworkOut = -1, -1
			break
		}
		if i == 0 {
			u.NetworkIn, u.NetworkOut = 0, 0
		}
		u.NetworkIn += bytes[0]
		u.NetworkOut += bytes[1]
	}
	s.meterDisks(ctx, &u)
	if !rec.Agentless {
		u.AvailableMemory = s.memory(ctx)
	}
	u.At = time.Now()
	if worked, err := proc.Worked(); err == nil {
		u.CPU = worked
	}
	return u, true
}

// meterDisks asks QEMU for what went through the disks.
func (s *session) meterDisks(ctx context.Context, u *compute.Usage) {
	ctx, cancel := context.WithTimeout(ctx, meterLimit)
	defer cancel()
	now, err := s.block.Stats(ctx)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	sum := s.tally.Sum(now)
	u.DiskRead, u.DiskWritten, u.DiskReads, u.DiskWrites = sum[0], sum[1], sum[2], sum[3]
}

// memory asks the guest how much memory is available, and returns -1 if it does
// not say. One that was silent is not asked again for a while.
func (s *session) memory(ctx context.Context) int64 {
	now := time.Now()
	s.mu.Lock()
	pausing := now.Before(s.noAgent)
	s.mu.Unlock()
	if pausing {
		return -1
	}
	ctx, cancel := context.WithTimeout(ctx, meterLimit)
	defer cancel()
	available, err := s.agent.AvailableMemory(ctx)
	if err != nil {
		s.mu.Lock()
		s.noAgent = now.Add(agentPause)
		s.mu.Unlock()
		return -1
	}
	return available
}
