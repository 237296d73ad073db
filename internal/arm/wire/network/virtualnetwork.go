package network

import (
	_ "embed" // the ledger
	"fmt"
	"net/netip"
	"strings"

	"github.com/muster-vm/muster/internal/arm/wire"
	"github.com/muster-vm/muster/internal/network"
)

//go:embed ledger/virtualnetwork.txt
var virtualNetworkLedger string

// virtualNetwork keeps its subnets if a PUT does not speak of them.
//
// Source: https://learn.microsoft.com/azure/virtual-network/manage-virtual-network,
// "update a virtual network without the subnets property".
var virtualNetwork = newKind(virtualNetworkLedger, parseVirtualNetwork, showVirtualNetwork, "subnets").keeping("subnets")

// poolsFrom is the api-version from which on subnets show their address pools.
const poolsFrom = "2024-01-01"

func parseVirtualNetwork(p *parser, out *network.Resource) {
	v := &network.VirtualNetwork{}
	space := sub(p.props, "addressSpace")
	prefixes := wire.TextsAt(space, "addressPrefixes")
	if len(prefixes) == 0 {
		p.Add(wire.InvalidParameter, "properties.addressSpace.addressPrefixes", "The required member 'properties.addressSpace.addressPrefixes' is missing; name a prefix such as 10.0.0.0/16.")
	}
	for i, s := range prefixes {
		prefix, err := network.ParsePrefix(s)
		p.AddFrom(err, fmt.Sprintf("properties.addressSpace.addressPrefixes[%d]", i))
		v.Prefixes = append(v.Prefixes, prefix)
	}
	if options, given := p.props["dhcpOptions"].(map[string]any); given {
		fill(options, "dnsServers", []any{})
	}
	for i, s := range wire.TextsAt(p.props, "dhcpOptions", "dnsServers") {
		a, err := netip.ParseAddr(s)
		if err != nil || !a.Is4() {
			p.Add("InvalidDnsServerAddress", fmt.Sprintf("properties.dhcpOptions.dnsServers[%d]", i), "%.64q is not the IPv4 address of a resolver, such as 10.0.0.4.", s)
		}
		v.DNS = append(v.DNS, a)
	}
	for i, doc := range wire.ObjectsAt(p.props, "subnets") {
		v.Subnets = append(v.Subnets, p.subnet(doc, elementPath("subnets", i)))
	}
	fill(p.props, "subnets", []any{})
	fill(p.props, "virtualNetworkPeerings", []any{})
	fill(p.props, "enableDdosProtection", false)
	delete(p.props, "enableVmProtection") // false; answers do not show that
	if p.Len() == 0 {
		for _, err := range v.Check() {
			p.AddError(err)
		}
	}
	out.VirtualNetwork = v
}

func (p *parser) subnet(doc wire.Document, at string) network.Subnet {
	props, s := sub(doc, "properties"), network.Subnet{Name: p.name(doc, at)}
	at += ".properties"
	s.Prefix = p.subnetPrefix(props, at)
	s.SecurityGroup = p.ref(props, "networkSecurityGroup", at, network.SecurityGroupKind, "").Key
	s.NATGateway = p.ref(props, "natGateway", at, network.NATGatewayKind, "").Key
	if outbound, given := props["defaultOutboundAccess"].(bool); given {
		s.Private = !outbound
	}
	fill(props, "delegations", []any{})
	delete(props, "ipamPoolPrefixAllocations") // none; some answers show that
	fill(props, "privateEndpointNetworkPolicies", "Disabled")
	fill(props, "privateLinkServiceNetworkPolicies", "Enabled")
	return s
}

// subnetPrefix reads the one prefix of a subnet, which may be given in two ways.
func (p *parser) subnetPrefix(props wire.Document, at string) netip.Prefix {
	dropEmpty(props, "addressPrefix")
	one, list := wire.TextAt(props, "addressPrefix"), wire.TextsAt(props, "addressPrefixes")
	if len(list) == 0 {
		delete(props, "addressPrefixes")
	}
	switch {
	case len(list) > 1:
		p.Add("InvalidAddressPrefixes", at+".addressPrefixes", "A subnet has one IPv4 prefix here; %d were given. Make a subnet of each.", len(list))
		return netip.Prefix{}
	case one != "" && len(list) == 1 && one != list[0]:
		p.Add("InvalidAddressPrefixes", at+".addressPrefixes", "addressPrefix %.64s and addressPrefixes %.64s differ; give one of them.", one, list[0])
		return netip.Prefix{}
	case one == "" && len(list) == 0:
		p.Add(wire.InvalidParameter, at+".addressPrefix", "The required member '%s' is missing.", at+".addressPrefix")
		return netip.Prefix{}
	case one == "":
		at, one = at+".addressPrefixes[0]", list[0]
	default:
		at += ".addressPrefix"
	}
	prefix, err := network.ParsePrefix(one)
	p.AddFrom(err, at)
	return prefix
}

// policiesFrom is the api-version from which on subnets show delegations and policies,
// and networks do not show enableVmProtection any more.
const policiesFrom = "2018-08-01"

func showVirtualNetwork(doc wire.Document, _ network.Resource, v View) {
	if v.olderThan(policiesFrom) {
		fill(sub(doc, "properties"), "enableVmProtection", false)
	}
	for _, s := range wire.ObjectsAt(doc, "properties", "subnets") {
		props := sub(s, "properties")
		v.link(props, "subnets/"+strings.ToLower(wire.TextAt(s, "name")), "ipConfigurations")
		if v.olderThan(policiesFrom) {
			for _, member := range []string{"delegations", "privateEndpointNetworkPolicies", "privateLinkServiceNetworkPolicies"} {
				delete(props, member)
			}
		}
		if v.Version >= poolsFrom {
			fill(props, "ipamPoolPrefixAllocations", []any{})
		}
	}
}
