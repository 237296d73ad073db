package compute_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/compute/armcompute/v8"

	"github.com/muster-vm/muster/internal/arm/wire"
	"github.com/muster-vm/muster/internal/arm/wire/compute"
)

// TestLedgersCoverTheSDK regenerates the paths of the SDK's types. A new major
// of the SDK shows up here as lines that nobody has classified.
func TestLedgersCoverTheSDK(t *testing.T) {
	s := readSDK(t)
	for _, tt := range []struct {
		name   string
		schema *wire.Schema
		types  []reflect.Type
	}{
		{"scaleset", compute.ScaleSet, []reflect.Type{
			reflect.TypeFor[armcompute.VirtualMachineScaleSet](), reflect.TypeFor[armcompute.VirtualMachineScaleSetUpdate](),
		}},
		{"instance", compute.Instance, []reflect.Type{reflect.TypeFor[armcompute.VirtualMachineScaleSetVM]()}},
		{"instanceids", compute.InstanceIDs, []reflect.Type{
			reflect.TypeFor[armcompute.VirtualMachineScaleSetVMInstanceIDs](), reflect.TypeFor[armcompute.VirtualMachineScaleSetVMInstanceRequiredIDs](),
		}},
		{"reimage", compute.Reimage, []reflect.Type{
			reflect.TypeFor[armcompute.VirtualMachineScaleSetReimageParameters](), reflect.TypeFor[armcompute.VirtualMachineScaleSetVMReimageParameters](),
		}},
		{"disk", compute.Disk, []reflect.Type{reflect.TypeFor[armcompute.Disk](), reflect.TypeFor[armcompute.DiskUpdate]()}},
		{"snapshot", compute.Snapshot, []reflect.Type{reflect.TypeFor[armcompute.Snapshot](), reflect.TypeFor[armcompute.SnapshotUpdate]()}},
		{"image", compute.Image, []reflect.Type{reflect.TypeFor[armcompute.Image](), reflect.TypeFor[armcompute.ImageUpdate]()}},
		{"attachdetach", compute.AttachDetach, []reflect.Type{reflect.TypeFor[armcompute.AttachDetachDataDisksRequest]()}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, typ := range tt.types {
				for _, m := range s.paths(typ, "", false, nil) {
					compareLine(t, tt.schema, m)
				}
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
	if n.Type == wire.Enum {
		return sdk == "enum("+strings.Join(slices.Sorted(slices.Values(n.Values)), "|")+")"
	}
	switch n.Type {
	case wire.ID, wire.Base64, wire.Duration:
		return sdk == "string"
	case wire.String:
		// The SDK freezes the sizes of one day in an enum.
		return sdk == "string" || strings.HasSuffix(n.Path, ".vmSize")
	}
	return string(n.Type) == sdk
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
	for _, s := range []*wire.Schema{compute.ScaleSet, compute.Instance, compute.InstanceIDs, compute.Reimage, compute.Disk, compute.Snapshot, compute.Image, compute.AttachDetach} {
		walk(s.Root)
	}
}
