// Package card makes the network card of a scale set's model from what options say,
// as az does: names become ids, and what is not named is found where there is no
// choice.
package card

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
)

// version is the api-version of Microsoft.Network that is read.
const version = "2024-05-01"

// Options are those of `vmss create`. Names are of resources in the scale set's
// group; ids stand for resources anywhere.
type Options struct {
	VirtualNetwork, Subnet             string
	LoadBalancer, BackendPool, NATPool string
	SecurityGroup                      string
	Apps                               []string // application security groups
	PublicAddress                      bool     // one for each instance
}

// Group is the resource group that names are looked up in.
type Group struct {
	Path string // "/subscriptions/.../resourceGroups/web"
	Get  func(ctx context.Context, path string, into any) error
}

// AmbiguousError says that something must be named.
type AmbiguousError struct{ Text string }

// Error implements error.
func (e *AmbiguousError) Error() string { return e.Text }

func ambiguous(format string, args ...any) error {
	return &AmbiguousError{fmt.Sprintf(format, args...)}
}

type object = map[string]any

// Configure reads into a network configuration of the SDK what the options say. The
// only subnet, backend pool and NAT pool need no name. An *AmbiguousError says that
// something must be named; other errors are Get's.
func (o Options) Configure(ctx context.Context, g Group, into any) error {
	ip := object{}
	if err := o.place(ctx, g, ip); err != nil {
		return err
	}
	if err := o.balance(ctx, g, ip); err != nil {
		return err
	}
	var apps []any
	for _, name := range o.Apps {
		apps = append(apps, object{"id": g.id("applicationSecurityGroups", name)})
	}
	if len(apps) > 0 {
		ip["applicationSecurityGroups"] = apps
	}
	if o.PublicAddress {
		ip["publicIPAddressConfiguration"] = object{"name": "pub"}
	}
	properties := object{"primary": true, "ipConfigurations": []any{object{"name": "ip", "properties": ip}}}
	if o.SecurityGroup != "" {
		properties["networkSecurityGroup"] = object{"id": g.id("networkSecurityGroups", o.SecurityGroup)}
	}
	raw, err := json.Marshal(object{"name": "nic", "properties": properties})
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, into)
}

// place puts the card into a subnet. Without one it is in the default network.
func (o Options) place(ctx context.Context, g Group, ip object) error {
	if o.VirtualNetwork == "" && o.Subnet == "" {
		return nil
	}
	id := o.Subnet
	if !strings.HasPrefix(id, "/") {
		if o.VirtualNetwork == "" {
			return ambiguous("--subnet %s is of a virtual network: give --vnet-name, or the id of the subnet", o.Subnet)
		}
		network, err := g.read(ctx, "virtualNetworks", o.VirtualNetwork)
		if err != nil {
			return err
		}
		if id, err = network.pick("subnets", o.Subnet, "--subnet"); err != nil {
			return err
		}
	}
	ip["subnet"] = object{"id": id}
	return nil
}

// balance puts the card into a backend pool and a NAT pool of the balancer.
func (o Options) balance(ctx context.Context, g Group, ip object) error {
	if o.LoadBalancer == "" {
		if o.BackendPool != "" || o.NATPool != "" {
			return ambiguous("--backend-pool-name and --nat-pool-name are of a load balancer: give --lb")
		}
		return nil
	}
	balancer, err := g.read(ctx, "loadBalancers", o.LoadBalancer)
	if err != nil {
		return err
	}
	pool, err := balancer.pick("backendAddressPools", o.BackendPool, "--backend-pool-name")
	if err != nil {
		return err
	}
	ip["loadBalancerBackendAddressPools"] = []any{object{"id": pool}}
	if o.NATPool == "" && len(balancer.parts("inboundNatPools")) == 0 {
		return nil
	}
	if pool, err = balancer.pick("inboundNatPools", o.NATPool, "--nat-pool-name"); err != nil {
		return err
	}
	ip["loadBalancerInboundNatPools"] = []any{object{"id": pool}}
	return nil
}

// id is a resource's id: as given, or made of its name.
func (g Group) id(kind, name string) string {
	if strings.HasPrefix(name, "/") {
		return name
	}
	return g.Path + "/providers/Microsoft.Network/" + kind + "/" + name
}

// whole is a resource with parts.
type whole struct {
	Name       string
	Properties map[string]json.RawMessage
}

// part is a subnet or a pool.
type part struct{ ID, Name string }

func (g Group) read(ctx context.Context, kind, name string) (w whole, err error) {
	err = g.Get(ctx, g.id(kind, name)+"?api-version="+version, &w)
	return w, err
}

func (w whole) parts(array string) (all []part) {
	_ = json.Unmarshal(w.Properties[array], &all) // absent: none
	return all
}

// pick returns the id of the part with this name, or of the only one.
func (w whole) pick(array, name, option string) (string, error) {
	all := w.parts(array)
	var names []string
	for _, p := range all {
		if strings.EqualFold(p.Name, name) || name == "" && len(all) == 1 {
			return p.ID, nil
		}
		names = append(names, p.Name)
	}
	switch {
	case len(all) == 0:
		return "", ambiguous("'%s' has no %s", w.Name, array)
	case name == "":
		return "", ambiguous("'%s' has several %s: choose one with %s from %s", w.Name, array, option, strings.Join(names, ", "))
	}
	return "", ambiguous("argument %s: '%s' has no %s called '%s': choose from %s", option, w.Name, array, name, strings.Join(names, ", "))
}
