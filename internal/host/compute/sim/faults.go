package sim

import (
	"encoding/binary"
	"hash/fnv"
	"time"

	"github.com/muster-vm/muster/internal/host/compute"
	"github.com/muster-vm/muster/internal/population"
)

// faults decides which calls fail. The driver's mutex guards it.
type faults struct {
	host    string
	seed    uint64
	rules   []population.Fault
	strikes []int             // of each rule
	draws   []map[draw]uint32 // of each rule: how often it was asked about a machine
}

type draw struct {
	place
	disks int64
}

func newFaults(o Options) *faults {
	return &faults{
		host: o.Host, seed: o.Seed, rules: o.Faults,
		strikes: make([]int, len(o.Faults)), draws: make([]map[draw]uint32, len(o.Faults)),
	}
}

// strike returns the first rule that strikes this call.
func (f *faults) strike(op population.Op, id compute.VMID, name string) (population.Fault, bool) {
	for i, rule := range f.rules {
		if !rule.Applies(op, f.host, name) || rule.Count > 0 && f.strikes[i] >= rule.Count || !f.lands(i, id) {
			continue
		}
		f.strikes[i]++
		return rule, true
	}
	return population.Fault{}, false
}

// lands draws whether a rule strikes. Each draw depends on the seed, the
// machine and how often this rule was asked about it before.
func (f *faults) lands(i int, id compute.VMID) bool {
	p := f.rules[i].Probability
	if p <= 0 || p >= 1 {
		return true
	}
	if f.draws[i] == nil {
		f.draws[i] = map[draw]uint32{}
	}
	key := draw{place{id.Set, id.Instance}, id.Disks}
	f.draws[i][key]++
	return uniform(f.seed, id, uint64(i), uint64(f.draws[i][key])) < p
}

// jitter returns how much longer (or shorter) than usual this boot takes.
func jitter(seed uint64, m *machine, most time.Duration) time.Duration {
	if most <= 0 {
		return 0
	}
	return time.Duration((2*uniform(seed, m.id(), 1<<32, uint64(m.booted)) - 1) * float64(most))
}

// uniform maps its arguments to a number in [0, 1).
func uniform(seed uint64, id compute.VMID, more ...uint64) float64 {
	h := fnv.New64a()
	var b [8]byte
	put := func(n uint64) {
		binary.LittleEndian.PutUint64(b[:], n)
		h.Write(b[:])
	}
	h.Write([]byte(id.Set))
	for _, n := range append([]uint64{seed, uint64(id.Instance), uint64(id.Disks)}, more...) {
		put(n)
	}
	return float64(mix(h.Sum64())>>11) / (1 << 53)
}

// mix spreads a weak hash over all bits (the finalizer of splitmix64).
func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
