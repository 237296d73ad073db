package server

import (
	"context"
	"io"
	"net"

	"github.com/muster-vm/muster/internal/host"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/vmss"
)

// guests is the way into the instances of this process's hosts.
type guests struct{ hosts []*host.Host }

// of returns the host that owns a row.
func (g guests) of(row vmss.Instance) (*host.Host, error) {
	for _, h := range g.hosts {
		if h.Name == row.Host {
			return h, nil
		}
	}
	if row.Host == "" {
		return nil, resource.Errorf(resource.Conflict, "OperationNotAllowed", "Instance %s has no host yet.", row.ID)
	}
	return nil, resource.Errorf(resource.Unavailable, "HostNotReachable", "Instance %s is on host %s, which is not one of this server's.", row.ID, row.Host)
}

// Console implements fleet.Guests.
func (g guests) Console(ctx context.Context, set vmss.UID, row vmss.Instance) (io.ReadWriteCloser, error) {
	h, err := g.of(row)
	if err != nil {
		return nil, err
	}
	return h.Console(ctx, set, row)
}

// Dial implements fleet.Guests.
func (g guests) Dial(ctx context.Context, set vmss.UID, row vmss.Instance, port uint16) (net.Conn, error) {
	h, err := g.of(row)
	if err != nil {
		return nil, err
	}
	return h.Dial(ctx, set, row, port)
}
