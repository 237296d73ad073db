// Package fabric is the port to the network that instances live in: addresses,
// DHCP, forwarding, and the wire end of each network card.
package fabric

import (
	"context"
	"net"
	"net/netip"
	"os"
)

// Port is one network card's place in the network. Name is chosen by the
// control plane and unique on the host: "{set uid}-{instance}-{nic index}".
type Port struct {
	Name     string
	MAC      string
	HostName string // given by DHCP
	Subnet   string // resource id; empty for the default network
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
	// Attach reserves an address for the port. The same port gets the same
	// lease until it is detached, across restarts.
	Attach(ctx context.Context, port Port) (Lease, error)
	// Detach frees the port's address. nil if there is none.
	Detach(ctx context.Context, name string) error
	// Ports lists the names of all ports that hold an address.
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
