package metrics

import (
	"cmp"
	"slices"
	"time"
)

// Point sums up samples. The zero Point, without samples, is absent data.
type Point struct {
	At            time.Time // when its grain begins
	Sum, Min, Max float64
	Count         float64 // of samples
}

// PointOf is the point of a single sample.
func PointOf(at time.Time, value float64) Point {
	return Point{At: at, Sum: value, Min: value, Max: value, Count: 1}
}

// Add sums up both points' samples. The time is that of p, if it has samples.
func (p Point) Add(o Point) Point {
	switch {
	case o.Count == 0:
		return p
	case p.Count == 0:
		return o
	}
	return Point{At: p.At, Sum: p.Sum + o.Sum, Min: min(p.Min, o.Min), Max: max(p.Max, o.Max), Count: p.Count + o.Count}
}

// Value returns one number of the point, which must have samples.
func (p Point) Value(a Aggregation) float64 {
	switch a {
	case Minimum:
		return p.Min
	case Maximum:
		return p.Max
	case Total:
		return p.Sum
	case Count:
		return p.Count
	case Average:
	}
	return p.Sum / p.Count
}

// Window is a span of time in grains. The first begins with the span, and the
// last may reach beyond its end; samples beyond it do not count.
type Window struct {
	From, To time.Time // To is not in it
	Grain    time.Duration
}

// Grains returns how many grains the window has.
func (w Window) Grains() int {
	if !w.To.After(w.From) || w.Grain <= 0 {
		return 0
	}
	return int((w.To.Sub(w.From) + w.Grain - 1) / w.Grain)
}

// Roll sums points up by the window's grains, in order of time. Grains without
// samples are absent. The order of points does not matter.
func Roll(points []Point, w Window) []Point {
	grains := map[int64]Point{}
	for _, p := range points {
		if p.Count == 0 || p.At.Before(w.From) || !p.At.Before(w.To) || w.Grain <= 0 {
			continue
		}
		n := int64(p.At.Sub(w.From) / w.Grain)
		p.At = w.From.Add(time.Duration(n) * w.Grain)
		grains[n] = grains[n].Add(p)
	}
	all := make([]Point, 0, len(grains))
	for _, p := range grains {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b Point) int { return cmp.Compare(a.At.UnixNano(), b.At.UnixNano()) })
	return all
}

// Whole sums all points up to one.
func Whole(points []Point) (whole Point) {
	for _, p := range points {
		whole = whole.Add(p)
	}
	return whole
}
