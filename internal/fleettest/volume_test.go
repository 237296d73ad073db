package fleettest_test

import (
	"testing"
	"testing/synctest"

	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/compute/armcompute/v8"

	"github.com/muster-vm/muster/internal/fleettest"
)

// TestTheSDKManagesDisks makes a disk with the real SDK, attaches it, takes a
// snapshot, makes an image of that and a scale set of the image.
func TestTheSDKManagesDisks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		f := fleettest.Boot(t, fleettest.Options{})
		c := f.Client(t)
		create(ctx, t, c, 1)
		factory, err := armcompute.NewClientFactory(f.Subscription(), f, f.ClientOptions())
		if err != nil {
			t.Fatal(err)
		}
		disks, snapshots, images := factory.NewDisksClient(), factory.NewSnapshotsClient(), factory.NewImagesClient()
		making, err := disks.BeginCreateOrUpdate(ctx, "lab", "data", armcompute.Disk{Location: new(fleettest.Location), SKU: &armcompute.DiskSKU{Name: new(armcompute.DiskStorageAccountTypesPremiumLRS)},
			Properties: &armcompute.DiskProperties{CreationData: &armcompute.CreationData{CreateOption: new(armcompute.DiskCreateOptionEmpty)}, DiskSizeGB: new(int32(4)),
				OSType: new(armcompute.OperatingSystemTypesLinux)}}, nil)
		made, err := fleettest.Wait(ctx, making, err)
		if err != nil || *made.Properties.ProvisioningState != "Succeeded" || *made.Properties.DiskState != armcompute.DiskStateUnattached || *made.Properties.DiskIOPSReadWrite != 120 {
			t.Fatalf("%v %+v", err, made.Properties)
		}
		attaching, err := c.VMs.BeginAttachDetachDataDisks(ctx, "lab", "web", "0", armcompute.AttachDetachDataDisksRequest{
			DataDisksToAttach: []*armcompute.DataDisksToAttach{{DiskID: made.ID, Lun: new(int32(3))}}}, nil)
		attached, err := fleettest.Wait(ctx, attaching, err)
		if err != nil || len(attached.DataDisks) != 1 || *attached.DataDisks[0].CreateOption != armcompute.DiskCreateOptionTypesAttach || *attached.DataDisks[0].Lun != 3 {
			t.Fatalf("%v %+v", err, attached.StorageProfile)
		}
		got, err := disks.Get(ctx, "lab", "data", nil)
		if err != nil || *got.Properties.DiskState != armcompute.DiskStateAttached || got.ManagedBy == nil {
			t.Fatalf("%v %+v", err, got.Disk)
		}
		growing, err := disks.BeginUpdate(ctx, "lab", "data", armcompute.DiskUpdate{Properties: &armcompute.DiskUpdateProperties{DiskSizeGB: new(int32(8))}}, nil)
		if grown, err := fleettest.Wait(ctx, growing, err); err != nil || *grown.Properties.DiskSizeGB != 8 {
			t.Fatalf("%v", err)
		}
		copying, err := snapshots.BeginCreateOrUpdate(ctx, "lab", "snap", armcompute.Snapshot{Location: new(fleettest.Location), Properties: &armcompute.SnapshotProperties{
			CreationData: &armcompute.CreationData{CreateOption: new(armcompute.DiskCreateOptionCopy), SourceResourceID: made.ID}}}, nil)
		snapshot, err := fleettest.Wait(ctx, copying, err)
		if err != nil || *snapshot.Properties.DiskSizeGB != 8 || *snapshot.Properties.CreationData.SourceUniqueID != *made.Properties.UniqueID {
			t.Fatalf("%v %+v", err, snapshot.Properties)
		}
		imaging, err := images.BeginCreateOrUpdate(ctx, "lab", "golden", armcompute.Image{Location: new(fleettest.Location), Properties: &armcompute.ImageProperties{
			StorageProfile: &armcompute.ImageStorageProfile{OSDisk: &armcompute.ImageOSDisk{OSState: new(armcompute.OperatingSystemStateTypesGeneralized),
				OSType: new(armcompute.OperatingSystemTypesLinux), Snapshot: &armcompute.SubResource{ID: snapshot.ID}}}}}, nil)
		image, err := fleettest.Wait(ctx, imaging, err)
		if err != nil || *image.Properties.ProvisioningState != "Succeeded" {
			t.Fatalf("%v", err)
		}
		model := fleettest.Model(1)
		model.Properties.VirtualMachineProfile.StorageProfile.ImageReference = &armcompute.ImageReference{ID: image.ID}
		scaling, err := c.Sets.BeginCreateOrUpdate(ctx, "lab", "copy", model, nil)
		if _, err := fleettest.Wait(ctx, scaling, err); err != nil {
			t.Fatal(err)
		}
		ending, err := disks.BeginDelete(ctx, "lab", "data", nil)
		if _, err := fleettest.Wait(ctx, ending, err); !refusedWith(err, "OperationNotAllowed") {
			t.Errorf("a disk in use was deleted: %v", err)
		}
		going, err := c.Groups.BeginDelete(ctx, "lab", nil)
		if _, err := fleettest.Wait(ctx, going, err); err != nil {
			t.Fatal("the group with everything in it:", err)
		}
		if v := f.Ledger.Violations(); len(v) > 0 {
			t.Error(v)
		}
	})
}
