package compute

import (
	"context"
	"slices"

	"github.com/muster-vm/muster/internal/arm"
	wire "github.com/muster-vm/muster/internal/arm/wire/compute"
	"github.com/muster-vm/muster/internal/arm/wire/compute/nic"
	"github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/vmss"
)

// NetworkVersions are the api-versions of what hangs below a scale set and
// belongs to Microsoft.Network, newest first. Clients ask for it with those.
var NetworkVersions = []string{"2025-01-01", "2024-10-01", "2024-07-01", "2024-05-01", "2024-03-01", "2024-01-01", "2023-11-01", "2023-09-01", "2023-06-01",
	"2023-05-01", "2023-04-01", "2023-02-01", "2022-11-01", "2022-09-01", "2022-07-01", "2022-05-01", "2022-01-01", "2021-12-01", "2021-08-01", "2021-05-01",
	"2021-03-01", "2021-02-01", "2020-11-01", "2020-08-01", "2020-07-01", "2020-06-01", "2020-05-01", "2020-04-01", "2020-03-01", "2019-12-01", "2019-11-01",
	"2019-09-01", "2019-08-01", "2019-07-01", "2019-06-01", "2019-04-01", "2019-02-01", "2018-12-01", "2018-11-01", "2018-10-01", "2018-08-01", "2018-07-01",
	"2018-06-01", "2018-04-01", "2018-02-01", "2018-01-01", "2017-11-01", "2017-10-01", "2017-09-01", "2017-08-01", "2017-06-01", "2017-03-30", "2017-03-01",
	"2016-12-01", "2016-09-01", "2016-06-01", "2016-03-30", "2015-06-15"}

func (a *API) nicRoutes() []arm.Route {
	const (
		nicsAction = instanceAction + "networkInterfaces/"
		nics       = instancePath + "/networkInterfaces"
		configs    = nics + "/{nic}/ipConfigurations"
		addresses  = configs + "/{config}/publicIPAddresses"
	)
	routes := []arm.Route{
		route("GET", setPath+"/networkInterfaces", setAction+"networkInterfaces/read", a.ofSet((*nic.Renderer).NICs)),
		route("GET", setPath+"/publicIPAddresses", setAction+"publicIPAddresses/read", a.ofSet((*nic.Renderer).Addresses)),
		route("GET", nics, nicsAction+"read", a.several(func(c *nic.Renderer, in nic.Input, _ *arm.Request) ([][]byte, error) { return c.NICs(in), nil })),
		route("GET", nics+"/{nic}", nicsAction+"read", a.single(func(c *nic.Renderer, in nic.Input, r *arm.Request) ([]byte, error) { return c.NIC(in, r.Var("nic")) })),
		route("GET", configs, nicsAction+"ipConfigurations/read", a.several(func(c *nic.Renderer, in nic.Input, r *arm.Request) ([][]byte, error) {
			return c.Configs(in, r.Var("nic"))
		})),
		route("GET", configs+"/{config}", nicsAction+"ipConfigurations/read", a.single(func(c *nic.Renderer, in nic.Input, r *arm.Request) ([]byte, error) {
			return c.Config(in, r.Var("nic"), r.Var("config"))
		})),
		route("GET", addresses, nicsAction+"ipConfigurations/publicIPAddresses/read", a.several(func(c *nic.Renderer, in nic.Input, r *arm.Request) ([][]byte, error) {
			return c.AddressesOf(in, r.Var("nic"), r.Var("config"))
		})),
		route("GET", addresses+"/{address}", nicsAction+"ipConfigurations/publicIPAddresses/read", a.single(func(c *nic.Renderer, in nic.Input, r *arm.Request) ([]byte, error) {
			return c.Address(in, r.Var("nic"), r.Var("config"), r.Var("address"))
		})),
	}
	for i := range routes {
		routes[i].Versions = NetworkVersions
	}
	return routes
}

// ofSet lists something of all instances, in pages of as many instances as a page
// of instances has.
func (a *API) ofSet(of func(*nic.Renderer, nic.Input) [][]byte) arm.Handler {
	return func(ctx context.Context, r *arm.Request) (*arm.Response, error) {
		set, err := a.scaleSet(ctx, r)
		if err != nil {
			return nil, err
		}
		records, next, err := a.page(r, *set.Value, nil)
		if err != nil {
			return nil, err
		}
		var values [][]byte
		known := map[vmss.RevisionNumber]cards{}
		for _, rec := range records {
			number := rec.Row.Value.Revision
			if _, ok := known[number]; !ok {
				if known[number], err = a.cards(*set.Value, number, r.APIVersion); err != nil {
					return nil, err
				}
			}
			values = append(values, of(known[number].Renderer, known[number].input(*set.Value, rec))...)
		}
		return &arm.Response{Body: wire.RenderPage(values, next)}, nil
	}
}

