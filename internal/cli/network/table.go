package network

import (
	"fmt"
	"strconv"
	"strings"
)

// column is one of a table: its name, and what stands in it.
type column struct {
	name string
	of   func(row any) string
}

type columns []column

// rows makes the rows of one resource or of a list.
func (cs columns) rows(result any) (rows []any, names []string) {
	all, ok := result.([]any)
	if !ok {
		all = []any{result}
	}
	for _, r := range all {
		row := object{}
		for _, c := range cs {
			row[c.name] = c.of(r)
		}
		rows = append(rows, row)
	}
	for _, c := range cs {
		names = append(names, c.name)
	}
	return rows, names
}

// member shows one.
func member(name, path string) column {
	return column{name, func(r any) string { return show(at(r, path)) }}
}

// count shows how many elements an array has.
func count(name, path string) column {
	return column{name, func(r any) string { return strconv.Itoa(len(items(r, path))) }}
}

// target shows the name of the resource that an id names.
func target(name, path string) column {
	return column{name, func(r any) string { return last(word(r, path)) }}
}

// targets shows those of an array of references.
func targets(name, path string) column {
	return column{name, func(r any) string { return join(items(r, path), func(v any) string { return last(word(v, "id")) }) }}
}

// either shows a list, or the single member that stands for one of length one.
func either(name, one, many string) column {
	return column{name, func(r any) string {
		if s := show(at(r, one)); s != "" {
			return s
		}
		return show(at(r, many))
	}}
}

func show(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case []any:
		return join(v, show)
	}
	return fmt.Sprint(v)
}

func join(all []any, word func(any) string) string {
	var out []string
	for _, v := range all {
		out = append(out, word(v))
	}
	return strings.Join(out, " ")
}

func last(id string) string { return id[strings.LastIndex(id, "/")+1:] }

// holder names what an id of a child is a part of: "lb/fe".
func holder(id string) string {
	_, id, _ = strings.Cut(id, "/providers/")
	parts := strings.Split(id, "/")
	var names []string
	for i := 2; i < len(parts); i += 2 {
		names = append(names, parts[i])
	}
	return strings.Join(names, "/")
}

var (
	resourceGroup = member("ResourceGroup", "resourceGroup")
	resourceName  = member("Name", "name")
	location      = member("Location", "location")
	sku           = member("Sku", "sku.name")
	state         = member("ProvisioningState", "provisioningState")
)

var vnetColumns = columns{resourceName, resourceGroup, location, member("Prefixes", "addressSpace.addressPrefixes"),
	{"Subnets", func(r any) string {
		return join(items(r, "subnets"), func(s any) string { return word(s, "name") })
	}},
	{"InUse", func(r any) string {
		n := 0
		for _, s := range items(r, "subnets") {
			n += len(items(s, "ipConfigurations"))
		}
		return strconv.Itoa(n)
	}}, state}

var subnetColumns = columns{resourceName, resourceGroup, either("Prefix", "addressPrefix", "addressPrefixes"), count("InUse", "ipConfigurations"),
	target("SecurityGroup", "networkSecurityGroup.id"), target("NatGateway", "natGateway.id"), state}

var groupColumns = columns{resourceName, resourceGroup, location, count("Rules", "securityRules"), targets("Subnets", "subnets"), state}

var ruleColumns = columns{resourceName, member("Priority", "priority"), member("Direction", "direction"), member("Access", "access"), member("Protocol", "protocol"),
	side("Source", "source"), either("SourcePorts", "sourcePortRange", "sourcePortRanges"), side("Destination", "destination"),
	either("DestinationPorts", "destinationPortRange", "destinationPortRanges")}

// side shows one side of a rule: prefixes and tags, or application security groups.
func side(name, prefix string) column {
	prefixes, apps := either("", prefix+"AddressPrefix", prefix+"AddressPrefixes"), targets("", prefix+"ApplicationSecurityGroups")
	return column{name, func(r any) string { return strings.TrimSpace(prefixes.of(r) + " " + apps.of(r)) }}
}

var publicColumns = columns{resourceName, resourceGroup, location, sku, member("Address", "ipAddress"), member("Allocation", "publicIPAllocationMethod"),
	{"UsedBy", func(r any) string {
		if id := word(r, "ipConfiguration.id"); id != "" {
			return holder(id)
		}
		return last(word(r, "natGateway.id"))
	}}, state}

var balancerColumns = columns{resourceName, resourceGroup, location, sku,
	{"Frontends", func(r any) string {
		return join(items(r, "frontendIPConfigurations"), func(f any) string {
			if a := word(f, "privateIPAddress"); a != "" {
				return word(f, "name") + "=" + a
			}
			return word(f, "name") + "=" + word(f, "publicIPAddress.ipAddress")
		})
	}},
	{"Rules", func(r any) string {
		return join(items(r, "loadBalancingRules"), func(v any) string {
			return fmt.Sprintf("%s:%s>%s", show(at(v, "protocol")), show(at(v, "frontendPort")), show(at(v, "backendPort")))
		})
	}},
	{"Members", func(r any) string {
		return join(items(r, "backendAddressPools"), func(p any) string {
			return fmt.Sprintf("%s=%d", word(p, "name"), max(len(items(p, "backendIPConfigurations")), len(items(p, "loadBalancerBackendAddresses"))))
		})
	}}, state}

var gatewayColumns = columns{resourceName, resourceGroup, location, targets("PublicAddresses", "publicIpAddresses"), targets("Subnets", "subnets"),
	member("IdleTimeout", "idleTimeoutInMinutes"), state}

var appColumns = columns{resourceName, resourceGroup, location, state}
