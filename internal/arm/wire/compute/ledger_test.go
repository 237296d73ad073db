package compute_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/compute/armcompute/v8"

	"github.com/muster-vm/muster/internal/arm/wire"
	"github.com/muster-vm/muster/internal/arm/wire/compute"
	"github.com/muster-vm/muster/internal/arm/wire/wiretest"
)

// TestLedgersCoverTheSDK regenerates the paths of the SDK's types. A new major
// of the SDK shows up here as lines that nobody has classified.
func TestLedgersCoverTheSDK(t *testing.T) {
	s := wiretest.ReadSDK(t, "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/compute/armcompute/v8")
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
			s.Covers(t, tt.schema, sameType, tt.types...)
		})
	}
}

// sameType knows that the SDK freezes the sizes of one day in an enum.
func sameType(n *wire.Node, sdk string) bool {
	return wiretest.SameType(n, sdk) || n.Type == wire.String && strings.HasSuffix(n.Path, ".vmSize")
}

// TestRefusalsSayWhatToDo keeps the sentences sentences.
func TestRefusalsSayWhatToDo(t *testing.T) {
	for _, s := range []*wire.Schema{compute.ScaleSet, compute.Instance, compute.InstanceIDs, compute.Reimage, compute.Disk, compute.Snapshot, compute.Image, compute.AttachDetach} {
		wiretest.RefusalsAreSentences(t, s)
	}
}
