package fabric

import (
	"net/netip"

	"github.com/muster-vm/muster/internal/resource"
)

// reserved is how many addresses at the start of a prefix are not given out:
// the network's, the gateway's, and two kept for the fabric's own services. The
// last one, for broadcasts, is not given out either. That is what Azure does.
const reserved = 4

// Pool knows which IPv4 addresses of a prefix are free. It is a plain value
// holder: it is not safe for concurrent use.
type Pool struct {
	prefix netip.Prefix
	used   map[netip.Addr]bool
	lowest netip.Addr // no address below it is free
}

// NewPool returns a pool of all addresses of an IPv4 prefix that may be given
// out. Invalid for a prefix that leaves none.
func NewPool(prefix netip.Prefix) (*Pool, error) {
	if !prefix.IsValid() || !prefix.Addr().Is4() || prefix.Bits() > 29 || prefix.Bits() < 8 {
		return nil, resource.Errorf(resource.Invalid, "InvalidParameter",
			"The network prefix %s is not an IPv4 prefix from /8 to /29.", prefix)
	}
	prefix = prefix.Masked()
	first := prefix.Addr()
	for range reserved {
		first = first.Next()
	}
	return &Pool{prefix: prefix, used: map[netip.Addr]bool{}, lowest: first}, nil
}

// Prefix returns the prefix, masked.
func (p *Pool) Prefix() netip.Prefix { return p.prefix }

// Gateway returns the address of the gateway, the first of the prefix.
func (p *Pool) Gateway() netip.Addr { return p.prefix.Addr().Next() }

// Lease returns what a port with this address gets.
func (p *Pool) Lease(addr netip.Addr) Lease {
	return Lease{Address: netip.PrefixFrom(addr, p.prefix.Bits()), Gateway: p.Gateway()}
}

// Take takes the lowest free address. Exhausted, with the code SubnetIsFull, if
// there is none.
func (p *Pool) Take() (netip.Addr, error) {
	for a := p.lowest; p.prefix.Contains(a.Next()); a = a.Next() {
		if !p.used[a] {
			p.used[a], p.lowest = true, a.Next()
			return a, nil
		}
	}
	return netip.Addr{}, resource.Errorf(resource.Exhausted, "SubnetIsFull",
		"All addresses of the network %s are in use; delete instances or use a larger prefix.", p.prefix)
}

// Claim takes a certain address. It reports whether it was free and one that
// may be given out.
func (p *Pool) Claim(addr netip.Addr) bool {
	first := p.prefix.Addr()
	for range reserved {
		first = first.Next()
	}
	if addr.Less(first) || !p.prefix.Contains(addr) || !p.prefix.Contains(addr.Next()) || p.used[addr] {
		return false
	}
	p.used[addr] = true
	return true
}

// Release gives an address back.
func (p *Pool) Release(addr netip.Addr) {
	if !p.used[addr] {
		return
	}
	delete(p.used, addr)
	if addr.Less(p.lowest) {
		p.lowest = addr
	}
}
