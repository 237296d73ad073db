package network

import (
	"cmp"
	"context"
	"strings"

	"github.com/muster-vm/muster/internal/cli"
)

// createBalancer writes the balancer itself, where az deploys a template.
func createBalancer(ctx context.Context, c call) (any, error) {
	frontend, err := c.frontend(ctx)
	if err != nil {
		return nil, err
	}
	body, err := envelope(ctx, c, object{
		"frontendIPConfigurations": []any{object{"name": cmp.Or(c.text("frontend-ip-name"), "LoadBalancerFrontEnd"), "properties": frontend}},
		"backendAddressPools":      []any{object{"name": cmp.Or(c.text("backend-pool-name"), c.Name+"bepool")}},
	})
	if err != nil {
		return nil, err
	}
	body["sku"] = object{"name": c.text("sku")}
	return c.Put(ctx, balancers.path(c, c.Name), version, body, named("loadBalancer"))
}

// frontend is the address of a new balancer: in a subnet, or a public one, which is
// made if it is not there, as az does.
func (c call) frontend(ctx context.Context) (object, error) {
	if subnet := c.text("subnet"); subnet != "" {
		if !strings.HasPrefix(subnet, "/") {
			if c.text("vnet-name") == "" {
				return nil, cli.Usage("--subnet NAME is of a virtual network: give --vnet-name, or the id of the subnet")
			}
			subnet = subnets.path(c, subnet)
		}
		out := object{"subnet": reference(subnet), "privateIPAllocationMethod": "Dynamic"}
		if a := c.text("private-ip-address"); a != "" {
			out["privateIPAllocationMethod"], out["privateIPAddress"] = "Static", a
		}
		return out, nil
	}
	id := publics.id(c, cmp.Or(c.text("public-ip-address"), "PublicIP"+c.Name))
	var there object
	err := c.Get(ctx, id, version, &there)
	if cli.NotFound(err) && !strings.HasPrefix(c.text("public-ip-address"), "/") {
		err = c.makePublic(ctx, id)
	}
	return object{"publicIPAddress": reference(id)}, err
}

func (c call) makePublic(ctx context.Context, id string) error {
	body, err := publicBody(ctx, c, "")
	if err != nil {
		return err
	}
	making, err := c.Put(ctx, id, version, body, nil)
	if err != nil {
		return err
	}
	return c.Finish(ctx, making)
}

// part is a kind of part of a balancer, which is written with the whole of it.
type part struct {
	noun, plain, takes string
	array              string // member of the balancer's properties
	make               func(c call, balancer object) (object, error)
}

func balancerParts() (all []cli.Command) {
	for _, p := range []part{
		{"probe", "a health probe", "protocol! port! path interval probe-threshold", "probes", probe},
		{"rule", "a load balancing rule", "protocol! frontend-port! backend-port! frontend-ip-name backend-pool-name probe-name load-distribution idle-timeout enable-tcp-reset disable-outbound-snat",
			"loadBalancingRules", balancingRule},
		{"inbound-nat-pool", "a range of frontend ports of which each instance gets one",
			"protocol! frontend-port-range-start! frontend-port-range-end! backend-port! frontend-ip-name idle-timeout enable-tcp-reset", "inboundNatPools", natPool},
	} {
		all = append(all, command("lb "+p.noun+" create", "Create "+p.plain+" of a load balancer", "resource-group! lb-name! name! no-wait "+p.takes, p.create))
	}
	return all
}

// create reads the balancer, adds the part or replaces the one of its name, and
// writes it.
func (p part) create(ctx context.Context, c call) (any, error) {
	path := balancers.path(c, c.text("lb-name"))
	balancer := object{}
	if err := c.Get(ctx, path, version, &balancer); err != nil {
		return nil, err
	}
	properties, err := p.make(c, balancer)
	if err != nil {
		return nil, err
	}
	all, _ := balancer["properties"].(object)
	var parts []any
	for _, old := range items(all, p.array) {
		if !strings.EqualFold(word(old, "name"), c.Name) {
			parts = append(parts, old)
		}
	}
	all[p.array] = append(parts, object{"name": c.Name, "properties": properties})
	return c.Put(ctx, path, version, balancer, func(made object) any {
		return find(items(made, "properties."+p.array), c.Name)
	})
}

