package network

import (
	"github.com/spf13/pflag"

	"github.com/muster-vm/muster/internal/cli"
)

// option registers one option; its names are az's.
type option = func(*pflag.FlagSet)

func text(name, value, help string) option {
	return func(f *pflag.FlagSet) { f.String(name, value, help) }
}

func words(name, letter, help string) option {
	return func(f *pflag.FlagSet) { f.StringArrayP(name, letter, nil, help) }
}

func number(name string, help string) option {
	return func(f *pflag.FlagSet) { f.Int(name, 0, help) }
}

// optionTable: each has one meaning in all commands that take it.
var optionTable = map[string]option{
	"address-prefixes":             words("address-prefixes", "", "Address prefixes, such as 10.0.0.0/16, separated by spaces"),
	"subnet-name":                  text("subnet-name", "", "Name of a subnet to make with it"),
	"subnet-prefixes":              words("subnet-prefixes", "", "Address prefix of that subnet (default the first /24)"),
	"dns-servers":                  words("dns-servers", "", "Resolvers that instances are told of, separated by spaces"),
	"network-security-group":       text("network-security-group", "", "Name or id of the security group of the subnet"),
	"nat-gateway":                  text("nat-gateway", "", "Name or id of the subnet's NAT gateway"),
	"default-outbound":             text("default-outbound-access", "", "false: out by a NAT gateway, public address or load balancer only"),
	"vnet-name":                    text("vnet-name", "", "Name of the virtual network"),
	"nsg-name":                     text("nsg-name", "", "Name of the security group"),
	"include-default":              func(f *pflag.FlagSet) { f.Bool("include-default", false, "List the default rules as well") },
	"priority":                     number("priority", "From 100 to 4096; lower goes first"),
	"direction":                    text("direction", "Inbound", "Inbound or Outbound"),
	"access":                       text("access", "Allow", "Allow or Deny"),
	"rule-protocol":                text("protocol", "*", "*, Tcp, Udp, Icmp, Esp or Ah"),
	"description":                  text("description", "", "What it is for"),
	"source-address-prefixes":      words("source-address-prefixes", "", "Prefixes, or a tag: VirtualNetwork, AzureLoadBalancer, Internet (default *)"),
	"source-port-ranges":           words("source-port-ranges", "", "Ports, such as 80 or 8000-8100 (default *)"),
	"source-asgs":                  words("source-asgs", "", "Names or ids of application security groups"),
	"destination-address-prefixes": words("destination-address-prefixes", "", "As --source-address-prefixes (default *)"),
	"destination-port-ranges":      words("destination-port-ranges", "", "Ports (default 80)"),
	"destination-asgs":             words("destination-asgs", "", "Names or ids of application security groups"),
	"sku":                          text("sku", "Standard", "Standard, or Basic"),
	"allocation-method":            text("allocation-method", "", "Static, or Dynamic with SKU Basic (default Static for Standard)"),
	"dns-name":                     text("dns-name", "", "Label for a name of the address"),
	"idle-timeout":                 number("idle-timeout", "Minutes after which a flow without packets is forgotten"),
	"zone":                         words("zone", "z", "Zones"),
	"public-ip-address":            text("public-ip-address", "", "Name or id of the frontend's public address, which is made if need be (default PublicIP{name})"),
	"subnet":                       text("subnet", "", "Name or id of the subnet of an internal frontend"),
	"private-ip-address":           text("private-ip-address", "", "Address of an internal frontend (default the next free one)"),
	"frontend-ip-name":             text("frontend-ip-name", "", "Name of the frontend (default the only one; LoadBalancerFrontEnd for a new balancer)"),
	"backend-pool-name":            text("backend-pool-name", "", "Name of the backend pool (default the only one; {name}bepool for a new balancer)"),
	"lb-name":                      text("lb-name", "", "Name of the load balancer"),
	"protocol":                     text("protocol", "", "Tcp, Udp or All; probes: Tcp, Http or Https"),
	"port":                         number("port", "TCP port to ask"),
	"path":                         text("path", "", "What an HTTP probe asks for; an answer with status 200 is well"),
	"interval":                     number("interval", "Seconds between questions"),
	"probe-threshold":              number("probe-threshold", "How many answers in a row change the state"),
	"frontend-port":                number("frontend-port", "Port that clients call; 0 with --protocol All"),
	"backend-port":                 number("backend-port", "Port of the members"),
	"probe-name":                   text("probe-name", "", "Name of the probe that members must pass"),
	"load-distribution":            text("load-distribution", "", "Default, SourceIP or SourceIPProtocol"),
	"enable-tcp-reset":             text("enable-tcp-reset", "", "true: both sides of a flow that is forgotten get a reset"),
	"disable-outbound-snat":        text("disable-outbound-snat", "", "true: members do not get out by the frontend"),
	"frontend-port-range-start":    number("frontend-port-range-start", "First port of the frontend to give out"),
	"frontend-port-range-end":      number("frontend-port-range-end", "Last one"),
	"public-ip-addresses":          words("public-ip-addresses", "", "Names or ids of public addresses, separated by spaces"),
	"from":                         text("from", "", "Who calls: an address, an instance such as web/3, or Internet"),
	"to":                           text("to", "", "Who is called, likewise"),
	"call-port":                    number("port", "Port that is called; not with --protocol icmp"),
	"call-protocol":                text("protocol", "tcp", "tcp, udp or icmp"),
}

// aliases are other names that az has for options.
var aliases = map[string]string{
	"address-prefix": "address-prefixes", "subnet-prefix": "subnet-prefixes", "nsg": "network-security-group", "vnet": "vnet-name",
	"frontend-ip": "frontend-ip-name", "backend-pools-name": "backend-pool-name", "probe": "probe-name", "idle-timeout-in-minutes": "idle-timeout",
	"default-outbound": "default-outbound-access",
}

// call is one run of a command.
type call struct{ *cli.Call }

func (c call) text(name string) string {
	s, _ := c.Flags.GetString(name)
	return s
}

func (c call) words(name string) []string {
	all, _ := c.Flags.GetStringArray(name)
	return all
}

// number returns what an option says, nil if it is absent.
func (c call) number(name string) any {
	if !c.Flags.Changed(name) {
		return nil
	}
	n, _ := c.Flags.GetInt(name)
	return n
}

// truth reads an option that az takes as true or false.
func (c call) truth(name string) (any, error) {
	switch c.text(name) {
	case "":
		return nil, nil
	case "true", "1", "yes":
		return true, nil
	case "false", "0", "no":
		return false, nil
	}
	return nil, cli.Usage("argument --%s: '%s' is neither true nor false", name, c.text(name))
}
