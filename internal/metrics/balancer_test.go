package metrics_test

import (
	"math"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/muster-vm/muster/internal/metrics"
	"github.com/muster-vm/muster/internal/vmss"
)

var (
	web  = metrics.Part{Frontend: netip.MustParseAddr("10.0.0.9"), FrontendPort: 80}
	well = metrics.Part{Frontend: netip.MustParseAddr("10.0.0.9"), FrontendPort: 80, Backend: netip.MustParseAddr("10.0.0.4"), BackendPort: 8080, Protocol: "Tcp"}
)

func sampleOf(p metrics.Part, m metrics.BalancerMetric, value float64) metrics.BalancerSample {
	return metrics.BalancerSample{Part: p, Metric: m, Value: value}
}

// TestASeriesOfABalancerIsItsSamplesOfTwoHours draws samples in order of time, of
// which many minutes are equal.
func TestASeriesOfABalancerIsItsSamplesOfTwoHours(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := metrics.NewRecorder(0, &metrics.Memory{})
		now := midnight
		var all []metrics.Point
		for range rapid.IntRange(1, 400).Draw(t, "samples") {
			value := float64(rapid.SampledFrom([]int{0, 100, 100, 100}).Draw(t, "value"))
			r.Balancer("lb", now, []metrics.BalancerSample{sampleOf(web, metrics.VipAvailability, value)})
			all = append(all, metrics.PointOf(now, value))
			now = now.Add(time.Duration(rapid.SampledFrom([]int{10, 10, 60, 60, 60, 200}).Draw(t, "seconds")) * time.Second)
		}
		newest := all[len(all)-1].At.Truncate(time.Minute)
		w := metrics.Window{From: newest.Add(-metrics.Kept), To: now.Add(time.Hour), Grain: time.Minute}
		got := r.BalancerSeries("lb", metrics.VipAvailability, w)
		if diff := cmp.Diff([]metrics.BalancerSeries{{Part: web, Points: metrics.Roll(all, w)}}, got, cmp.Comparer(func(x, y netip.Addr) bool { return x == y })); diff != "" {
			t.Errorf("(-samples +series):\n%s", diff)
		}
		w.From = midnight
		if got := r.BalancerSeries("lb", metrics.VipAvailability, w); len(got[0].Points) > 121 {
			t.Errorf("%d minutes are kept", len(got[0].Points))
		}
	})
}

func TestPartsAndMetricsOfABalancerAreApart(t *testing.T) {
	r := metrics.NewRecorder(0, &metrics.Memory{})
	other := well
	other.Backend = other.Backend.Next()
	for i := range 12 {
		r.Balancer("lb", midnight.Add(time.Duration(i)*10*time.Second), []metrics.BalancerSample{
			sampleOf(other, metrics.DipAvailability, 0), sampleOf(well, metrics.DipAvailability, 100), sampleOf(web, metrics.ByteCount, 1000), sampleOf(web, metrics.PacketCount, math.NaN())})
	}
	w := metrics.Window{From: midnight, To: midnight.Add(time.Hour), Grain: 5 * time.Minute}
	probes := r.BalancerSeries("lb", metrics.DipAvailability, w)
	if len(probes) != 2 || probes[0].Part != well || probes[0].Points[0].Value(metrics.Average) != 100 || probes[1].Part != other || probes[1].Points[0].Value(metrics.Average) != 0 {
		t.Errorf("probes: %+v", probes)
	}
	if bytes := r.BalancerSeries("lb", metrics.ByteCount, w); len(bytes) != 1 || bytes[0].Points[0].Value(metrics.Total) != 12_000 {
		t.Errorf("bytes: %+v", bytes)
	}
	for name, got := range map[string][]metrics.BalancerSeries{
		"a value that is no number": r.BalancerSeries("lb", metrics.PacketCount, w), "nothing": r.BalancerSeries("lb", metrics.SnatConnectionCount, w),
		"another balancer": r.BalancerSeries("none", metrics.ByteCount, w),
	} {
		if len(got) > 0 {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestASampleOfABalancerThatComesTooLateIsLeftOut(t *testing.T) {
	r := metrics.NewRecorder(0, &metrics.Memory{})
	for _, minute := range []int{0, 2, 1, 2} {
		r.Balancer("lb", midnight.Add(time.Duration(minute)*time.Minute), []metrics.BalancerSample{sampleOf(web, metrics.SYNCount, 1)})
	}
	got := r.BalancerSeries("lb", metrics.SYNCount, metrics.Window{From: midnight, To: midnight.Add(time.Hour), Grain: time.Minute})
	want := []metrics.Point{metrics.PointOf(midnight, 1), {At: midnight.Add(2 * time.Minute), Sum: 2, Min: 1, Max: 1, Count: 2}}
	if diff := cmp.Diff(want, got[0].Points); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWhatABalancerHadGoesTwoHoursLater(t *testing.T) {
	r := metrics.NewRecorder(0, &metrics.Memory{})
	r.Balancer("lb", midnight, []metrics.BalancerSample{sampleOf(web, metrics.SYNCount, 1)})
	w := metrics.Window{From: midnight, To: midnight.Add(time.Hour), Grain: time.Minute}
	for _, tt := range []struct {
		at   time.Duration
		want int
	}{{metrics.Kept, 1}, {metrics.Kept + 20*time.Minute, 0}} {
		if err := r.Sweep(midnight.Add(tt.at), func(vmss.UID) bool { return true }); err != nil {
			t.Fatal(err)
		}
		if got := r.BalancerSeries("lb", metrics.SYNCount, w); len(got) != tt.want {
			t.Errorf("after %s there are %d series", tt.at, len(got))
		}
	}
}

func TestEveryMetricOfABalancerIsDefined(t *testing.T) {
	for _, m := range metrics.AllOfBalancers() {
		d := m.Definition()
		if d.Name == "" || d.Shown() == d.Name || d.Description == "" || d.Unit == "" || len(m.Dimensions()) == 0 {
			t.Errorf("%d: %+v", m, d)
		}
		for _, dimension := range m.Dimensions() {
			if well.Value(dimension) == "" {
				t.Errorf("%s has no %s", m, dimension)
			}
		}
	}
}
