package host

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-vm/muster/internal/host/compute"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/vmss"
)

// specOf is the spec of an instance with an OS disk and disks attached to it.
func specOf(t *testing.T, h *Host, os vmss.Disk, attached ...vmss.Disk) compute.Spec {
	t.Helper()
	h.Size = func(string) (vmss.Size, bool) { return vmss.Size{VCPUs: 1, MemoryMB: 96}, true }
	set := vmss.ScaleSet{ID: resource.In("sub", "lab", "Microsoft.Compute", "virtualMachineScaleSets", "web"), UID: "u"}
	model := vmss.Model{Image: vmss.Image{Digest: "sha256:ok", SizeGB: 600}, OSDisk: os, DataDisks: []vmss.Disk{{LUN: 3, SizeGB: 64, StorageType: "Premium_LRS"}}}
	s, err := h.spec(set, vmss.Instance{Disks: 1, DataDisks: 2, Attached: attached}, vmss.Revision{Model: model})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestDisksAreBoundedByWhatWasAskedForOrTheirTypeAllows(t *testing.T) {
	s := specOf(t, &Host{}, vmss.Disk{StorageType: "Premium_LRS"}, // 600 GB as its image
		vmss.Disk{LUN: 1, SizeGB: 8, StorageType: "StandardSSD_LRS", Attached: 7},
		vmss.Disk{LUN: 2, SizeGB: 8, StorageType: "PremiumV2_LRS", IOPS: 4000, Attached: 8, Volume: "managed"})
	if want := (compute.Limit{IOPS: 5000, MBps: 200}); s.OSLimit != want {
		t.Errorf("the OS disk's limit is %+v, want %+v", s.OSLimit, want)
	}
	want := []compute.Disk{
		{LUN: 1, SizeGB: 8, Generation: 1<<32 + 7, Limit: compute.Limit{IOPS: 500, MBps: 100, BurstIOPS: 600, BurstMBps: 150}},
		{LUN: 2, Volume: "managed", Limit: compute.Limit{IOPS: 4000, MBps: 125}},
		{LUN: 3, SizeGB: 64, Generation: 2, Limit: compute.Limit{IOPS: 240, MBps: 50, BurstIOPS: 3500, BurstMBps: 170}},
	}
	if diff := cmp.Diff(want, s.DataDisks); diff != "" {
		t.Errorf("data disks (-want +got):\n%s", diff)
	}
	free := specOf(t, &Host{Options: Options{NoLimit: true}}, vmss.Disk{StorageType: "Premium_LRS"})
	if none := (compute.Limit{}); free.OSLimit != none || free.DataDisks[0].Limit != none {
		t.Errorf("without limits: %+v", free)
	}
}

func TestAnEphemeralOSDiskHasNoTypeToBeBoundedBy(t *testing.T) {
	s := specOf(t, &Host{}, vmss.Disk{StorageType: "Standard_LRS", Ephemeral: true})
	if !s.Ephemeral || s.OSLimit != (compute.Limit{}) {
		t.Errorf("got %+v", s)
	}
	if managed := specOf(t, &Host{}, vmss.Disk{StorageType: "Standard_LRS"}); managed.Hash() == s.Hash() {
		t.Error("a machine is made anew for it, and yet it has the same hash")
	}
}

func TestAVolumeThatIsAttachedAgainIsTheSameDisk(t *testing.T) {
	first := specOf(t, &Host{}, vmss.Disk{}, vmss.Disk{LUN: 1, Attached: 7, Volume: "managed"})
	again := specOf(t, &Host{}, vmss.Disk{}, vmss.Disk{LUN: 1, Attached: 9, Volume: "managed"})
	if first.Fit() != again.Fit() {
		t.Error("they do not fit alike")
	}
}
