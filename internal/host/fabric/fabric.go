// Package fabric is the port to the network that instances live in: addresses,
// DHCP, forwarding, and the wire end of each network card.
package fabric

import (
	"context"
	"net"
	"net/netip"
	"os"

	"github.com/muster-vm/muster/internal/network"
)

// Port is one network card's place in the network. Name is chosen by the
// control plane and unique on the host: "{set uid}-{instance}-{nic index}".
type Port struct {
	Name     string
	MAC      string
	HostName string // given by DHCP
	// Network is the virtual network that the card is in, and Address its address
	// there, which the control plane has reserved. With no Network the card is in
	// the host's default network, which gives it an address.
	Network network.UID
	Address netip.Addr
}

// Lease is what a port got.
type Lease struct {
	Address netip.Prefix // with the subnet's length
	Gateway netip.Addr
}

// A Fabric gives ports their addresses and carries their packets. Methods are
// idempotent and safe for concurrent use. Errors are *resource.Error:
// Exhausted (code SubnetIsFull) when no address is left, Unavailable when the
// host lacks a feature, with the remedy.
type Fabric interface {
	// Attach reserves an address for the port, or takes the one that it brings. The
	// same port gets the same lease until it is detached, across restarts. NotFound
	// if its virtual network, or the card in it, has not been applied yet.
	Attach(ctx context.Context, port Port) (Lease, error)
	// Detach frees the port's address. nil if there is none.
	Detach(ctx context.Context, name string) error
	// Ports lists the names of all ports that hold an address of the fabric's. Those of
	// virtual networks, whose addresses are the control plane's, need not be among them.
	Ports(ctx context.Context) ([]string, error)
}

// A Plug is a fabric with real wires: it opens the host's end of a port for a
// hypervisor. The tap device lives as long as somebody holds the file, so a
// hypervisor that exits leaves nothing behind.
type Plug interface {
	Open(ctx context.Context, name string) (*os.File, error)
}

// A Dialer is a fabric whose guests the host can reach.
type Dialer interface {
	// Dial connects to a TCP port of the guest at a port of the fabric. Nothing
	// else can be reached with it: the fabric knows the guest's address. NotFound
	// for a port that is not attached, Unavailable if nobody answers.
	Dial(ctx context.Context, name string, tcp uint16) (net.Conn, error)
}
