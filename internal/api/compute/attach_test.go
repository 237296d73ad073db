package compute_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/muster-vm/muster/internal/disk"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/vmss"
)

// readyDisk makes a managed disk whose content is there.
func (y *yard) readyDisk(name string, sizeGB int) disk.Disk {
	y.Helper()
	y.must(y.put(disk.Managed, name, fmt.Sprintf(emptyDisk, sizeGB)), 202)
	return y.made(disk.Managed, name, sizeGB)
}

// attaches is the body of an instance-level PUT that attaches a disk.
func attaches(id string) string {
	return `{"properties": {"storageProfile": {"dataDisks": [{"lun": 0, "createOption": "Attach", "caching": null, "managedDisk": {"id": "` + id + `", "storageAccountType": null}}]}}}`
}

const detaches = `{"properties": {"storageProfile": {"dataDisks": []}}}`

// released records what the reconcilers do once an instance has let go of a disk.
func (y *yard) released(d disk.Disk) {
	y.Helper()
	y.commit(store.Delete(store.Attachments, d.UID, store.Any))
}

func TestADiskIsAttachedToOneInstanceAtATime(t *testing.T) {
	y := newYard(t, 2)
	d := y.readyDisk("data", 8)
	body := y.must(y.ask("PUT", "/virtualMachines/0", attaches(strings.ToUpper(d.ID.String()))), 200)
	shown := at(body, "properties.storageProfile.dataDisks").([]any)[0].(map[string]any)
	if shown["createOption"] != "Attach" || shown["name"] != "data" || shown["diskSizeGB"] != 8.0 || at(shown, "managedDisk.id") != d.ID.String() || at(shown, "managedDisk.storageAccountType") != "Premium_LRS" {
		t.Errorf("%v", shown)
	}
	custom, _ := store.Get(y.store, store.Customizations, vmss.InstanceKey{Set: yardUID, ID: 0})
	if v := custom.Value.Attached[0]; v.Volume != string(d.UID) || v.SizeGB != 8 || v.Attached != y.lastOp().Sequence {
		t.Errorf("%+v", v)
	}
	held, _ := store.Get(y.store, store.Attachments, d.UID)
	if *held.Value != (disk.Attachment{Set: yardUID, Instance: 0, LUN: 0, Since: held.Value.Since}) || held.Value.Since.IsZero() {
		t.Errorf("%+v", held.Value)
	}
	body = y.must(y.ask("GET", yardGroup+"/disks/data", ""), 200)
	if at(body, "managedBy") != y.set.ID.String()+"/virtualMachines/0" || at(body, "properties.diskState") != "Attached" {
		t.Errorf("%v", body)
	}
	if message := y.refused(y.ask("PUT", "/virtualMachines/1", attaches(d.ID.String())), 409, "ConflictingUserInput", managedDiskID); !strings.Contains(message, "/virtualMachines/0'") {
		t.Error(message)
	}
	y.refused(y.ask("DELETE", yardGroup+"/disks/data", ""), 409, "OperationNotAllowed", "")
	y.refused(y.ask("PATCH", yardGroup+"/disks/data", `{"sku": {"name": "Standard_LRS"}}`), 409, "OperationNotAllowed", "sku.name")
	// What is wanted of the disk reaches the instance that has it.
	y.must(y.ask("PATCH", yardGroup+"/disks/data", `{"properties": {"diskSizeGB": 20, "tier": "P30"}}`), 202)
	custom, _ = store.Get(y.store, store.Customizations, vmss.InstanceKey{Set: yardUID, ID: 0})
	if v := custom.Value.Attached[0]; v.SizeGB != 20 || v.IOPS != 5000 || v.MBps != 200 {
		t.Errorf("%+v", v)
	}
	body = y.must(y.ask("PUT", "/virtualMachines/0", detaches), 200)
	if leaving := at(body, "properties.storageProfile.dataDisks").([]any); len(leaving) != 1 || at(leaving[0].(map[string]any), "toBeDetached") != true {
		t.Errorf("detaching shows %v", leaving)
	}
	if after := at(y.must(y.ask("GET", "/virtualMachines/0", ""), 200), "properties.storageProfile.dataDisks").([]any); len(after) != 0 {
		t.Errorf("later there is %v", after)
	}
	y.refused(y.ask("PUT", "/virtualMachines/1", attaches(d.ID.String())), 409, "AttachDiskWhileBeingDetached", managedDiskID)
	y.refused(y.ask("DELETE", yardGroup+"/disks/data", ""), 409, "OperationNotAllowed", "")
	y.released(d)
	y.must(y.ask("PUT", "/virtualMachines/1", attaches(d.ID.String())), 200)
	y.change(1, func(row *vmss.Instance, _ *vmss.Observation) { row.Power = vmss.PowerDeallocated })
	if body = y.must(y.ask("GET", yardGroup+"/disks/data", ""), 200); at(body, "properties.diskState") != "Reserved" {
		t.Errorf("%v", body)
	}
}

