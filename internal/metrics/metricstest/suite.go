// Package metricstest is the conformance suite of metrics.Archive.
package metricstest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-vm/muster/internal/metrics"
	"github.com/muster-vm/muster/internal/vmss"
)

// Fixture is an archive under test, without series.
type Fixture struct {
	Archive metrics.Archive
	// Reopen (optional) closes the archive and opens another over the same
	// series, as a server does that is restarted.
	Reopen func() metrics.Archive
}

const set, other = vmss.UID("11111111-1111-1111-1111-111111111111"), vmss.UID("22222222-2222-2222-2222-222222222222")

// begin is a recent minute, on the hour.
var begin = time.Now().UTC().Truncate(time.Hour).Add(-6 * time.Hour)

// minutes returns n minutes from the nth one on. The value tells them apart.
func minutes(from, n int) (all []metrics.Summary) {
	for i := from; i < from+n; i++ {
		s := metrics.Summary{At: begin.Add(time.Duration(i) * time.Minute)}
		s.Points[metrics.PercentageCPU] = metrics.Point{At: s.At, Sum: float64(2 * i), Min: float64(i) / 2, Max: float64(i) * 1.5, Count: 2}
		if i%2 == 0 {
			s.Points[metrics.NetworkIn] = metrics.PointOf(s.At, float64(i)*1e9)
		}
		all = append(all, s)
	}
	return all
}

// Run checks an archive. Each call of open returns one of its own.
func Run(t *testing.T, open func(t *testing.T) Fixture) {
	for _, c := range []struct {
		name string
		do   func(t *testing.T, f Fixture)
	}{
		{"WhatWasAppendedIsFound", found},
		{"AMinuteThatComesAgainChangesNothing", again},
		{"AWindowHasItsBeginAndNotItsEnd", window},
		{"SetsAreApart", apart},
		{"SeriesOutliveARestart", restart},
		{"SeriesOfSetsThatAreGoneGo", gone},
	} {
		t.Run(c.name, func(t *testing.T) { c.do(t, open(t)) })
	}
}

func appendTo(t *testing.T, a metrics.Archive, uid vmss.UID, all []metrics.Summary) {
	t.Helper()
	if err := a.Append(uid, all); err != nil {
		t.Fatal(err)
	}
}

// span is the minutes from one up to another.
type span struct{ from, to int }

// expect compares what the archive has of a span.
func expect(t *testing.T, a metrics.Archive, m metrics.Metric, of span, want []metrics.Point) {
	t.Helper()
	got, err := a.Points(set, m, begin.Add(time.Duration(of.from)*time.Minute), begin.Add(time.Duration(of.to)*time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, append([]metrics.Point(nil), got...)); diff != "" {
		t.Errorf("%s, minutes %d to %d (-want +got):\n%s", m, of.from, of.to, diff)
	}
}

func points(m metrics.Metric, all []metrics.Summary) (points []metrics.Point) {
	for _, s := range all {
		if s.Points[m].Count > 0 {
			points = append(points, s.Points[m])
		}
	}
	return points
}

func found(t *testing.T, f Fixture) {
	expect(t, f.Archive, metrics.PercentageCPU, span{0, 100}, nil)
	appendTo(t, f.Archive, set, minutes(0, 3))
	appendTo(t, f.Archive, set, minutes(5, 1))
	want := append(minutes(0, 3), minutes(5, 1)...)
	for _, m := range metrics.All() {
		expect(t, f.Archive, m, span{0, 100}, points(m, want))
	}
}

func again(t *testing.T, f Fixture) {
	appendTo(t, f.Archive, set, minutes(0, 3))
	other := metrics.Summary{At: minutes(2, 1)[0].At}
	other.Points[metrics.PercentageCPU] = metrics.PointOf(other.At, 99)
	appendTo(t, f.Archive, set, append([]metrics.Summary{other}, minutes(3, 2)...))
	expect(t, f.Archive, metrics.PercentageCPU, span{0, 10}, points(metrics.PercentageCPU, minutes(0, 5)))
}

func window(t *testing.T, f Fixture) {
	appendTo(t, f.Archive, set, minutes(0, 10))
	expect(t, f.Archive, metrics.PercentageCPU, span{3, 6}, points(metrics.PercentageCPU, minutes(3, 3)))
	expect(t, f.Archive, metrics.PercentageCPU, span{6, 3}, nil)
	expect(t, f.Archive, metrics.PercentageCPU, span{10, 20}, nil)
}

func apart(t *testing.T, f Fixture) {
	appendTo(t, f.Archive, other, minutes(0, 10))
	expect(t, f.Archive, metrics.PercentageCPU, span{0, 10}, nil)
}

func restart(t *testing.T, f Fixture) {
	if f.Reopen == nil {
		t.Skip("it is lost with the process")
	}
	appendTo(t, f.Archive, set, minutes(0, 5))
	again := f.Reopen()
	appendTo(t, again, set, minutes(5, 2))
	expect(t, again, metrics.PercentageCPU, span{0, 10}, points(metrics.PercentageCPU, minutes(0, 7)))
}

func gone(t *testing.T, f Fixture) {
	appendTo(t, f.Archive, set, minutes(0, 5))
	appendTo(t, f.Archive, other, minutes(0, 5))
	if err := f.Archive.Sweep(begin.Add(time.Hour), func(uid vmss.UID) bool { return uid == set }); err != nil {
		t.Fatal(err)
	}
	expect(t, f.Archive, metrics.PercentageCPU, span{0, 10}, points(metrics.PercentageCPU, minutes(0, 5)))
	left, err := f.Archive.Points(other, metrics.PercentageCPU, begin, begin.Add(time.Hour))
	if err != nil || len(left) > 0 {
		t.Errorf("series of a set that does not exist: %v, %v", left, err)
	}
}
