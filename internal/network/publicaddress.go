package network

import "net/netip"

// PublicAddress is an address by which the outside reaches what has it.
type PublicAddress struct {
	Static  bool
	Address netip.Addr // zero while a dynamic one is not needed
	Label   string     // domainNameLabel
	Idle    int        // minutes; 4 to 30
}

// NATGateway is the way out of the subnets that name it. It needs addresses; with
// none, it is not used.
type NATGateway struct {
	Addresses []Key // of kind PublicAddressKind
	Idle      int   // minutes; 4 to 120
}
