package metrics

import (
	"cmp"
	"errors"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/muster-vm/muster/internal/vmss"
)

const (
	// Step is how often instances are sampled, if nobody says otherwise.
	Step = 10 * time.Second
	// Kept is how long the samples of an instance are kept.
	Kept = 2 * time.Hour
)

// Recorder takes the samples of all instances and load balancers of this process in. Make it with
// NewRecorder; Close it when no more come.
type Recorder struct {
	step    time.Duration
	archive Archive

	mu    sync.Mutex
	rings map[vmss.InstanceKey]*ring
	open  map[vmss.UID][]Summary // minutes that may get more samples, the oldest first
	swept time.Time

	balancers balancers
}

// NewRecorder returns a recorder of samples that come every step; zero stands
// for Step. Closing it closes the archive.
func NewRecorder(step time.Duration, archive Archive) *Recorder {
	return &Recorder{step: cmp.Or(step, Step), archive: archive, rings: map[vmss.InstanceKey]*ring{}, open: map[vmss.UID][]Summary{}}
}

// Step returns how often samples come.
func (r *Recorder) Step() time.Duration { return r.step }

// Retention returns how long the series of sets are kept.
func (r *Recorder) Retention() time.Duration { return r.archive.Retention() }

// Record takes in one sample of an instance. There is one a step: a second one
// takes the first one's place in the instance's ring.
func (r *Recorder) Record(key vmss.InstanceKey, at time.Time, v Values) error {
	slot := slotOf(at, r.step)
	r.mu.Lock()
	defer r.mu.Unlock()
	own := r.rings[key]
	if own == nil {
		own = newRing(slot)
		r.rings[key] = own
	}
	own.put(slot, v, slot-int64(Kept/r.step))
	return r.add(key.Set, timeOf(slot, r.step).Truncate(Minute), v)
}

// add counts a sample into its minute of the set, and archives minutes that get
// no more. A sample that comes too late for its minute is left out.
func (r *Recorder) add(set vmss.UID, minute time.Time, v Values) (err error) {
	open := r.open[set]
	if n := len(open); n == 0 || open[n-1].At.Before(minute) {
		if n > 1 {
			err = r.archive.Append(set, open[:n-1])
			open = append(open[:0], open[n-1])
		}
		open = append(open, Summary{At: minute})
		r.open[set] = open
	}
	for i := len(open) - 1; i >= 0; i-- {
		if !open[i].At.Equal(minute) {
			continue
		}
		for m := range v {
			if value := float64(v[m]); !math.IsNaN(value) {
				open[i].Points[m] = open[i].Points[m].Add(PointOf(minute, value))
			}
		}
	}
	return err
}

// Set returns a metric of a set, summed up over its instances in the grains of
// the window, which are not finer than Minute. Samples come in meanwhile.
func (r *Recorder) Set(set vmss.UID, m Metric, w Window) ([]Point, error) {
	r.mu.Lock()
	open := slices.Clone(r.open[set])
	r.mu.Unlock()
	points, err := r.archive.Points(set, m, w.From, w.To)
	if err != nil {
		return nil, err
	}
	for _, s := range open {
		if n := len(points); n == 0 || points[n-1].At.Before(s.At) { // else it was archived since
			points = append(points, s.Points[m])
		}
	}
	return Roll(points, w), nil
}

// fresh is how old the newest minute of a set may be to say how the set is now.
const fresh = 3 * Minute

// Newest returns the last minute of a set that gets no more samples, or, before
// there is one, the minute that began first; false if nothing was sampled lately.
func (r *Recorder) Newest(set vmss.UID, now time.Time) (Summary, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	open := r.open[set]
	if len(open) == 0 || now.Sub(open[len(open)-1].At) > fresh {
		return Summary{}, false
	}
	return open[max(0, len(open)-2)], true
}

// Instance returns a metric of an instance in the grains of the window.
func (r *Recorder) Instance(key vmss.InstanceKey, m Metric, w Window) []Point {
	r.mu.Lock()
	defer r.mu.Unlock()
	own := r.rings[key]
	if own == nil {
		return nil
	}
	return Roll(own.points(m, slotOf(w.From, r.step), slotOf(w.To.Add(r.step-1), r.step), r.step), w)
}

// sweepEvery is how often Sweep does something.
const sweepEvery = 10 * time.Minute

// Sweep lets go of what is too old, and of what is about sets that do not exist
// any more. It may be called often.
func (r *Recorder) Sweep(now time.Time, exists func(vmss.UID) bool) error {
	due, err := r.sweep(now, exists)
	if !due {
		return nil
	}
	r.balancers.sweep(now)
	return errors.Join(err, r.archive.Sweep(now, exists)) // it may take long; samples come in meanwhile
}

// sweep lets go of what the recorder itself holds, if it is time to.
func (r *Recorder) sweep(now time.Time, exists func(vmss.UID) bool) (due bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.swept) < sweepEvery {
		return false, nil
	}
	r.swept = now
	oldest := slotOf(now.Add(-Kept), r.step)
	for key, own := range r.rings {
		if own.newest < oldest || !exists(key.Set) {
			delete(r.rings, key)
		}
	}
	var errs []error
	for set, open := range r.open {
		switch {
		case !exists(set):
			delete(r.open, set)
		case now.Sub(open[len(open)-1].At) > sweepEvery: // it runs nothing any more
			errs = append(errs, r.archive.Append(set, open))
			delete(r.open, set)
		}
	}
	return true, errors.Join(errs...)
}

// Size returns how many instances have a ring, and about how many bytes the
// rings take.
func (r *Recorder) Size() (instances, bytes int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, own := range r.rings {
		bytes += own.size()
	}
	return len(r.rings), bytes
}

// Close archives what there is.
func (r *Recorder) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	for set, open := range r.open {
		errs = append(errs, r.archive.Append(set, open))
	}
	clear(r.open)
	return errors.Join(append(errs, r.archive.Close())...)
}
