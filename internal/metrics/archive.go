package metrics

import (
	"cmp"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/muster-vm/muster/internal/vmss"
)

// Minute is the grain that sets are archived in.
const Minute = time.Minute

// Archive keeps the series of scale sets, by the minute. It is safe for
// concurrent use.
type Archive interface {
	// Append takes in minutes of a set: a point of each metric, one without
	// samples for none. They come in order of time. The newest minute may come
	// again, from a server that was restarted in it: what is there stays.
	Append(set vmss.UID, minutes []Summary) error
	// Points returns what there is from a time up to another, which is not
	// included, in order of time.
	Points(set vmss.UID, m Metric, from, to time.Time) ([]Point, error)
	// Sweep lets go of what is older than the archive keeps, and of sets that
	// do not exist any more.
	Sweep(now time.Time, exists func(vmss.UID) bool) error
	// Retention is how long minutes are kept.
	Retention() time.Duration
	// Close writes down what is not yet.
	Close() error
}

// Summary is a minute of every metric.
type Summary struct {
	At     time.Time
	Points [Metrics]Point
}

// Memory is an archive that is lost with the process. The zero value keeps a
// day.
type Memory struct {
	Keep time.Duration // zero for a day

	mu   sync.Mutex
	sets map[vmss.UID]*[Metrics][]minute
}

var _ Archive = (*Memory)(nil)

// minute is a point as it is kept.
type minute struct {
	sum      float64
	number   int32 // since 1970
	count    int32
	min, max float32
}

// Retention implements Archive.
func (a *Memory) Retention() time.Duration { return cmp.Or(a.Keep, 24*time.Hour) }

// Append implements Archive.
func (a *Memory) Append(set vmss.UID, minutes []Summary) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.sets == nil {
		a.sets = map[vmss.UID]*[Metrics][]minute{}
	}
	series := a.sets[set]
	if series == nil {
		series = &[Metrics][]minute{}
		a.sets[set] = series
	}
	for _, s := range minutes {
		for m, p := range s.Points {
			if n := len(series[m]); p.Count > 0 && (n == 0 || series[m][n-1].number < numberOf(s.At)) {
				series[m] = append(series[m], minute{sum: p.Sum, number: numberOf(s.At), count: int32(p.Count), min: float32(p.Min), max: float32(p.Max)})
			}
		}
	}
	return nil
}

func numberOf(t time.Time) int32 {
	return int32(min(max(t.Unix()/60, math.MinInt32), math.MaxInt32))
}

// Points implements Archive.
func (a *Memory) Points(set vmss.UID, m Metric, from, to time.Time) ([]Point, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	series := a.sets[set]
	if series == nil {
		return nil, nil
	}
	var all []Point
	first, _ := slices.BinarySearchFunc(series[m], from, func(p minute, t time.Time) int { return p.at().Compare(t) })
	for _, p := range series[m][first:] {
		if !p.at().Before(to) {
			break
		}
		all = append(all, p.point())
	}
	return all, nil
}

func (p minute) at() time.Time { return time.Unix(60*int64(p.number), 0).UTC() }

func (p minute) point() Point {
	return Point{At: p.at(), Sum: p.sum, Min: float64(p.min), Max: float64(p.max), Count: float64(p.count)}
}

// Sweep implements Archive.
func (a *Memory) Sweep(now time.Time, exists func(vmss.UID) bool) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	oldest := now.Add(-a.Retention())
	for set, series := range a.sets {
		if !exists(set) {
			delete(a.sets, set)
			continue
		}
		for m := range series {
			series[m] = slices.DeleteFunc(series[m], func(p minute) bool { return p.at().Before(oldest) })
		}
	}
	return nil
}

// Close implements Archive.
func (a *Memory) Close() error { return nil }
