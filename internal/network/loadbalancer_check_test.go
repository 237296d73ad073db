package network

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/muster-vm/muster/internal/resource"
)

var (
	somePublic = NewKey(PublicAddressKind, "s", "g", "ip")
	someNet    = NewKey(VirtualNetworkKind, "s", "g", "net")
)

// wholeBalancer has one of everything, and nothing wrong.
func wholeBalancer() LoadBalancer {
	return LoadBalancer{
		Frontends: []Frontend{{Name: "FE", Public: somePublic}, {Name: "out", Public: NewKey(PublicAddressKind, "s", "g", "ip2")}},
		Pools:     []Pool{{Name: "Pool"}, {Name: "listed", Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.9")}, Network: someNet}},
		Probes:    []Probe{{Name: "probe", Protocol: ProbeHTTPS, Port: 443, Path: "/", Interval: 5 * time.Second, Threshold: 1}},
		Rules: []BalancingRule{
			{Name: "web", Frontend: "fe", Pools: []string{"pool"}, Probe: "probe", Protocol: TCP, FrontendPort: 80, BackendPort: 8080, Idle: 4, Distribution: FiveTuple},
			{Name: "dns", Frontend: "fe", Pools: []string{"pool"}, Protocol: UDP, FrontendPort: 80, BackendPort: 8080, Idle: 100, Reset: true},
		},
		NATPools: []NATPool{{Name: "ssh", Frontend: "fe", Protocol: TCP, Ports: Ports{50000, 50119}, BackendPort: 22, Idle: 4}},
		NATRules: []NATRule{
			{Name: "one", Frontend: "fe", Protocol: TCP, Ports: Ports{2222, 2222}, BackendPort: 22, Idle: 4},
			{Name: "each", Frontend: "fe", Protocol: TCP, Ports: Ports{51000, 51099}, BackendPort: 22, Pool: "pool", Idle: 4},
		},
		Outbound: []OutboundRule{{Name: "out", Frontends: []string{"out"}, Pool: "pool", Protocol: AnyProtocol, Idle: 4}},
	}
}

// internalBalancer has a rule for all ports of a frontend in a subnet.
func internalBalancer() LoadBalancer {
	return LoadBalancer{
		Frontends: []Frontend{{Name: "fe", Subnet: Ref{someNet, "web"}, Address: netip.MustParseAddr("10.0.0.5"), Static: true}},
		Pools:     []Pool{{Name: "pool"}},
		Rules:     []BalancingRule{{Name: "all", Frontend: "fe", Pools: []string{"pool"}, Protocol: AnyProtocol, Idle: 4}},
	}
}

func problems(all []*resource.Error) []string {
	out := []string{}
	for _, e := range all {
		out = append(out, e.Target+" "+e.Code)
	}
	return out
}

func TestABalancerWithOneOfEverythingIsRight(t *testing.T) {
	for _, b := range []LoadBalancer{{}, wholeBalancer(), internalBalancer()} {
		if diff := cmp.Diff([]string{}, problems(b.Check(Standard))); diff != "" {
			t.Error(diff)
		}
	}
}

// TestMistakesInABalancerAreFound makes one mistake at a time.
func TestMistakesInABalancerAreFound(t *testing.T) {
	for _, tt := range []struct {
		name string
		of   LoadBalancer
		edit func(*LoadBalancer)
		want []string
	}{
		{"twice the name", wholeBalancer(), func(b *LoadBalancer) { b.Probes = append(b.Probes, b.Probes[0]); b.Probes[1].Name = "PROBE" }, []string{"properties.probes[1].name DuplicateResourceName"}},
		{"no frontend of that name", wholeBalancer(), func(b *LoadBalancer) { b.Rules[0].Frontend = "gone" }, []string{"properties.loadBalancingRules[0].properties.frontendIPConfiguration.id InvalidResourceReference"}},
		{"no pool of that name", wholeBalancer(), func(b *LoadBalancer) { b.Rules[0].Pools = []string{"gone"} }, []string{"properties.loadBalancingRules[0].properties.backendAddressPool.id InvalidResourceReference"}},
		{"no probe of that name", wholeBalancer(), func(b *LoadBalancer) { b.Rules[0].Probe = "gone" }, []string{"properties.loadBalancingRules[0].properties.probe.id InvalidResourceReference"}},
		{"a NAT pool without frontend", wholeBalancer(), func(b *LoadBalancer) { b.NATPools[0].Frontend = "gone" }, []string{"properties.inboundNatPools[0].properties.frontendIPConfiguration.id InvalidResourceReference"}},
		{"a NAT rule over no pool", wholeBalancer(), func(b *LoadBalancer) { b.NATRules[1].Pool = "gone" }, []string{"properties.inboundNatRules[1].properties.backendAddressPool.id InvalidResourceReference"}},
		{"an outbound rule of no pool", wholeBalancer(), func(b *LoadBalancer) { b.Outbound[0].Pool = "gone" }, []string{"properties.outboundRules[0].properties.backendAddressPool.id InvalidResourceReference"}},
		{"two pools for a rule", wholeBalancer(), func(b *LoadBalancer) { b.Rules[0].Pools = []string{"pool", "listed"} }, []string{"properties.loadBalancingRules[0].properties.backendAddressPools InvalidRequestFormat"}},
		{"a frontend that is nowhere", wholeBalancer(), func(b *LoadBalancer) { b.Frontends[0].Public = Key{} }, []string{"properties.frontendIPConfigurations[0].properties InvalidRequestFormat"}},
		{"public and internal", wholeBalancer(), func(b *LoadBalancer) {
			b.Frontends[1] = Frontend{Name: "in", Subnet: Ref{someNet, "web"}}
			b.Outbound = nil
		}, []string{"properties.frontendIPConfigurations[1].properties LoadBalancerFrontendIPConfigurationsMustBeOfOneType"}},
		{"one address for two", wholeBalancer(), func(b *LoadBalancer) { b.Frontends[1].Public = somePublic }, []string{"properties.frontendIPConfigurations[1].properties.publicIPAddress.id PublicIPReferencedByMultipleIPConfigs"}},
		{"frontends in two networks", internalBalancer(), func(b *LoadBalancer) {
			b.Frontends = append(b.Frontends, Frontend{Name: "fe2", Subnet: Ref{NewKey(VirtualNetworkKind, "s", "g", "other"), "web"}})
		}, []string{"properties.frontendIPConfigurations[1].properties.subnet.id InternalLoadBalancerFrontendsMustUseSameVnet"}},
		{"one static address for two", internalBalancer(), func(b *LoadBalancer) {
			b.Frontends = append(b.Frontends, b.Frontends[0])
			b.Frontends[1].Name = "fe2"
		}, []string{"properties.frontendIPConfigurations[1].properties.privateIPAddress PrivateIPAddressInUse"}},
		{"addresses without a network", wholeBalancer(), func(b *LoadBalancer) { b.Pools[1].Network = Key{} }, []string{"properties.backendAddressPools[1].properties.virtualNetwork.id InvalidRequestFormat"}},
		{"addresses in another network", internalBalancer(), func(b *LoadBalancer) {
			b.Pools[0].Addresses, b.Pools[0].Network = []netip.Addr{netip.MustParseAddr("10.0.0.9")}, NewKey(VirtualNetworkKind, "s", "g", "other")
		}, []string{"properties.backendAddressPools[0].properties.virtualNetwork.id NetworkInterfaceAndInternalLoadBalancerMustUseSameVnet"}},
		{"an address twice", wholeBalancer(), func(b *LoadBalancer) {
			b.Pools[1].Addresses = append(b.Pools[1].Addresses, b.Pools[1].Addresses[0])
		}, []string{"properties.backendAddressPools[1].properties.loadBalancerBackendAddresses DuplicateBackendAddress"}},
		{"a TCP probe with a path", wholeBalancer(), func(b *LoadBalancer) { b.Probes[0].Protocol = ProbeTCP }, []string{"properties.probes[0].properties.requestPath InvalidRequestFormat"}},
		{"an HTTP probe without one", wholeBalancer(), func(b *LoadBalancer) { b.Probes[0].Path = "" }, []string{"properties.probes[0].properties.requestPath InvalidRequestFormat"}},
		{"a probe in a hurry", wholeBalancer(), func(b *LoadBalancer) { b.Probes[0].Interval = 4 * time.Second }, []string{"properties.probes[0].properties.intervalInSeconds InvalidRequestFormat"}},
		{"a probe of no answer", wholeBalancer(), func(b *LoadBalancer) { b.Probes[0].Threshold = 0 }, []string{"properties.probes[0].properties.probeThreshold InvalidRequestFormat"}},
		{"too long a silence", wholeBalancer(), func(b *LoadBalancer) { b.Rules[0].Idle = 101 }, []string{"properties.loadBalancingRules[0].properties.idleTimeoutInMinutes InvalidRequestFormat"}},
		{"too short a silence", wholeBalancer(), func(b *LoadBalancer) { b.NATPools[0].Idle = 3 }, []string{"properties.inboundNatPools[0].properties.idleTimeoutInMinutes InvalidRequestFormat"}},
		{"port 0 of one protocol", wholeBalancer(), func(b *LoadBalancer) { b.Rules[0].FrontendPort = 0 }, []string{"properties.loadBalancingRules[0].properties.frontendPort InvalidRequestFormat"}},
		{"one port of all protocols", internalBalancer(), func(b *LoadBalancer) { b.Rules[0].FrontendPort = 80 }, []string{"properties.loadBalancingRules[0].properties.frontendPort InvalidRequestFormat"}},
		{"all ports of a public frontend", wholeBalancer(), func(b *LoadBalancer) {
			*b = LoadBalancer{Frontends: b.Frontends, Pools: b.Pools, Rules: internalBalancer().Rules}
		}, []string{"properties.loadBalancingRules[0].properties.protocol InvalidRequestFormat"}},
		{"a range that ends before it starts", wholeBalancer(), func(b *LoadBalancer) { b.NATPools[0].Ports.Last = 49999 }, []string{"properties.inboundNatPools[0].properties.frontendPortRangeEnd InvalidRequestFormat"}},
		{"two rules for a port", wholeBalancer(), func(b *LoadBalancer) { b.Rules[1].Protocol, b.Rules[1].BackendPort = TCP, 81 }, []string{"properties.loadBalancingRules[1].properties.frontendPort RulesUseSameFrontendPortProtocolAndIPConfig"}},
		{"a rule in the range of a NAT pool", wholeBalancer(), func(b *LoadBalancer) { b.Rules[0].FrontendPort = 50119 }, []string{"properties.inboundNatPools[0].properties.frontendPortRangeStart RulesUseSameFrontendPortProtocolAndIPConfig"}},
		{"NAT rules in one range", wholeBalancer(), func(b *LoadBalancer) { b.NATRules[1].Ports.First = 50119 }, []string{"properties.inboundNatRules[1].properties.frontendPortRangeStart RulesUseSameFrontendPortProtocolAndIPConfig"}},
		{"a NAT rule with another's port", wholeBalancer(), func(b *LoadBalancer) { b.NATRules[0].Ports = Ports{80, 80} }, []string{"properties.inboundNatRules[0].properties.frontendPort RulesUseSameFrontendPortProtocolAndIPConfig"}},
		{"a rule beside one for all ports", internalBalancer(), func(b *LoadBalancer) {
			b.Rules = append(b.Rules, BalancingRule{Name: "web", Frontend: "fe", Pools: []string{"pool"}, Protocol: TCP, FrontendPort: 80, BackendPort: 80, Idle: 4})
		}, []string{"properties.loadBalancingRules[1].properties.frontendPort RulesUseSameFrontendPortProtocolAndIPConfig"}},
		{"two rules to a port of a pool", wholeBalancer(), func(b *LoadBalancer) { b.Rules[1].Protocol, b.Rules[1].FrontendPort = TCP, 81 }, []string{"properties.loadBalancingRules[1].properties.backendPort RulesUseSameBackendPortProtocolAndPool"}},
		{"the name of a rule that a pool makes", wholeBalancer(), func(b *LoadBalancer) { b.NATRules[0].Name = "SSH.7" }, []string{"properties.inboundNatRules[0].name DuplicateResourceName"}},
		{"a NAT rule called as a NAT pool", wholeBalancer(), func(b *LoadBalancer) { b.NATRules[1].Name = "SSH" }, []string{"properties.inboundNatRules[1].name DuplicateResourceName"}},
		{"out by a frontend that rules use", wholeBalancer(), func(b *LoadBalancer) { b.Outbound[0].Frontends = []string{"fe"}; b.Rules[1].NoOutbound = true }, []string{"properties.loadBalancingRules[0].properties.disableOutboundSnat LoadBalancingRuleMustDisableSNATSinceSameFrontendIPConfigurationIsReferencedByOutboundRule"}},
		{"out by an internal frontend", internalBalancer(), func(b *LoadBalancer) {
			b.Rules[0].NoOutbound = true
			b.Outbound = []OutboundRule{{Name: "out", Frontends: []string{"fe"}, Pool: "pool", Protocol: TCP, Idle: 4}}
		}, []string{"properties.outboundRules[0].properties.frontendIPConfigurations[0].id InvalidRequestFormat"}},
		{"too many rules", wholeBalancer(), func(b *LoadBalancer) { b.Rules = make([]BalancingRule, 1500) }, []string{"properties LoadBalancerRuleLimitReached"}},
		{"too many pools", wholeBalancer(), func(b *LoadBalancer) { b.Pools = make([]Pool, 1500) }, []string{"properties LoadBalancerChildLimitReached"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := tt.of
			tt.edit(&b)
			if diff := cmp.Diff(tt.want, problems(b.Check(Standard))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestABasicBalancerDoesLess(t *testing.T) {
	want := []string{
		"properties.backendAddressPools[1].properties.loadBalancerBackendAddresses FeatureNotSupportedBySku",
		"properties.probes[0].properties.protocol FeatureNotSupportedBySku",
		"properties.loadBalancingRules[1].properties.idleTimeoutInMinutes InvalidRequestFormat",
		"properties.loadBalancingRules[1].properties.enableTcpReset FeatureNotSupportedBySku",
		"properties.outboundRules[0] FeatureNotSupportedBySku",
	}
	if diff := cmp.Diff(want, problems(wholeBalancer().Check(Basic))); diff != "" {
		t.Error(diff)
	}
	want = []string{"properties.loadBalancingRules[0].properties.protocol FeatureNotSupportedBySku"}
	if diff := cmp.Diff(want, problems(internalBalancer().Check(Basic))); diff != "" {
		t.Error(diff)
	}
}

// TestNoPortOfABalancerThatIsRightBelongsToTwo compares the check with a count of
// every single port.
func TestNoPortOfABalancerThatIsRightBelongsToTwo(t *testing.T) {
	ports := rapid.Custom(func(t *rapid.T) Ports {
		first := rapid.Uint16Range(1, 8).Draw(t, "first")
		return Ports{first, rapid.Uint16Range(first, 8).Draw(t, "last")}
	})
	protocols, names := rapid.SampledFrom([]Protocol{TCP, UDP}), rapid.SampledFrom([]string{"fe", "out"})
	rapid.Check(t, func(t *rapid.T) {
		b := wholeBalancer()
		b.Rules, b.NATPools, b.NATRules, b.Outbound = nil, nil, nil, nil
		type taken struct {
			frontend string
			protocol Protocol
			port     uint16
		}
		count, most := map[taken]int{}, 0
		use := func(frontend string, protocol Protocol, p Ports) {
			for port := p.First; port <= p.Last; port++ {
				key := taken{frontend, protocol, port}
				count[key]++
				most = max(most, count[key])
			}
		}
		for i := range rapid.IntRange(0, 4).Draw(t, "rules") {
			p := NATPool{Name: strings.Repeat("p", i+1), Frontend: names.Draw(t, "frontend"), Protocol: protocols.Draw(t, "protocol"), Ports: ports.Draw(t, "ports"), BackendPort: 22, Idle: 4}
			use(p.Frontend, p.Protocol, p.Ports)
			if rapid.Bool().Draw(t, "rule") {
				b.NATRules = append(b.NATRules, NATRule{Name: p.Name, Frontend: p.Frontend, Protocol: p.Protocol, Ports: p.Ports, BackendPort: 22, Pool: "pool", Idle: 4})
				continue
			}
			b.NATPools = append(b.NATPools, p)
		}
		if found := b.Check(Standard); (most > 1) != (len(found) > 0) {
			t.Fatalf("a port is claimed %d times, and the check says %v", most, problems(found))
		}
	})
}
