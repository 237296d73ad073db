package network

import (
	"net/netip"
	"time"
)

// LoadBalancer spreads flows to frontends over the members of pools.
type LoadBalancer struct {
	Frontends []Frontend
	Pools     []Pool
	Probes    []Probe
	Rules     []BalancingRule
	NATPools  []NATPool
	NATRules  []NATRule
	Outbound  []OutboundRule
}

// Frontend is an address that clients call: a public one, or one in a subnet.
type Frontend struct {
	Name    string
	Public  Key        // of kind PublicAddressKind; zero for an internal frontend
	Subnet  Ref        // of an internal one
	Address netip.Addr // in the subnet, reserved when the document was accepted
	Static  bool
}

// Pool is a named group of members: cards that name it, and addresses listed here.
type Pool struct {
	Name      string
	Addresses []netip.Addr  // of an IP-based pool, all in Network
	Network   Key           // of an IP-based pool
	Drain     time.Duration // how long established flows of a member that leaves go on; 0 means the default
}

// Probe asks members whether they are well.
//
// Source: https://learn.microsoft.com/azure/load-balancer/load-balancer-custom-probe-overview
type Probe struct {
	Name      string
	Protocol  ProbeProtocol
	Port      uint16
	Path      string        // of HTTP and HTTPS
	Interval  time.Duration // at least 5 s
	Threshold int           // answers in a row that change the state; at least 1
}

// ProbeProtocol is how a probe asks.
type ProbeProtocol string

// How probes ask. An HTTP or HTTPS probe wants status 200.
const (
	ProbeTCP   ProbeProtocol = "Tcp"
	ProbeHTTP  ProbeProtocol = "Http"
	ProbeHTTPS ProbeProtocol = "Https" // certificates are not checked
)

// Distribution says what of a flow chooses its member.
//
// Source: https://learn.microsoft.com/azure/load-balancer/distribution-mode-concepts
type Distribution string

// The distributions.
const (
	FiveTuple        Distribution = "Default"
	SourceIP         Distribution = "SourceIP"         // client and frontend address
	SourceIPProtocol Distribution = "SourceIPProtocol" // and protocol
)

// BalancingRule spreads the flows to one port of a frontend.
type BalancingRule struct {
	Name         string
	Frontend     string   // names, in lower case, here and below
	Pools        []string // one, or several of a gateway balancer, which is refused
	Probe        string   // empty: members count as well
	Protocol     Protocol // TCP, UDP, or AnyProtocol with ports 0: all ports
	FrontendPort uint16
	BackendPort  uint16
	Idle         int // minutes
	Reset        bool
	Distribution Distribution
	NoOutbound   bool // disableOutboundSnat
}

// NATPool gives each card that names it one port of a frontend.
type NATPool struct {
	Name        string
	Frontend    string
	Protocol    Protocol
	Ports       Ports
	BackendPort uint16
	Idle        int
	Reset       bool
}

// NATRule forwards ports of a frontend: over a pool, one port to each member; or
// Ports.First to the card that Target says.
type NATRule struct {
	Name        string
	Frontend    string
	Protocol    Protocol
	Ports       Ports
	BackendPort uint16
	Pool        string // of a rule over a pool
	Idle        int
	Reset       bool
}

// OutboundRule sends what members of a pool begin out by a frontend's address.
type OutboundRule struct {
	Name      string
	Frontends []string
	Pool      string
	Protocol  Protocol
	Idle      int
}
