package fabric

import (
	"context"
	"net"
	"net/netip"

	"github.com/muster-vm/muster/internal/network"
)

// Networks is a fabric that carries virtual networks. Methods are idempotent and
// safe for concurrent use; one network's calls wait for each other. Errors are
// *resource.Error: NotFound for a network that is not there, Unavailable when the
// host lacks a feature, with the remedy.
type Networks interface {
	// Apply makes a virtual network be what the program says, and makes it if it is
	// not there. What packets may do changes in one step; established flows go on,
	// but for UDP flows to members that are not in their service any more, which
	// find another.
	Apply(ctx context.Context, p network.Program) error
	// Remove removes a virtual network with everything in it.
	Remove(ctx context.Context, uid network.UID) error
	// Networks lists the virtual networks that are there, in order.
	Networks(ctx context.Context) ([]network.UID, error)

	// Flows counts the established flows that came to a card's address by a load
	// balancer.
	Flows(ctx context.Context, uid network.UID, card netip.Addr) (int, error)
	// Cut ends them.
	Cut(ctx context.Context, uid network.UID, card netip.Addr) error
	// Traffic returns what went through frontends since the network was made.
	Traffic(ctx context.Context, uid network.UID) ([]FrontendTraffic, error)

	// DialInside connects to a TCP port of a card in a virtual network from the
	// platform's address in it, network.HostAddress. Security rules apply.
	DialInside(ctx context.Context, uid network.UID, to netip.AddrPort) (net.Conn, error)
}

// FrontendTraffic counts what went through one frontend port, both directions
// together but for SYNs. Counters only grow while the network is there.
type FrontendTraffic struct {
	Balancer network.UID
	Rule     string
	Bytes    int64
	Packets  int64
	SYNs     int64 // of clients
}
