package host

import (
	"context"
	"maps"
	"math"
	"time"

	"github.com/muster-vm/muster/internal/host/compute"
	"github.com/muster-vm/muster/internal/metrics"
	"github.com/muster-vm/muster/internal/vmss"
)

// sampler makes samples out of what the driver's machines have used. A sample
// is about the time since the last round, so a machine is sampled from its
// second round on.
type sampler struct {
	meter  compute.Meter
	last   map[vmss.InstanceKey]reading
	rounds int64
}

// reading is what a machine had used in a round.
type reading struct {
	compute.Usage
	round int64
}

// sample meters all machines, round after round, until ctx is done. Without a
// recorder, or a driver that can meter, it does nothing.
func (h *Host) sample(ctx context.Context) {
	meter, ok := h.Driver.(compute.Meter)
	if h.Metrics == nil || !ok {
		return
	}
	s := &sampler{meter: meter, last: map[vmss.InstanceKey]reading{}}
	begin, step := time.Now(), h.Metrics.Step()
	tick := time.NewTicker(step)
	defer tick.Stop()
	exists := func(uid vmss.UID) bool {
		_, ok := h.Store.SetByUID(uid)
		return ok
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := time.Now()
		round := begin.Add(now.Sub(begin).Truncate(step)) // a late round has its own time, never the next one's
		err := s.round(ctx, round, h.Metrics.Record)
		if e := h.Metrics.Sweep(now, exists); err == nil {
			err = e
		}
		if err != nil {
			h.Log.WarnContext(ctx, "metrics cannot be kept", "host", h.Name, "err", err)
		}
	}
}

// round samples every machine that runs, and forgets those that do not. It
// returns the first failure to record, having recorded all it could.
func (s *sampler) round(ctx context.Context, at time.Time, record func(vmss.InstanceKey, time.Time, metrics.Values) error) (failure error) {
	s.rounds++
	for u := range s.meter.Meter(ctx) {
		key := keyOf(u.ID)
		before, ok := s.last[key]
		s.last[key] = reading{u, s.rounds} // in place: another map a round is garbage that counts at 100,000 machines
		if !ok || before.Run != u.Run || !u.At.After(before.At) {
			continue
		}
		if err := record(key, at, sampleOf(before.Usage, u)); err != nil && failure == nil {
			failure = err
		}
	}
	if ctx.Err() == nil {
		maps.DeleteFunc(s.last, func(_ vmss.InstanceKey, r reading) bool { return r.round != s.rounds })
	}
	return failure
}

// sampleOf is what happened between two readings of one run.
func sampleOf(before, now compute.Usage) metrics.Values {
	v := metrics.Nothing()
	seconds := now.At.Sub(before.At).Seconds()
	put := func(m metrics.Metric, from, to int64, per float64) {
		if from >= 0 && to >= from {
			v[m] = float32(float64(to-from) / per)
		}
	}
	if now.CPU >= before.CPU && before.CPU >= 0 && now.VCPUs > 0 {
		percent := 100 * (now.CPU - before.CPU).Seconds() / seconds / float64(now.VCPUs)
		v[metrics.PercentageCPU] = float32(math.Round(1000*min(percent, 100)) / 1000) // what serves the vCPUs may work beside them
	}
	if now.AvailableMemory >= 0 {
		v[metrics.AvailableMemory] = float32(now.AvailableMemory)
	}
	put(metrics.NetworkIn, before.NetworkIn, now.NetworkIn, 1)
	put(metrics.NetworkOut, before.NetworkOut, now.NetworkOut, 1)
	put(metrics.DiskReadBytes, before.DiskRead, now.DiskRead, 1)
	put(metrics.DiskWriteBytes, before.DiskWritten, now.DiskWritten, 1)
	put(metrics.DiskReadOperations, before.DiskReads, now.DiskReads, seconds)
	put(metrics.DiskWriteOperations, before.DiskWrites, now.DiskWrites, seconds)
	return v
}
