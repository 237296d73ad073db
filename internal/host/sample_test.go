package host

import (
	"context"
	"iter"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/muster-vm/muster/internal/host/compute"
	"github.com/muster-vm/muster/internal/metrics"
	"github.com/muster-vm/muster/internal/vmss"
)

func TestASampleIsWhatHappenedSinceTheLastRound(t *testing.T) {
	at := time.Unix(1_000_000, 0)
	before := compute.Usage{Run: 1, At: at, VCPUs: 2, CPU: time.Second, AvailableMemory: 7, NetworkIn: 100, NetworkOut: -1, DiskRead: 5, DiskWritten: 9, DiskReads: 10, DiskWrites: 0}
	now := compute.Usage{Run: 1, At: at.Add(10 * time.Second), VCPUs: 2, CPU: 6 * time.Second, AvailableMemory: -1, NetworkIn: 350, NetworkOut: 4, DiskRead: 5, DiskWritten: 3, DiskReads: 30, DiskWrites: 5}
	got := sampleOf(before, now)
	nan := float32(math.NaN())
	want := metrics.Values{
		metrics.PercentageCPU: 25, metrics.AvailableMemory: nan,
		metrics.NetworkIn: 250, metrics.NetworkOut: nan, // was unknown
		metrics.DiskReadBytes: 0, metrics.DiskWriteBytes: nan, // went down
		metrics.DiskReadOperations: 2, metrics.DiskWriteOperations: .5,
	}
	for m := range want {
		if got[m] != want[m] && !(got[m] != got[m] && want[m] != want[m]) {
			t.Errorf("%s: got %v, want %v", metrics.Metric(m), got[m], want[m])
		}
	}
	now.CPU = time.Hour
	if got := sampleOf(before, now)[metrics.PercentageCPU]; got != 100 {
		t.Errorf("more work than there are processors is %v %%, want 100", got)
	}
}

// script is a meter that tells what it was told to, a round at a time.
type script [][]compute.Usage

func (s *script) Meter(context.Context) iter.Seq[compute.Usage] {
	round := (*s)[0]
	*s = (*s)[1:]
	return slices.Values(round)
}

func TestOnlyTwoReadingsOfOneRunMakeASample(t *testing.T) {
	at := time.Unix(1_000_000, 0)
	usage := func(run int64, round int) compute.Usage {
		return compute.Usage{ID: compute.VMID{Set: "s", Instance: 1, Disks: 1}, Run: run, At: at.Add(time.Duration(round) * 10 * time.Second), VCPUs: 1}
	}
	meter := &script{{usage(1, 0)}, {usage(1, 1)}, {usage(2, 2)}, {usage(2, 3)}, {}, {usage(2, 5)}, {usage(2, 6)}}
	s := &sampler{meter: meter, last: map[vmss.InstanceKey]reading{}}
	var sampled []int
	for round := range 7 {
		err := s.round(t.Context(), at, func(vmss.InstanceKey, time.Time, metrics.Values) error {
			sampled = append(sampled, round)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if want := []int{1, 3, 6}; !slices.Equal(sampled, want) {
		t.Errorf("sampled in rounds %v, want %v: not in the first, after a restart, or after it was gone", sampled, want)
	}
}
