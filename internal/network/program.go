package network

import (
	"net/netip"
	"time"
)

// Program says what every packet of one virtual network may do. Equal worlds give
// equal programs: every list is in a fixed order.
type Program struct {
	Network  UID
	Name     string // of the network, for users
	Prefixes []netip.Prefix
	DNS      []netip.Addr // empty: HostAddress
	Subnets  []SubnetProgram
	Cards    []Card
	Chains   []Chain // of security groups, both directions
	Services []Service
	Forwards []Forward
	Publics  []PublicCard
	Egress   []Egress
	Targets  []Target     // what to probe
	Routed   []netip.Addr // public addresses that the host sends into this network
}

// SubnetProgram is a subnet on its host: a bridge with the gateway's address.
type SubnetProgram struct {
	Name    string // in lower case
	Prefix  netip.Prefix
	Private bool
}

// Card is one address of a network card.
type Card struct {
	Port
	In, Out []string // names of the chains that a flow to or from it passes, in order; none allows
}

// Chain is the rules of one security group for one direction, in order. It ends
// with a rule that matches everything.
type Chain struct {
	Name      string // unique in the program, at most 24 of a-z, 0-9 and -
	Group     Key
	Direction Direction
	Rules     []Resolved
}

// Resolved is a rule with every name replaced by what it stands for now.
type Resolved struct {
	Name     string
	Priority int
	Access   Access
	Protocol Protocol
	Source   Range
	SrcPorts []Ports // nil means any
	Dest     Range
	DstPorts []Ports // nil means any
}

// Range is a set of addresses: those in the prefixes, or with Not those outside of
// them. The zero Range holds nothing.
type Range struct {
	Prefixes []netip.Prefix // sorted, without overlaps
	Not      bool
}

// Service is a frontend port whose flows are spread over members. Without members,
// new flows are dropped.
type Service struct {
	Balancer     UID
	Rule         string // name of the balancing rule
	Frontend     string // name
	Address      netip.Addr
	Public       bool
	SKU          SKU
	Protocol     Protocol // TCP, UDP or AnyProtocol
	Port         uint16   // 0: all ports, kept as they are
	Distribution Distribution
	Idle         time.Duration
	Reset        bool
	Members      []netip.AddrPort // those that take new flows, sorted; port 0: as the client called it
	Buckets      []uint16         // indices of Members; the hash of a flow chooses one. Empty without members
	Pool         []netip.Addr     // all cards that could take flows: those that are well, and those that are not
	Probe        Probe            // that says which ones are well; the zero Probe for none
	Leaving      []netip.Addr     // members whose flows drain
	Drain        time.Duration    // 0: the default
}

// Forward is a frontend port that belongs to one card.
type Forward struct {
	Balancer UID
	Rule     string // name of the NAT pool or rule
	Address  netip.Addr
	Public   bool
	SKU      SKU
	Protocol Protocol
	Port     uint16
	To       netip.AddrPort
	Idle     time.Duration
	Reset    bool
}

// PublicCard is a card with a public address of its own: everything to Public goes
// to Address.
type PublicCard struct {
	Public, Address netip.Addr
	SKU             SKU
}

// Egress is the address that flows of From to the outside have there. The zero To
// is the host's own, by masquerading.
type Egress struct {
	From, To netip.Addr
	Blocked  bool // there is no way out
	Why      string
}
