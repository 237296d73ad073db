package network

import (
	"reflect"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/network/armnetwork/v9"

	"github.com/muster-vm/muster/internal/arm/wire"
	"github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/resource"
)

// sdkTypes are the SDK's types of the kinds and their children.
var sdkTypes = map[network.Kind]reflect.Type{
	network.VirtualNetworkKind:   reflect.TypeFor[armnetwork.VirtualNetwork](),
	network.SecurityGroupKind:    reflect.TypeFor[armnetwork.SecurityGroup](),
	network.ApplicationGroupKind: reflect.TypeFor[armnetwork.ApplicationSecurityGroup](),
	network.PublicAddressKind:    reflect.TypeFor[armnetwork.PublicIPAddress](),
	network.NATGatewayKind:       reflect.TypeFor[armnetwork.NatGateway](),
}

// TestLedgersCoverTheSDK regenerates the paths of the SDK's types. A new major of
// the SDK shows up here as lines that nobody has classified.
func TestLedgersCoverTheSDK(t *testing.T) {
	s := readSDK(t)
	for kind, typ := range sdkTypes {
		t.Run(string(kind), func(t *testing.T) {
			for _, m := range s.paths(typ, "", false, nil) {
				compareLine(t, kinds[kind].schema, m)
			}
		})
	}
	for typ, schema := range map[reflect.Type]*wire.Schema{
		reflect.TypeFor[armnetwork.Subnet]():       virtualNetwork.child("subnets").schema,
		reflect.TypeFor[armnetwork.SecurityRule](): securityGroup.child(rulesMember).schema,
		reflect.TypeFor[armnetwork.TagsObject]():   tagsSchema,
	} {
		t.Run(typ.Name(), func(t *testing.T) {
			for _, m := range s.paths(typ, "", false, nil) {
				compareLine(t, schema, m)
			}
		})
	}
}

// TestRefusalsSayWhatToDo keeps the sentences sentences.
func TestRefusalsSayWhatToDo(t *testing.T) {
	var walk func(*wire.Node)
	walk = func(n *wire.Node) {
		if (n.Class == wire.Refused || len(n.Except) > 0) && !strings.HasSuffix(n.Why, ".") {
			t.Errorf("%s: the refusal %q is no sentence", n.Path, n.Why)
		}
		for _, m := range n.Members {
			walk(m)
		}
		if n.Elem != nil {
			walk(n.Elem)
		}
	}
	for _, k := range kinds {
		walk(k.schema.Root)
	}
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
