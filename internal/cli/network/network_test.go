package network

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestASubnetThatNobodyDescribesIsTheFirstOfTheSpace(t *testing.T) {
	for space, want := range map[string]string{"10.0.0.0/16": "10.0.0.0/24", "10.1.2.0/26": "10.1.2.0/26", "nonsense": "nonsense"} {
		if got := firstSubnet(space); got != want {
			t.Errorf("%s: got %s, want %s", space, got, want)
		}
	}
}

func TestMembersThatAreNotGivenAreLeftOut(t *testing.T) {
	got := members("a", "", "b", nil, "c", []string{}, "d", []any(nil), "e", object{}, "f", 0, "g", "x")
	if diff := cmp.Diff(object{"f": 0, "g": "x"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestKindsHaveWordsForMany(t *testing.T) {
	for one, want := range map[string]string{
		"a load balancer": "load balancers", "a public address": "public addresses", "a rule of a security group": "rules of a security group",
	} {
		if got := plural(one); got != want {
			t.Errorf("%s: got %s", one, got)
		}
	}
}

func TestAnIDOfAPartNamesItsHolder(t *testing.T) {
	const id = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/loadBalancers/lb/frontendIPConfigurations/fe"
	if got := holder(id); got != "lb/fe" {
		t.Errorf("got %s", got)
	}
}

func TestRowsShowWhatMatters(t *testing.T) {
	rows := func(cs columns, row object) string {
		all, names := cs.rows(row)
		var cells []string
		for _, n := range names {
			if s := all[0].(object)[n].(string); s != "" {
				cells = append(cells, n+":"+s)
			}
		}
		return strings.Join(cells, " ")
	}
	for _, tt := range []struct {
		columns columns
		row     object
		want    string
	}{
		{vnetColumns, object{"name": "net", "addressSpace": object{"addressPrefixes": []any{"10.0.0.0/16"}}, "subnets": []any{object{"name": "a", "ipConfigurations": []any{1, 2}}, object{"name": "b"}}},
			"Name:net Prefixes:10.0.0.0/16 Subnets:a b InUse:2"},
		{subnetColumns, object{"name": "a", "addressPrefixes": []any{"10.0.0.0/24"}, "networkSecurityGroup": object{"id": "/x/web"}}, "Name:a Prefix:10.0.0.0/24 InUse:0 SecurityGroup:web"},
		{ruleColumns, object{"name": "r", "priority": 100.0, "access": "Deny", "sourceApplicationSecurityGroups": []any{object{"id": "/x/app"}}, "destinationAddressPrefix": "*",
			"destinationPortRanges": []any{"80", "443"}}, "Name:r Priority:100 Access:Deny Source:app Destination:* DestinationPorts:80 443"},
		{publicColumns, object{"name": "pip", "ipAddress": "198.51.100.1", "natGateway": object{"id": "/x/out"}}, "Name:pip Address:198.51.100.1 UsedBy:out"},
		{balancerColumns, object{"name": "lb", "frontendIPConfigurations": []any{object{"name": "fe", "privateIPAddress": "10.0.0.9"}, object{"name": "pub", "publicIPAddress": object{"ipAddress": "198.51.100.1"}}},
			"loadBalancingRules": []any{object{"protocol": "Tcp", "frontendPort": 80.0, "backendPort": 8080.0}}, "backendAddressPools": []any{object{"name": "be", "backendIPConfigurations": []any{1}}}},
			"Name:lb Frontends:fe=10.0.0.9 pub=198.51.100.1 Rules:Tcp:80>8080 Members:be=1"},
	} {
		if got := rows(tt.columns, tt.row); got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
}

func TestAnAnswerIsToldInTheOrderOfThePacketsWay(t *testing.T) {
	step := func(pairs ...any) any { return members(pairs...) }
	allowed := object{"allowed": true, "from": "10.0.0.4", "to": "198.51.100.1", "sourceSeen": "10.0.0.4", "destination": "10.0.0.5:80", "steps": []any{
		step("stage", "frontend", "rule", "http", "access", "Allow", "reason", "198.51.100.1 is forwarded to 10.0.0.5:80"),
		step("stage", "inbound", "securityGroup", "/x/web", "rule", "open", "access", "Allow", "reason", "priority 100")}}
	const want = "10.0.0.4 -> 198.51.100.1 is allowed\n" +
		"  frontend  allow  rule http: 198.51.100.1 is forwarded to 10.0.0.5:80\n" +
		"  inbound   allow  rule open of web: priority 100\n" +
		"10.0.0.5:80 sees it come from 10.0.0.4\n"
	if diff := cmp.Diff(want, story(allowed)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	denied := object{"allowed": false, "from": "10.0.0.4", "to": "10.0.0.9", "steps": []any{step("stage", "route", "access", "Deny", "reason", "nobody has it")}}
	if diff := cmp.Diff("10.0.0.4 -> 10.0.0.9 is denied\n  route     deny   nobody has it\n", story(denied)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
