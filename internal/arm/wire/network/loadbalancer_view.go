package network

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/muster-vm/muster/internal/arm/wire"
	"github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/resource"
)

// BalancerView is what answers show of a load balancer beside its document. Names
// are in lower case.
type BalancerView struct {
	Members map[string][]resource.ID // ids of the IP configurations in each backend pool, in the order in which they are shown
	Ports   map[string][]CardPort    // what each NAT pool, and each NAT rule over a pool, gave out; likewise
}

// CardPort is a frontend port that one card has, or one address that a pool lists.
type CardPort struct {
	Port    uint16
	Card    resource.ID // of the IP configuration; zero for an address that a pool lists
	Address netip.Addr  // of the card, or the one that is listed
}

// The api-versions from which on answers have members.
//
// Source: recordings of 2018-01-01, 2020-06-01 and 2022-01-01.
const (
	resetFrom = "2018-07-01" // enableTcpReset, allowBackendPortConflict
	tierFrom  = "2021-02-01" // sku.tier, backendAddressPools of rules, probeThreshold; and no version of a public address any more
)

// showLoadBalancer adds what refers to each child, and the rules of NAT pools.
func showLoadBalancer(doc wire.Document, r network.Resource, v View) {
	props := sub(doc, "properties")
	s := balancerShow{Resource: r, view: v, props: props}
	s.natRules()
	s.frontends()
	s.pools()
	for i, probe := range wire.ObjectsAt(props, probeList) {
		name := strings.ToLower(r.LoadBalancer.Probes[i].Name)
		s.link(sub(probe, "properties"), ruleList, s.rules(func(r network.BalancingRule) bool { return r.Probe == name }))
	}
	s.older(doc)
}

type balancerShow struct {
	network.Resource
	view  View
	props wire.Document
}

// id is that of a child.
func (s balancerShow) id(list, name string) string { return s.ID.Child(list, name).String() }

// link shows the children of a list with these names, if there are any.
func (s balancerShow) link(doc wire.Document, list string, names []string) {
	var all []any
	for _, name := range names {
		all = append(all, wire.Document{"id": s.id(list, name)})
	}
	if all != nil {
		doc[list] = all
	}
}

// named returns the names of the elements that keep says.
func named[E any](all []E, name func(E) string, keep func(E) bool) (names []string) {
	for _, e := range all {
		if keep(e) {
			names = append(names, name(e))
		}
	}
	return names
}

func (s balancerShow) rules(keep func(network.BalancingRule) bool) []string {
	return named(s.LoadBalancer.Rules, func(r network.BalancingRule) string { return r.Name }, keep)
}

func (s balancerShow) outbound(keep func(network.OutboundRule) bool) []string {
	return named(s.LoadBalancer.Outbound, func(r network.OutboundRule) string { return r.Name }, keep)
}

// natRules adds the rules of NAT pools: one for each card that has a port.
func (s balancerShow) natRules() {
	rules, _ := s.props[natRuleList].([]any)
	for i, pool := range wire.ObjectsAt(s.props, natPoolList) {
		p := s.LoadBalancer.NATPools[i]
		of := sub(pool, "properties")
		for _, has := range s.view.Balancer.Ports[strings.ToLower(p.Name)] {
			props := wire.Document{"frontendPort": int64(has.Port), "backendIPConfiguration": wire.Document{"id": has.Card.String()}}
			for _, same := range []string{"frontendIPConfiguration", "backendPort", "enableFloatingIP", "idleTimeoutInMinutes", "protocol", "enableDestinationServiceEndpoint", "enableTcpReset", "allowBackendPortConflict"} {
				props[same] = of[same]
			}
			rules = append(rules, wire.Document{"name": generatedName(p, has), "properties": props})
		}
	}
	s.props[natRuleList] = rules
}

// generatedName is what the rule of a NAT pool for a card is called: pool.instance.
func generatedName(p network.NATPool, has CardPort) string {
	instance := ""
	if i := slices.IndexFunc(has.Card.Types, func(t string) bool { return strings.EqualFold(t, "virtualMachines") }); i >= 0 {
		instance = has.Card.Names[i]
	}
	return p.Name + "." + instance
}

func (s balancerShow) frontends() {
	for i, doc := range wire.ObjectsAt(s.props, frontendList) {
		f, props := s.LoadBalancer.Frontends[i], sub(doc, "properties")
		name := strings.ToLower(f.Name)
		if f.Subnet != (network.Ref{}) && f.Address.IsValid() {
			props["privateIPAddress"] = f.Address.String()
		}
		var nat []string
		for _, rule := range wire.ObjectsAt(s.props, natRuleList) {
			if wire.TextAt(rule, "properties", "frontendIPConfiguration", "id") == s.id(frontendList, f.Name) {
				nat = append(nat, wire.TextAt(rule, "name"))
			}
		}
		s.link(props, ruleList, s.rules(func(r network.BalancingRule) bool { return r.Frontend == name }))
		s.link(props, natRuleList, nat)
		s.link(props, outboundList, s.outbound(func(r network.OutboundRule) bool { return slices.Contains(r.Frontends, name) }))
		s.link(props, natPoolList, named(s.LoadBalancer.NATPools, func(p network.NATPool) string { return p.Name },
			func(p network.NATPool) bool { return p.Frontend == name }))
	}
}

