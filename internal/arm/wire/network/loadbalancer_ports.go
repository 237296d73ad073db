package network

import (
	_ "embed" // the ledger
	"encoding/json"
	"net/netip"
	"strings"

	"github.com/muster-vm/muster/internal/arm/wire"
	"github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/resource"
)

//go:embed ledger/loadbalancerports.txt
var portsLedger string

var portsSchema = wire.MustParseLedger(portsLedger)

// PortQuery is the body of queryInboundNatRulePortMapping: it asks for the ports of
// one member of a pool, by its IP configuration or by its address.
type PortQuery struct {
	Card    resource.ID // zero if the address is given
	Address netip.Addr
}

// ParsePortQuery reads a query. It fails with Invalid.
func ParsePortQuery(body []byte) (PortQuery, error) {
	doc, err := portsSchema.Decode(body)
	if err != nil {
		return PortQuery{}, err
	}
	var p wire.Problems
	var q PortQuery
	card, address := wire.TextAt(doc, "ipConfiguration", "id"), wire.TextAt(doc, "ipAddress")
	switch {
	case (card == "") == (address == ""):
		p.Add(wire.InvalidParameter, "ipConfiguration.id", "Name the member either by ipConfiguration.id or by ipAddress.")
	case card != "":
		q.Card, err = resource.ParseID(card)
		p.AddFrom(err, "ipConfiguration.id")
	default:
		if q.Address, err = netip.ParseAddr(address); err != nil || !q.Address.Is4() {
			p.Add("InvalidIPAddressFormat", "ipAddress", "'%.64s' is not an IPv4 address.", address)
		}
	}
	return q, p.Err()
}

// RenderPorts writes the answer to a query about a pool, by its name in any letter
// case. It fails with NotFound if the member has no port there; a member by its
// address is found where the view says the addresses of cards.
func RenderPorts(r network.Resource, v BalancerView, pool string, q PortQuery) ([]byte, error) {
	found := mappings(r, v, strings.ToLower(pool), func(has CardPort) bool {
		if q.Card.IsZero() {
			return has.Address == q.Address
		}
		return has.Card.Equal(q.Card)
	})
	if found == nil {
		return nil, resource.Errorf(resource.NotFound, "BackendAddressNotFound", "The member that was asked for has no port of an inbound NAT rule over backend address pool '%s' of load balancer %s.", pool, r.ID.Name())
	}
	return json.Marshal(map[string][]portMapping{"inboundNatRulePortMappings": found})
}

// portMapping is a port of a NAT rule over a pool.
type portMapping struct {
	Rule         string           `json:"inboundNatRuleName"`
	Protocol     network.Protocol `json:"protocol"`
	FrontendPort uint16           `json:"frontendPort"`
	BackendPort  uint16           `json:"backendPort"`
}

// mappings returns the ports of the rules over a pool that are some member's.
func mappings(r network.Resource, v BalancerView, pool string, its func(CardPort) bool) (all []portMapping) {
	for _, rule := range r.LoadBalancer.NATRules {
		if rule.Pool != pool {
			continue
		}
		for _, has := range v.Ports[strings.ToLower(rule.Name)] {
			if its(has) {
				all = append(all, portMapping{rule.Name, rule.Protocol, has.Port, rule.BackendPort})
			}
		}
	}
	return all
}
