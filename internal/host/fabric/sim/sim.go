// Package sim is a fabric in memory: it hands out addresses and carries no
// packets. It serves the simulated compute driver and tests.
package sim

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"sync"

	"github.com/muster-vm/muster/internal/host/fabric"
	"github.com/muster-vm/muster/internal/resource"
)

// Fabric gives out the addresses of one prefix, the lowest free one first. The
// network and broadcast addresses and the first host address, which is the
// gateway's, are not given out. It is safe for concurrent use.
type Fabric struct {
	prefix netip.Prefix

	mu     sync.Mutex
	ports  map[string]netip.Addr
	used   map[netip.Addr]bool
	lowest netip.Addr // no address below it is free
}

var _ fabric.Fabric = (*Fabric)(nil)

// New returns a fabric with no ports over an IPv4 prefix, such as
// 10.240.0.0/16.
func New(prefix netip.Prefix) *Fabric {
	prefix = prefix.Masked()
	return &Fabric{
		prefix: prefix,
		ports:  map[string]netip.Addr{},
		used:   map[netip.Addr]bool{},
		lowest: prefix.Addr().Next().Next(),
	}
}

// Attach implements fabric.Fabric.
func (f *Fabric) Attach(ctx context.Context, port fabric.Port) (fabric.Lease, error) {
	if err := ctx.Err(); err != nil {
		return fabric.Lease{}, resource.Errorf(resource.Canceled, "", "The request was canceled.").Because(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	addr, ok := f.ports[port.Name]
	if !ok {
		if addr, ok = f.free(); !ok {
			return fabric.Lease{}, resource.Errorf(resource.Exhausted, "SubnetIsFull",
				"All addresses of the network %s are in use; delete instances or use a larger prefix.", f.prefix)
		}
		f.ports[port.Name], f.used[addr] = addr, true
		f.lowest = addr.Next()
	}
	return fabric.Lease{Address: netip.PrefixFrom(addr, f.prefix.Bits()), Gateway: f.prefix.Addr().Next()}, nil
}

// free returns the lowest address that nobody has.
func (f *Fabric) free() (netip.Addr, bool) {
	for a := f.lowest; f.prefix.Contains(a) && f.prefix.Contains(a.Next()); a = a.Next() {
		if !f.used[a] {
			return a, true
		}
	}
	return netip.Addr{}, false
}

// Detach implements fabric.Fabric.
func (f *Fabric) Detach(_ context.Context, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	addr, ok := f.ports[name]
	if !ok {
		return nil
	}
	delete(f.ports, name)
	delete(f.used, addr)
	if addr.Less(f.lowest) {
		f.lowest = addr
	}
	return nil
}

// Ports implements fabric.Fabric; the names are sorted.
func (f *Fabric) Ports(context.Context) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(maps.Keys(f.ports)), nil
}
