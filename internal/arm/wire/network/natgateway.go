package network

import (
	_ "embed" // the ledger
	"fmt"

	"github.com/muster-vm/muster/internal/arm/wire"
	"github.com/muster-vm/muster/internal/network"
)

//go:embed ledger/natgateway.txt
var natGatewayLedger string

var natGateway = newKind(natGatewayLedger, parseNATGateway, showNATGateway)

func parseNATGateway(p *parser, out *network.Resource) {
	g := &network.NATGateway{}
	if out.SKU == "" {
		out.SKU = network.Standard
	}
	sub(p.doc, "sku")["name"] = string(out.SKU)
	g.Idle = p.idle(p.props, "properties", 120)
	if len(out.Zones) > 1 {
		p.Add(wire.InvalidParameter, "zones", "A NAT gateway is in one zone; %d were given.", len(out.Zones))
	}
	for i, doc := range wire.ObjectsAt(p.props, "publicIpAddresses") {
		at := fmt.Sprintf("properties.publicIpAddresses[%d]", i)
		id := p.required(doc, "id", at)
		if id == "" {
			continue
		}
		ref := p.id(id, at, network.PublicAddressKind, "")
		for _, other := range g.Addresses {
			if other == ref.Key {
				p.Add(wire.InvalidParameter, at+".id", "The public IP address '%.256s' is listed twice.", id)
			}
		}
		g.Addresses = append(g.Addresses, ref.Key)
	}
	if len(g.Addresses) == 0 {
		delete(p.props, "publicIpAddresses")
	}
	out.NATGateway = g
}

func showNATGateway(doc wire.Document, _ network.Resource, v View) {
	v.link(sub(doc, "properties"), "", "subnets")
}
