package network

import (
	"slices"

	"github.com/muster-vm/muster/internal/cli"
)

// Commands returns the commands, for cli.Commands.
func Commands() []cli.Command {
	words := []cli.Command{
		{Path: "network", Short: "Manage virtual networks, security groups and load balancers"},
		{Path: "network asg", Short: "Manage application security groups"},
		{Path: "network lb", Short: "Manage load balancers"},
		{Path: "network lb inbound-nat-pool", Short: "Give each instance a port of a frontend"},
		{Path: "network lb probe", Short: "Ask members whether they are well"},
		{Path: "network lb rule", Short: "Say which ports are balanced"},
		{Path: "network nat", Short: "Manage NAT gateways"},
		{Path: "network nat gateway", Short: "Manage the ways out of subnets"},
		{Path: "network nsg", Short: "Manage network security groups"},
		{Path: "network nsg rule", Short: "Say which flows may begin"},
		{Path: "network public-ip", Short: "Manage public addresses"},
		{Path: "network vnet", Short: "Manage virtual networks"},
		{Path: "network vnet subnet", Short: "Manage parts of virtual networks"},
	}
	return slices.Concat(words,
		vnets.commands("location tags address-prefixes subnet-name subnet-prefixes network-security-group dns-servers", createVnet),
		subnets.commands("address-prefixes! network-security-group nat-gateway default-outbound", createSubnet),
		groups.commands("location tags", createGroup),
		rules.commands("priority! direction access rule-protocol description source-address-prefixes source-port-ranges source-asgs "+
			"destination-address-prefixes destination-port-ranges destination-asgs", createRule),
		publics.commands("location tags sku allocation-method dns-name idle-timeout zone", createPublic),
		balancers.commands("location tags sku frontend-ip-name backend-pool-name public-ip-address vnet-name subnet private-ip-address", createBalancer),
		balancerParts(),
		[]cli.Command{membersCommand()},
		gateways.commands("location tags public-ip-addresses idle-timeout zone", createGateway),
		apps.commands("location tags", createApp),
		[]cli.Command{explainCommand()},
	)
}