// find returns the element with this name, in any letter case.
func find(all []any, name string) any {
	for _, v := range all {
		if strings.EqualFold(word(v, "name"), name) {
			return v
		}
	}
	return nil
}

func probe(c call, _ object) (object, error) {
	return members("protocol", title(c.text("protocol")), "port", c.number("port"), "requestPath", c.text("path"),
		"intervalInSeconds", c.number("interval"), "probeThreshold", c.number("probe-threshold")), nil
}

// title writes a protocol as the API does.
func title(word string) string {
	if word == "" {
		return ""
	}
	return strings.ToUpper(word[:1]) + strings.ToLower(word[1:])
}

func balancingRule(c call, balancer object) (object, error) {
	snat, err := c.truth("disable-outbound-snat")
	if err != nil {
		return nil, err
	}
	out, err := c.balanced(balancer)
	if err != nil {
		return nil, err
	}
	pool, err := c.partID(balancer, "backend-pool-name", "backendAddressPools")
	if err != nil {
		return nil, err
	}
	out["frontendPort"], out["backendPort"], out["backendAddressPool"] = c.number("frontend-port"), c.number("backend-port"), reference(pool)
	if c.text("probe-name") != "" {
		id, err := c.partID(balancer, "probe-name", "probes")
		if err != nil {
			return nil, err
		}
		out["probe"] = reference(id)
	}
	if d := c.text("load-distribution"); d != "" {
		out["loadDistribution"] = d
	}
	if snat != nil {
		out["disableOutboundSnat"] = snat
	}
	return out, nil
}

func natPool(c call, balancer object) (object, error) {
	out, err := c.balanced(balancer)
	if err != nil {
		return nil, err
	}
	out["frontendPortRangeStart"], out["frontendPortRangeEnd"] = c.number("frontend-port-range-start"), c.number("frontend-port-range-end")
	out["backendPort"] = c.number("backend-port")
	return out, nil
}

// balanced is what all that forwards ports of a frontend has in common.
func (c call) balanced(balancer object) (object, error) {
	frontend, err := c.partID(balancer, "frontend-ip-name", "frontendIPConfigurations")
	if err != nil {
		return nil, err
	}
	reset, err := c.truth("enable-tcp-reset")
	return members("frontendIPConfiguration", reference(frontend), "protocol", title(c.text("protocol")),
		"idleTimeoutInMinutes", c.number("idle-timeout"), "enableTcpReset", reset), err
}

// partID returns the id of the part of the balancer that an option names; without
// it, of the only one that there is.
func (c call) partID(balancer object, option, array string) (string, error) {
	name, all := c.text(option), items(balancer, "properties."+array)
	switch {
	case strings.HasPrefix(name, "/"):
		return name, nil
	case name == "" && len(all) == 1:
		return word(all[0], "id"), nil
	case name == "":
		return "", cli.Usage("load balancer '%s' has %d %s: name one with --%s", c.text("lb-name"), len(all), array, option)
	}
	if id := word(find(all, name), "id"); id != "" {
		return id, nil
	}
	return "", &cli.CommandError{Text: "load balancer '" + c.text("lb-name") + "' has nothing called '" + name + "' in its " + array +
		".\nNext: muster network lb show -g " + c.Group + " -n " + c.text("lb-name"), Code: 3}
}

func membersCommand() cli.Command {
	cmd := command("lb members", "Show whether the members of a load balancer are well, and why not", "resource-group! name!", listMembers)
	cmd.Rows = memberColumns.rows
	return cmd
}

func listMembers(ctx context.Context, c call) (any, error) {
	var answer object
	err := c.Get(ctx, balancers.path(c, c.Name)+"/providers/Muster.Fleet/members", "2026-11-01", &answer)
	return answer["value"], err
}

var memberColumns = columns{member("Rule", "rule"), member("Frontend", "frontendIPAddress"), member("Port", "frontendPort"),
	member("Instance", "instance"), member("Address", "ipAddress"), member("State", "state"), member("Since", "since"), member("Reason", "reason")}
