package network_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	wire "github.com/muster-vm/muster/internal/arm/wire/network"
	"github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/resource"
)

const (
	rule = `{"name":"r","properties":{"access":"Allow","direction":"Inbound","priority":100,"protocol":"*","sourceAddressPrefixes":["10.0.0.0/8","1.2.3.4"],"sourcePortRange":"*",
	"destinationApplicationSecurityGroups":[{"id":"BASE/applicationSecurityGroups/a"}],"destinationPortRanges":["80","8000-8080"]}}`
	subnet = `{"name":"sn","properties":{"addressPrefix":"10.0.0.0/24","networkSecurityGroup":{"id":"BASE/networkSecurityGroups/g"},"natGateway":{"id":"BASE/natGateways/n"},"defaultOutboundAccess":false}}`
)

// bodies are accepted ones of each kind.
var bodies = map[network.Kind]string{
	network.VirtualNetworkKind:   `{"location":"West US","tags":{"a":"b"},"properties":{"addressSpace":{"addressPrefixes":["10.0.0.0/16"]},"dhcpOptions":{"dnsServers":["1.2.3.4"]},"subnets":[` + subnet + `,{"name":"two","properties":{"addressPrefixes":["10.0.1.0/24"]}}]}}`,
	network.SecurityGroupKind:    `{"location":"local","properties":{"securityRules":[` + rule + `]}}`,
	network.ApplicationGroupKind: `{"location":"local","tags":{}}`,
	network.PublicAddressKind:    `{"location":"local","sku":{"name":"standard"},"zones":["1"],"properties":{"publicIPAllocationMethod":"static","idleTimeoutInMinutes":"30","dnsSettings":{"domainNameLabel":"web"}}}`,
	network.NATGatewayKind:       `{"location":"local","zones":["2"],"properties":{"idleTimeoutInMinutes":120,"publicIpAddresses":[{"id":"BASE/publicIPAddresses/p"}]}}`,
}

func body(kind network.Kind) string { return strings.ReplaceAll(bodies[kind], "BASE/", base) }

func TestWhatIsShownMayBeSentBackAndChangesNothing(t *testing.T) {
	for kind := range bodies {
		first := mustPut(t, kind, "x", body(kind))
		shown, err := wire.Render(first, wire.View{ETag: "tag", State: wire.Succeeded, Version: "2025-05-01", Links: map[wire.Link][]string{
			{Child: "subnets/sn", Member: "ipConfigurations"}: {base + "loadBalancers/l/frontendIPConfigurations/f"}, {Member: "subnets"}: {base + "virtualNetworks/v/subnets/s"},
			{Member: "natGateway"}: {base + "natGateways/n"}, {Member: "networkInterfaces"}: {"/subscriptions/s"}}})
		if err != nil {
			t.Fatal(err)
		}
		second, _, err := put(t, kind, "x", &first, string(shown))
		if err != nil {
			t.Errorf("%s: %v", kind, err)
			continue
		}
		if diff := cmp.Diff(first, second, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); diff != "" {
			t.Errorf("%s (-first +second): %s\n%s\n%s", kind, diff, first.Document, second.Document)
		}
	}
}

func TestRulesAndSubnetsBecomeNouns(t *testing.T) {
	g := mustPut(t, network.SecurityGroupKind, "g", body(network.SecurityGroupKind)).SecurityGroup.Rules[0]
	if len(g.Source.Prefixes) != 2 || g.Source.Prefixes[1].String() != "1.2.3.4/32" || g.Destination.Groups[0] != network.NewKey(network.ApplicationGroupKind, "s", "g", "a") ||
		g.Ports[1] != (network.Ports{First: 8000, Last: 8080}) || g.SourcePorts[0] != network.AllPorts {
		t.Errorf("%+v", g)
	}
	v, refs, err := put(t, network.VirtualNetworkKind, "v", nil, body(network.VirtualNetworkKind))
	if err != nil {
		t.Fatal(err)
	}
	s := v.VirtualNetwork.Subnets
	if !s[0].Private || s[0].SecurityGroup != network.NewKey(network.SecurityGroupKind, "s", "g", "g") || s[1].Private || s[1].Prefix.String() != "10.0.1.0/24" || v.Location != "westus" {
		t.Errorf("%+v", v)
	}
	if len(refs) != 2 || refs[0].Path != "properties.subnets[0].properties.networkSecurityGroup.id" || refs[1].To.Kind != network.NATGatewayKind {
		t.Errorf("%+v", refs)
	}
}

