package bridge

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"

	"github.com/muster-vm/muster/internal/host/fabric"
	"github.com/muster-vm/muster/internal/resource"
)

var _ fabric.Dialer = (*Fabric)(nil)

// Dial implements fabric.Dialer. The guest sees its gateway as the caller.
func (f *Fabric) Dial(ctx context.Context, name string, tcp uint16) (net.Conn, error) {
	l, err := f.leaseOf(ctx, name)
	if err != nil {
		return nil, err
	}
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", netip.AddrPortFrom(l.Address, tcp).String())
	if err != nil {
		return nil, explainDial(err, tcp)
	}
	if now, err := f.leaseOf(ctx, name); err != nil || now.Address != l.Address {
		c.Close()
		return nil, cmp.Or(err, errNotAttached(name)) // another guest may have got the address
	}
	return c, nil
}

func (f *Fabric) leaseOf(ctx context.Context, name string) (lease, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.ready(ctx); err != nil {
		return lease{}, err
	}
	l, ok := f.leases.ports[name]
	if !ok {
		return lease{}, errNotAttached(name)
	}
	return l, nil
}

func errNotAttached(name string) error {
	return resource.Errorf(resource.NotFound, "", "The port %s is not attached.", name)
}

// explainDial words why a guest was not reached.
func explainDial(err error, tcp uint16) error {
	if errors.Is(err, syscall.ECONNREFUSED) {
		return resource.Errorf(resource.Unavailable, "GuestPortClosed", "Nothing in the guest listens on port %d. It may not be up yet.", tcp).Because(err)
	}
	return resource.Errorf(resource.Unavailable, "GuestNotReachable", "The guest does not answer on port %d. It may not be up yet, or its firewall drops what comes from the host.", tcp).Because(err)
}
