package cli

import (
	"slices"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/compute/armcompute/v8"

	"github.com/muster-vm/muster/internal/cli/output"
)

func TestWordsAfterAnOptionAreItsValues(t *testing.T) {
	got := Args(strings.Fields("vmss start --instance-ids 0 1 -g lab --set a=b c=d --no-wait"))
	want := strings.Fields("vmss start --instance-ids 0 --instance-ids 1 -g lab --set a=b --set c=d --no-wait")
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

func TestSetFindsMembersWhereTheyArePrinted(t *testing.T) {
	set := armcompute.VirtualMachineScaleSet{SKU: &armcompute.SKU{Capacity: new(int64(1))}, Tags: map[string]*string{}, Properties: &armcompute.VirtualMachineScaleSetProperties{}}
	got, err := output.Assign(set, []string{"sku.capacity=3", "tags.n=1", "upgradePolicy.mode=Automatic", "overprovision=false"})
	if err != nil {
		t.Fatal(err)
	}
	if *got.SKU.Capacity != 3 || *got.Tags["n"] != "1" || *got.Properties.UpgradePolicy.Mode != "Automatic" || *got.Properties.Overprovision {
		t.Errorf("got %+v", got)
	}
	for _, bad := range []string{"nope=1", "sku.capacity=x", "sku"} {
		if _, err := output.Assign(set, []string{bad}); err == nil {
			t.Errorf("--set %s is accepted", bad)
		}
	}
}
