package network

import (
	"context"
	"strings"

	"github.com/muster-vm/muster/internal/cli"
)

// version is the api-version of Microsoft.Network that commands speak.
const version = "2024-05-01"

// object is JSON.
type object = map[string]any

// kind is a kind of resource as commands use it.
type kind struct {
	noun, plain string // "vnet", "a virtual network"
	segment     string // of ids: "virtualNetworks"
	parent      *kind
	of          string // option that names the parent
	columns     columns
}

var (
	vnets     = kind{noun: "vnet", plain: "a virtual network", segment: "virtualNetworks", columns: vnetColumns}
	subnets   = kind{noun: "vnet subnet", plain: "a subnet", segment: "subnets", parent: &vnets, of: "vnet-name", columns: subnetColumns}
	groups    = kind{noun: "nsg", plain: "a network security group", segment: "networkSecurityGroups", columns: groupColumns}
	rules     = kind{noun: "nsg rule", plain: "a rule of a security group", segment: "securityRules", parent: &groups, of: "nsg-name", columns: ruleColumns}
	publics   = kind{noun: "public-ip", plain: "a public address", segment: "publicIPAddresses", columns: publicColumns}
	balancers = kind{noun: "lb", plain: "a load balancer", segment: "loadBalancers", columns: balancerColumns}
	gateways  = kind{noun: "nat gateway", plain: "a NAT gateway", segment: "natGateways", columns: gatewayColumns}
	apps      = kind{noun: "asg", plain: "an application security group", segment: "applicationSecurityGroups", columns: appColumns}
)

// command makes a command of a kind. takes are the names of options beside those
// that say which resource it is.
func command(path, short, takes string, run func(context.Context, call) (any, error)) cli.Command {
	return cli.Command{Path: "network " + path, Short: short, Takes: takes, Options: optionTable, Aliases: aliases,
		Run: func(ctx context.Context, c *cli.Call) (any, error) { return run(ctx, call{c}) }}
}

// which are the options that say which resource is meant.
func (k kind) which() string {
	if k.parent != nil {
		return "resource-group! " + k.of + "! "
	}
	return "resource-group! "
}

// commands are those that every kind has.
func (k kind) commands(create string, make func(context.Context, call) (any, error)) []cli.Command {
	all := k.which()
	if k.parent == nil {
		all = "resource-group"
	}
	list := command(k.noun+" list", "List "+plural(k.plain), all, k.list)
	if k.segment == rules.segment {
		list.Takes += " include-default"
	}
	show := command(k.noun+" show", "Show "+k.plain, k.which()+"name!", func(ctx context.Context, c call) (any, error) {
		out := object{}
		if err := c.Get(ctx, k.path(c, c.Name), version, &out); err != nil {
			return nil, err
		}
		return out, k.complete(ctx, c, []any{out})
	})
	list.Rows, show.Rows = k.columns.rows, k.columns.rows
	return []cli.Command{
		command(k.noun+" create", "Create "+k.plain, k.which()+"name! no-wait "+create, make),
		list, show,
		command(k.noun+" delete", "Delete "+k.plain, k.which()+"name! no-wait", func(ctx context.Context, c call) (any, error) {
			return c.Delete(ctx, k.path(c, c.Name), version)
		}),
	}
}

// plural makes "load balancers" of "a load balancer".
func plural(plain string) string {
	_, noun, _ := strings.Cut(plain, " ")
	if first, rest, ok := strings.Cut(noun, " of "); ok {
		return first + "s of " + rest
	}
	return strings.TrimSuffix(noun, "s") + map[bool]string{true: "ses", false: "s"}[strings.HasSuffix(noun, "ss")]
}

// base is where the resources of the command's group are; without one, those of
// the subscription.
func base(c call) string {
	path := "/subscriptions/" + c.SubscriptionID()
	if c.Group != "" {
		path += "/resourceGroups/" + c.Group
	}
	return path + "/providers/Microsoft.Network/"
}

// path is the id of a resource of the kind, or with no name that of their list.
func (k kind) path(c call, name string) string {
	path := base(c) + k.segment
	if k.parent != nil {
		path = k.parent.path(c, c.text(k.of)) + "/" + k.segment
	}
	return strings.TrimSuffix(path+"/"+name, "/")
}

// id is a resource's id: as given, or made of its name in the command's group.
func (k kind) id(c call, name string) string {
	if name == "" || strings.HasPrefix(name, "/") {
		return name
	}
	return k.path(c, name)
}

// ref is a reference to the resource with this name or id, nil for none.
func (k kind) ref(c call, name string) any { return reference(k.id(c, name)) }

func reference(id string) any {
	if id == "" {
		return nil
	}
	return object{"id": id}
}

func (k kind) list(ctx context.Context, c call) (any, error) {
	all, err := c.List(ctx, k.path(c, ""), version)
	if err != nil {
		return nil, err
	}
	if k.segment == rules.segment {
		return ordered(ctx, c, all)
	}
	return all, k.complete(ctx, c, all)
}

// complete adds what a table shows and answers only refer to: the addresses of
// public frontends.
func (k kind) complete(ctx context.Context, c call, all []any) error {
	if k.segment != balancers.segment || !strings.EqualFold(c.Output, "table") {
		return nil
	}
	addresses, err := c.List(ctx, publics.path(c, ""), version)
	if err != nil {
		return err
	}
	byID := map[string]any{}
	for _, a := range addresses {
		byID[strings.ToLower(word(a, "id"))] = a
	}
	for _, balancer := range all {
		for _, f := range items(balancer, "properties.frontendIPConfigurations") {
			if whole, ok := byID[strings.ToLower(word(f, "properties.publicIPAddress.id"))]; ok {
				properties, _ := at(f, "properties").(object)
				properties["publicIPAddress"] = whole
			}
		}
	}
	return nil
}

// members makes an object of names and values; those that are not given are left
// out.
func members(pairs ...any) object {
	out := object{}
	for i := 0; i < len(pairs); i += 2 {
		switch v := pairs[i+1].(type) {
		case nil:
			continue
		case string:
			if v == "" {
				continue
			}
		case []string:
			if len(v) == 0 {
				continue
			}
		case []any:
			if len(v) == 0 {
				continue
			}
		case object:
			if len(v) == 0 {
				continue
			}
		}
		out[pairs[i].(string)] = pairs[i+1]
	}
	return out
}

// envelope is a resource of the command's group with its common members.
func envelope(ctx context.Context, c call, properties object) (object, error) {
	if err := c.Locate(ctx); err != nil {
		return nil, err
	}
	out := members("location", c.Location, "properties", properties)
	if tags := c.Tagged(); tags != nil {
		out["tags"] = tags
	}
	return out, nil
}

// named prints what was made as a member with this name, as az does.
func named(name string) func(object) any {
	return func(made object) any { return object{name: made} }
}

func plain(made object) any { return made }

// at returns the member at a path such as "properties.sku", nil for none.
func at(v any, path string) any {
	for name := range strings.SplitSeq(path, ".") {
		m, ok := v.(object)
		if !ok {
			return nil
		}
		v = m[name]
	}
	return v
}

func word(v any, path string) string {
	s, _ := at(v, path).(string)
	return s
}

func items(v any, path string) []any {
	all, _ := at(v, path).([]any)
	return all
}
