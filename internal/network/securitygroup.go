package network

import (
	"cmp"
	"net/netip"
	"slices"
)

// SecurityGroup is a list of rules that decide which flows may begin.
type SecurityGroup struct{ Rules []Rule }

// Direction of a flow, seen from the card.
type Direction string

// The directions.
const (
	Inbound  Direction = "Inbound"
	Outbound Direction = "Outbound"
)

// Access is what a rule does.
type Access string

// What rules do.
const (
	Allow Access = "Allow"
	Deny  Access = "Deny"
)

// Protocol is what a rule is about.
type Protocol string

// The protocols.
const (
	AnyProtocol Protocol = "*"
	TCP         Protocol = "Tcp"
	UDP         Protocol = "Udp"
	ICMP        Protocol = "Icmp"
	ESP         Protocol = "Esp"
	AH          Protocol = "Ah"
)

// Number returns the protocol's number in IP headers; 0 for any.
func (p Protocol) Number() uint8 { return numbers[p] }

var numbers = map[Protocol]uint8{ICMP: 1, TCP: 6, UDP: 17, ESP: 50, AH: 51}

// HasPorts reports whether flows of the protocol have ports.
func (p Protocol) HasPorts() bool { return p == TCP || p == UDP }

// Rule is one rule of a security group.
type Rule struct {
	Name        string
	Priority    int // lower goes first
	Direction   Direction
	Access      Access
	Protocol    Protocol
	Source      Peer
	SourcePorts []Ports // empty means any, as does one that holds all
	Destination Peer
	Ports       []Ports // of the destination, likewise
}

// Peer is one side of a rule: all of its members together.
type Peer struct {
	Any      bool
	Tags     []Tag
	Prefixes []netip.Prefix
	Groups   []Key // application security groups
}

// Tag is a service tag.
type Tag string

// The service tags that mean something on one's own hosts.
//
// Source: https://learn.microsoft.com/azure/virtual-network/service-tags-overview
const (
	TagVirtualNetwork Tag = "VirtualNetwork"    // the network's address space, and the platform's address
	TagLoadBalancer   Tag = "AzureLoadBalancer" // health probes
	TagInternet       Tag = "Internet"          // everything else
)

// Ports is a range of ports, both ends included.
type Ports struct{ First, Last uint16 }

// AllPorts is every port.
var AllPorts = Ports{0, 65535}

// Holds reports whether the port is one of the range.
func (p Ports) Holds(port uint16) bool { return p.First <= port && port <= p.Last }

// The priorities that users may give rules.
const (
	MinPriority = 100
	MaxPriority = 4096
)

// DefaultRules are the rules that every security group ends with.
//
// Source: https://learn.microsoft.com/azure/virtual-network/network-security-groups-overview#default-security-rules
func DefaultRules() []Rule {
	anybody, inside := Peer{Any: true}, Peer{Tags: []Tag{TagVirtualNetwork}}
	return []Rule{
		{Name: "AllowVnetInBound", Priority: 65000, Direction: Inbound, Access: Allow, Protocol: AnyProtocol, Source: inside, Destination: inside},
		{Name: "AllowAzureLoadBalancerInBound", Priority: 65001, Direction: Inbound, Access: Allow, Protocol: AnyProtocol, Source: Peer{Tags: []Tag{TagLoadBalancer}}, Destination: anybody},
		{Name: "DenyAllInBound", Priority: 65500, Direction: Inbound, Access: Deny, Protocol: AnyProtocol, Source: anybody, Destination: anybody},
		{Name: "AllowVnetOutBound", Priority: 65000, Direction: Outbound, Access: Allow, Protocol: AnyProtocol, Source: inside, Destination: inside},
		{Name: "AllowInternetOutBound", Priority: 65001, Direction: Outbound, Access: Allow, Protocol: AnyProtocol, Source: anybody, Destination: Peer{Tags: []Tag{TagInternet}}},
		{Name: "DenyAllOutBound", Priority: 65500, Direction: Outbound, Access: Deny, Protocol: AnyProtocol, Source: anybody, Destination: anybody},
	}
}

// inOrder returns the rules of one direction, the default ones included, in the
// order in which they are tried.
func (g SecurityGroup) inOrder(d Direction) []Rule {
	all := slices.Concat(g.Rules, DefaultRules())
	all = slices.DeleteFunc(all, func(r Rule) bool { return r.Direction != d })
	slices.SortStableFunc(all, func(a, b Rule) int { return cmp.Compare(a.Priority, b.Priority) })
	return all
}
