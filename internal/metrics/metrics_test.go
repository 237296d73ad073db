package metrics_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/muster-vm/muster/internal/metrics"
	"github.com/muster-vm/muster/internal/metrics/metricstest"
	"github.com/muster-vm/muster/internal/vmss"
)

var midnight = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

func TestMemoryConforms(t *testing.T) {
	metricstest.Run(t, func(*testing.T) metricstest.Fixture { return metricstest.Fixture{Archive: &metrics.Memory{}} })
}

func TestMemoryForgetsWhatIsOlderThanItKeeps(t *testing.T) {
	a := &metrics.Memory{Keep: time.Hour}
	for i := range 120 {
		s := metrics.Summary{At: midnight.Add(time.Duration(i) * time.Minute)}
		s.Points[metrics.PercentageCPU] = metrics.PointOf(s.At, 1)
		if err := a.Append("s", []metrics.Summary{s}); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Sweep(midnight.Add(2*time.Hour), func(vmss.UID) bool { return true }); err != nil {
		t.Fatal(err)
	}
	got, err := a.Points("s", metrics.PercentageCPU, midnight, midnight.Add(3*time.Hour))
	if err != nil || len(got) != 60 || !got[0].At.Equal(midnight.Add(time.Hour)) {
		t.Errorf("got %d points (%v), want those of the last hour", len(got), err)
	}
}

// samples draws samples within three hours of midnight; values are whole, so
// that sums are exact in any order.
func samples(t *rapid.T) []metrics.Point {
	return rapid.SliceOf(rapid.Custom(func(t *rapid.T) metrics.Point {
		at := midnight.Add(time.Duration(rapid.IntRange(0, 3*3600).Draw(t, "second")) * time.Second)
		return metrics.PointOf(at, float64(rapid.IntRange(-1000, 1000).Draw(t, "value")))
	})).Draw(t, "samples")
}

func windowFor(t *rapid.T, grain time.Duration) metrics.Window {
	from := midnight.Add(time.Duration(rapid.IntRange(0, 60).Draw(t, "from")) * time.Minute)
	return metrics.Window{From: from, To: from.Add(time.Duration(rapid.IntRange(0, 180).Draw(t, "length")) * time.Minute), Grain: grain}
}

func TestRollLosesNothingAndInventsNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all, w := samples(t), windowFor(t, time.Duration(rapid.IntRange(1, 90).Draw(t, "grain"))*time.Minute)
		var want metrics.Point
		for _, s := range all {
			if !s.At.Before(w.From) && s.At.Before(w.To) {
				want = want.Add(s)
			}
		}
		rolled := metrics.Roll(all, w)
		if diff := cmp.Diff(want, metrics.Whole(rolled), cmpopts.IgnoreFields(metrics.Point{}, "At")); diff != "" {
			t.Errorf("(-samples +rolled):\n%s", diff)
		}
		if len(rolled) > w.Grains() {
			t.Errorf("%d points in %d grains", len(rolled), w.Grains())
		}
		for i, p := range rolled {
			switch {
			case p.Count == 0:
				t.Errorf("a grain without samples is not absent: %+v", p)
			case p.At.Sub(w.From)%w.Grain != 0 || i > 0 && !p.At.After(rolled[i-1].At):
				t.Errorf("point %d is at %s", i, p.At)
			case p.Min > p.Value(metrics.Average) || p.Max < p.Value(metrics.Average):
				t.Errorf("the average is not between the least and the most: %+v", p)
			}
		}
	})
}

func TestTheOrderOfSamplesDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all, w := samples(t), windowFor(t, 5*time.Minute)
		want := metrics.Roll(all, w)
		rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		if diff := cmp.Diff(want, metrics.Roll(all, w)); diff != "" {
			t.Errorf("(-before +after a shuffle):\n%s", diff)
		}
	})
}

func TestRollingUpInStepsIsRollingUpAtOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all, w := samples(t), windowFor(t, 30*time.Minute)
		fine := w
		fine.Grain = rapid.SampledFrom([]time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute}).Draw(t, "grain")
		if diff := cmp.Diff(metrics.Roll(all, w), metrics.Roll(metrics.Roll(all, fine), w)); diff != "" {
			t.Errorf("(-at once +in steps):\n%s", diff)
		}
	})
}

