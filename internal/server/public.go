package server

import (
	"encoding/json"
	"net/http"

	"github.com/muster-vm/muster/internal/api/compute"
	"github.com/muster-vm/muster/internal/api/fleet"
	"github.com/muster-vm/muster/internal/api/insights"
	"github.com/muster-vm/muster/internal/api/network"
	"github.com/muster-vm/muster/internal/api/resources"
	"github.com/muster-vm/muster/internal/arm"
	"github.com/muster-vm/muster/internal/host/image"
)

// publicRoutes lists what needs no token: login, discovery, readiness.
func publicRoutes(parts Parts) []arm.Route {
	routes := []arm.Route{
		{Method: http.MethodGet, Path: "/readyz", Public: true, AnyHost: true, HTTP: http.HandlerFunc(ready)},
		{Method: http.MethodGet, Path: "/aliases.json", Public: true, HTTP: aliases(parts.Images)},
	}
	for _, e := range parts.Identity.Endpoints() {
		routes = append(routes, arm.Route{Method: e.Method, Path: e.Path, Public: true, HTTP: e.Handler})
	}
	return routes
}

// ready answers once everything is wired: before, nobody listens.
func ready(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("ok\n")) // the caller may have gone; there is nobody to tell
}

// aliases is the document of image aliases that `az` asks for.
//
// Source: azure-rest-api-specs, arm-compute/quickstart-templates/aliases.json
func aliases(images *image.Catalogue) http.HandlerFunc {
	type reference struct {
		Publisher string `json:"publisher"`
		Offer     string `json:"offer"`
		SKU       string `json:"sku"`
		Version   string `json:"version"`
		Arch      string `json:"architecture"`
	}
	return func(w http.ResponseWriter, _ *http.Request) {
		value := map[string]map[string]reference{}
		for osType, named := range images.Aliases() {
			value[osType] = map[string]reference{}
			for alias, i := range named {
				value[osType][alias] = reference{i.Publisher, i.Offer, i.SKU, i.Version, "x64"}
			}
		}
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		_ = json.NewEncoder(w).Encode(map[string]any{ // the caller may have gone; there is nobody to tell
			"outputs": map[string]any{"aliases": map[string]any{"type": "object", "value": value}},
		})
	}
}

// providers lists the namespaces as clients discover them.
func providers() []resources.Provider {
	return []resources.Provider{
		{Namespace: "Microsoft.Compute", Types: []resources.Type{
			{Name: "virtualMachineScaleSets", Versions: compute.Versions, Zonal: true},
			{Name: "virtualMachineScaleSets/virtualMachines", Versions: compute.Versions},
			{Name: "disks", Versions: compute.DiskVersions, Zonal: true},
			{Name: "snapshots", Versions: compute.DiskVersions},
			{Name: "images", Versions: compute.Versions},
			{Name: "locations", Versions: compute.Versions},
			{Name: "locations/operations", Versions: compute.DiskVersions},
			{Name: "locations/usages", Versions: compute.Versions},
			{Name: "locations/vmSizes", Versions: compute.Versions},
			{Name: "locations/publishers", Versions: compute.Versions},
		}},
		{Namespace: network.Namespace, Types: networkTypes()},
		{Namespace: insights.Namespace, Types: []resources.Type{
			{Name: "metrics", Versions: insights.Versions},
			{Name: "metricDefinitions", Versions: insights.Versions},
			{Name: "metricNamespaces", Versions: insights.Versions},
		}},
		{Namespace: fleet.Namespace, Types: []resources.Type{
			{Name: "console", Versions: fleet.Versions},
			{Name: "costs", Versions: fleet.Versions},
			{Name: "explanations", Versions: fleet.Versions},
			{Name: "revisions", Versions: fleet.Versions},
			{Name: "tunnel", Versions: fleet.Versions},
		}},
		{Namespace: "Microsoft.Resources", Types: []resources.Type{
			{Name: "subscriptions", Versions: resources.Versions},
			{Name: "resourceGroups", Versions: resources.Versions},
			{Name: "tags", Versions: resources.Versions},
		}},
	}
}

// networkTypes are the resource types of Microsoft.Network.
func networkTypes() (all []resources.Type) {
	for _, name := range []string{"virtualNetworks", "virtualNetworks/subnets", "networkSecurityGroups", "networkSecurityGroups/securityRules", "networkSecurityGroups/defaultSecurityRules",
		"applicationSecurityGroups", "publicIPAddresses", "natGateways", "loadBalancers", "loadBalancers/backendAddressPools", "loadBalancers/inboundNatRules",
		"locations", "locations/operations", "locations/operationResults", "locations/usages"} {
		all = append(all, resources.Type{Name: name, Versions: network.Versions, Zonal: name == "publicIPAddresses" || name == "natGateways"})
	}
	return all
}
