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

// Fabric gives out the addresses of one prefix, the lowest free one first,
// whatever a port's subnet. It is safe for concurrent use.
type Fabric struct {
	mu    sync.Mutex
	pool  *fabric.Pool
	ports map[string]netip.Addr
}

var _ fabric.Fabric = (*Fabric)(nil)

// New returns a fabric with no ports over an IPv4 prefix from /8 to /29, such
// as 10.240.0.0/16. Any other prefix is a defect of the caller's: it panics.
func New(prefix netip.Prefix) *Fabric {
	pool, err := fabric.NewPool(prefix)
	if err != nil {
		panic(err)
	}
	return &Fabric{pool: pool, ports: map[string]netip.Addr{}}
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
		var err error
		if addr, err = f.pool.Take(); err != nil {
			return fabric.Lease{}, err
		}
		f.ports[port.Name] = addr
	}
	return f.pool.Lease(addr), nil
}

// Detach implements fabric.Fabric.
func (f *Fabric) Detach(_ context.Context, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if addr, ok := f.ports[name]; ok {
		delete(f.ports, name)
		f.pool.Release(addr)
	}
	return nil
}

// Ports implements fabric.Fabric; the names are sorted.
func (f *Fabric) Ports(context.Context) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(maps.Keys(f.ports)), nil
}
