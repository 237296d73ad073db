package metrics

import (
	"math"
	"time"
)

// blockLength is how many samples a block has.
const blockLength = 30

// ring holds the newest samples of one instance, in blocks. A sealed block
// holds a metric that did not change once instead of thirty times: an idle
// instance takes a twentieth of a busy one's memory.
type ring struct {
	first  int64 // slot of the head's first sample
	head   [Metrics][blockLength]float32
	sealed []block // the oldest first
	newest int64   // the last slot that has a sample
}

// block is a sealed run of samples. A slot without one holds NaN.
type block struct {
	first int64
	same  uint16    // bit m: metric m has one value in data, and else blockLength
	data  []float32 // of metric 0, then 1, ...
}

func newRing(slot int64) *ring {
	r := &ring{}
	r.begin(slot)
	return r
}

// begin empties the head for the block that the slot is in.
func (r *ring) begin(slot int64) {
	r.first = slot - slot%blockLength
	for m := range r.head {
		for i := range r.head[m] {
			r.head[m][i] = float32(math.NaN())
		}
	}
}

// put takes a sample in and lets go of blocks that end before oldest. A slot
// before the head's block is too late and dropped.
func (r *ring) put(slot int64, v Values, oldest int64) {
	if slot < r.first {
		return
	}
	if slot >= r.first+blockLength {
		r.seal()
		r.begin(slot)
		gone := 0
		for gone < len(r.sealed) && r.sealed[gone].first+blockLength <= oldest {
			gone++
		}
		r.sealed = append(r.sealed[:0], r.sealed[gone:]...)
	}
	for m := range v {
		r.head[m][slot-r.first] = v[m]
	}
	r.newest = max(r.newest, slot)
}

// seal copies the head to a block of its own.
func (r *ring) seal() {
	b := block{first: r.first}
	length := 0
	for m := range r.head {
		if same(r.head[m][:]) {
			b.same |= 1 << m
			length++
			continue
		}
		length += blockLength
	}
	b.data = make([]float32, 0, length)
	for m := range r.head {
		if b.same&(1<<m) != 0 {
			b.data = append(b.data, r.head[m][0])
			continue
		}
		b.data = append(b.data, r.head[m][:]...)
	}
	r.sealed = append(r.sealed, b)
}

func same(values []float32) bool {
	for _, v := range values[1:] {
		if math.Float32bits(v) != math.Float32bits(values[0]) {
			return false
		}
	}
	return true
}

// at returns the metric's sample in the block's i-th slot.
func (b block) at(m Metric, i int) float32 {
	from := 0
	for before := range m {
		from += b.width(before)
	}
	if b.width(m) == 1 {
		return b.data[from]
	}
	return b.data[from+i]
}

func (b block) width(m Metric) int {
	if b.same&(1<<m) != 0 {
		return 1
	}
	return blockLength
}

// points returns the metric's samples from one slot up to another, which is not
// included.
func (r *ring) points(m Metric, from, to int64, step time.Duration) (all []Point) {
	take := func(slot int64, v float32) {
		if slot >= from && slot < to && !math.IsNaN(float64(v)) {
			all = append(all, PointOf(timeOf(slot, step), float64(v)))
		}
	}
	for _, b := range r.sealed {
		if b.first+blockLength <= from || b.first >= to {
			continue
		}
		for i := range blockLength {
			take(b.first+int64(i), b.at(m, i))
		}
	}
	for i, v := range r.head[m] {
		take(r.first+int64(i), v)
	}
	return all
}

// size returns about how many bytes the ring takes.
func (r *ring) size() int {
	n := 4*Metrics*blockLength + 64
	for _, b := range r.sealed {
		n += 40 + 4*len(b.data)
	}
	return n
}

func slotOf(t time.Time, step time.Duration) int64 { return t.UnixNano() / int64(step) }

func timeOf(slot int64, step time.Duration) time.Time {
	return time.Unix(0, slot*int64(step)).UTC()
}
