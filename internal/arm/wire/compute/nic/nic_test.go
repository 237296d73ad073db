package nic_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-vm/muster/internal/arm/wire"
	"github.com/muster-vm/muster/internal/arm/wire/compute/nic"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/vmss"
)

const inNetwork = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/"

// id is a reference as JSON.
func id(path string) string { return `{"id":"` + inNetwork + path + `"}` }

// read reads a networkProfile.
func read(t *testing.T, profile string) ([]vmss.NIC, error) {
	t.Helper()
	v, err := wire.ParseJSON([]byte(profile))
	if err != nil {
		t.Fatal(err)
	}
	doc, _ := v.(map[string]any)
	var p wire.Problems
	nics := nic.Read(&p, numbers(doc).(map[string]any))
	return nics, p.Err()
}

// numbers gives numbers the type that a decoded document has.
func numbers(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for name, member := range v {
			v[name] = numbers(member)
		}
	case []any:
		for i := range v {
			v[i] = numbers(v[i])
		}
	case json.Number:
		n, _ := v.Int64()
		return n
	}
	return v
}

// card is one primary card with a configuration in subnet s of v; members and
// config are more JSON with a comma before it.
func card(members, config string) string {
	return `{"name":"nic","properties":{"primary":true` + members + `,"ipConfigurations":[{"name":"ip","properties":{"subnet":` + id("virtualNetworks/v/subnets/s") + config + `}}]}}`
}

func profile(more string, cards ...string) string {
	return `{"networkInterfaceConfigurations":[` + strings.Join(cards, ",") + `]` + more + `}`
}

const everything = `,"applicationSecurityGroups":[{"id":"` + inNetwork + `applicationSecurityGroups/web"}],
	"loadBalancerBackendAddressPools":[{"id":"` + inNetwork + `loadBalancers/lb/backendAddressPools/pool"}],
	"loadBalancerInboundNatPools":[{"id":"` + inNetwork + `loadBalancers/lb/inboundNatPools/nat"}],
	"publicIPAddressConfiguration":{"name":"own","properties":{"idleTimeoutInMinutes":10,"dnsSettings":{"domainNameLabel":"shop"}},"sku":{"name":"Standard"}}`

func furnished(t *testing.T) []vmss.NIC {
	t.Helper()
	nics, err := read(t, profile(`,"healthProbe":`+id("loadBalancers/LB/probes/p"), card(`,"networkSecurityGroup":`+id("networkSecurityGroups/nsg")+
		`,"dnsSettings":{"dnsServers":["10.0.0.9"]},"enableIPForwarding":true`, everything)))
	if err != nil {
		t.Fatal(err)
	}
	return nics
}

func TestAProfileBecomesCards(t *testing.T) {
	want := []vmss.NIC{{
		Name: "nic", Primary: true, SecurityGroup: inNetwork + "networkSecurityGroups/nsg", DNS: []string{"10.0.0.9"}, Forwarding: true,
		IPConfigs: []vmss.IPConfig{{
			Name: "ip", Primary: true, Subnet: inNetwork + "virtualNetworks/v/subnets/s", AppGroups: []string{inNetwork + "applicationSecurityGroups/web"},
			Pools: []string{inNetwork + "loadBalancers/lb/backendAddressPools/pool"}, NATPools: []string{inNetwork + "loadBalancers/lb/inboundNatPools/nat"},
			PublicIP: &vmss.PublicIPConfig{Name: "own", Idle: 10, Label: "shop", Standard: true},
		}},
	}}
	if diff := cmp.Diff(want, furnished(t)); diff != "" {
		t.Error(diff)
	}
	plain, err := read(t, profile("", card("", `,"publicIPAddressConfiguration":{"name":"own"}`)))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&vmss.PublicIPConfig{Name: "own", Idle: 4}, plain[0].IPConfigs[0].PublicIP); diff != "" {
		t.Error(diff)
	}
}

