package network_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/resource"
)

func TestPeersAreReadAsAzureDoes(t *testing.T) {
	for in, want := range map[string]string{
		"*": "*", "any": "*", "virtualnetwork": "VirtualNetwork", "AzureLoadBalancer": "AzureLoadBalancer", "internet": "Internet",
		"10.0.0.0/8": "10.0.0.0/8", "10.1.2.3/8": "10.0.0.0/8", "10.1.2.3": "10.1.2.3/32", "0.0.0.0/0": "0.0.0.0/0",
		"1234": "0.0.4.210/32", "789": "0.0.3.21/32", // recorded
	} {
		if got, err := network.ParsePeer(in); err != nil || got.String() != want {
			t.Errorf("%s: %s, %v; want %s", in, got, err, want)
		}
	}
	for _, in := range []string{"", "AzureCloud", "Storage.WestEurope", "10.0.0.0/33", "10.0.0.1-10.0.0.9", "fd00::/8", "::1", "fe80::1%eth0", "4294967296", "-1"} {
		got, err := network.ParsePeer(in)
		if e, ok := errors.AsType[*resource.Error](err); !ok || e.Kind != resource.Invalid || e.Code != "SecurityRuleInvalidAddressPrefix" {
			t.Errorf("%s: %v, %v", in, got, err)
		}
	}
}

func TestPortsAreReadAsAzureDoes(t *testing.T) {
	for in, want := range map[string]network.Ports{"*": network.AllPorts, "22": {First: 22, Last: 22}, "0-65535": network.AllPorts, "8000-8080": {First: 8000, Last: 8080}} {
		if got, err := network.ParsePorts(in); err != nil || got != want {
			t.Errorf("%s: %v, %v; want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "65536", "9-8", "1-", "-1", "http", "1,2", "1-2-3", " 1"} {
		got, err := network.ParsePorts(in)
		if e, ok := errors.AsType[*resource.Error](err); !ok || e.Code != "SecurityRuleInvalidPortRange" {
			t.Errorf("%s: %v, %v", in, got, err)
		}
	}
}

func TestRulesOfAGroupDoNotConflict(t *testing.T) {
	rule := func(name string, priority int, d network.Direction) network.Rule {
		return network.Rule{Name: name, Priority: priority, Direction: d}
	}
	in, out := network.Inbound, network.Outbound
	for _, c := range []struct {
		rules []network.Rule
		want  []string
	}{
		{[]network.Rule{rule("a", 100, in), rule("b", 4096, in), rule("c", 100, out)}, nil},
		{[]network.Rule{rule("a", 99, in), rule("b", 4097, out)}, []string{"SecurityRuleInvalidPriority properties.securityRules[0].properties.priority", "SecurityRuleInvalidPriority properties.securityRules[1].properties.priority"}},
		{[]network.Rule{rule("a", 100, in), rule("b", 100, in)}, []string{"SecurityRuleConflict properties.securityRules[1].properties.priority"}},
		{[]network.Rule{rule("a", 100, in), rule("A", 200, out)}, []string{"SecurityRuleNameConflict properties.securityRules[1].name"}},
		{[]network.Rule{rule("denyallinbound", 100, in)}, []string{"SecurityRuleConflictsWithDefaultRule properties.securityRules[0].name"}},
		{make([]network.Rule, 0, 1), nil},
	} {
		var got []string
		for _, err := range (network.SecurityGroup{Rules: c.rules}).Check() {
			got = append(got, err.Code+" "+err.Target)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%v: %s", c.rules, diff)
		}
	}
}

func TestNamesAreOnesThatAzureTakes(t *testing.T) {
	for name, good := range map[string]bool{"a": true, "web-1.x_": true, "_a": true, "": false, "-a": false, "a-": false, "a.": false, "a b": false, "a/b": false} {
		if err := network.CheckName(name); (err == nil) != good {
			t.Errorf("%q: %v", name, err)
		}
	}
}
