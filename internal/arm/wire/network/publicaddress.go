package network

import (
	_ "embed" // the ledger
	"regexp"

	"github.com/muster-vm/muster/internal/arm/wire"
	"github.com/muster-vm/muster/internal/network"
)

//go:embed ledger/publicaddress.txt
var publicAddressLedger string

var publicAddress = newKind(publicAddressLedger, parsePublicAddress, showPublicAddress)

// labelSyntax is what a domain name label looks like.
//
// Source: Azure's error InvalidDomainNameLabel.
var labelSyntax = regexp.MustCompile(`^[a-z][a-z0-9-]{1,61}[a-z0-9]$`)

// ddosFrom is the api-version from which on ddosSettings are shown.
const ddosFrom = "2022-07-01"

func parsePublicAddress(p *parser, out *network.Resource) {
	const method = "publicIPAllocationMethod"
	a := &network.PublicAddress{}
	if p.was != nil {
		a.Address = p.was.PublicAddress.Address
	}
	if out.SKU == "" {
		out.SKU = network.Basic
	}
	sku := sub(p.doc, "sku")
	sku["name"] = string(out.SKU)
	fill(sku, "tier", "Regional")
	fill(p.props, "publicIPAddressVersion", "IPv4")
	fill(p.props, method, "Dynamic")
	fill(p.props, "ipTags", []any{})
	a.Static = wire.TextAt(p.props, method) == "Static"
	if !a.Static && out.SKU == network.Standard {
		p.Add("StandardSkuPublicIPAddressMustBeStatic", "properties."+method, "Standard sku publicIp '%s' must have AllocationMethod set to Static.", out.ID.Name())
	}
	if out.SKU == network.Standard {
		fill(p.props, "ddosSettings", wire.Document{"protectionMode": "VirtualNetworkInherited"})
	}
	a.Idle = p.idle(p.props, "properties", 30)
	a.Label = wire.TextAt(p.props, "dnsSettings", "domainNameLabel")
	if a.Label != "" && !labelSyntax.MatchString(a.Label) {
		p.Add("InvalidDomainNameLabel", "properties.dnsSettings.domainNameLabel", "The domain name label %.64s is invalid. It must conform to the following regular expression: %s.", a.Label, labelSyntax)
	}
	if a.Label == "" {
		delete(p.props, "dnsSettings")
	}
	out.PublicAddress = a
}

func showPublicAddress(doc wire.Document, r network.Resource, v View) {
	props := sub(doc, "properties")
	if a := r.PublicAddress.Address; a.IsValid() && !v.Fresh {
		props["ipAddress"] = a.String()
	}
	if label := r.PublicAddress.Label; label != "" {
		sub(props, "dnsSettings")["fqdn"] = label + "." + r.Location + ".cloudapp.azure.com"
	}
	if v.olderThan(tierFrom) {
		wire.Remove(doc, "sku", "tier")
	}
	if v.olderThan(ddosFrom) {
		delete(props, "ddosSettings")
	}
	for _, member := range []string{"ipConfiguration", "natGateway"} {
		if all := v.ids("", member); len(all) > 0 {
			props[member] = all[0]
		}
	}
}
