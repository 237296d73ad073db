package bridge

import (
	"hash/fnv"
	"net/netip"

	"github.com/muster-vm/muster/internal/resource"
)

// transit is the little network between the host and the namespace: four
// addresses, of which two are used.
type transit netip.Prefix

// transits is where transit networks are taken from: link-local, so that they
// are nobody's, and away from 169.254.0.x and 169.254.169.254, which have
// meanings. Guests never see these addresses.
var transits = netip.MustParsePrefix("169.254.0.0/16")

const (
	firstTransit = 64          // blocks of four addresses from 169.254.1.0
	manyTransits = 128*64 - 64 // to 169.254.127.255
	transitBits  = 30          // of a block's prefix
	blockSize    = 1 << (32 - transitBits)
)

func (t transit) host() netip.Addr  { return netip.Prefix(t).Addr().Next() }
func (t transit) inner() netip.Addr { return t.host().Next() }

// chooseTransit returns the first block, from one that depends on the name, that
// touches no prefix in use.
func chooseTransit(name string, used []usedPrefix) (transit, error) {
	h := fnv.New32a()
	h.Write([]byte(name))
	start := h.Sum32() % manyTransits
	for i := range uint32(manyTransits) {
		block := (firstTransit + (start+i)%manyTransits) * blockSize
		base := transits.Addr().As4()
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{base[0], base[1], byte(block >> 8), byte(block)}), transitBits)
		if !touches(p, used) {
			return transit(p), nil
		}
	}
	return transit{}, resource.Errorf(resource.Unavailable, "", "No block of %s is free on the host.", transits)
}

// touches reports whether p overlaps a prefix that is at least as long as the
// transit range's own: the host's general link-local route does not count.
func touches(p netip.Prefix, used []usedPrefix) bool {
	for _, u := range used {
		if u.Bits() > transits.Bits() && u.Overlaps(p) {
			return true
		}
	}
	return false
}

// clash returns a prefix in use that a route for p would hide, or that would
// hide a part of p: what is near and overlaps, and whatever lies inside p. Wider
// routes to somewhere else (a company's 10.0.0.0/8) give way to p.
func clash(p netip.Prefix, used []usedPrefix) (netip.Prefix, bool) {
	for _, u := range used {
		if u.Overlaps(p) && (u.near || u.Bits() >= p.Bits()) {
			return u.Prefix, true
		}
	}
	return netip.Prefix{}, false
}
