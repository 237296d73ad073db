package network

import (
	"context"
	"net/netip"

	"github.com/muster-vm/muster/internal/cli"
)

// defaultSpace is the address space of a virtual network that names none, as in az.
const defaultSpace = "10.0.0.0/16"

func createVnet(ctx context.Context, c call) (any, error) {
	prefixes := c.words("address-prefixes")
	if len(prefixes) == 0 {
		prefixes = []string{defaultSpace}
	}
	properties := object{"addressSpace": object{"addressPrefixes": prefixes}}
	if dns := c.words("dns-servers"); len(dns) > 0 {
		properties["dhcpOptions"] = object{"dnsServers": dns}
	}
	if name := c.text("subnet-name"); name != "" {
		of := c.words("subnet-prefixes")
		if len(of) == 0 {
			of = []string{firstSubnet(prefixes[0])}
		}
		properties["subnets"] = []any{object{"name": name, "properties": subnetProperties(c, of)}}
	} else if c.text("network-security-group") != "" || len(c.words("subnet-prefixes")) > 0 {
		return nil, cli.Usage("--subnet-prefixes and --network-security-group are of a subnet: give it a name with --subnet-name")
	}
	body, err := envelope(ctx, c, properties)
	if err != nil {
		return nil, err
	}
	return c.Put(ctx, vnets.path(c, c.Name), version, body, named("newVNet"))
}

// firstSubnet is what az takes of an address space when nobody says: its first /24,
// or all of one that is smaller. What cannot be read is left to the server.
func firstSubnet(space string) string {
	p, err := netip.ParsePrefix(space)
	if err != nil {
		return space
	}
	return netip.PrefixFrom(p.Addr(), max(p.Bits(), 24)).String()
}

func subnetProperties(c call, prefixes []string) object {
	p := members("networkSecurityGroup", groups.ref(c, c.text("network-security-group")), "natGateway", gateways.ref(c, c.text("nat-gateway")))
	single(p, "addressPrefix", "addressPrefixes", prefixes)
	return p
}

// single sets one of two members, as az does: the first for a list of one.
func single(o object, one, many string, all []string) {
	if len(all) == 1 {
		o[one] = all[0]
	} else if len(all) > 1 {
		o[many] = all
	}
}

func createSubnet(ctx context.Context, c call) (any, error) {
	properties := subnetProperties(c, c.words("address-prefixes"))
	outbound, err := c.truth("default-outbound-access")
	if err != nil {
		return nil, err
	}
	if outbound != nil {
		properties["defaultOutboundAccess"] = outbound
	}
	return c.Put(ctx, subnets.path(c, c.Name), version, object{"name": c.Name, "properties": properties}, plain)
}
