package network

import (
	_ "embed" // the ledger
	"fmt"

	"github.com/muster-vm/muster/internal/arm/wire"
	"github.com/muster-vm/muster/internal/network"
)

//go:embed ledger/securitygroup.txt
var securityGroupLedger string

var securityGroup = newKind(securityGroupLedger, parseSecurityGroup, showSecurityGroup, rulesMember, "defaultSecurityRules")

const rulesMember = "securityRules"

func parseSecurityGroup(p *parser, out *network.Resource) {
	g := &network.SecurityGroup{}
	for i, doc := range wire.ObjectsAt(p.props, rulesMember) {
		g.Rules = append(g.Rules, p.rule(doc, elementPath(rulesMember, i)))
	}
	fill(p.props, rulesMember, []any{})
	if p.Len() == 0 {
		for _, err := range g.Check() {
			p.AddError(err)
		}
	}
	out.SecurityGroup = g
}

// rule reads one rule. Each side has its addresses in one of three members, and its
// ports in one of two.
func (p *parser) rule(doc wire.Document, at string) network.Rule {
	props := sub(doc, "properties")
	r := network.Rule{Name: p.name(doc, at)}
	at += ".properties"
	r.Access, r.Direction = network.Access(p.required(props, "access", at)), network.Direction(p.required(props, "direction", at))
	r.Protocol = network.Protocol(p.required(props, "protocol", at))
	priority, given := wire.NumberAt(props, "priority")
	if !given {
		p.Add(wire.InvalidParameter, at+".priority", "The required member '%s' is missing.", at+".priority")
	}
	r.Priority = priority
	r.Source, r.SourcePorts = p.peer(props, "source", at), p.ports(props, "source", at)
	r.Destination, r.Ports = p.peer(props, "destination", at), p.ports(props, "destination", at)
	dropEmpty(props, "description")
	return r
}

// peer reads one side of a rule; side is "source" or "destination".
func (p *parser) peer(props wire.Document, side, at string) (out network.Peer) {
	single, list, apps := side+"AddressPrefix", side+"AddressPrefixes", side+"ApplicationSecurityGroups"
	dropEmpty(props, single)
	one, several, groups := wire.TextAt(props, single), wire.TextsAt(props, list), wire.ObjectsAt(props, apps)
	fill(props, list, []any{})
	if len(groups) == 0 {
		delete(props, apps)
	}
	if !p.oneOf(at, map[string]bool{single: one != "", list: len(several) > 0, apps: len(groups) > 0}, single, list, apps) {
		return out
	}
	if one != "" {
		peer, err := network.ParsePeer(one)
		p.AddFrom(err, at+"."+single)
		return peer
	}
	for i, s := range several {
		prefix, err := network.ParseRulePrefix(s)
		p.AddFrom(err, fmt.Sprintf("%s.%s[%d]", at, list, i))
		out.Prefixes = append(out.Prefixes, prefix)
	}
	for i, g := range groups {
		where := fmt.Sprintf("%s.%s[%d]", at, apps, i)
		id := wire.TextAt(g, "id")
		if p.required(g, "id", where) == "" {
			continue
		}
		if ref := p.id(id, where, network.ApplicationGroupKind, ""); ref != (network.Ref{}) {
			out.Groups = append(out.Groups, ref.Key)
		}
	}
	return out
}

// ports reads the ports of one side.
func (p *parser) ports(props wire.Document, side, at string) (out []network.Ports) {
	single, list := side+"PortRange", side+"PortRanges"
	dropEmpty(props, single)
	one, several := wire.TextAt(props, single), wire.TextsAt(props, list)
	fill(props, list, []any{})
	if !p.oneOf(at, map[string]bool{single: one != "", list: len(several) > 0}, single, list) {
		return nil
	}
	read := func(s, where string) {
		ports, err := network.ParsePorts(s)
		p.AddFrom(err, where)
		out = append(out, ports)
	}
	if one != "" {
		read(one, at+"."+single)
	}
	for i, s := range several {
		read(s, fmt.Sprintf("%s.%s[%d]", at, list, i))
	}
	return out
}

// oneOf reports that none or several of the members are given, where there must be
// one.
func (p *parser) oneOf(at string, given map[string]bool, members ...string) bool {
	found := ""
	for _, m := range members {
		switch {
		case !given[m]:
		case found != "":
			p.Add("SecurityRuleParameterConflict", at+"."+m, "A security rule has one of %s and %s; both were given.", found, m)
			return false
		default:
			found = m
		}
	}
	if found == "" {
		p.Add("SecurityRuleParameterNotSpecified", at+"."+members[0], "The required member '%s' is missing; * stands for any.", at+"."+members[0])
	}
	return found != ""
}

// descriptions are those of the default rules.
var descriptions = map[string]string{
	"AllowVnetInBound":              "Allow inbound traffic from all VMs in VNET",
	"AllowAzureLoadBalancerInBound": "Allow inbound traffic from azure load balancer",
	"DenyAllInBound":                "Deny all inbound traffic",
	"AllowVnetOutBound":             "Allow outbound traffic from all VMs to all VMs in VNET",
	"AllowInternetOutBound":         "Allow outbound traffic from all VMs to Internet",
	"DenyAllOutBound":               "Deny all outbound traffic",
}

func showSecurityGroup(doc wire.Document, _ network.Resource, v View) {
	props, defaults := sub(doc, "properties"), []any{}
	for _, r := range network.DefaultRules() {
		defaults = append(defaults, wire.Document{"name": r.Name, "properties": wire.Document{
			"description": descriptions[r.Name], "protocol": string(r.Protocol), "access": string(r.Access), "priority": int64(r.Priority), "direction": string(r.Direction),
			"sourcePortRange": "*", "destinationPortRange": "*", "sourceAddressPrefix": r.Source.String(), "destinationAddressPrefix": r.Destination.String(),
			"sourcePortRanges": []any{}, "destinationPortRanges": []any{}, "sourceAddressPrefixes": []any{}, "destinationAddressPrefixes": []any{},
		}})
	}
	props["defaultSecurityRules"] = defaults
	v.link(props, "", "networkInterfaces")
	v.link(props, "", "subnets")
}
