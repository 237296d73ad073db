package network_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/network/armnetwork/v9"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	wire "github.com/muster-vm/muster/internal/arm/wire/network"
	"github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/resource"
)

const balancerID = base + "loadBalancers/lb1"

// ref is a reference to a child of lb1.
func ref(list, name string) string { return fmt.Sprintf(`{"id":"%s/%s/%s"}`, balancerID, list, name) }

// expand writes ids for short forms: @x for a child x of lb1, # for its base, %n for
// the card of instance n.
func expand(s string) string {
	for _, n := range []string{"0", "3"} {
		s = strings.ReplaceAll(s, "%"+n, cardID(n))
	}
	return strings.NewReplacer("@", balancerID+"/", "BASE/", base, "TYPE/", "Microsoft.Network/loadBalancers/", "ETAG", `"W/\"tag\""`).Replace(s)
}

func cardID(instance string) string {
	return "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachineScaleSets/web/virtualMachines/" + instance + "/networkInterfaces/nic/ipConfigurations/ip"
}

func card(t testing.TB, instance string) resource.ID {
	t.Helper()
	id, err := resource.ParseID(cardID(instance))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// standardBody has one of everything that a public Standard balancer can have.
const standardBody = `{"location":"eastus2","sku":{"name":"Standard"},"properties":{
	"frontendIPConfigurations":[{"name":"FE","properties":{"publicIPAddress":{"id":"BASE/publicIPAddresses/ip1"}},"zones":["1"]},{"name":"Out","properties":{"publicIPAddress":{"id":"BASE/publicIPAddresses/ip2"}}}],
	"backendAddressPools":[{"name":"Pool","properties":{"drainPeriodInSeconds":30}},{"name":"listed","properties":{"loadBalancerBackendAddresses":[{"name":"db","properties":{"ipAddress":"10.0.0.9","virtualNetwork":{"id":"BASE/virtualNetworks/net"}}}]}}],
	"probes":[{"name":"Ready","properties":{"protocol":"Http","port":80,"requestPath":"/ready","probeThreshold":3}}],
	"loadBalancingRules":[{"name":"Web","properties":{"frontendIPConfiguration":{"id":"@frontendIPConfigurations/fe"},"backendAddressPools":[{"id":"@BACKENDADDRESSPOOLS/POOL"}],"probe":{"id":"@probes/ready"},"protocol":"tcp","frontendPort":80,"disableOutboundSnat":true}}],
	"inboundNatRules":[{"name":"Each","properties":{"frontendIPConfiguration":{"id":"@frontendIPConfigurations/fe"},"backendAddressPool":{"id":"@backendAddressPools/pool"},"frontendPortRangeStart":51000,"frontendPortRangeEnd":51099,"backendPort":22}}],
	"inboundNatPools":[{"name":"SSH","properties":{"frontendIPConfiguration":{"id":"@frontendIPConfigurations/fe"},"frontendPortRangeStart":50000,"frontendPortRangeEnd":50119,"backendPort":22,"protocol":"Tcp"}}],
	"outboundRules":[{"name":"All","properties":{"frontendIPConfigurations":[{"id":"@frontendIPConfigurations/out"}],"backendAddressPool":{"id":"@backendAddressPools/pool"},"protocol":"All"}}]}}`

const basicBody = `{"location":"westus","tags":{},"sku":{"name":"Basic"},"properties":{
	"frontendIPConfigurations":[{"name":"fe","properties":{"subnet":{"id":"BASE/virtualNetworks/net/subnets/web"}}}],
	"backendAddressPools":[{"name":"pool"}],
	"inboundNatPools":[{"name":"ssh","properties":{"frontendIPConfiguration":{"id":"@frontendIPConfigurations/fe"},"frontendPortRangeStart":50000,"frontendPortRangeEnd":50119,"backendPort":22,"protocol":"Tcp"}}]}}`

func balancerView(t testing.TB) wire.View {
	t.Helper()
	return wire.View{ETag: "tag", State: "Succeeded", Balancer: wire.BalancerView{
		Members: map[string][]resource.ID{"pool": {card(t, "0"), card(t, "3")}},
		Ports: map[string][]wire.CardPort{
			"ssh":  {{Port: 50000, Card: card(t, "0")}, {Port: 50003, Card: card(t, "3")}},
			"each": {{Port: 51000, Card: card(t, "3"), Address: netip.MustParseAddr("10.0.0.7")}},
		},
	}}
}

// wants are answers in Azure's order of members, as recordings have them.
var (
	wantBasic = `{"name":"lb1","id":"BASE/loadBalancers/lb1","etag":ETAG,"type":"Microsoft.Network/loadBalancers","location":"westus","tags":{},"properties":{"provisioningState":"Succeeded","resourceGuid":"guid",` +
		`"frontendIPConfigurations":[{"name":"fe","id":"@frontendIPConfigurations/fe","etag":ETAG,"type":"TYPE/frontendIPConfigurations","properties":{"provisioningState":"Succeeded","privateIPAddress":"10.0.0.4","privateIPAllocationMethod":"Dynamic","subnet":{"id":"BASE/virtualNetworks/net/subnets/web"},"inboundNatRules":[{"id":"@inboundNatRules/ssh.0"},{"id":"@inboundNatRules/ssh.3"}],"inboundNatPools":[{"id":"@inboundNatPools/ssh"}],"privateIPAddressVersion":"IPv4"}}],` +
		`"backendAddressPools":[{"name":"pool","id":"@backendAddressPools/pool","etag":ETAG,"properties":{"provisioningState":"Succeeded","backendIPConfigurations":[{"id":"%0"},{"id":"%3"}]},"type":"TYPE/backendAddressPools"}],` +
		`"loadBalancingRules":[],"probes":[],"inboundNatRules":[` + wantSSH("0") + `,` + wantSSH("3") + `],` +
		`"inboundNatPools":[{"name":"ssh","id":"@inboundNatPools/ssh","etag":ETAG,"properties":{"provisioningState":"Succeeded","frontendPortRangeStart":50000,"frontendPortRangeEnd":50119,"backendPort":22,"protocol":"Tcp","idleTimeoutInMinutes":4,"enableFloatingIP":false,"enableDestinationServiceEndpoint":false,"enableTcpReset":false,"allowBackendPortConflict":false,"frontendIPConfiguration":{"id":"@frontendIPConfigurations/fe"}},"type":"TYPE/inboundNatPools"}]},"sku":{"name":"Basic","tier":"Regional"}}`

	wantPool = `{"name":"Pool","id":"@backendAddressPools/Pool","etag":ETAG,"properties":{"provisioningState":"Succeeded","drainPeriodInSeconds":30,"loadBalancerBackendAddresses":[` +
		wantMember("e1d3a98d-4f86-86fa-be9d-66289b396b46", "0", "") + `,` + wantMember("26a167c8-adad-819b-8c99-31a831bbbf0a", "3", `,"inboundNatRulesPortMapping":[{"inboundNatRuleName":"Each","frontendPort":51000,"backendPort":22}]`) +
		`],"backendIPConfigurations":[{"id":"%0"},{"id":"%3"}],"loadBalancingRules":[{"id":"@loadBalancingRules/Web"}],"outboundRule":{"id":"@outboundRules/All"},"outboundRules":[{"id":"@outboundRules/All"}],"inboundNatRules":[{"id":"@inboundNatRules/Each"}]},"type":"TYPE/backendAddressPools"}`

	wantListed = `{"name":"listed","id":"@backendAddressPools/listed","etag":ETAG,"properties":{"provisioningState":"Succeeded","loadBalancerBackendAddresses":[{"name":"db","id":"@backendAddressPools/listed/loadBalancerBackendAddresses/db","etag":ETAG,"properties":{"provisioningState":"Succeeded","ipAddress":"10.0.0.9","virtualNetwork":{"id":"BASE/virtualNetworks/net"}},"type":"TYPE/backendAddressPools/loadBalancerBackendAddresses"}]},"type":"TYPE/backendAddressPools"}`

	wantFrontend = `{"name":"FE","id":"@frontendIPConfigurations/FE","etag":ETAG,"type":"TYPE/frontendIPConfigurations","properties":{"provisioningState":"Succeeded","privateIPAllocationMethod":"Dynamic","publicIPAddress":{"id":"BASE/publicIPAddresses/ip1"},"loadBalancingRules":[{"id":"@loadBalancingRules/Web"}],"inboundNatRules":[{"id":"@inboundNatRules/Each"},{"id":"@inboundNatRules/SSH.0"},{"id":"@inboundNatRules/SSH.3"}],"inboundNatPools":[{"id":"@inboundNatPools/SSH"}]},"zones":["1"]}`

	wantOut = `{"name":"Out","id":"@frontendIPConfigurations/Out","etag":ETAG,"type":"TYPE/frontendIPConfigurations","properties":{"provisioningState":"Succeeded","privateIPAllocationMethod":"Dynamic","publicIPAddress":{"id":"BASE/publicIPAddresses/ip2"},"outboundRules":[{"id":"@outboundRules/All"}]}}`

	wantRule = `{"name":"Web","id":"@loadBalancingRules/Web","etag":ETAG,"type":"TYPE/loadBalancingRules","properties":{"provisioningState":"Succeeded","frontendIPConfiguration":{"id":"@frontendIPConfigurations/FE"},"frontendPort":80,"backendPort":80,"enableFloatingIP":false,"idleTimeoutInMinutes":4,"protocol":"Tcp","enableDestinationServiceEndpoint":false,"enableTcpReset":false,"allowBackendPortConflict":false,"loadDistribution":"Default","disableOutboundSnat":true,"backendAddressPool":{"id":"@backendAddressPools/Pool"},"backendAddressPools":[{"id":"@backendAddressPools/Pool"}],"probe":{"id":"@probes/Ready"}}}`

	wantProbe = `{"name":"Ready","id":"@probes/Ready","etag":ETAG,"properties":{"provisioningState":"Succeeded","protocol":"Http","port":80,"requestPath":"/ready","intervalInSeconds":15,"numberOfProbes":2,"probeThreshold":3,"loadBalancingRules":[{"id":"@loadBalancingRules/Web"}]},"type":"TYPE/probes"}`

	wantNATRule = `{"name":"Each","id":"@inboundNatRules/Each","etag":ETAG,"type":"TYPE/inboundNatRules","properties":{"provisioningState":"Succeeded","frontendIPConfiguration":{"id":"@frontendIPConfigurations/FE"},"frontendPort":0,"backendPort":22,"enableFloatingIP":false,"idleTimeoutInMinutes":4,"protocol":"Tcp","enableDestinationServiceEndpoint":false,"enableTcpReset":false,"allowBackendPortConflict":false,"frontendPortRangeStart":51000,"frontendPortRangeEnd":51099,"backendAddressPool":{"id":"@backendAddressPools/Pool"}}}`

	wantOutbound = `{"name":"All","id":"@outboundRules/All","etag":ETAG,"properties":{"provisioningState":"Succeeded","allocatedOutboundPorts":0,"protocol":"All","enableTcpReset":false,"idleTimeoutInMinutes":4,"backendAddressPool":{"id":"@backendAddressPools/Pool"},"frontendIPConfigurations":[{"id":"@frontendIPConfigurations/Out"}]},"type":"TYPE/outboundRules"}`
)

// wantSSH is the rule of the NAT pool ssh for an instance.
func wantSSH(instance string) string {
	return `{"name":"ssh.` + instance + `","id":"@inboundNatRules/ssh.` + instance + `","etag":ETAG,"type":"TYPE/inboundNatRules","properties":{"provisioningState":"Succeeded","frontendIPConfiguration":{"id":"@frontendIPConfigurations/fe"},"frontendPort":5000` + instance + `,"backendPort":22,"enableFloatingIP":false,"idleTimeoutInMinutes":4,"protocol":"Tcp","enableDestinationServiceEndpoint":false,"enableTcpReset":false,"allowBackendPortConflict":false,"backendIPConfiguration":{"id":"%` + instance + `"}}}`
}

// wantMember is what a pool shows of an instance's card.
func wantMember(name, instance, more string) string {
	return `{"name":"` + name + `","id":"@backendAddressPools/Pool/loadBalancerBackendAddresses/` + name + `","etag":ETAG,"properties":{"provisioningState":"Succeeded","networkInterfaceIPConfiguration":{"id":"%` + instance + `"}` + more + `},"type":"TYPE/backendAddressPools/loadBalancerBackendAddresses"}`
}

// sameBytes compares the order of members too.
func sameBytes(t *testing.T, got []byte, want string) {
	t.Helper()
	if diff := cmp.Diff(strings.Split(expand(want), ","), strings.Split(string(got), ",")); diff != "" {
		t.Error(diff)
	}
}

func TestABalancerIsShownAsAzureShowsIt(t *testing.T) {
	r := mustPut(t, network.LoadBalancerKind, "lb1", expand(basicBody))
	r.LoadBalancer.Frontends[0].Address = netip.MustParseAddr("10.0.0.4")
	got, err := wire.Render(r, balancerView(t))
	if err != nil {
		t.Fatal(err)
	}
	sameBytes(t, got, wantBasic)
}

func TestChildrenOfABalancerAreShownAlone(t *testing.T) {
	r := mustPut(t, network.LoadBalancerKind, "lb1", expand(standardBody))
	for list, wants := range map[string][]string{
		"frontendIPConfigurations": {wantFrontend, wantOut}, "backendAddressPools": {wantPool, wantListed}, "loadBalancingRules": {wantRule},
		"probes": {wantProbe}, "outboundRules": {wantOutbound}, "inboundNatRules": {wantNATRule, "", ""},
	} {
		t.Run(list, func(t *testing.T) {
			all, err := wire.RenderChildren(r, balancerView(t), strings.ToUpper(list))
			if err != nil || len(all) != len(wants) {
				t.Fatalf("%d children, %v; want %d", len(all), err, len(wants))
			}
			for i, want := range wants {
				if want == "" {
					continue
				}
				sameBytes(t, all[i], want)
				var doc struct{ Name string }
				if err := json.Unmarshal(all[i], &doc); err != nil {
					t.Fatal(err)
				}
				one, found, err := wire.RenderChild(r, balancerView(t), wire.Child{Collection: list, Name: strings.ToLower(doc.Name)})
				if err != nil || !found || string(one) != string(all[i]) {
					t.Errorf("%s alone is %s, %v, %v", doc.Name, one, found, err)
				}
			}
		})
	}
}

func TestOldAPIVersionsShowLess(t *testing.T) {
	r := mustPut(t, network.LoadBalancerKind, "lb1", expand(standardBody))
	for version, hidden := range map[string][]string{
		"2018-01-01": {"enableTcpReset", "allowBackendPortConflict", "probeThreshold", "tier", "backendAddressPools\":[{\"id", "privateIPAddressVersion"},
		"2020-06-01": {"probeThreshold", "tier", "backendAddressPools\":[{\"id"},
		"2022-01-01": {"privateIPAddressVersion"},
	} {
		v := balancerView(t)
		v.Version = version
		got, err := wire.Render(r, v)
		if err != nil {
			t.Fatal(err)
		}
		for _, member := range []string{"enableTcpReset", "allowBackendPortConflict", "probeThreshold", "tier", "backendAddressPools\":[{\"id", "privateIPAddressVersion"} {
			want := true
			for _, h := range hidden {
				want = want && h != member
			}
			if strings.Contains(strings.ReplaceAll(string(got), expand(wantOutbound), ""), `"`+member) != want {
				t.Errorf("%s: that %s is shown should be %v", version, member, want)
			}
		}
	}
}

// TestWhatABalancerIsReadAs compares with the nouns.
func TestWhatABalancerIsReadAs(t *testing.T) {
	r, refs, err := put(t, network.LoadBalancerKind, "lb1", nil, expand(standardBody))
	if err != nil {
		t.Fatal(err)
	}
	ip := func(name string) network.Key { return network.NewKey(network.PublicAddressKind, "s", "g", name) }
	want := &network.LoadBalancer{
		Frontends: []network.Frontend{{Name: "FE", Public: ip("ip1")}, {Name: "Out", Public: ip("ip2")}},
		Pools:     []network.Pool{{Name: "Pool", Drain: 30e9}, {Name: "listed", Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.9")}, Network: network.NewKey(network.VirtualNetworkKind, "s", "g", "net")}},
		Probes:    []network.Probe{{Name: "Ready", Protocol: network.ProbeHTTP, Port: 80, Path: "/ready", Interval: 15e9, Threshold: 3}},
		Rules:     []network.BalancingRule{{Name: "Web", Frontend: "fe", Pools: []string{"pool"}, Probe: "ready", Protocol: network.TCP, FrontendPort: 80, BackendPort: 80, Idle: 4, Distribution: network.FiveTuple, NoOutbound: true}},
		NATPools:  []network.NATPool{{Name: "SSH", Frontend: "fe", Protocol: network.TCP, Ports: network.Ports{First: 50000, Last: 50119}, BackendPort: 22, Idle: 4}},
		NATRules:  []network.NATRule{{Name: "Each", Frontend: "fe", Protocol: network.TCP, Ports: network.Ports{First: 51000, Last: 51099}, BackendPort: 22, Pool: "pool", Idle: 4}},
		Outbound:  []network.OutboundRule{{Name: "All", Frontends: []string{"out"}, Pool: "pool", Protocol: network.AnyProtocol, Idle: 4}},
	}
	if diff := cmp.Diff(want, r.LoadBalancer, addresses); diff != "" {
		t.Error(diff)
	}
	if r.SKU != network.Standard {
		t.Errorf("SKU %s", r.SKU)
	}
	var paths []string
	for _, ref := range refs {
		paths = append(paths, ref.Path)
	}
	wantPaths := []string{
		"properties.frontendIPConfigurations[0].properties.publicIPAddress.id", "properties.frontendIPConfigurations[1].properties.publicIPAddress.id",
		"properties.backendAddressPools[1].properties.loadBalancerBackendAddresses[0].properties.virtualNetwork.id",
	}
	if diff := cmp.Diff(wantPaths, paths); diff != "" {
		t.Error(diff)
	}
}

var addresses = cmpopts.EquateComparable(netip.Addr{})

// mistake is a body that is wrong in one place.
type mistake struct{ name, old, new, code, target string }

var mistakes = []mistake{
	{"gateway", `"name":"Standard"`, `"name":"Gateway"`, "InvalidParameter", "sku.name"},
	{"across regions", `"name":"Standard"`, `"name":"Standard","tier":"Global"`, "InvalidParameter", "sku.tier"},
	{"floating", `"backendPort":22}}],
	"inboundNatPools"`, `"backendPort":22,"enableFloatingIP":true}}],
	"inboundNatPools"`, "InvalidParameter", "properties.inboundNatRules[0].properties.enableFloatingIP"},
	{"tracked", `"disableOutboundSnat":true`, `"disableOutboundSnat":true,"enableConnectionTracking":true`, "InvalidParameter", "properties.loadBalancingRules[0].properties.enableConnectionTracking"},
	{"prefix", `"publicIPAddress":{"id":"BASE/publicIPAddresses/ip1"}`, `"publicIPPrefix":{"id":"BASE/publicIPPrefixes/p"}`, "InvalidParameter", "properties.frontendIPConfigurations[0].properties.publicIPPrefix"},
	{"IPv6", `"publicIPAddress":{"id":"BASE/publicIPAddresses/ip1"}`, `"publicIPAddress":{"id":"BASE/publicIPAddresses/ip1"},"privateIPAddressVersion":"IPv6"`, "InvalidParameter", "properties.frontendIPConfigurations[0].properties.privateIPAddressVersion"},
	{"no public address", "BASE/publicIPAddresses/ip1", "BASE/natGateways/ip1", "InvalidResourceReference", "properties.frontendIPConfigurations[0].properties.publicIPAddress.id"},
	{"a frontend of another balancer", "@frontendIPConfigurations/fe\"},\"backendAddressPools\"", "BASE/loadBalancers/lb2/frontendIPConfigurations/fe\"},\"backendAddressPools\"", "InvalidResourceReference", "properties.loadBalancingRules[0].properties.frontendIPConfiguration.id"},
	{"a probe as a pool", "@BACKENDADDRESSPOOLS/POOL", "@probes/ready", "InvalidResourceReference", "properties.loadBalancingRules[0].properties.backendAddressPools[0].id"},
	{"a probe that is not there", `"probe":{"id":"@probes/ready"}`, `"probe":{"id":"@probes/gone"}`, "InvalidResourceReference", "properties.loadBalancingRules[0].properties.probe.id"},
	{"no frontend", `"frontendIPConfiguration":{"id":"@frontendIPConfigurations/fe"},"backendAddressPools"`, `"backendAddressPools"`, "InvalidParameter", "properties.loadBalancingRules[0].properties.frontendIPConfiguration.id"},
	{"no protocol", `"protocol":"tcp",`, ``, "InvalidParameter", "properties.loadBalancingRules[0].properties.protocol"},
	{"no port", `"protocol":"tcp","frontendPort":80`, `"protocol":"tcp"`, "InvalidParameter", "properties.loadBalancingRules[0].properties.frontendPort"},
	{"a port beyond all", `"protocol":"tcp","frontendPort":80`, `"protocol":"tcp","frontendPort":65536`, "InvalidParameter", "properties.loadBalancingRules[0].properties.frontendPort"},
	{"two pools", `"probe":{"id":"@probes/ready"}`, `"backendAddressPool":{"id":"@backendAddressPools/listed"}`, "InvalidParameter", "properties.loadBalancingRules[0].properties.backendAddressPools"},
	{"no name", `{"name":"Ready",`, `{`, "InvalidParameter", "properties.probes[0].name"},
	{"no name of a child", `{"name":"Ready",`, `{"name":"a/b",`, "InvalidResourceName", "properties.probes[0].name"},
	{"a port of a rule over a pool", `"frontendPortRangeStart":51000`, `"frontendPort":5,"frontendPortRangeStart":51000`, "InvalidParameter", "properties.inboundNatRules[0].properties.frontendPort"},
	{"a range of a rule over none", `"backendAddressPool":{"id":"@backendAddressPools/pool"},"frontendPortRangeStart"`, `"frontendPortRangeStart"`, "InvalidParameter", "properties.inboundNatRules[0].properties.frontendPortRangeStart"},
	{"no address", `"ipAddress":"10.0.0.9",`, ``, "InvalidParameter", "properties.backendAddressPools[1].properties.loadBalancerBackendAddresses[0].properties.ipAddress"},
	{"a bad address", `"ipAddress":"10.0.0.9"`, `"ipAddress":"10.0.0"`, "InvalidIPAddressFormat", "properties.backendAddressPools[1].properties.loadBalancerBackendAddresses[0].properties.ipAddress"},
	{"an address without name", `{"name":"db",`, `{`, "InvalidResourceName", "properties.backendAddressPools[1].properties.loadBalancerBackendAddresses[0].name"},
	{"a pool in two networks", `{"name":"listed","properties":{`, `{"name":"listed","properties":{"virtualNetwork":{"id":"BASE/virtualNetworks/other"},`, "InvalidParameter", "properties.backendAddressPools[1].properties.loadBalancerBackendAddresses[0].properties.virtualNetwork.id"},
	{"a negative drain", `"drainPeriodInSeconds":30`, `"drainPeriodInSeconds":-1`, "InvalidParameter", "properties.backendAddressPools[0].properties.drainPeriodInSeconds"},
	{"ports for outside", `"protocol":"All"`, `"protocol":"All","allocatedOutboundPorts":9`, "InvalidParameter", "properties.outboundRules[0].properties.allocatedOutboundPorts"},
	{"a scope that is not", `"probes":[`, `"scope":"Private","probes":[`, "InvalidParameter", "properties.scope"},
	{"static without an address", `"publicIPAddress":{"id":"BASE/publicIPAddresses/ip1"}`, `"publicIPAddress":{"id":"BASE/publicIPAddresses/ip1"},"privateIPAllocationMethod":"Static"`, "InvalidParameter", "properties.frontendIPConfigurations[0].properties.privateIPAddress"},
	{"a clash", `"frontendPortRangeStart":50000`, `"frontendPortRangeStart":80`, "RulesUseSameFrontendPortProtocolAndIPConfig", "properties.inboundNatPools[0].properties.frontendPortRangeStart"},
}

func TestMistakesInABalancersBodyAreNamed(t *testing.T) {
	for _, m := range mistakes {
		t.Run(m.name, func(t *testing.T) {
			body := strings.Replace(standardBody, m.old, m.new, 1)
			if body == standardBody {
				t.Fatal("nothing was replaced")
			}
			_, _, err := put(t, network.LoadBalancerKind, "lb1", nil, expand(body))
			if !has(err, m.code, m.target) {
				t.Errorf("got %v, want %s at %s", err, m.code, m.target)
			}
		})
	}
}

// has reports whether an error, or one of its details, has this code and target.
func has(err error, code, target string) bool {
	e, ok := err.(*resource.Error) //nolint:errorlint // Parse does not wrap
	if !ok {
		return false
	}
	for _, one := range append([]*resource.Error{e}, e.Details...) {
		if one.Code == code && one.Target == target {
			return true
		}
	}
	return false
}

// TestTheRulesOfNATPoolsComeAndGo sends an answer back, with a NAT rule of the user
// behind those that the pool made.
func TestTheRulesOfNATPoolsComeAndGo(t *testing.T) {
	r := mustPut(t, network.LoadBalancerKind, "lb1", expand(basicBody))
	answer, err := wire.Render(r, balancerView(t))
	if err != nil {
		t.Fatal(err)
	}
	rule := func(port int) string {
		return fmt.Sprintf(`"inboundNatRules":[%s,%s,{"name":"mine","properties":{"frontendIPConfiguration":%s,"frontendPort":%d,"backendPort":22}}]`, expand(wantSSH("0")), expand(wantSSH("3")), ref("frontendIPConfigurations", "fe"), port)
	}
	from := expand(`"inboundNatRules":[` + wantSSH("0") + `,` + wantSSH("3") + `]`)
	again, _, err := put(t, network.LoadBalancerKind, "lb1", &r, strings.Replace(string(answer), from, rule(2222), 1))
	if err != nil || len(again.LoadBalancer.NATRules) != 1 || again.LoadBalancer.NATRules[0].Name != "mine" {
		t.Errorf("got %+v, %v", again.LoadBalancer, err)
	}
	for port, code := range map[int]string{50005: "RulesUseSameFrontendPortProtocolAndIPConfig", 0: "InvalidParameter"} {
		_, _, err = put(t, network.LoadBalancerKind, "lb1", &r, strings.Replace(string(answer), from, rule(port), 1))
		if !has(err, code, "properties.inboundNatRules[2].properties.frontendPort") {
			t.Errorf("port %d: got %v", port, err)
		}
	}
	before, _, _ := strings.Cut(string(answer), `"inboundNatPools":[{"name"`)
	without, _, err := put(t, network.LoadBalancerKind, "lb1", &r, before+`"inboundNatPools":[]},"sku":{"name":"Basic"}}`)
	if err != nil || len(without.LoadBalancer.NATRules)+len(without.LoadBalancer.NATPools) > 0 {
		t.Errorf("without its pool: %+v, %v", without.LoadBalancer, err)
	}
}

func TestChildrenOfABalancerAreWrittenAlone(t *testing.T) {
	r := mustPut(t, network.LoadBalancerKind, "lb1", expand(basicBody))
	d, created, err := wire.PutChild(r, wire.Child{Collection: "backendaddresspools", Name: "bap1"}, []byte(`{"name":"bap1"}`))
	if err != nil || !created {
		t.Fatal(created, err)
	}
	next, err := d.Parse(wire.Input{})
	if err != nil || len(next.LoadBalancer.Pools) != 2 {
		t.Fatalf("%+v, %v", next.LoadBalancer, err)
	}
	bad := fmt.Sprintf(`{"properties":{"frontendIPConfiguration":%s,"frontendPort":50001,"backendPort":22}}`, ref("frontendIPConfigurations", "fe"))
	if d, _, err = wire.PutChild(next, wire.Child{Collection: "inboundNatRules", Name: "one"}, []byte(bad)); err != nil {
		t.Fatal(err)
	}
	if _, err = d.Parse(wire.Input{}); !has(err, "RulesUseSameFrontendPortProtocolAndIPConfig", "properties.frontendPort") {
		t.Errorf("got %v", err)
	}
}

func TestTheAddressOfAFrontendStays(t *testing.T) {
	r := mustPut(t, network.LoadBalancerKind, "lb1", expand(basicBody))
	r.LoadBalancer.Frontends[0].Address = netip.MustParseAddr("10.0.0.4")
	for to, want := range map[string]string{"/subnets/WEB": "10.0.0.4", "/subnets/other": "invalid IP"} {
		again, _, err := put(t, network.LoadBalancerKind, "lb1", &r, expand(strings.Replace(basicBody, "/subnets/web", to, 1)))
		if err != nil || again.LoadBalancer.Frontends[0].Address.String() != want {
			t.Errorf("%s: %v, %v; want %s", to, again.LoadBalancer.Frontends[0].Address, err, want)
		}
	}
}

func TestPortsOfAMemberAreAnswered(t *testing.T) {
	r, v := mustPut(t, network.LoadBalancerKind, "lb1", expand(standardBody)), balancerView(t).Balancer
	for _, body := range []string{`{"ipConfiguration":{"id":"` + strings.ToUpper(cardID("3")) + `"}}`, `{"ipAddress":"10.0.0.7"}`} {
		q, err := wire.ParsePortQuery([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		got, err := wire.RenderPorts(r, v, "POOL", q)
		if want := `{"inboundNatRulePortMappings":[{"inboundNatRuleName":"Each","protocol":"Tcp","frontendPort":51000,"backendPort":22}]}`; err != nil || string(got) != want {
			t.Errorf("%s: got %s, %v", body, got, err)
		}
		if _, err = wire.RenderPorts(r, v, "listed", q); !resource.Is(err, resource.NotFound) {
			t.Errorf("a pool without NAT rules answers %v", err)
		}
	}
	for _, body := range []string{`{}`, `{"ipAddress":"x"}`, `{"ipAddress":"fe80::1"}`, `{"ipAddress":"10.0.0.7","ipConfiguration":{"id":"` + cardID("3") + `"}}`, `[]`} {
		if _, err := wire.ParsePortQuery([]byte(body)); !resource.Is(err, resource.Invalid) {
			t.Errorf("%s: got %v", body, err)
		}
	}
}

func TestTheSDKReadsABalancer(t *testing.T) {
	got, err := wire.Render(mustPut(t, network.LoadBalancerKind, "lb1", expand(standardBody)), balancerView(t))
	if err != nil {
		t.Fatal(err)
	}
	var lb armnetwork.LoadBalancer
	if err := json.Unmarshal(got, &lb); err != nil {
		t.Fatal(err)
	}
	p := lb.Properties
	switch {
	case *p.InboundNatRules[2].Properties.BackendIPConfiguration.ID != cardID("3") || *p.InboundNatRules[2].Properties.FrontendPort != 50003:
		t.Errorf("NAT rule: %+v", p.InboundNatRules[2].Properties)
	case *p.BackendAddressPools[0].Properties.LoadBalancerBackendAddresses[1].Properties.InboundNatRulesPortMapping[0].FrontendPort != 51000:
		t.Error("no port of the member")
	case *p.LoadBalancingRules[0].Properties.Probe.ID != balancerID+"/probes/Ready":
		t.Error("no probe of the rule")
	}
	sent, err := json.Marshal(lb)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := put(t, network.LoadBalancerKind, "lb1", nil, string(sent)); err != nil {
		t.Errorf("what the SDK sends back: %v", err)
	}
}

// balancerBodies generates bodies of PUTs in which no two rules clash.
func balancerBodies() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		type m = map[string]any
		id := func(list, name string) m { return m{"id": balancerID + "/" + list + "/" + name} }
		at, public := id("frontendIPConfigurations", "FE"), rapid.Bool().Draw(t, "public")
		fe := m{"subnet": m{"id": base + "virtualNetworks/net/subnets/web"}}
		if public {
			fe = m{"publicIPAddress": m{"id": base + "publicIPAddresses/ip1"}}
		} else if rapid.Bool().Draw(t, "static") {
			fe["privateIPAllocationMethod"], fe["privateIPAddress"] = "static", "10.0.0.9"
		}
		standard := rapid.Bool().Draw(t, "standard")
		props := m{"frontendIPConfigurations": []m{{"name": "fe", "properties": fe}}, "backendAddressPools": []m{{"name": "Pool"}}}
		maybe := func(in m, name string, values ...any) {
			if rapid.Bool().Draw(t, "has "+name) {
				in[name] = rapid.SampledFrom(values).Draw(t, name)
			}
		}
		var rules, probes, natPools, natRules []m
		for i := range rapid.IntRange(0, 3).Draw(t, "rules") {
			probe := m{"protocol": "HTTP", "port": i + 1, "requestPath": "/"}
			maybe(probe, "intervalInSeconds", 5, 60)
			maybe(probe, "probeThreshold", 1, 7)
			maybe(probe, "numberOfProbes", 0, 3)
			probes = append(probes, m{"name": fmt.Sprint("p", i), "properties": probe})
			rule := m{"frontendIPConfiguration": at, "protocol": "udp", "frontendPort": 80 + i, "backendPort": 90 + i}
			maybe(rule, "loadDistribution", "default", "SourceIP", "sourceipprotocol")
			maybe(rule, "idleTimeoutInMinutes", 4, 30)
			maybe(rule, "probe", id("PROBES", fmt.Sprint("P", i)))
			maybe(rule, "backendAddressPool", id("backendAddressPools", "pool"))
			maybe(rule, "enableFloatingIP", false)
			rules = append(rules, m{"name": fmt.Sprint("Rule", i), "properties": rule})
			natPools = append(natPools, m{"name": fmt.Sprint("N", i), "properties": m{"frontendIPConfiguration": at, "protocol": "Tcp", "frontendPortRangeStart": 1000 * (i + 1), "frontendPortRangeEnd": 1000*(i+1) + 99, "backendPort": "22"}})
			nat := m{"frontendIPConfiguration": at, "backendPort": 22, "frontendPort": 10 + i}
			if rapid.Bool().Draw(t, "over the pool") {
				nat = m{"frontendIPConfiguration": at, "backendPort": 22, "frontendPortRangeStart": 10000 * (i + 1), "frontendPortRangeEnd": 10000 * (i + 1), "backendAddressPool": id("backendAddressPools", "POOL")}
			}
			natRules = append(natRules, m{"name": fmt.Sprint("R", i), "properties": nat})
		}
		props["loadBalancingRules"], props["probes"], props["inboundNatPools"], props["inboundNatRules"] = rules, probes, natPools, natRules
		body := m{"location": "westus", "properties": props, "sku": m{"name": map[bool]string{true: "Standard", false: "basic"}[standard]}}
		raw, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		return strings.ReplaceAll(string(raw), ":null", ":[]")
	})
}

// TestPuttingABalancersAnswerBackChangesNothing is the law that a PUT of a GET does
// nothing, whatever instances are in pools and have ports.
func TestPuttingABalancersAnswerBackChangesNothing(t *testing.T) {
	v := balancerView(t)
	v.Balancer.Ports = map[string][]wire.CardPort{"n0": {{Port: 1003, Card: card(t, "3")}}, "n1": {{Port: 2000, Card: card(t, "0")}}, "r2": {{Port: 30000, Card: card(t, "0")}}}
	rapid.Check(t, func(rt *rapid.T) {
		body := balancerBodies().Draw(rt, "body")
		first, _, err := put(t, network.LoadBalancerKind, "lb1", nil, body)
		if err != nil {
			rt.Fatalf("%s: %v", body, err)
		}
		if f := &first.LoadBalancer.Frontends[0]; f.Public == (network.Key{}) && !f.Static {
			f.Address = netip.MustParseAddr("10.0.0.4") // as the API does
		}
		answer, err := wire.Render(first, v)
		if err != nil {
			rt.Fatal(err)
		}
		again, _, err := put(t, network.LoadBalancerKind, "lb1", &first, string(answer))
		if err != nil {
			rt.Fatalf("%s: %v", answer, err)
		}
		if diff := cmp.Diff(first, again, addresses); diff != "" {
			rt.Fatalf("%s became other: %s", body, diff)
		}
	})
}

// FuzzLoadBalancer feeds bodies: what is accepted is shown, and accepted again.
func FuzzLoadBalancer(f *testing.F) {
	f.Add(expand(standardBody))
	f.Add(expand(basicBody))
	f.Add(expand(strings.Replace(basicBody, `"backendAddressPools":[{"name":"pool"}]`, `"inboundNatRules":[`+wantSSH("0")+`]`, 1)))
	for _, m := range mistakes {
		f.Add(expand(strings.Replace(standardBody, m.old, m.new, 1)))
	}
	f.Fuzz(func(t *testing.T, body string) {
		first, _, err := put(t, network.LoadBalancerKind, "lb1", nil, body)
		if err != nil {
			if resource.KindOf(err) == resource.Internal {
				t.Fatal(err)
			}
			return
		}
		answer, err := wire.Render(first, balancerView(t))
		if err != nil {
			t.Fatal(err)
		}
		again, _, err := put(t, network.LoadBalancerKind, "lb1", &first, string(answer))
		if err != nil {
			t.Fatalf("%s: %v", answer, err)
		}
		if diff := cmp.Diff(first, again, addresses); diff != "" {
			t.Fatal(diff)
		}
	})
}
