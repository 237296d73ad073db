package network

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/muster-vm/muster/internal/resource"
)

// maxRules bounds the rules of one security group.
//
// Source: https://learn.microsoft.com/azure/azure-resource-manager/management/azure-subscription-service-limits#azure-resource-manager-virtual-networking-limits
const maxRules = 1000

// Check returns what is wrong with a security group, at JSON paths below
// "properties". Codes are Azure's.
func (g SecurityGroup) Check() []*resource.Error {
	var all []*resource.Error
	if len(g.Rules) > maxRules {
		all = append(all, resource.Errorf(resource.Invalid, "TooManySecurityRules", "A network security group may have at most %d rules, not %d.", maxRules, len(g.Rules)).At("properties.securityRules"))
	}
	for i, r := range g.Rules {
		at := fmt.Sprintf("properties.securityRules[%d]", i)
		if r.Priority < MinPriority || r.Priority > MaxPriority {
			all = append(all, resource.Errorf(resource.Invalid, "SecurityRuleInvalidPriority", "Security rule has invalid Priority. Value provided: %d Allowed range %d-%d.", r.Priority, MinPriority, MaxPriority).At(at+".properties.priority"))
		}
		if slices.ContainsFunc(DefaultRules(), func(d Rule) bool { return strings.EqualFold(d.Name, r.Name) }) {
			all = append(all, resource.Errorf(resource.Invalid, "SecurityRuleConflictsWithDefaultRule", "The name '%s' is that of a default security rule. Choose another one.", r.Name).At(at+".name"))
		}
		for _, other := range g.Rules[:i] {
			switch {
			case strings.EqualFold(other.Name, r.Name):
				all = append(all, resource.Errorf(resource.Invalid, "SecurityRuleNameConflict", "Two security rules are called '%s'.", r.Name).At(at+".name"))
			case other.Direction == r.Direction && other.Priority == r.Priority:
				all = append(all, resource.Errorf(resource.Invalid, "SecurityRuleConflict", "Security rule %s conflicts with rule %s. Rules cannot have the same Priority and Direction.", r.Name, other.Name).At(at+".properties.priority"))
			}
		}
	}
	return all
}

// String returns what ParsePeer reads of a peer with one member.
func (p Peer) String() string {
	switch {
	case p.Any:
		return "*"
	case len(p.Tags) > 0:
		return string(p.Tags[0])
	case len(p.Prefixes) > 0:
		return p.Prefixes[0].String()
	}
	return ""
}

// ParsePeer reads sourceAddressPrefix or destinationAddressPrefix of a rule: * for
// anybody, a service tag, or what ParseRulePrefix reads. It fails with Invalid.
func ParsePeer(s string) (Peer, error) {
	if s == "*" || strings.EqualFold(s, "any") {
		return Peer{Any: true}, nil
	}
	for _, tag := range []Tag{TagVirtualNetwork, TagLoadBalancer, TagInternet} {
		if strings.EqualFold(s, string(tag)) {
			return Peer{Tags: []Tag{tag}}, nil
		}
	}
	prefix, err := ParseRulePrefix(s)
	if err != nil {
		return Peer{}, err
	}
	return Peer{Prefixes: []netip.Prefix{prefix}}, nil
}

// ParseRulePrefix reads an address or a prefix of a rule; bits beyond the prefix's
// length are dropped. An address may be written as a number, as inet_aton reads it
// and Azure takes it: 1234 is 0.0.4.210. It fails with Invalid.
func ParseRulePrefix(s string) (netip.Prefix, error) {
	if n, err := strconv.ParseUint(s, 10, 32); err == nil {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, uint32(n)))), 32), nil
	}
	prefix, err := netip.ParsePrefix(s)
	if address, e := netip.ParseAddr(s); e == nil && address.Zone() == "" {
		prefix, err = netip.PrefixFrom(address, address.BitLen()), nil
	}
	switch {
	case err != nil && isTag(s):
		return prefix, resource.Errorf(resource.Invalid, "SecurityRuleInvalidAddressPrefix", "The service tag %.64q stands for nothing here. Use VirtualNetwork, AzureLoadBalancer or Internet, alone in the AddressPrefix of the rule, or the prefixes that are meant.", s)
	case err != nil:
		return prefix, resource.Errorf(resource.Invalid, "SecurityRuleInvalidAddressPrefix", "Security rule has invalid Address prefix. Value provided: %.64q. It should be an address or a prefix, such as 10.0.0.0/24.", s)
	case !prefix.Addr().Is4():
		return prefix, resource.Errorf(resource.Invalid, "SecurityRuleInvalidAddressPrefix", "Security rule has invalid Address prefix. Value provided: %.64q is not IPv4; IPv6 is not supported.", s)
	}
	return prefix.Masked(), nil
}

// isTag reports whether s looks like a service tag: a word, maybe with a region.
func isTag(s string) bool {
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.") == "" && strings.ContainsAny(s[:1], "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
}

// ParsePorts reads a port, a range such as 8000-8080, or * for all. It fails with
// Invalid.
func ParsePorts(s string) (Ports, error) {
	if s == "*" {
		return AllPorts, nil
	}
	low, high, isRange := strings.Cut(s, "-")
	if !isRange {
		high = low
	}
	first, err := strconv.ParseUint(low, 10, 16)
	last, e := strconv.ParseUint(high, 10, 16)
	if err != nil || e != nil || first > last {
		return Ports{}, resource.Errorf(resource.Invalid, "SecurityRuleInvalidPortRange", "Security rule has invalid Port range. Value provided: %.64s. Value should be an integer OR integer range with '-' delimiter. Valid range 0-65535.", s)
	}
	return Ports{uint16(first), uint16(last)}, nil
}