// record has a recorder take in a value of every metric for each of n instances,
// at each step of a time.
func record(t testing.TB, r *metrics.Recorder, n, steps int, value func(instance, step int) float32) {
	t.Helper()
	for step := range steps {
		for i := range n {
			v := metrics.Nothing()
			for m := range v {
				v[m] = value(i, step)
			}
			if err := r.Record(vmss.InstanceKey{Set: "s", ID: vmss.InstanceID(i)}, midnight.Add(time.Duration(step)*r.Step()), v); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestASetSumsUpItsInstances(t *testing.T) {
	r := metrics.NewRecorder(0, &metrics.Memory{})
	record(t, r, 4, 90, func(instance, _ int) float32 { return float32(10 * instance) }) // a quarter of an hour
	w := metrics.Window{From: midnight, To: midnight.Add(time.Hour), Grain: 5 * time.Minute}
	got, err := r.Set("s", metrics.PercentageCPU, w)
	if err != nil || len(got) != 3 {
		t.Fatalf("got %v, %v; want three grains", got, err)
	}
	for _, p := range got {
		if want := (metrics.Point{At: p.At, Sum: 30 * 60, Min: 0, Max: 30, Count: 4 * 30}); p != want {
			t.Errorf("got %+v, want %+v", p, want)
		}
	}
	if got, err := r.Set("other", metrics.PercentageCPU, w); err != nil || len(got) > 0 {
		t.Errorf("a set without samples has %v, %v", got, err)
	}
}

func TestAnInstanceKeepsTwoHoursWithGaps(t *testing.T) {
	r := metrics.NewRecorder(0, &metrics.Memory{})
	key := vmss.InstanceKey{Set: "s", ID: 1}
	nan := float32(math.NaN())
	record(t, r, 2, 3*360, func(_, step int) float32 {
		if step%6 >= 3 {
			return nan
		}
		return float32(step)
	})
	end := midnight.Add(3 * time.Hour)
	got := r.Instance(key, metrics.NetworkIn, metrics.Window{From: midnight, To: end, Grain: time.Minute})
	if len(got) < 120 || len(got) > 125 {
		t.Fatalf("got %d minutes, want two hours and at most a block more", len(got))
	}
	for i, p := range got {
		first := float64(6 * (180 - len(got) + i))
		if want := (metrics.Point{At: p.At, Sum: 3*first + 3, Min: first, Max: first + 2, Count: 3}); p != want {
			t.Fatalf("minute %d: got %+v, want %+v", i, p, want)
		}
	}
	if err := r.Sweep(end.Add(3*time.Hour), func(vmss.UID) bool { return true }); err != nil {
		t.Fatal(err)
	}
	if n, _ := r.Size(); n != 0 {
		t.Errorf("%d instances have rings hours after the last sample", n)
	}
}

func TestARingIsSmallAndThatOfAnIdleInstanceTiny(t *testing.T) {
	const day = 24 * 360
	busy, idle := metrics.NewRecorder(0, &metrics.Memory{}), metrics.NewRecorder(0, &metrics.Memory{})
	record(t, busy, 1, day, func(_, step int) float32 { return float32(step) })
	record(t, idle, 1, day, func(int, int) float32 { return 3 })
	_, most := busy.Size()
	_, least := idle.Size()
	t.Logf("a busy instance takes %d bytes, an idle one %d", most, least)
	if most > 3200*metrics.Metrics || least > 3200 {
		t.Errorf("%d and %d bytes, want at most 3.2 KB a metric, and 3.2 KB", most, least)
	}
}

func TestTheNewestMinuteIsOneThatIsWholeAndRecent(t *testing.T) {
	r := metrics.NewRecorder(0, &metrics.Memory{})
	if _, ok := r.Newest("s", midnight); ok {
		t.Error("there is a newest minute of nothing")
	}
	record(t, r, 1, 15, func(_, step int) float32 { return float32(step) }) // two minutes and a half
	last := midnight.Add(2 * time.Minute)
	got, ok := r.Newest("s", last.Add(30*time.Second))
	if want := (metrics.Point{At: midnight.Add(time.Minute), Sum: 6 + 7 + 8 + 9 + 10 + 11, Min: 6, Max: 11, Count: 6}); !ok || got.Points[metrics.PercentageCPU] != want {
		t.Errorf("got %+v, %v; want %+v", got.Points[metrics.PercentageCPU], ok, want)
	}
	if _, ok := r.Newest("s", last.Add(4*time.Minute)); ok {
		t.Error("a set that stands still has a newest minute")
	}
}

// slow is an archive that a minute moves to while it is asked.
type slow struct {
	metrics.Memory
	meanwhile func()
}

// Points implements metrics.Archive.
func (s *slow) Points(set vmss.UID, m metrics.Metric, from, to time.Time) ([]metrics.Point, error) {
	if f := s.meanwhile; f != nil {
		s.meanwhile = nil
		f()
	}
	return s.Memory.Points(set, m, from, to)
}

func TestAMinuteThatIsArchivedMeanwhileCountsOnce(t *testing.T) {
	a := &slow{}
	r := metrics.NewRecorder(0, a)
	record(t, r, 1, 12, func(int, int) float32 { return 1 }) // two minutes, both open
	a.meanwhile = func() {
		v := metrics.Nothing()
		v[metrics.PercentageCPU] = 1
		if err := r.Record(vmss.InstanceKey{Set: "s"}, midnight.Add(2*time.Minute), v); err != nil {
			t.Error(err)
		}
	}
	got, err := r.Set("s", metrics.PercentageCPU, metrics.Window{From: midnight, To: midnight.Add(2 * time.Minute), Grain: time.Minute})
	if err != nil || len(got) != 2 || got[0].Count != 6 || got[1].Count != 6 {
		t.Errorf("got %+v, %v; want two minutes of six samples", got, err)
	}
}

func BenchmarkRecord(b *testing.B) {
	r := metrics.NewRecorder(0, &metrics.Memory{})
	v := metrics.Values{}
	i := 0
	for b.Loop() {
		i++
		key := vmss.InstanceKey{Set: "s", ID: vmss.InstanceID(i % 100_000)}
		if err := r.Record(key, midnight.Add(time.Duration(i/100_000)*r.Step()), v); err != nil {
			b.Fatal(err)
		}
	}
}
