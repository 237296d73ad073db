package network

import (
	"hash/fnv"
	"net/netip"
)

// tableSizes are the sizes of bucket tables: primes, each about eight times the
// members that it serves.
var tableSizes = []int{251, 1021, 4093, 16381}

const bucketsPerMember = 8

// tableSize returns how many buckets spread n members well.
func tableSize(n int) int {
	for _, size := range tableSizes {
		if size >= n*bucketsPerMember {
			return size
		}
	}
	return tableSizes[len(tableSizes)-1]
}

// buckets spreads the members over a table so that each has nearly as many buckets
// as any other, and that a member that comes or goes moves few buckets of the rest.
//
// Source: Eisenbud et al., Maglev: A Fast and Reliable Software Network Load
// Balancer, NSDI 2016, section 3.4.
func buckets(members []netip.AddrPort) []uint16 {
	if len(members) == 0 {
		return nil
	}
	size := tableSize(len(members))
	type walk struct{ next, skip int }
	walks := make([]walk, len(members))
	for i, m := range members {
		walks[i] = walk{hashed(m, "offset") % size, hashed(m, "skip")%(size-1) + 1}
	}
	table, taken := make([]uint16, size), make([]bool, size)
	for filled := 0; ; {
		for i := range walks {
			w := &walks[i]
			for taken[w.next] {
				w.next = (w.next + w.skip) % size
			}
			table[w.next], taken[w.next] = uint16(i), true
			if filled++; filled == size {
				return table
			}
		}
	}
}

func hashed(m netip.AddrPort, salt string) int {
	h := fnv.New64a()
	raw := m.Addr().As4()
	h.Write(raw[:])
	h.Write([]byte{byte(m.Port() >> 8), byte(m.Port())})
	h.Write([]byte(salt))
	// FNV mixes its last bytes little; fold them into what is used.
	x := h.Sum64()
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	return int(x >> 2)
}
