package bridge

import (
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
	f.mu.Lock()
	err := f.ready(ctx)
	l, ok := f.leases.ports[name]
	f.mu.Unlock()
	switch {
	case err != nil:
		return nil, err
	case !ok:
		return nil, resource.Errorf(resource.NotFound, "", "The port %s is not attached.", name)
	}
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", netip.AddrPortFrom(l.Address, tcp).String())
	if err != nil {
		return nil, explainDial(err, tcp)
	}
	return c, nil
}

// explainDial words why a guest was not reached.
func explainDial(err error, tcp uint16) error {
	if errors.Is(err, syscall.ECONNREFUSED) {
		return resource.Errorf(resource.Unavailable, "GuestPortClosed", "Nothing in the guest listens on port %d. It may not be up yet.", tcp).Because(err)
	}
	return resource.Errorf(resource.Unavailable, "GuestNotReachable", "The guest does not answer on port %d. It may not be up yet, or its firewall drops what comes from the host.", tcp).Because(err)
}
