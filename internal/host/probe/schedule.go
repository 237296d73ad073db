package probe

import (
	"container/heap"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/muster-vm/muster/internal/network"
)

const (
	shortest = 10 * time.Millisecond // interval, whatever the probe says
	longest  = 30 * time.Second      // wait for an answer, likewise
	spread   = time.Second           // over which new targets are asked first, at most
)

// interval returns how often a target is asked.
func interval(p network.Probe) time.Duration { return max(p.Interval, shortest) }

// timeout returns how long an answer may take.
func timeout(p network.Probe) time.Duration { return min(interval(p), longest) }

// place says when a target is asked, such that many targets are not asked at once.
// Equal targets have equal places.
type place struct {
	delay time.Duration // of the first question
	phase time.Duration // in the interval, of the clock, of all others
}

func placeOf(t network.Target) place {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s %s %s %d %s", t.Network, t.Address, t.Probe.Protocol, t.Probe.Port, t.Probe.Path)
	sum, every := h.Sum64(), interval(t.Probe)
	return place{delay: fraction(uint32(sum>>32), min(every, spread)), phase: fraction(uint32(sum), every)}
}

// fraction returns the part of d that n is of 2^32.
func fraction(n uint32, d time.Duration) time.Duration {
	return time.Duration(float64(n) / (1 << 32) * float64(d))
}

// after returns the first time after t, by at most the interval, at which a target
// is asked.
func (p place) after(t time.Time, every time.Duration) time.Time {
	into := (time.Duration(t.UnixNano())%every - p.phase + every) % every
	return t.Add(every - into)
}

// queue has the targets that wait for their time, the next one first.
type queue []*target

var _ heap.Interface = (*queue)(nil)

// Len implements heap.Interface.
func (q queue) Len() int { return len(q) }

// Less implements heap.Interface.
func (q queue) Less(i, j int) bool { return q[i].due.Before(q[j].due) }

// Swap implements heap.Interface.
func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

// Push implements heap.Interface.
func (q *queue) Push(x any) {
	t := x.(*target)
	t.index = len(*q)
	*q = append(*q, t)
}

// Pop implements heap.Interface.
func (q *queue) Pop() any {
	last := len(*q) - 1
	t := (*q)[last]
	(*q)[last] = nil
	*q, t.index = (*q)[:last], nowhere
	return t
}
