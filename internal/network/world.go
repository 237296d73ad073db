package network

import "net/netip"

// World is everything that decides what the packets of one virtual network may do.
type World struct {
	Network   Resource                        // of kind VirtualNetworkKind
	Groups    map[Key]SecurityGroup           // by key, those of the network's subnets and cards
	Public    map[Key]Resource                // public addresses
	Balancers []Resource                      // load balancers, in the order of their ids
	Gateways  map[Key]NATGateway              //
	Ports     []Port                          // the cards in the network, in the order of their names
	Healthy   func(Target) (well, known bool) // what probes say; a member is taken once it is well
}

// Port is one address of a network card in the virtual network. Cards of one
// instance with several IP configurations have several.
type Port struct {
	Name       string // of the card on its host; unique
	MAC        string
	Instance   string // name for users, such as web_3
	ID         string // resource id of the IP configuration
	Host       string // computer name
	Address    netip.Addr
	Subnet     string // name in lower case
	Primary    bool   // the card's first address, which DHCP gives
	DNS        []netip.Addr
	Forwarding bool // may send from addresses that are not its own
	Group      Key  // security group of the card; zero for none
	Apps       []Key
	Pools      []Ref      // backend pools that it is in
	Public     netip.Addr // of its own; zero for none
	PublicSKU  SKU        //
	NAT        []NATPort  // frontend ports that are forwarded to it
	Leaving    bool       // gets no new flows from load balancers
}

// NATPort is a frontend port of a NAT pool, or of a rule over a pool, that one card
// has.
type NATPort struct {
	Pool Ref // the NAT pool or rule
	Port uint16
}

// Target is one thing that a probe asks: a port of a member. It is comparable.
type Target struct {
	Network UID
	Address netip.Addr
	Probe   Probe // without its name: equal ones are asked once
}

// TargetOf returns the target of a probe at a member.
func TargetOf(network UID, member netip.Addr, p Probe) Target {
	p.Name = ""
	return Target{Network: network, Address: member, Probe: p}
}
