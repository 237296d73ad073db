package network

import (
	"reflect"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/network/armnetwork/v9"

	"github.com/muster-vm/muster/internal/arm/wire"
	"github.com/muster-vm/muster/internal/arm/wire/wiretest"
	"github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/resource"
)

// TestLedgersCoverTheSDK regenerates the paths of the SDK's types. A new major of the
// SDK shows up here as lines that nobody has classified.
func TestLedgersCoverTheSDK(t *testing.T) {
	s := wiretest.ReadSDK(t, "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/network/armnetwork/v9")
	balancer, vnet, group := kinds[network.LoadBalancerKind], kinds[network.VirtualNetworkKind], kinds[network.SecurityGroupKind]
	for _, tt := range []struct {
		schema *wire.Schema
		typ    reflect.Type
	}{
		{balancer.schema, reflect.TypeFor[armnetwork.LoadBalancer]()},
		{balancer.child(poolList).schema, reflect.TypeFor[armnetwork.BackendAddressPool]()},
		{balancer.child(natRuleList).schema, reflect.TypeFor[armnetwork.InboundNatRule]()},
		{portsSchema, reflect.TypeFor[armnetwork.QueryInboundNatRulePortMappingRequest]()},
		{vnet.schema, reflect.TypeFor[armnetwork.VirtualNetwork]()},
		{vnet.child("subnets").schema, reflect.TypeFor[armnetwork.Subnet]()},
		{group.schema, reflect.TypeFor[armnetwork.SecurityGroup]()},
		{group.child(rulesMember).schema, reflect.TypeFor[armnetwork.SecurityRule]()},
		{kinds[network.PublicAddressKind].schema, reflect.TypeFor[armnetwork.PublicIPAddress]()},
		{kinds[network.NATGatewayKind].schema, reflect.TypeFor[armnetwork.NatGateway]()},
		{tagsSchema, reflect.TypeFor[armnetwork.TagsObject]()},
		{kinds[network.ApplicationGroupKind].schema, reflect.TypeFor[armnetwork.ApplicationSecurityGroup]()},
	} {
		t.Run(tt.typ.Name(), func(t *testing.T) { s.Covers(t, tt.schema, sameType, tt.typ) })
	}
}

// sameType lets what is only shown be any string.
func sameType(n *wire.Node, sdk string) bool {
	return wiretest.SameType(n, sdk) || n.Type == wire.String && n.Class == wire.ReadOnly && strings.HasPrefix(sdk, "enum(")
}

// TestRefusalsSayWhatToDo keeps the sentences sentences.
func TestRefusalsSayWhatToDo(t *testing.T) {
	for _, k := range network.Kinds() {
		wiretest.RefusalsAreSentences(t, kinds[k].schema)
	}
	wiretest.RefusalsAreSentences(t, portsSchema)
}

// TestTheSDKReadsWhatIsShown decodes answers with the types that clients use.
func TestTheSDKReadsWhatIsShown(t *testing.T) {
	const body = `{"location":"local","properties":{"addressSpace":{"addressPrefixes":["10.0.0.0/16"]},"subnets":[{"name":"sn","properties":{"addressPrefix":"10.0.0.0/24"}}]}}`
	d, err := Put(network.VirtualNetworkKind, nil, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	r, err := d.Parse(Input{ID: resource.In("s", "g", "Microsoft.Network", "virtualNetworks", "v")})
	if err != nil {
		t.Fatal(err)
	}
	shown, err := Render(r, View{ETag: "tag", State: Updating, Links: map[Link][]string{{Child: "subnets/sn", Member: "ipConfigurations"}: {"/subscriptions/x"}}})
	if err != nil {
		t.Fatal(err)
	}
	var v armnetwork.VirtualNetwork
	if err := v.UnmarshalJSON(shown); err != nil {
		t.Fatal(err)
	}
	s := v.Properties.Subnets[0]
	if *v.Name != "v" || *v.Properties.ProvisioningState != armnetwork.ProvisioningStateUpdating || *s.Properties.AddressPrefix != "10.0.0.0/24" || *s.Properties.IPConfigurations[0].ID != "/subscriptions/x" {
		t.Errorf("%s", shown)
	}

	if d, err = Put(network.SecurityGroupKind, nil, []byte(`{"location":"local"}`)); err != nil {
		t.Fatal(err)
	}
	if r, err = d.Parse(Input{ID: resource.In("s", "g", "Microsoft.Network", "networkSecurityGroups", "g")}); err != nil {
		t.Fatal(err)
	}
	if shown, err = Render(r, View{ETag: "tag", State: Succeeded}); err != nil {
		t.Fatal(err)
	}
	var g armnetwork.SecurityGroup
	if err := g.UnmarshalJSON(shown); err != nil {
		t.Fatal(err)
	}
	if all := g.Properties.DefaultSecurityRules; len(all) != 6 || *all[2].Properties.Priority != 65500 || *all[0].Etag != `W/"tag"` {
		t.Errorf("%s", shown)
	}
}
