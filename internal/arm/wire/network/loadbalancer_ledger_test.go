package network

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/network/armnetwork/v9"

	"github.com/muster-vm/muster/internal/arm/wire"
	"github.com/muster-vm/muster/internal/network"
)

// TestLoadBalancerLedgersCoverTheSDK regenerates the paths of the SDK's types. A new
// major of the SDK shows up here as lines that nobody has classified.
func TestLoadBalancerLedgersCoverTheSDK(t *testing.T) {
	s := readSDK(t)
	for _, tt := range []struct {
		schema *wire.Schema
		typ    reflect.Type
	}{
		{kinds[network.LoadBalancerKind].schema, reflect.TypeFor[armnetwork.LoadBalancer]()},
		{kinds[network.LoadBalancerKind].child(poolList).schema, reflect.TypeFor[armnetwork.BackendAddressPool]()},
		{kinds[network.LoadBalancerKind].child(natRuleList).schema, reflect.TypeFor[armnetwork.InboundNatRule]()},
		{portsSchema, reflect.TypeFor[armnetwork.QueryInboundNatRulePortMappingRequest]()},
	} {
		t.Run(tt.typ.Name(), func(t *testing.T) {
			for _, m := range s.paths(tt.typ, "", false, nil) {
				compareLine(t, tt.schema, m)
			}
		})
	}
}

func compareLine(t *testing.T, schema *wire.Schema, m member) {
	t.Helper()
	n := schema.Node(m.path)
	switch {
	case n == nil && coveredByReadOnly(schema, m.path):
	case n == nil:
		t.Errorf("not in the ledger: %s  %s  %s", m.path, m.typ, map[bool]string{true: "readonly", false: "?"}[m.readOnly])
	case !sameType(n, m.typ):
		t.Errorf("%s is %s(%s) in the ledger and %s in the SDK", m.path, n.Type, strings.Join(n.Values, "|"), m.typ)
	case m.readOnly && n.Class != wire.ReadOnly:
		t.Errorf("%s is %s in the ledger and read-only in the SDK", m.path, n.Class)
	}
}

func coveredByReadOnly(schema *wire.Schema, path string) bool {
	for i := range path {
		if path[i] != '.' && path[i] != '[' && path[i] != '{' {
			continue
		}
		if n := schema.Node(path[:i]); n != nil && n.Class == wire.ReadOnly {
			return true
		}
	}
	return false
}

// sameType lets the ledger say more about strings than the SDK does.
func sameType(n *wire.Node, sdk string) bool {
	switch n.Type {
	case wire.Enum:
		return sdk == "enum("+strings.Join(slices.Sorted(slices.Values(n.Values)), "|")+")"
	case wire.ID:
		return sdk == "string"
	case wire.String:
		return sdk == "string" || n.Class == wire.ReadOnly && strings.HasPrefix(sdk, "enum(")
	}
	return string(n.Type) == sdk
}

// TestLoadBalancerRefusalsSayWhatToDo keeps the sentences sentences.
func TestLoadBalancerRefusalsSayWhatToDo(t *testing.T) {
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
	walk(loadBalancer.schema.Root)
}