func TestDisksAreAttachedAndDetachedByTheirIDs(t *testing.T) {
	y := newYard(t, 1)
	a, b := y.readyDisk("a", 1), y.readyDisk("b", 1)
	w := y.ask("POST", "/virtualMachines/0/attachDetachDataDisks", `{"dataDisksToAttach": [{"diskId": "`+a.ID.String()+`"}, {"diskId": "`+b.ID.String()+`", "lun": 5}]}`)
	y.must(w, 202)
	result := w.Header().Get("Location")
	y.must(y.ask("GET", result, ""), 202)
	y.commit(store.Put(store.Outcomes, y.lastOp().Key(), vmss.Outcome{Status: vmss.OperationSucceeded}))
	body := y.must(y.ask("GET", result, ""), 200)
	if disks := at(body, "dataDisks").([]any); len(disks) != 2 || at(disks[1].(map[string]any), "lun") != 5.0 || at(body, "osDisk.osType") != "Linux" {
		t.Errorf("%v", body)
	}
	y.must(y.ask("POST", "/virtualMachines/0/attachDetachDataDisks", `{"dataDisksToDetach": [{"diskId": "`+a.ID.String()+`"}]}`), 202)
	custom, _ := store.Get(y.store, store.Customizations, vmss.InstanceKey{Set: yardUID, ID: 0})
	if got := custom.Value.Attached; len(got) != 1 || got[0].Volume != string(b.UID) {
		t.Errorf("%+v", got)
	}
}

const managedDiskID = "properties.storageProfile.dataDisks.managedDisk.id"

func TestDisksThatDoNotFitAreNotAttached(t *testing.T) {
	y := newYard(t, 1)
	y.must(y.put(disk.Managed, "late", fmt.Sprintf(emptyDisk, 1)), 202)
	y.readyDisk("data", 1)
	y.must(y.put(disk.Managed, "zonal", `{"location": "local", "zones": ["1"], "properties": {"creationData": {"createOption": "Empty"}, "diskSizeGB": 1}}`), 202)
	y.made(disk.Managed, "zonal", 1)
	for _, tt := range []struct {
		body   string
		status int
		code   string
		target string
	}{
		{attaches(idOf(disk.Managed, "late")), 409, "OperationNotAllowed", managedDiskID},
		{attaches(idOf(disk.Managed, "none")), 404, "ResourceNotFound", managedDiskID},
		{attaches(idOf(disk.Snapshot, "data")), 400, "InvalidParameter", managedDiskID},
		{attaches(idOf(disk.Managed, "zonal")), 400, "InvalidParameter", managedDiskID},
		{attaches(strings.Replace(idOf(disk.Managed, "data"), "/s/", "/t/", 1)), 404, "SubscriptionNotFound", managedDiskID},
		{strings.Replace(attaches(idOf(disk.Managed, "data")), `"storageAccountType": null`, `"storageAccountType": "UltraSSD_LRS"`, 1), 400, "InvalidParameter", "properties.storageProfile.dataDisks.managedDisk.storageAccountType"},
		{strings.Replace(attaches(idOf(disk.Managed, "data")), `}]`, `}, {"lun": 1, "createOption": "Attach", "managedDisk": {"id": "`+idOf(disk.Managed, "DATA")+`"}}]`, 1), 400, "InvalidParameter", managedDiskID},
	} {
		y.refused(y.ask("PUT", "/virtualMachines/0", tt.body), tt.status, tt.code, tt.target)
	}
	if all := store.All(y.store, store.Attachments); len(all) > 0 {
		t.Errorf("%v", all)
	}
}

func TestInstancesWithEphemeralDisksAreNotDeallocatedOrCaptured(t *testing.T) {
	y := newYard(t, 1)
	rev, _ := store.Get(y.store, store.Revisions, vmss.RevisionKey{Set: yardUID, Number: 1})
	next := *rev.Value
	next.Model.OSDisk.Ephemeral = true
	y.commit(store.Put(store.Revisions, vmss.RevisionKey{Set: yardUID, Number: 1}, next))
	for _, path := range []string{"/deallocate", "/virtualMachines/0/deallocate"} {
		if message := y.refused(y.ask("POST", path, ""), 409, "OperationNotAllowed", ""); !strings.Contains(message, "ephemeral OS disk") {
			t.Error(message)
		}
	}
	y.must(y.ask("POST", "/powerOff", ""), 202)
	y.change(0, func(row *vmss.Instance, seen *vmss.Observation) {
		row.Power, seen.Power = vmss.PowerStopped, vmss.PowerStopped
	})
	y.refused(y.put(disk.Image, "i", `{"location": "local", "properties": {"sourceVirtualMachine": {"id": "`+y.set.ID.String()+`/virtualMachines/0"}}}`), 409, "OperationNotAllowed", "properties.sourceVirtualMachine.id")
}

func TestOfManyWhoAttachADiskAtOnceOneGetsIt(t *testing.T) {
	y := newYard(t, 10)
	d := y.readyDisk("data", 1)
	codes := make([]int, 10)
	var wg sync.WaitGroup
	for i := range codes {
		wg.Go(func() { codes[i] = y.ask("PUT", fmt.Sprintf("/virtualMachines/%d", i), attaches(d.ID.String())).Code })
	}
	wg.Wait()
	slices.Sort(codes)
	if codes[0] != 200 || codes[1] != 409 || codes[9] != 409 {
		t.Errorf("%v", codes)
	}
	held := 0
	for _, e := range store.All(y.store, store.Customizations) {
		held += len(e.Value.Attached)
	}
	if held != 1 {
		t.Errorf("%d instances have it", held)
	}
}
