package network

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/muster-vm/muster/internal/resource"
)

// VirtualNetwork is an address space that is apart from all others: two may use
// the same prefix.
type VirtualNetwork struct {
	Prefixes []netip.Prefix
	DNS      []netip.Addr // resolvers that guests are told of; none stands for the platform's
	Subnets  []Subnet
}

// Subnet is a part of a virtual network.
type Subnet struct {
	Name          string
	Prefix        netip.Prefix
	SecurityGroup Key
	NATGateway    Key
	Private       bool // defaultOutboundAccess is false: out by an explicit way only
}

// Subnet returns the subnet with this name, in any letter case.
func (v VirtualNetwork) Subnet(name string) (Subnet, bool) {
	i := slices.IndexFunc(v.Subnets, func(s Subnet) bool { return strings.EqualFold(s.Name, name) })
	if i < 0 {
		return Subnet{}, false
	}
	return v.Subnets[i], true
}

// HostAddress is the platform's address in every virtual network: the source of
// health probes, the resolver, the service tag AzureLoadBalancer.
//
// Source: https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16
var HostAddress = netip.MustParseAddr("168.63.129.16")

// forbidden are prefixes that no virtual network may touch.
//
// Source: https://learn.microsoft.com/azure/virtual-network/virtual-networks-faq
var forbidden = []netip.Prefix{
	netip.MustParsePrefix("224.0.0.0/4"), netip.MustParsePrefix("255.255.255.255/32"), netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("169.254.0.0/16"), netip.PrefixFrom(HostAddress, 32), netip.MustParsePrefix("0.0.0.0/8"),
}

// reserved is how many addresses at the start of a subnet are not given out: the
// network's, the gateway's and two for the resolver. The last one is not either.
const reserved = 4

// minSubnetBits is the length of the smallest subnet's prefix.
const minSubnetBits = 29

// Check returns what is wrong with a virtual network, at JSON paths below
// "properties". Codes are Azure's.
func (v VirtualNetwork) Check() []*resource.Error {
	const space = "properties.addressSpace.addressPrefixes"
	var all []*resource.Error
	for i, p := range v.Prefixes {
		at := fmt.Sprintf("%s[%d]", space, i)
		if f, ok := touches(p, forbidden); ok {
			all = append(all, resource.Errorf(resource.Invalid, "AddressPrefixReserved", "The address prefix %s of the virtual network overlaps %s, which is reserved. Choose a private prefix, such as 10.0.0.0/16.", p, f).At(at))
		}
		if p.Bits() > minSubnetBits {
			all = append(all, resource.Errorf(resource.Invalid, "InvalidCIDRNotation", "The address prefix %s is too small: a virtual network needs /%d or larger.", p, minSubnetBits).At(at))
		}
		if other, ok := touches(p, v.Prefixes[:i]); ok {
			all = append(all, resource.Errorf(resource.Invalid, "NetcfgAddressSpaceOverlap", "The address prefixes %s and %s of the virtual network overlap.", other, p).At(at))
		}
	}
	for i, s := range v.Subnets {
		all = append(all, v.checkSubnet(i, s, fmt.Sprintf("properties.subnets[%d]", i))...)
	}
	return all
}

func (v VirtualNetwork) checkSubnet(i int, s Subnet, path string) (all []*resource.Error) {
	at := path + ".properties.addressPrefix"
	inside := slices.ContainsFunc(v.Prefixes, func(p netip.Prefix) bool { return p.Bits() <= s.Prefix.Bits() && p.Overlaps(s.Prefix) })
	switch {
	case !s.Prefix.IsValid(): // said when it was read
	case !inside:
		all = append(all, resource.Errorf(resource.Invalid, "NetcfgInvalidSubnet", "Subnet '%s' is not valid because its IP address range %s is outside the address space of its virtual network.", s.Name, s.Prefix).At(at))
	case s.Prefix.Bits() > minSubnetBits:
		all = append(all, resource.Errorf(resource.Invalid, "NetcfgInvalidSubnet", "Subnet '%s' is too small: five addresses of %s are reserved. It needs /%d or larger.", s.Name, s.Prefix, minSubnetBits).At(at))
	}
	for _, other := range v.Subnets[:i] {
		switch {
		case strings.EqualFold(other.Name, s.Name):
			all = append(all, resource.Errorf(resource.Invalid, "InvalidRequestFormat", "Two subnets are called '%s'.", s.Name).At(path+".name"))
		case s.Prefix.IsValid() && other.Prefix.IsValid() && other.Prefix.Overlaps(s.Prefix):
			all = append(all, resource.Errorf(resource.Invalid, "NetcfgSubnetRangesOverlap", "Subnet '%s' is not valid because its IP address range %s overlaps with that of subnet '%s', %s.", s.Name, s.Prefix, other.Name, other.Prefix).At(at))
		}
	}
	return all
}

// touches returns the first of the prefixes that overlaps p.
func touches(p netip.Prefix, with []netip.Prefix) (netip.Prefix, bool) {
	i := slices.IndexFunc(with, p.Overlaps)
	if i < 0 {
		return netip.Prefix{}, false
	}
	return with[i], true
}

// ParsePrefix reads an IPv4 prefix in canonical form, such as 10.0.0.0/16. It
// fails with Invalid.
func ParsePrefix(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return p, resource.Errorf(resource.Invalid, "InvalidAddressPrefixFormat", "Address prefix %.64q is not formatted correctly. It should be an address and a length, such as 10.0.0.0/16.", s)
	case !p.Addr().Is4():
		return p, resource.Errorf(resource.Invalid, "InvalidAddressPrefixFormat", "Address prefix %.64q is not IPv4; IPv6 is not supported.", s)
	case p != p.Masked():
		return p, resource.Errorf(resource.Invalid, "InvalidCIDRNotation", "The address prefix %s has bits set beyond its length. Write %s.", p, p.Masked())
	}
	return p, nil
}
