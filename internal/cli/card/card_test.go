package card_test

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/muster-vm/muster/internal/cli/card"
)

// group has a network with two subnets, one with one, and two load balancers.
func group() card.Group {
	const path = "/subscriptions/s/resourceGroups/g"
	answers := map[string]string{
		"virtualNetworks/one":  `{"name": "one", "properties": {"subnets": [{"id": "/one/a", "name": "a"}]}}`,
		"virtualNetworks/two":  `{"name": "two", "properties": {"subnets": [{"id": "/two/a", "name": "a"}, {"id": "/two/b", "name": "b"}]}}`,
		"loadBalancers/plain":  `{"name": "plain", "properties": {"backendAddressPools": [{"id": "/plain/be", "name": "be"}]}}`,
		"loadBalancers/nat":    `{"name": "nat", "properties": {"backendAddressPools": [{"id": "/nat/be", "name": "be"}], "inboundNatPools": [{"id": "/nat/ssh", "name": "ssh"}]}}`,
		"loadBalancers/hollow": `{"name": "hollow", "properties": {}}`,
	}
	return card.Group{Path: path, Get: func(_ context.Context, url string, into any) error {
		at, _, _ := strings.Cut(strings.TrimPrefix(url, path+"/providers/Microsoft.Network/"), "?")
		if answers[at] == "" {
			return fs.ErrNotExist
		}
		return json.Unmarshal([]byte(answers[at]), into)
	}}
}

func TestWhatIsNotNamedIsFoundWhereThereIsNoChoice(t *testing.T) {
	for _, tt := range []struct {
		options card.Options
		want    string // the IP configuration's properties, and the group's
	}{
		{card.Options{}, `{}`},
		{card.Options{VirtualNetwork: "one"}, `{"subnet":{"id":"/one/a"}}`},
		{card.Options{VirtualNetwork: "two", Subnet: "B"}, `{"subnet":{"id":"/two/b"}}`},
		{card.Options{Subnet: "/some/id"}, `{"subnet":{"id":"/some/id"}}`},
		{card.Options{LoadBalancer: "plain"}, `{"loadBalancerBackendAddressPools":[{"id":"/plain/be"}]}`},
		{card.Options{LoadBalancer: "nat"}, `{"loadBalancerBackendAddressPools":[{"id":"/nat/be"}],"loadBalancerInboundNatPools":[{"id":"/nat/ssh"}]}`},
		{card.Options{Apps: []string{"/app"}, PublicAddress: true}, `{"applicationSecurityGroups":[{"id":"/app"}],"publicIPAddressConfiguration":{"name":"pub"}}`},
	} {
		var nic struct {
			Properties struct {
				IPConfigurations []struct{ Properties json.RawMessage }
			}
		}
		if err := tt.options.Configure(t.Context(), group(), &nic); err != nil {
			t.Errorf("%+v: %v", tt.options, err)
		} else if got := string(nic.Properties.IPConfigurations[0].Properties); got != tt.want {
			t.Errorf("%+v: got %s, want %s", tt.options, got, tt.want)
		}
	}
}

func TestASecurityGroupIsOfTheCard(t *testing.T) {
	var nic struct {
		Name       string
		Properties struct {
			Primary              bool
			NetworkSecurityGroup struct{ ID string }
		}
	}
	if err := (card.Options{SecurityGroup: "web"}).Configure(t.Context(), group(), &nic); err != nil {
		t.Fatal(err)
	}
	if p := nic.Properties; nic.Name != "nic" || !p.Primary || p.NetworkSecurityGroup.ID != "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/networkSecurityGroups/web" {
		t.Errorf("got %+v", nic)
	}
}

func TestAChoiceIsLeftToTheUser(t *testing.T) {
	for want, o := range map[string]card.Options{
		"give --vnet-name": {Subnet: "a"}, "choose one with --subnet from a, b": {VirtualNetwork: "two"}, "choose from a, b": {VirtualNetwork: "two", Subnet: "c"},
		"give --lb": {BackendPool: "be"}, "'hollow' has no backendAddressPools": {LoadBalancer: "hollow"}, "'plain' has no inboundNatPools": {LoadBalancer: "plain", NATPool: "x"},
	} {
		err := o.Configure(t.Context(), group(), new(any))
		if e, ok := errors.AsType[*card.AmbiguousError](err); !ok || !strings.Contains(e.Text, want) {
			t.Errorf("%+v: got %v, want %q", o, err, want)
		}
	}
	if err := (card.Options{VirtualNetwork: "nope"}).Configure(t.Context(), group(), new(any)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}
