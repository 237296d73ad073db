package compute

import (
	"context"

	"github.com/muster-vm/muster/internal/arm"
	wire "github.com/muster-vm/muster/internal/arm/wire/compute"
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
	const nics, addresses = "/networkInterfaces", "/publicIPAddresses"
	const nic = nics + "/{nic}"
	routes := []arm.Route{
		route("GET", setPath+nics, setAction+"networkInterfaces/read", a.listSetNICs),
		route("GET", instancePath+nics, instanceAction+"networkInterfaces/read", a.listNICs),
		route("GET", instancePath+nic, instanceAction+"networkInterfaces/read", a.getNIC),
		route("GET", setPath+addresses, setAction+"publicIPAddresses/read", a.listSetAddresses),
		route("GET", instancePath+nic+"/ipConfigurations/{config}"+addresses, instanceAction+"networkInterfaces/ipConfigurations/publicIPAddresses/read", a.listAddresses),
	}
	for i := range routes {
		routes[i].Versions = NetworkVersions
	}
	return routes
}

// listSetNICs lists the network interfaces of all instances, in pages of as many
// instances as a page of instances has.
func (a *API) listSetNICs(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	set, err := a.scaleSet(ctx, r)
	if err != nil {
		return nil, err
	}
	records, next, err := a.page(r, *set.Value, nil)
	if err != nil {
		return nil, err
	}
	var values [][]byte
	for _, rec := range records {
		renderer, err := a.renderer(set, rec.Row.Value.Revision)
		if err != nil {
			return nil, err
		}
		some, err := renderer.RenderNICs(inputOf(rec))
		if err != nil {
			return nil, err
		}
		values = append(values, some...)
	}
	return &arm.Response{Body: wire.RenderPage(values, next)}, nil
}

func (a *API) listNICs(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	f, renderer, err := a.read(ctx, r)
	if err != nil {
		return nil, err
	}
	nics, err := renderer.RenderNICs(inputOf(f.rec))
	return &arm.Response{Body: wire.RenderPage(nics, "")}, err
}

func (a *API) getNIC(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	f, renderer, err := a.read(ctx, r)
	if err != nil {
		return nil, err
	}
	nic, err := renderer.RenderNIC(inputOf(f.rec), r.Var("nic"))
	return &arm.Response{Body: nic}, err
}

// listSetAddresses lists the public addresses of a set's instances. There are
// none: hosts reach their instances, and what is outside reaches the hosts.
func (a *API) listSetAddresses(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	_, err := a.scaleSet(ctx, r)
	return &arm.Response{Body: wire.RenderPage(nil, "")}, err
}

// listAddresses lists the public addresses of one IP configuration: none, too.
func (a *API) listAddresses(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	f, renderer, err := a.read(ctx, r)
	if err != nil {
		return nil, err
	}
	_, err = renderer.RenderNIC(inputOf(f.rec), r.Var("nic"))
	return &arm.Response{Body: wire.RenderPage(nil, "")}, err
}
