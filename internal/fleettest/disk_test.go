package fleettest_test

import (
	"errors"
	"maps"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/compute/armcompute/v8"

	"github.com/muster-vm/muster/internal/fleettest"
)

// TestADiskIsAttachedToOneInstanceAndGoesWhenItIsDetached does as az vmss disk
// attach and detach do: read the instance, change its list of disks, put it back.
func TestADiskIsAttachedToOneInstanceAndGoesWhenItIsDetached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		f := fleettest.Boot(t, fleettest.Options{})
		c := f.Client(t)
		create(ctx, t, c, 2)
		edit := func(step string, change func(*armcompute.VirtualMachineScaleSetVM)) {
			t.Helper()
			vm, err := c.VMs.Get(ctx, "lab", "web", "1", nil)
			if err != nil {
				t.Fatalf("%s: %v", step, err)
			}
			change(&vm.VirtualMachineScaleSetVM)
			p, err := c.VMs.BeginUpdate(ctx, "lab", "web", "1", vm.VirtualMachineScaleSetVM, nil)
			res, err := fleettest.Wait(ctx, p, err)
			if err != nil {
				t.Fatalf("%s: %v", step, err)
			}
			if got := *res.Properties.ProvisioningState; got != "Succeeded" || !*res.Properties.ProtectionPolicy.ProtectFromScaleIn || *res.Tags["role"] != "first" {
				t.Fatalf("%s: it is %s, protection %v, tags %v", step, got, *res.Properties.ProtectionPolicy, res.Tags)
			}
		}
		expect := func(step string, want ...string) map[string]string {
			t.Helper()
			disks := f.Disks(ctx, 1)
			if got := slices.Sorted(maps.Keys(disks)); !slices.Equal(got, want) {
				t.Fatalf("%s: the machine has the disks %v, want %v", step, got, want)
			}
			if other := f.Disks(ctx, 0); len(other) != 1 {
				t.Fatalf("%s: the other machine has %v", step, other)
			}
			return disks
		}
		attach := func(vm *armcompute.VirtualMachineScaleSetVM) {
			vm.Properties.StorageProfile.DataDisks = append(vm.Properties.StorageProfile.DataDisks, &armcompute.DataDisk{Lun: new(int32(2)),
				CreateOption: new(armcompute.DiskCreateOptionTypesEmpty), DiskSizeGB: new(int32(4)), Caching: new(armcompute.CachingTypesReadOnly),
				ManagedDisk: &armcompute.ManagedDiskParameters{StorageAccountType: new(armcompute.StorageAccountTypesStandardLRS)}})
		}
		detach := func(vm *armcompute.VirtualMachineScaleSetVM) { // the empty list is sent, and not left out
			vm.Properties.StorageProfile.DataDisks = []*armcompute.DataDisk{}
		}
		edit("protect", func(vm *armcompute.VirtualMachineScaleSetVM) {
			vm.Tags = map[string]*string{"role": new("first")}
			vm.Properties.ProtectionPolicy = &armcompute.VirtualMachineScaleSetVMProtectionPolicy{ProtectFromScaleIn: new(true)}
		})
		before := expect("before", "os")
		edit("attach", attach)
		first := expect("attach", "data2", "os")
		edit("nothing", func(*armcompute.VirtualMachineScaleSetVM) {})
		reimage, err := c.VMs.BeginReimageAll(ctx, "lab", "web", "1", nil)
		if _, err := fleettest.Wait(ctx, reimage, err); err != nil {
			t.Fatal("reimage all:", err)
		}
		again := expect("reimage all", "data2", "os")
		if first["os"] != before["os"] || again["os"] == first["os"] || again["data2"] != first["data2"] {
			t.Errorf("disks %v, attached %v, reimaged %v: the OS disk is made anew by reimaging alone, the attached one never", before, first, again)
		}
		edit("detach", detach)
		expect("detach", "os")
		edit("attach again", attach)
		if second := expect("attach again", "data2", "os"); second["data2"] == first["data2"] {
			t.Error("the disk that was detached is back with its data")
		}
		if _, err := c.VMs.BeginUpdate(ctx, "lab", "web", "1", missing(), nil); !refusedWith(err, "SubscriptionNotFound") {
			t.Errorf("a managed disk that is not there: %v", err)
		}
		if v := f.Ledger.Violations(); len(v) > 0 {
			t.Error(v)
		}
	})
}

func missing() armcompute.VirtualMachineScaleSetVM {
	id := "/subscriptions/s/resourceGroups/lab/providers/Microsoft.Compute/disks/d"
	return armcompute.VirtualMachineScaleSetVM{Location: new(fleettest.Location), Properties: &armcompute.VirtualMachineScaleSetVMProperties{
		StorageProfile: &armcompute.StorageProfile{DataDisks: []*armcompute.DataDisk{{Lun: new(int32(3)),
			CreateOption: new(armcompute.DiskCreateOptionTypesAttach), ManagedDisk: &armcompute.ManagedDiskParameters{ID: &id}}}}}}
}

func refusedWith(err error, code string) bool {
	e, ok := errors.AsType[*azcore.ResponseError](err)
	return ok && e.ErrorCode == code
}
