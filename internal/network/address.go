package network

import (
	"net/netip"
	"strings"

	"github.com/muster-vm/muster/internal/resource"
)

// Gateway returns the address of a subnet's gateway, its first.
func Gateway(subnet netip.Prefix) netip.Addr { return subnet.Addr().Next() }

// Usable reports whether an address of the subnet may be given out.
//
// Source: https://learn.microsoft.com/azure/virtual-network/virtual-networks-faq#are-there-any-restrictions-on-using-ip-addresses-within-these-subnets
func Usable(subnet netip.Prefix, a netip.Addr) bool {
	return !a.Less(first(subnet)) && subnet.Contains(a) && subnet.Contains(a.Next())
}

// first returns the first address of a subnet that may be given out.
func first(subnet netip.Prefix) netip.Addr {
	a := subnet.Addr()
	for range reserved {
		a = a.Next()
	}
	return a
}

// Allocate returns the lowest address of the subnet that may be given out and is
// not taken. from is where to start, for callers who know that everything below is
// taken; the zero Addr starts at the beginning. It fails with Exhausted, code
// SubnetIsFull.
func Allocate(name string, subnet netip.Prefix, from netip.Addr, taken func(netip.Addr) bool) (netip.Addr, error) {
	a := first(subnet)
	if a.Less(from) {
		a = from
	}
	for ; Usable(subnet, a); a = a.Next() {
		if !taken(a) {
			return a, nil
		}
	}
	return netip.Addr{}, resource.Errorf(resource.Exhausted, "SubnetIsFull",
		"Subnet %s with address prefix %s does not have enough capacity: all %d addresses that can be given out are in use. Delete what is not needed, or use a larger subnet.", name, subnet, Capacity(subnet))
}

// Capacity returns how many addresses of the subnet can be given out.
func Capacity(subnet netip.Prefix) int { return max(0, 1<<(32-subnet.Bits())-reserved-1) }

// CheckStatic says whether an address that the user chose can be given out. It
// fails with Invalid if it is not the subnet's to give, and with Conflict if it is
// taken.
func CheckStatic(name string, subnet netip.Prefix, a netip.Addr, taken func(netip.Addr) bool) error {
	switch {
	case !subnet.Contains(a):
		return resource.Errorf(resource.Invalid, "PrivateIPAddressNotInSubnet", "Private static IP address %s does not belong to the range of subnet %s, %s.", a, name, subnet)
	case !Usable(subnet, a):
		return resource.Errorf(resource.Invalid, "PrivateIPAddressInReservedRange", "Private static IP address %s falls within the reserved range of subnet %s, %s: its first four addresses and the last.", a, name, subnet)
	case taken(a):
		return resource.Errorf(resource.Conflict, "PrivateIPAddressIsAllocated", "IP address %s of subnet %s is already in use.", a, name)
	}
	return nil
}

// Space is where names are given out once: the addresses of a virtual network, the
// public addresses, the frontend ports of a NAT pool.
type Space string

// PublicSpace is that of the public addresses.
const PublicSpace Space = "public"

// AddressSpace is that of a virtual network's addresses.
func AddressSpace(network UID) Space { return Space("net:" + network) }

// Network returns the virtual network whose addresses the space is of.
func (s Space) Network() (UID, bool) {
	uid, ok := strings.CutPrefix(string(s), "net:")
	return UID(uid), ok
}

// PortSpace is that of the frontend ports of a load balancer's inbound NAT pool or
// rule over a pool; name is its name in lower case.
func PortSpace(balancer UID, name string) Space { return Space("lb:" + string(balancer) + ":" + name) }

// Balancer returns the load balancer, and the name of its pool or rule, whose
// ports the space is of.
func (s Space) Balancer() (uid UID, name string, ok bool) {
	rest, ok := strings.CutPrefix(string(s), "lb:")
	id, name, found := strings.Cut(rest, ":")
	return UID(id), name, ok && found
}

// ReservationKey finds a Reservation. Name is an address, or a port in decimal.
type ReservationKey struct {
	Space Space
	Name  string
}

// Reservation is something that is given out once, and who has it: a card of an
// instance (Set, Instance, NIC, Config), or a resource (By).
type Reservation struct {
	By       string // id of a public address or of a load balancer's frontend, in lower case
	Set      string // UID of a scale set
	Instance int64
	NIC      string // as in the model
	Config   string // likewise
	Subnet   string // of an address in a virtual network: the name in lower case
	Static   bool
}
