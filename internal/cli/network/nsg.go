package network

import (
	"cmp"
	"context"
	"slices"
)

func createGroup(ctx context.Context, c call) (any, error) {
	body, err := envelope(ctx, c, nil)
	if err != nil {
		return nil, err
	}
	return c.Put(ctx, groups.path(c, c.Name), version, body, named("NewNSG"))
}

func createApp(ctx context.Context, c call) (any, error) {
	body, err := envelope(ctx, c, nil)
	if err != nil {
		return nil, err
	}
	return c.Put(ctx, apps.path(c, c.Name), version, body, plain)
}

func createRule(ctx context.Context, c call) (any, error) {
	p := members("priority", c.number("priority"), "direction", c.text("direction"), "access", c.text("access"), "protocol", c.text("protocol"), "description", c.text("description"))
	for _, side := range []struct{ name, ports string }{{"source", "*"}, {"destination", "80"}} {
		apps := c.apps(side.name + "-asgs")
		if len(apps) > 0 {
			p[side.name+"ApplicationSecurityGroups"] = apps
		}
		single(p, side.name+"AddressPrefix", side.name+"AddressPrefixes", c.orElse(side.name+"-address-prefixes", "*", len(apps) == 0))
		single(p, side.name+"PortRange", side.name+"PortRanges", c.orElse(side.name+"-port-ranges", side.ports, true))
	}
	return c.Put(ctx, rules.path(c, c.Name), version, object{"name": c.Name, "properties": p}, plain)
}

// orElse returns the words of an option, or the default where there is one.
func (c call) orElse(name, value string, defaults bool) []string {
	if all := c.words(name); len(all) > 0 || !defaults {
		return all
	}
	return []string{value}
}

// apps returns references to application security groups.
func (c call) apps(option string) []any {
	var all []any
	for _, name := range c.words(option) {
		all = append(all, apps.ref(c, name))
	}
	return all
}

// ordered sorts rules in the order in which they are tried, those inbound first,
// and adds the default ones if they are asked for.
func ordered(ctx context.Context, c call, all []any) (any, error) {
	if with, _ := c.Flags.GetBool("include-default"); with {
		var group object
		if err := c.Get(ctx, groups.path(c, c.text("nsg-name")), version, &group); err != nil {
			return nil, err
		}
		all = append(all, items(group, "properties.defaultSecurityRules")...)
	}
	priority := func(r any) float64 {
		n, _ := at(r, "properties.priority").(float64)
		return n
	}
	slices.SortStableFunc(all, func(a, b any) int {
		return cmp.Or(cmp.Compare(word(a, "properties.direction"), word(b, "properties.direction")), cmp.Compare(priority(a), priority(b)))
	})
	return all, nil
}