func (s balancerShow) pools() {
	for i, doc := range wire.ObjectsAt(s.props, poolList) {
		p, props := s.LoadBalancer.Pools[i], sub(doc, "properties")
		name := strings.ToLower(p.Name)
		s.members(name, doc, props)
		s.link(props, ruleList, s.rules(func(r network.BalancingRule) bool { return slices.Contains(r.Pools, name) }))
		out := s.outbound(func(r network.OutboundRule) bool { return r.Pool == name })
		s.link(props, outboundList, out)
		if len(out) > 0 {
			props["outboundRule"] = wire.Document{"id": s.id(outboundList, out[0])}
		}
		s.link(props, natRuleList, named(s.LoadBalancer.NATRules, func(r network.NATRule) string { return r.Name },
			func(r network.NATRule) bool { return r.Pool == name }))
	}
}

// members shows who is in a pool. Basic balancers do not list addresses.
func (s balancerShow) members(name string, pool, props wire.Document) {
	id := s.id(poolList, wire.TextAt(pool, "name"))
	var addresses, cards []any
	show := func(doc wire.Document, name string) {
		doc["name"], doc["id"], doc["etag"] = name, id+"/loadBalancerBackendAddresses/"+name, `W/"`+s.view.ETag+`"`
		doc["type"] = s.Kind.Type() + "/" + poolList + "/loadBalancerBackendAddresses"
		sub(doc, "properties")["provisioningState"] = s.view.State
		addresses = append(addresses, doc)
	}
	for _, doc := range wire.ObjectsAt(props, "loadBalancerBackendAddresses") {
		listed := sub(doc, "properties")
		s.portsOf(name, listed, func(has CardPort) bool { return has.Address.IsValid() && has.Address.String() == listed["ipAddress"] })
		show(doc, wire.TextAt(doc, "name"))
	}
	for _, card := range s.view.Balancer.Members[name] {
		member := wire.Document{"networkInterfaceIPConfiguration": wire.Document{"id": card.String()}}
		s.portsOf(name, member, func(has CardPort) bool { return !has.Card.IsZero() && has.Card.Equal(card) })
		show(wire.Document{"properties": member}, guid(id, card))
		cards = append(cards, wire.Document{"id": card.String()})
	}
	if delete(props, "loadBalancerBackendAddresses"); s.SKU != network.Basic {
		props["loadBalancerBackendAddresses"] = append([]any{}, addresses...)
	}
	if cards != nil {
		props["backendIPConfigurations"] = cards
	}
}

// portsOf shows the ports that a member of a pool has of the NAT rules over it.
func (s balancerShow) portsOf(pool string, member wire.Document, its func(CardPort) bool) {
	var all []any
	for _, m := range mappings(s.Resource, s.view.Balancer, pool, its) {
		all = append(all, wire.Document{"inboundNatRuleName": m.Rule, "frontendPort": int64(m.FrontendPort), "backendPort": int64(m.BackendPort)})
	}
	if all != nil {
		member["inboundNatRulesPortMapping"] = all
	}
}

// guid names a member of a pool, which has no name of its own: always the same.
func guid(pool string, card resource.ID) string {
	sum := sha256.Sum256([]byte(strings.ToLower(pool) + "\n" + card.Key()))
	sum[6], sum[8] = sum[6]&0x0f|0x80, sum[8]&0x3f|0x80 // version 8: of the maker's own kind
	return fmt.Sprintf("%x-%x-%x-%x-%x", sum[0:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}

// older removes what the api-version of the request does not have yet.
func (s balancerShow) older(doc wire.Document) {
	version := cmp.Or(s.view.Version, tierFrom)
	if version >= tierFrom {
		return
	}
	wire.Remove(doc, "sku", "tier")
	s.remove(probeList, "probeThreshold")
	s.remove(ruleList, "backendAddressPools")
	for _, f := range wire.ObjectsAt(s.props, frontendList) {
		if version >= resetFrom {
			fill(sub(f, "properties"), "privateIPAddressVersion", "IPv4")
		} else {
			wire.Remove(f, "properties", "privateIPAddressVersion")
		}
	}
	if version < resetFrom {
		for _, list := range []string{ruleList, natRuleList, natPoolList} {
			s.remove(list, "enableTcpReset", "allowBackendPortConflict")
		}
	}
}

func (s balancerShow) remove(list string, members ...string) {
	for _, doc := range wire.ObjectsAt(s.props, list) {
		for _, m := range members {
			wire.Remove(doc, "properties", m)
		}
	}
}