func TestMistakesInAProfileAreNamed(t *testing.T) {
	const at, config = nic.Path + "[0].properties", nic.Path + "[0].properties.ipConfigurations[0].properties"
	public := func(members string) string {
		return profile("", card("", `,"publicIPAddressConfiguration":{`+members+`}`))
	}
	plain := func(members, config string) string {
		return profile("", `{"name":"nic","properties":{"primary":true`+members+`,"ipConfigurations":[{"name":"ip","properties":{"primary":true`+config+`}}]}}`)
	}
	second := func(subnet string) string {
		return `{"name":"two","properties":{"ipConfigurations":[{"name":"ip","properties":{` + subnet + `}}]}}`
	}
	for _, tt := range []struct{ profile, code, target string }{
		{profile("", card(`,"networkSecurityGroup":`+id("loadBalancers/lb"), "")), "InvalidParameter", at + ".networkSecurityGroup.id"},
		{profile("", card(`,"dnsSettings":{"dnsServers":["10.0.0.9","dns"]}`, "")), "InvalidParameter", at + ".dnsSettings.dnsServers[1]"},
		{profile("", card(`,"dnsSettings":{"dnsServers":["fd00::1"]}`, "")), "InvalidParameter", at + ".dnsSettings.dnsServers[0]"},
		{profile("", card("", `,"applicationSecurityGroups":[`+id("networkSecurityGroups/x")+`]`)), "InvalidParameter", config + ".applicationSecurityGroups[0].id"},
		{profile("", card("", `,"applicationSecurityGroups":[{}]`)), "InvalidParameter", config + ".applicationSecurityGroups[0].id"},
		{profile("", card("", `,"loadBalancerBackendAddressPools":[`+id("loadBalancers/lb/inboundNatPools/x")+`]`)), "InvalidParameter", config + ".loadBalancerBackendAddressPools[0].id"},
		{profile("", card("", `,"loadBalancerInboundNatPools":[`+id("loadBalancers/lb/inboundNatPools/x")+`,`+id("loadBalancers/LB/inboundNatPools/X")+`]`)), "InvalidParameter", config + ".loadBalancerInboundNatPools[1].id"},
		{public(""), "InvalidParameter", config + ".publicIPAddressConfiguration.name"},
		{public(`"name":"p","properties":{"idleTimeoutInMinutes":3}`), "InvalidParameter", config + ".publicIPAddressConfiguration.properties.idleTimeoutInMinutes"},
		{public(`"name":"p","properties":{"idleTimeoutInMinutes":31}`), "InvalidParameter", config + ".publicIPAddressConfiguration.properties.idleTimeoutInMinutes"},
		{public(`"name":"p","properties":{"dnsSettings":{"domainNameLabel":"Shop"}}`), "InvalidDomainNameLabel", config + ".publicIPAddressConfiguration.properties.dnsSettings.domainNameLabel"},
		{profile("", card("", ""), second(`"subnet":`+id("virtualNetworks/w/subnets/s"))), "SubnetsNotInSameVnet", nic.Path + "[1].properties.ipConfigurations[0].properties.subnet.id"},
		{profile("", card("", ""), second("")), "SubnetsNotInSameVnet", nic.Path + "[1].properties.ipConfigurations[0].properties.subnet.id"},
		{plain(`,"networkSecurityGroup":`+id("networkSecurityGroups/nsg"), ""), "InvalidParameter", at + ".networkSecurityGroup.id"},
		{plain(`,"enableIPForwarding":true`, ""), "InvalidParameter", at + ".enableIPForwarding"},
		{plain(`,"dnsSettings":{"dnsServers":["10.0.0.9"]}`, ""), "InvalidParameter", at + ".dnsSettings.dnsServers"},
		{plain("", `,"publicIPAddressConfiguration":{"name":"p"}`), "InvalidParameter", config + ".publicIPAddressConfiguration"},
		{plain("", `,"loadBalancerBackendAddressPools":[`+id("loadBalancers/lb/backendAddressPools/x")+`]`), "InvalidParameter", config + ".loadBalancerBackendAddressPools"},
		{profile(`,"healthProbe":`+id("loadBalancers/lb/probes/p"), card("", "")), "InvalidParameter", "properties.virtualMachineProfile.networkProfile.healthProbe.id"},
		{profile(`,"healthProbe":`+id("loadBalancers/lb/backendAddressPools/pool"), card("", everything)), "InvalidParameter", "properties.virtualMachineProfile.networkProfile.healthProbe.id"},
	} {
		_, err := read(t, tt.profile)
		e, ok := errors.AsType[*resource.Error](err)
		if !ok || e.Code != tt.code || e.Target != tt.target || len(e.Details) > 0 {
			t.Errorf("%s: got %v, want one problem with code %s at %s", tt.profile, err, tt.code, tt.target)
		}
	}
	for _, good := range []string{
		plain(`,"enableIPForwarding":false,"dnsSettings":{"dnsServers":[]},"enableAcceleratedNetworking":true`, ""),
		profile("", card("", ""), second(`"subnet":`+id("virtualNetworks/V/subnets/other"))),
	} {
		if _, err := read(t, good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
}

func TestReferencesAreListedOnceWithTheirPlaces(t *testing.T) {
	doc := `{"networkProfile":` + profile(`,"healthProbe":`+id("loadBalancers/lb/probes/p")) + `}`
	nics := furnished(t)
	nics = append(nics, vmss.NIC{Name: "two", IPConfigs: []vmss.IPConfig{{Name: "ip", Subnet: strings.ToUpper(nics[0].IPConfigs[0].Subnet), Pools: []string{inNetwork + "loadBalancers/lb/backendAddressPools/more"}}}})
	refs, err := nic.References(vmss.Model{NICs: nics, Document: []byte(doc)})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range refs {
		got = append(got, strings.TrimPrefix(r.ID.String(), inNetwork)+" at "+strings.TrimPrefix(r.Path, "properties.virtualMachineProfile.networkProfile."))
	}
	const first, second = "networkInterfaceConfigurations[0].properties.", "networkInterfaceConfigurations[1].properties.ipConfigurations[0].properties."
	want := []string{
		"networkSecurityGroups/nsg at " + first + "networkSecurityGroup.id",
		"virtualNetworks/v/subnets/s at " + first + "ipConfigurations[0].properties.subnet.id",
		"applicationSecurityGroups/web at " + first + "ipConfigurations[0].properties.applicationSecurityGroups[0].id",
		"loadBalancers/lb/backendAddressPools/pool at " + first + "ipConfigurations[0].properties.loadBalancerBackendAddressPools[0].id",
		"loadBalancers/lb/inboundNatPools/nat at " + first + "ipConfigurations[0].properties.loadBalancerInboundNatPools[0].id",
		"loadBalancers/lb/backendAddressPools/more at " + second + "loadBalancerBackendAddressPools[0].id",
		"loadBalancers/lb/probes/p at healthProbe.id",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if added := nic.New(refs, refs[1:]); len(added) != 1 || added[0].Path != refs[0].Path {
		t.Errorf("new: %v", added)
	}
}

// renderer writes cards of a set called web.
func renderer(t *testing.T, nics []vmss.NIC, version string) *nic.Renderer {
	t.Helper()
	set := vmss.ScaleSet{ID: resource.In("s", "g", "Microsoft.Compute", "virtualMachineScaleSets", "web"), UID: "22222222-2222-2222-2222-222222222222", Location: "westus"}
	r, err := nic.NewRenderer(set, vmss.Model{NICs: nics, Document: []byte(`{"networkProfile":{"networkInterfaceConfigurations":[{"properties":{"enableAcceleratedNetworking":true}}]}}`)}, version)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func held() nic.Input {
	return nic.Input{ID: 1, Domain: "net.internal.muster", Seen: vmss.Observation{Address: "192.168.0.2", MAC: "02:4d:00:00:00:01"}, Held: map[nic.Place]nic.Holding{
		nic.PlaceOf("nic", "IP"): {Private: "10.0.0.5", Public: "203.0.113.7", NATRules: []string{inNetwork + "loadBalancers/lb/inboundNatRules/nat.1"}},
	}}
}

// shape is what a JSON value is made of: its members and their types.
func shape(prefix string, v any) map[string]string {
	out := map[string]string{}
	switch v := v.(type) {
	case map[string]any:
		for name, member := range v {
			maps.Copy(out, shape(prefix+"."+name, member))
		}
	case []any:
		out[prefix] = "array"
		for _, e := range v {
			maps.Copy(out, shape(prefix+"[]", e))
		}
	default:
		out[prefix] = fmt.Sprintf("%T", v)
	}
	return out
}

// TestAnswersLookAsRecorded compares with what Azure answered.
func TestAnswersLookAsRecorded(t *testing.T) {
	raw, err := os.ReadFile("testdata/recorded.json")
	if err != nil {
		t.Fatal(err)
	}
	var recorded map[string]any
	if err := json.Unmarshal(raw, &recorded); err != nil {
		t.Fatal(err)
	}
	nics := furnished(t)
	config := &nics[0].IPConfigs[0]
	own := *config.PublicIP
	without := held()
	without.Held = nil
	addresses := renderer(t, nics, "2018-10-01")
	card := renderer(t, []vmss.NIC{{Name: "nic", Primary: true, IPConfigs: []vmss.IPConfig{{Name: "ip", Primary: true, Subnet: config.Subnet, Pools: config.Pools, NATPools: config.NATPools}}}}, "2016-03-30")
	one, err := card.NIC(held(), "NIC")
	if err != nil {
		t.Fatal(err)
	}
	given, err := addresses.Address(held(), "nic", "ip", strings.ToUpper(own.Name))
	if err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string][]byte{"networkInterface": one, "publicIPAddress": given, "publicIPAddressToCome": addresses.Addresses(without)[0]} {
		var v any
		if err := json.Unmarshal(got, &v); err != nil {
			t.Fatal(err)
		}
		want := shape("", recorded[name])
		if diff := cmp.Diff(want, shape("", v)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestANetworkInterfaceShowsWhatTheModelAndTheNetworkSay(t *testing.T) {
	const id = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachineScaleSets/web/virtualMachines/1"
	got := string(renderer(t, furnished(t), "2018-10-01").NICs(held())[0])
	for _, want := range []string{
		`"id":"` + id + `/networkInterfaces/nic"`, `"privateIPAddress":"10.0.0.5"`, `"publicIPAddress":{"id":"` + id + `/networkInterfaces/nic/ipConfigurations/ip/publicIPAddresses/own"}`,
		`"loadBalancerInboundNatRules":[{"id":"` + inNetwork + `loadBalancers/lb/inboundNatRules/nat.1"}]`, `"applicationSecurityGroups":[{"id":"` + inNetwork + `applicationSecurityGroups/web"}]`,
		`"dnsServers":["10.0.0.9"]`, `"enableIPForwarding":true`, `"enableAcceleratedNetworking":true`, `"networkSecurityGroup":{"id":"` + inNetwork + `networkSecurityGroups/nsg"}`,
		`"macAddress":"02-C6-FF-0A-5A-5A"`, `"primary":true`, `"location":"westus"`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is not in %s", want, got)
		}
	}
}

func TestInTheDefaultNetworkTheHostSaysTheAddress(t *testing.T) {
	nics := []vmss.NIC{
		{Name: "nic", Primary: true, IPConfigs: []vmss.IPConfig{{Name: "ip", Primary: true}}},
		{Name: "two", IPConfigs: []vmss.IPConfig{{Name: "ip", Primary: true}}},
	}
	in := held()
	in.Held = nil
	all := renderer(t, nics, "").NICs(in)
	if len(all) != 2 || !strings.Contains(string(all[0]), `"privateIPAddress":"192.168.0.2"`) || strings.Contains(string(all[1]), "privateIPAddress\"") {
		t.Errorf("%s", all)
	}
	nics[0].IPConfigs[0].Subnet = inNetwork + "virtualNetworks/v/subnets/s"
	if one := renderer(t, nics, "").NICs(in)[0]; strings.Contains(string(one), "192.168.0.2") {
		t.Errorf("an address that is not the virtual network's: %s", one)
	}
}

func TestAStandardAddressIsStatic(t *testing.T) {
	nics := furnished(t)
	if got := string(renderer(t, nics, "").Addresses(held())[0]); !strings.Contains(got, `"publicIPAllocationMethod":"Static"`) || !strings.Contains(got, `"sku":{"name":"Standard"}`) {
		t.Error(got)
	}
	nics[0].IPConfigs[0].PublicIP.Standard = false
	if got := string(renderer(t, nics, "").Addresses(held())[0]); !strings.Contains(got, `"publicIPAllocationMethod":"Dynamic"`) || !strings.Contains(got, `"sku":{"name":"Basic"}`) {
		t.Error(got)
	}
}