// several answers with a list of something of one instance.
func (a *API) several(of func(*nic.Renderer, nic.Input, *arm.Request) ([][]byte, error)) arm.Handler {
	return a.single(func(c *nic.Renderer, in nic.Input, r *arm.Request) ([]byte, error) {
		values, err := of(c, in, r)
		return wire.RenderPage(values, ""), err
	})
}

// single answers with something of one instance.
func (a *API) single(of func(*nic.Renderer, nic.Input, *arm.Request) ([]byte, error)) arm.Handler {
	return func(ctx context.Context, r *arm.Request) (*arm.Response, error) {
		f, _, err := a.read(ctx, r)
		if err != nil {
			return nil, err
		}
		c, err := a.cards(*f.set.Value, f.rec.Row.Value.Revision, r.APIVersion)
		if err != nil {
			return nil, err
		}
		body, err := of(c.Renderer, c.input(*f.set.Value, f.rec), r)
		return &arm.Response{Body: body}, err
	}
}

// cards writes the network cards of instances that have one model.
type cards struct {
	*nic.Renderer
	store   *store.Store
	private network.Space            // where their addresses are from; empty for the default network
	ports   map[network.Space]string // of NAT pools, and what ids of their rules start with
}

// cards prepares the instances of a set that have a model. What the model names
// and is gone has given out nothing.
func (a *API) cards(set vmss.ScaleSet, model vmss.RevisionNumber, version string) (cards, error) {
	revision, err := a.revision(set, model)
	if err != nil {
		return cards{}, err
	}
	c := cards{store: a.Store, ports: map[network.Space]string{}}
	if c.Renderer, err = nic.NewRenderer(set, revision.Model, version); err != nil {
		return cards{}, err
	}
	for _, n := range revision.Model.NICs {
		for _, ip := range n.IPConfigs {
			if net, _, ok := a.named(ip.Subnet); ok {
				c.private = network.AddressSpace(net.UID)
			}
			for _, id := range ip.NATPools {
				if balancer, pool, ok := a.named(id); ok {
					c.ports[network.PortSpace(balancer.UID, pool.Child)] = balancer.ID.Child("inboundNatRules", lastName(id)).String() + "."
				}
			}
		}
	}
	return c, nil
}

func lastName(id string) string {
	parsed, _ := resource.ParseID(id)
	return parsed.Name()
}

// named returns the resource of Microsoft.Network that an id names or is a child
// of, and what of it the id names.
func (a *API) named(id string) (network.Resource, network.Ref, bool) {
	parsed, err := resource.ParseID(id)
	if err != nil {
		return network.Resource{}, network.Ref{}, false
	}
	ref, ok := network.RefOf(parsed)
	if !ok {
		return network.Resource{}, ref, false
	}
	e, ok := store.Get(a.Store, store.Networks, ref.Key)
	if !ok {
		return network.Resource{}, ref, false
	}
	return *e.Value, ref, true
}

// input is a record as the renderer takes it, with what the instance has been given.
func (c cards) input(set vmss.ScaleSet, rec *store.Record) nic.Input {
	in := nic.Input{ID: rec.ID, Held: map[nic.Place]nic.Holding{}}
	if rec.Seen != nil {
		in.Seen = *rec.Seen
	}
	for _, key := range c.store.ReservedBy(vmss.InstanceKey{Set: set.UID, ID: rec.ID}) {
		e, ok := store.Get(c.store, store.Reservations, key)
		if !ok {
			continue
		}
		place := nic.PlaceOf(e.Value.NIC, e.Value.Config)
		has := in.Held[place]
		rule, port := c.ports[key.Space]
		switch {
		case key.Space == c.private:
			has.Private = key.Name
			if uid, ok := key.Space.Network(); ok {
				in.Domain = network.Domain(uid)
			}
		case key.Space == network.PublicSpace:
			has.Public = key.Name
		case port:
			has.NATRules = append(has.NATRules, rule+rec.ID.String())
			slices.Sort(has.NATRules)
		}
		in.Held[place] = has
	}
	return in
}
