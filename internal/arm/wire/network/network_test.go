package network_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	wire "github.com/muster-vm/muster/internal/arm/wire/network"
	"github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/resource"
)

const base = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/"

func idOf(t testing.TB, kind network.Kind, name string) resource.ID {
	t.Helper()
	id, err := resource.ParseID(base + string(kind) + "/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// put makes a resource of a body, in place of current if that is not nil.
func put(t testing.TB, kind network.Kind, name string, current *network.Resource, body string) (network.Resource, []wire.Reference, error) {
	t.Helper()
	d, err := wire.Put(kind, current, []byte(body))
	if err != nil {
		return network.Resource{}, nil, err
	}
	r, err := d.Parse(wire.Input{ID: idOf(t, kind, name), Zones: []string{"1", "2", "3"}})
	r.UID = "guid"
	return r, d.References(), err
}

func mustPut(t testing.TB, kind network.Kind, name, body string) network.Resource {
	t.Helper()
	r, _, err := put(t, kind, name, nil, body)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var view = wire.View{ETag: "tag", State: wire.Updating, Fresh: true, Version: "2022-11-01"}

// sameJSON compares as JSON: members in any order.
func sameJSON(t testing.TB, got []byte, want string) {
	t.Helper()
	var g, w any
	if err := json.Unmarshal(got, &g); err != nil {
		t.Fatalf("%s: %v", got, err)
	}
	if err := json.Unmarshal([]byte(strings.ReplaceAll(want, "BASE/", base)), &w); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(w, g); diff != "" {
		t.Error(diff)
	}
}

// TestAnswersAreThoseOfAzure compares with recordings of Azure, whose subscription,
// group, GUIDs and ETags are replaced.
func TestAnswersAreThoseOfAzure(t *testing.T) {
	for _, c := range []struct {
		kind             network.Kind
		name, body, want string
	}{
		{network.VirtualNetworkKind, "vnet1", `{"location": "westus", "properties": {"addressSpace": {"addressPrefixes": ["10.0.0.0/16"]}, "enableDdosProtection": false, "enableVmProtection": false, "subnets": [{"name": "default", "properties": {"addressPrefix": "10.0.0.0/24"}}]}}`,
			`{"name":"vnet1","id":"BASE/virtualNetworks/vnet1","etag":"W/\"tag\"","type":"Microsoft.Network/virtualNetworks","location":"westus","properties":{"provisioningState":"Updating","resourceGuid":"guid","addressSpace":{"addressPrefixes":["10.0.0.0/16"]},"subnets":[{"name":"default","id":"BASE/virtualNetworks/vnet1/subnets/default","etag":"W/\"tag\"","properties":{"provisioningState":"Updating","addressPrefix":"10.0.0.0/24","delegations":[],"privateEndpointNetworkPolicies":"Disabled","privateLinkServiceNetworkPolicies":"Enabled"},"type":"Microsoft.Network/virtualNetworks/subnets"}],"virtualNetworkPeerings":[],"enableDdosProtection":false}}`},
		{network.ApplicationGroupKind, "test-asg1", `{"location": "westus"}`,
			`{"name":"test-asg1","id":"BASE/applicationSecurityGroups/test-asg1","etag":"W/\"tag\"","type":"Microsoft.Network/applicationSecurityGroups","location":"westus","properties":{"provisioningState":"Updating"}}`},
		{network.PublicAddressKind, "pubip3", `{"location": "eastus2", "properties": {"idleTimeoutInMinutes": 4, "ipTags": [{"ipTagType": "RoutingPreference", "tag": "Internet"}], "publicIPAddressVersion": "IPv4", "publicIPAllocationMethod": "Static"}, "sku": {"name": "Standard"}, "zones": ["1", "2", "3"]}`,
			`{"name":"pubip3","id":"BASE/publicIPAddresses/pubip3","etag":"W/\"tag\"","location":"eastus2","zones":["1","2","3"],"properties":{"provisioningState":"Updating","resourceGuid":"guid","publicIPAddressVersion":"IPv4","publicIPAllocationMethod":"Static","idleTimeoutInMinutes":4,"ipTags":[{"ipTagType":"RoutingPreference","tag":"Internet"}],"ddosSettings":{"protectionMode":"VirtualNetworkInherited"}},"type":"Microsoft.Network/publicIPAddresses","sku":{"name":"Standard","tier":"Regional"}}`},
		{network.PublicAddressKind, "pubipnodns", `{"location": "eastus2euap", "properties": {"dnsSettings": {"domainNameLabel": "wowza2"}, "idleTimeoutInMinutes": 10, "ipTags": [], "publicIPAddressVersion": "IPv4", "publicIPAllocationMethod": "Static"}, "sku": {"name": "Basic", "tier": "Regional"}, "tags": {"foo": "doo"}}`,
			`{"name":"pubipnodns","id":"BASE/publicIPAddresses/pubipnodns","etag":"W/\"tag\"","location":"eastus2euap","tags":{"foo":"doo"},"properties":{"provisioningState":"Updating","resourceGuid":"guid","publicIPAddressVersion":"IPv4","publicIPAllocationMethod":"Static","idleTimeoutInMinutes":10,"dnsSettings":{"domainNameLabel":"wowza2","fqdn":"wowza2.eastus2euap.cloudapp.azure.com"},"ipTags":[]},"type":"Microsoft.Network/publicIPAddresses","sku":{"name":"Basic","tier":"Regional"}}`},
	} {
		t.Run(string(c.kind)+"/"+c.name, func(t *testing.T) {
			got, err := wire.Render(mustPut(t, c.kind, c.name, c.body), view)
			if err != nil {
				t.Fatal(err)
			}
			sameJSON(t, got, c.want)
		})
	}
}
