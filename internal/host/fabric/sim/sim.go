// Package sim is a fabric in memory: it hands out addresses, keeps the programs of
// virtual networks, and carries no packets. It serves the simulated compute driver
// and tests, which ask what a packet would do.
package sim

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"sync"

	"github.com/muster-vm/muster/internal/host/fabric"
	"github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/resource"
)

// Fabric gives out the addresses of one prefix, the lowest free one first, to
// ports of no virtual network; the others bring theirs. It is safe for concurrent
// use.
type Fabric struct {
	mu       sync.Mutex
	pool     *fabric.Pool
	ports    map[string]place
	networks map[network.UID]network.Program
	flows    map[card]int
}

// place is where a port is.
type place struct {
	network network.UID // empty: the default network
	address netip.Addr
}

// card finds a network card's address.
type card struct {
	network network.UID
	address netip.Addr
}

var (
	_ fabric.Fabric   = (*Fabric)(nil)
	_ fabric.Networks = (*Fabric)(nil)
)

// New returns a fabric with no ports over an IPv4 prefix from /8 to /29, such
// as 10.240.0.0/16. Any other prefix is a defect of the caller's: it panics.
func New(prefix netip.Prefix) *Fabric {
	pool, err := fabric.NewPool(prefix)
	if err != nil {
		panic(err)
	}
	return &Fabric{pool: pool, ports: map[string]place{}, networks: map[network.UID]network.Program{}, flows: map[card]int{}}
}

// Attach implements fabric.Fabric. A port of a virtual network is attached at once,
// whether or not the network has been applied: simulated fleets do not wait for
// programs that nothing carries out. Until it has been, the lease has no gateway
// and the length of one address.
func (f *Fabric) Attach(ctx context.Context, port fabric.Port) (fabric.Lease, error) {
	if err := canceled(ctx); err != nil {
		return fabric.Lease{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	at, ok := f.ports[port.Name]
	if !ok {
		at = place{port.Network, port.Address}
		if port.Network == "" {
			var err error
			if at.address, err = f.pool.Take(); err != nil {
				return fabric.Lease{}, err
			}
		}
		f.ports[port.Name] = at
	}
	return f.lease(at), nil
}

func (f *Fabric) lease(at place) fabric.Lease {
	if at.network == "" {
		return f.pool.Lease(at.address)
	}
	for _, s := range f.networks[at.network].Subnets {
		if s.Prefix.Contains(at.address) {
			return fabric.Lease{Address: netip.PrefixFrom(at.address, s.Prefix.Bits()), Gateway: network.Gateway(s.Prefix)}
		}
	}
	return fabric.Lease{Address: netip.PrefixFrom(at.address, at.address.BitLen())}
}

// Detach implements fabric.Fabric.
func (f *Fabric) Detach(_ context.Context, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	at, ok := f.ports[name]
	if !ok {
		return nil
	}
	delete(f.ports, name)
	if at.network == "" {
		f.pool.Release(at.address)
	}
	return nil
}

// Ports implements fabric.Fabric; the names are sorted.
func (f *Fabric) Ports(context.Context) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(maps.Keys(f.ports)), nil
}

func canceled(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return resource.Errorf(resource.Canceled, "", "The request was canceled.").Because(err)
	}
	return nil
}