// TestWhatCannotBeIsRefusedAtItsPath replaces a part of a good body.
func TestWhatCannotBeIsRefusedAtItsPath(t *testing.T) {
	const inRule, inSubnet = "properties.securityRules[0].properties.", "properties.subnets[0]."
	for _, c := range []struct {
		kind         network.Kind
		old, with    string
		code, target string
	}{
		{network.VirtualNetworkKind, `"location":"West US",`, ``, "InvalidParameter", "location"},
		{network.VirtualNetworkKind, `["10.0.0.0/16"]`, `[]`, "InvalidParameter", "properties.addressSpace.addressPrefixes"},
		{network.VirtualNetworkKind, `"10.0.0.0/16"`, `"10.0.0.1/16"`, "InvalidCIDRNotation", "properties.addressSpace.addressPrefixes[0]"},
		{network.VirtualNetworkKind, `"1.2.3.4"`, `"dns"`, "InvalidDnsServerAddress", "properties.dhcpOptions.dnsServers[0]"},
		{network.VirtualNetworkKind, `"10.0.0.0/24"`, `"10.9.0.0/24"`, "NetcfgInvalidSubnet", inSubnet + "properties.addressPrefix"},
		{network.VirtualNetworkKind, `"addressPrefix":"10.0.0.0/24",`, ``, "InvalidParameter", inSubnet + "properties.addressPrefix"},
		{network.VirtualNetworkKind, `["10.0.1.0/24"]`, `["10.0.1.0/24","10.0.2.0/24"]`, "InvalidAddressPrefixes", "properties.subnets[1].properties.addressPrefixes"},
		{network.VirtualNetworkKind, `"name":"sn"`, `"name":"s/n"`, "InvalidResourceName", inSubnet + "name"},
		{network.VirtualNetworkKind, `networkSecurityGroups/g`, `natGateways/g`, "InvalidResourceReference", inSubnet + "properties.networkSecurityGroup.id"},
		{network.VirtualNetworkKind, `"defaultOutboundAccess":false`, `"routeTable":{"id":"` + base + `routeTables/r"}`, "InvalidParameter", inSubnet + "properties.routeTable"},
		{network.SecurityGroupKind, `"10.0.0.0/8"`, `"VirtualNetwork"`, "SecurityRuleInvalidAddressPrefix", inRule + "sourceAddressPrefixes[0]"},
		{network.SecurityGroupKind, `"sourcePortRange":"*"`, `"sourcePortRange":""`, "SecurityRuleParameterNotSpecified", inRule + "sourcePortRange"},
		{network.SecurityGroupKind, `"sourcePortRange":"*"`, `"sourcePortRange":"*","sourceAddressPrefix":"*"`, "SecurityRuleParameterConflict", inRule + "sourceAddressPrefixes"},
		{network.SecurityGroupKind, `"8000-8080"`, `"8080-8000"`, "SecurityRuleInvalidPortRange", inRule + "destinationPortRanges[1]"},
		{network.SecurityGroupKind, `"destinationPortRanges"`, `"destinationAddressPrefix":"*","destinationPortRanges"`, "SecurityRuleParameterConflict", inRule + "destinationApplicationSecurityGroups"},
		{network.SecurityGroupKind, `"priority":100`, `"priority":5000`, "SecurityRuleInvalidPriority", inRule + "priority"},
		{network.SecurityGroupKind, `"priority":100,`, ``, "InvalidParameter", inRule + "priority"},
		{network.PublicAddressKind, `"static"`, `"dynamic"`, "StandardSkuPublicIPAddressMustBeStatic", "properties.publicIPAllocationMethod"},
		{network.PublicAddressKind, `"30"`, `31`, "InvalidParameter", "properties.idleTimeoutInMinutes"},
		{network.PublicAddressKind, `"web"`, `"Web"`, "InvalidDomainNameLabel", "properties.dnsSettings.domainNameLabel"},
		{network.PublicAddressKind, `["1"]`, `["4"]`, "InvalidAvailabilityZone", "zones[0]"},
		{network.NATGatewayKind, `["2"]`, `["1","2"]`, "InvalidParameter", "zones"},
		{network.NATGatewayKind, `publicIPAddresses/p"}`, `publicIPAddresses/p"},{"id":"` + base + `publicIPAddresses/P"}`, "InvalidParameter", "properties.publicIpAddresses[1].id"},
	} {
		changed := strings.Replace(body(c.kind), c.old, c.with, 1)
		if changed == body(c.kind) {
			t.Errorf("%s is not in the body", c.old)
		}
		_, _, err := put(t, c.kind, "x", nil, changed)
		e, ok := errors.AsType[*resource.Error](err)
		if !ok || e.Code != c.code || e.Target != c.target || len(e.Details) > 0 {
			t.Errorf("%s -> %s: %v; want %s at %s", c.old, c.with, err, c.code, c.target)
		}
	}
}

func TestAVirtualNetworkKeepsTheSubnetsThatAPutDoesNotSpeakOf(t *testing.T) {
	v := mustPut(t, network.VirtualNetworkKind, "v", body(network.VirtualNetworkKind))
	for given, want := range map[string]int{`{}`: 2, `{"subnets":null}`: 2, `{"subnets":[]}`: 0} {
		props := `{"addressSpace":{"addressPrefixes":["10.0.0.0/16"]},` + strings.TrimPrefix(given, "{")
		got, _, err := put(t, network.VirtualNetworkKind, "v", &v, `{"location":"westus","properties":`+strings.Replace(props, ",}", "}", 1)+`}`)
		if err != nil || len(got.VirtualNetwork.Subnets) != want || got.Tags != nil {
			t.Errorf("%s: %v, %v; want %d subnets and no tags", given, got.VirtualNetwork, err, want)
		}
	}
}

// FuzzPut holds that no body breaks the parser, and that what it accepts can be
// shown and sent back.
func FuzzPut(f *testing.F) {
	kinds := network.Kinds()
	for kind := range bodies {
		for i, k := range kinds {
			if k == kind {
				f.Add(i, body(kind))
			}
		}
	}
	f.Fuzz(func(t *testing.T, i int, raw string) {
		kind := kinds[max(i, -i)%len(kinds)]
		if bodies[kind] == "" {
			return
		}
		r, _, err := put(t, kind, "x", nil, raw)
		if err != nil {
			if _, ok := errors.AsType[*resource.Error](err); !ok || resource.Is(err, resource.Internal) {
				t.Fatalf("%s: %v", raw, err)
			}
			return
		}
		shown, err := wire.Render(r, view)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := put(t, kind, "x", &r, string(shown)); err != nil {
			t.Errorf("%s is accepted, and what is shown of it is not: %s: %v", raw, shown, err)
		}
	})
}
