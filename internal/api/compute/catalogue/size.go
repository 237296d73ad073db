package catalogue

import (
	"context"
	"regexp"
	"strconv"
	"strings"

	"github.com/muster-vm/muster/internal/arm"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/vmss"
)

func (a *API) sizeRoutes() []arm.Route {
	return []arm.Route{
		a.route(locationPath+"/vmSizes", "Microsoft.Compute/locations/vmSizes/read", a.listSizes),
		a.route(subscriptionPath+"/providers/Microsoft.Compute/skus", "Microsoft.Compute/skus/read", a.listSKUs),
	}
}

func (a *API) listSizes(_ context.Context, r *arm.Request) (*arm.Response, error) {
	if _, err := a.Location(r, "locations/vmSizes"); err != nil {
		return nil, err
	}
	values := []object{}
	for _, s := range vmss.Sizes() {
		values = append(values, object{"name": s.Name, "numberOfCores": s.VCPUs, "memoryInMB": s.MemoryMB, "maxDataDiskCount": s.DataDisks,
			"osDiskSizeInMB": maxOSDiskMB, "resourceDiskSizeInMB": 0})
	}
	return &arm.Response{Body: object{"value": values}}, nil
}

// maxOSDiskMB is the largest OS disk, as Azure's answers word it.
const maxOSDiskMB = 32767 << 10

var locationFilter = regexp.MustCompile(`(?i)^\s*location\s+eq\s+'([^']*)'\s*$`)

// listSKUs lists the sizes with what they offer, once for each location.
func (a *API) listSKUs(_ context.Context, r *arm.Request) (*arm.Response, error) {
	if err := a.Known(r.Var("subscription")); err != nil {
		return nil, err
	}
	only := ""
	if filter := r.Query("$filter"); filter != "" {
		m := locationFilter.FindStringSubmatch(filter)
		if m == nil {
			return nil, resource.Errorf(resource.Invalid, "InvalidFilterInQueryString", "The $filter is not supported: use location eq 'name'.").At("$filter")
		}
		if only, _ = a.Find(m[1]); only == "" {
			return &arm.Response{Body: object{"value": []object{}}}, nil
		}
	}
	values := []object{}
	for _, name := range a.Locations {
		location, _ := a.Find(name)
		if only != "" && location != only {
			continue
		}
		for _, s := range vmss.Sizes() {
			values = append(values, a.sku(s, location))
		}
	}
	return &arm.Response{Body: object{"value": values}}, nil
}

func (a *API) sku(s vmss.Size, location string) object {
	tier, size, _ := strings.Cut(s.Name, "_")
	capability := func(name, value string) object { return object{"name": name, "value": value} }
	return object{
		"resourceType": "virtualMachines", "name": s.Name, "tier": tier, "size": size, "family": s.Family, "locations": []string{location},
		"locationInfo": []object{{"location": location, "zones": append([]string{}, a.Zones...), "zoneDetails": []object{}}},
		"capabilities": []object{
			capability("vCPUs", strconv.Itoa(s.VCPUs)),
			capability("vCPUsAvailable", strconv.Itoa(s.VCPUs)),
			capability("MemoryGB", strconv.FormatFloat(float64(s.MemoryMB)/1024, 'f', -1, 64)),
			capability("MaxDataDiskCount", strconv.Itoa(s.DataDisks)),
			capability("HyperVGenerations", "V1"), // hosts boot guests by BIOS
			capability("PremiumIO", "True"),
			capability("LowPriorityCapable", "False"),
			capability("AcceleratedNetworkingEnabled", "False"),
			capability("EphemeralOSDiskSupported", "True"),
		},
		"restrictions": []object{},
	}
}
