package compute_test

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/muster-vm/muster/internal/disk"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/vmss"
)

const yardGroup = "https://h/subscriptions/s/resourceGroups/rg/providers/Microsoft.Compute"

// idOf is the id of a disk of the yard's group.
func idOf(kind disk.Kind, name string) string {
	return resource.In("s", "rg", "Microsoft.Compute", string(kind), name).String()
}

// disk is a disk as it is stored.
func (y *yard) disk(kind disk.Kind, name string) disk.Disk {
	y.Helper()
	e, ok := store.Get(y.store, store.Disks, disk.NewKey(kind, "s", "rg", name))
	if !ok {
		y.Fatalf("there is no %s/%s", kind, name)
	}
	return *e.Value
}

// made records what a reconciler would once the content is there.
func (y *yard) made(kind disk.Kind, name string, sizeGB int) disk.Disk {
	y.Helper()
	d := y.disk(kind, name)
	y.commit(store.Put(store.DiskStates, d.UID, disk.State{Ready: true, SizeGB: sizeGB, Bytes: int64(sizeGB) << 30, Digest: "sha256:" + name}))
	return d
}

// put makes or changes a disk.
func (y *yard) put(kind disk.Kind, name, body string, header ...string) *httptest.ResponseRecorder {
	return y.ask("PUT", yardGroup+"/"+string(kind)+"/"+name, body, header...)
}

// must checks that a request succeeds.
func (y *yard) must(w *httptest.ResponseRecorder, status int) map[string]any {
	y.Helper()
	var body map[string]any
	if w.Code != status {
		y.Fatalf("%d %s, want %d", w.Code, w.Body, status)
	}
	if err := json.Unmarshal(w.Body.Bytes(), &body); w.Body.Len() > 0 && err != nil {
		y.Fatal(err)
	}
	return body
}

// at follows a path of member names.
func at(body map[string]any, path string) any {
	var v any = body
	for name := range strings.SplitSeq(path, ".") {
		m, _ := v.(map[string]any)
		v = m[name]
	}
	return v
}

const emptyDisk = `{"location": "local", "sku": {"name": "Premium_LRS"}, "properties": {"creationData": {"createOption": "Empty"}, "diskSizeGB": %d}}`

func TestADiskIsMadeShownGrownAndDeleted(t *testing.T) {
	y := newYard(t, 0)
	w := y.put(disk.Managed, "data", fmt.Sprintf(emptyDisk, 8))
	body := y.must(w, 202)
	poll, monitor := w.Header().Get("Azure-AsyncOperation"), w.Header().Get("Location")
	if at(body, "properties.provisioningState") != "Updating" || !strings.Contains(poll, "/DiskOperations/") || monitor != poll+"&monitor=true" {
		t.Errorf("%v %v", w.Header(), body)
	}
	for _, later := range []string{"sku.tier", "properties.uniqueId", "properties.timeCreated", "properties.diskState", "properties.tier", "properties.encryption"} {
		if got := at(body, later); got != nil {
			t.Errorf("%s is %v before there is a disk", later, got)
		}
	}
	d := y.disk(disk.Managed, "data")
	op, _, _ := y.store.LastOperation(vmss.UID(d.UID), func(vmss.Operation) bool { return true })
	if op.Kind != vmss.OpPutDisk || !op.Target.Equal(d.ID) || op.Sequence != 1 || op.Location != "local" {
		t.Errorf("%+v", op)
	}
	y.made(disk.Managed, "data", 8)
	w = y.ask("GET", yardGroup+"/disks/DATA", "")
	body = y.must(w, 200)
	for path, want := range map[string]any{
		"name": "data", "type": "Microsoft.Compute/disks", "sku.tier": "Premium", "properties.provisioningState": "Succeeded", "properties.diskState": "Unattached",
		"properties.diskSizeBytes": float64(8 << 30), "properties.diskIOPSReadWrite": 120.0, "properties.diskMBpsReadWrite": 25.0, "properties.tier": "P2",
		"properties.uniqueId": string(d.UID), "managedBy": nil, "properties.encryption.type": "EncryptionAtRestWithPlatformKey",
		"properties.networkAccessPolicy": "AllowAll", "properties.publicNetworkAccess": "Enabled",
	} {
		if got := at(body, path); got != want {
			t.Errorf("%s is %v, want %v", path, got, want)
		}
	}
	y.commit(store.Put(store.Outcomes, op.Key(), vmss.Outcome{Status: vmss.OperationSucceeded, Finished: time.Unix(2, 0)}))
	if got := at(y.must(y.ask("GET", poll, ""), 200), "properties.output"); !reflect.DeepEqual(got, any(body)) {
		t.Errorf("the operation shows %v", got)
	}
	if got := y.must(y.ask("GET", monitor, ""), 200); !reflect.DeepEqual(got, body) {
		t.Errorf("the result is %v", got)
	}
	// As az does: what was read is sent back with a change.
	grown := strings.Replace(w.Body.String(), `"diskSizeGB":8`, `"diskSizeGB":200`, 1)
	etag := w.Header().Get("ETag")
	body = y.must(y.put(disk.Managed, "data", grown, "If-Match", etag), 202)
	if at(body, "properties.diskSizeGB") != 200.0 || at(body, "properties.diskIOPSReadWrite") != 1100.0 || at(body, "properties.tier") != "P15" {
		t.Errorf("%v", body)
	}
	y.refused(y.put(disk.Managed, "data", grown, "If-Match", etag), 412, "PreconditionFailed", "")
	y.refused(y.ask("PATCH", yardGroup+"/disks/data", `{"properties": {"diskSizeGB": 100}}`), 409, "OperationNotAllowed", "properties.diskSizeGB")
	y.must(y.ask("PATCH", yardGroup+"/disks/data", `{"tags": {"a": "b"}}`), 202)
	if got := y.disk(disk.Managed, "data"); got.SizeGB != 200 || got.Tags["a"] != "b" || got.UID != d.UID || got.SKU != "Premium_LRS" || got.Limit != (disk.Limit{}) {
		t.Errorf("%+v", got)
	}
	w = y.ask("DELETE", yardGroup+"/disks/data", "")
	y.must(w, 202)
	again := y.ask("DELETE", yardGroup+"/disks/data", "")
	operation, _, _ := strings.Cut(w.Header().Get("Location"), "?")
	if other, _, _ := strings.Cut(again.Header().Get("Location"), "?"); operation == "" || operation != other || !y.disk(disk.Managed, "data").Deleting {
		t.Errorf("%q %q", operation, other)
	}
	y.refused(y.put(disk.Managed, "data", grown), 409, "OperationNotAllowed", "")
	y.must(y.ask("DELETE", yardGroup+"/disks/other", ""), 204)
	y.refused(y.ask("GET", yardGroup+"/disks/other", ""), 404, "ResourceNotFound", "")
	y.refused(y.ask("PATCH", yardGroup+"/disks/other", `{}`), 404, "ResourceNotFound", "")
}

func TestLimitsAndTiersOfADiskChange(t *testing.T) {
	y := newYard(t, 0)
	y.must(y.put(disk.Managed, "data", fmt.Sprintf(emptyDisk, 8)), 202)
	y.made(disk.Managed, "data", 8)
	body := y.must(y.ask("PATCH", yardGroup+"/disks/data", `{"properties": {"tier": "P10"}}`), 202)
	if at(body, "properties.tier") != "P10" || at(body, "properties.diskIOPSReadWrite") != 500.0 {
		t.Errorf("%v", body)
	}
	w := y.ask("GET", yardGroup+"/disks/data", "")
	y.must(w, 200)
	if body = y.must(y.put(disk.Managed, "data", w.Body.String()), 202); at(body, "properties.tier") != "P10" {
		t.Errorf("sent back: %v", body)
	}
	if body = y.must(y.ask("PATCH", yardGroup+"/disks/data", `{"properties": {"tier": "P2"}}`), 202); at(body, "properties.diskIOPSReadWrite") != 120.0 {
		t.Errorf("%v", body)
	}
	// Back from what az read, with another type.
	w = y.ask("GET", yardGroup+"/disks/data", "")
	y.must(y.put(disk.Managed, "data", strings.Replace(w.Body.String(), "Premium_LRS", "PremiumV2_LRS", 1)), 202)
	body = y.must(y.ask("PATCH", yardGroup+"/disks/data", `{"properties": {"diskIOPSReadWrite": 4000, "diskMBpsReadWrite": 200}}`), 202)
	if got := y.disk(disk.Managed, "data"); got.Limit != (disk.Limit{IOPS: 4000, MBps: 200}) || at(body, "properties.diskIOPSReadWrite") != 4000.0 || at(body, "properties.tier") != nil {
		t.Errorf("%+v %v", got, body)
	}
	y.refused(y.ask("PATCH", yardGroup+"/disks/data", `{"properties": {"diskIOPSReadWrite": 4001}}`), 400, "InvalidParameter", "properties.diskIOPSReadWrite")
}

func TestDisksThatCannotBeAreRefusedByPath(t *testing.T) {
	y := newYard(t, 0)
	for _, tt := range []struct {
		kind         disk.Kind
		body         string
		status       int
		code, target string
	}{
		{disk.Managed, `{"location": "local", "properties": {}}`, 400, "InvalidParameter", "properties.creationData.createOption"},
		{disk.Managed, `{"location": "local", "properties": {"creationData": {"createOption": "Empty"}}}`, 400, "InvalidParameter", "properties.diskSizeGB"},
		{disk.Managed, `{"location": "mars", "properties": {"creationData": {"createOption": "Empty"}, "diskSizeGB": 1}}`, 400, "LocationNotAvailableForResourceType", "location"},
		{disk.Managed, fmt.Sprintf(emptyDisk, 40000), 400, "InvalidParameter", "properties.diskSizeGB"},
		{disk.Managed, `{"location": "local", "properties": {"creationData": {"createOption": "Upload"}}}`, 400, "InvalidParameter", "properties.creationData.createOption"},
		{disk.Managed, `{"location": "local", "properties": {"creationData": {"createOption": "Import", "sourceUri": "https://me:pw@x/y"}}}`, 400, "InvalidParameter", "properties.creationData.sourceUri"},
		{disk.Managed, `{"location": "local", "properties": {"creationData": {"createOption": "Copy", "sourceResourceId": "` + idOf(disk.Managed, "none") + `"}}}`, 404, "ResourceNotFound", "properties.creationData.sourceResourceId"},
		{disk.Managed, `{"location": "local", "properties": {"creationData": {"createOption": "Copy", "sourceResourceId": "` + idOf(disk.Image, "none") + `"}}}`, 400, "InvalidParameter", "properties.creationData.sourceResourceId"},
		{disk.Managed, `{"location": "local", "properties": {"creationData": {"createOption": "FromImage", "imageReference": {"id": "` + idOf(disk.Image, "none") + `"}}}}`, 404, "ImageNotFound", "properties.creationData.imageReference.id"},
		{disk.Managed, `{"location": "local", "properties": {"creationData": {"createOption": "Empty", "sourceUri": "file:///a"}, "diskSizeGB": 1}}`, 400, "InvalidParameter", "properties.creationData.sourceUri"},
		{disk.Managed, `{"location": "local", "properties": {"creationData": {"createOption": "Empty"}, "diskSizeGB": 1, "diskIOPSReadWrite": 1000}}`, 400, "InvalidParameter", "properties.diskIOPSReadWrite"},
		{disk.Managed, `{"location": "local", "properties": {"creationData": {"createOption": "Empty"}, "diskSizeGB": 1, "maxShares": 2}}`, 400, "InvalidParameter", "properties.maxShares"},
		{disk.Managed, `{"location": "local", "properties": {"creationData": {"createOption": "Empty"}, "diskSizeGB": 1, "hyperVGeneration": "V2"}}`, 400, "InvalidParameter", "properties.hyperVGeneration"},
		{disk.Managed, `{"location": "local", "zones": ["7"], "properties": {"creationData": {"createOption": "Empty"}, "diskSizeGB": 1}}`, 400, "InvalidParameter", "zones"},
		{disk.Snapshot, `{"location": "local", "sku": {"name": "UltraSSD_LRS"}, "properties": {"creationData": {"createOption": "Empty"}, "diskSizeGB": 1}}`, 400, "InvalidParameter", "sku.name"},
		{disk.Image, `{"location": "local", "properties": {"storageProfile": {"osDisk": {"osType": "Linux"}}}}`, 400, "InvalidParameter", "properties.storageProfile.osDisk"},
		{disk.Image, `{"location": "local", "properties": {"storageProfile": {"osDisk": {"blobUri": "file:///a"}}}}`, 400, "InvalidParameter", "properties.storageProfile.osDisk.osType"},
		{disk.Image, `{"location": "local", "properties": {"storageProfile": {"osDisk": {"blobUri": "file:///a", "osType": "Linux", "osState": "Specialized"}}}}`, 400, "InvalidParameter", "properties.storageProfile.osDisk.osState"},
		{disk.Image, `{"location": "local", "properties": {"storageProfile": {"osDisk": {"blobUri": "file:///a", "osType": "Linux"}, "dataDisks": [{"lun": 0}]}}}`, 400, "InvalidParameter", "properties.storageProfile.dataDisks"},
	} {
		t.Run(tt.body, func(t *testing.T) {
			message := y.refused(y.put(tt.kind, "x", tt.body), tt.status, tt.code, tt.target)
			if strings.Contains(message, "pw") || message == "" {
				t.Error(message)
			}
		})
	}
	y.refused(y.put(disk.Managed, "x.", fmt.Sprintf(emptyDisk, 1)), 400, "InvalidParameter", "diskName")
	if all := store.All(y.store, store.Disks); len(all) > 0 {
		t.Errorf("%v", all)
	}
}

func TestCopiesAreMadeOfWhatIsReady(t *testing.T) {
	y := newYard(t, 0)
	y.must(y.put(disk.Managed, "data", strings.Replace(fmt.Sprintf(emptyDisk, 8), `"diskSizeGB"`, `"osType": "linux", "diskSizeGB"`, 1)), 202)
	snapshot := `{"location": "local", "properties": {"creationData": {"createOption": "Copy", "sourceResourceId": "` + strings.ToUpper(idOf(disk.Managed, "data")) + `"}, "incremental": true}}`
	y.refused(y.put(disk.Snapshot, "snap", snapshot), 409, "OperationNotAllowed", "properties.creationData.sourceResourceId")
	data := y.made(disk.Managed, "data", 8)
	y.must(y.put(disk.Snapshot, "snap", snapshot), 202)
	snap, body := y.disk(disk.Snapshot, "snap"), y.must(y.ask("GET", yardGroup+"/snapshots/snap", ""), 200)
	if snap.Source.Disk != data.UID || snap.Source.Option != disk.Copy || snap.OSType != "Linux" || at(body, "properties.osType") != "Linux" ||
		at(body, "properties.creationData.sourceUniqueId") != string(data.UID) {
		t.Errorf("%+v %v", snap, body)
	}
	y.refused(y.ask("DELETE", yardGroup+"/disks/data", ""), 409, "OperationNotAllowed", "")
	y.made(disk.Snapshot, "snap", 8)
	y.must(y.ask("DELETE", yardGroup+"/disks/data", ""), 202)
	image := `{"location": "local", "properties": {"storageProfile": {"osDisk": {"osState": "Generalized", "osType": "Linux", "snapshot": {"id": "` + idOf(disk.Snapshot, "snap") + `"}}, "dataDisks": []}}}`
	w := y.put(disk.Image, "golden", image)
	if body = y.must(w, 201); at(body, "properties.provisioningState") != "Creating" || at(body, "properties.hyperVGeneration") != "V1" {
		t.Errorf("%v", body)
	}
	y.made(disk.Image, "golden", 8)
	y.must(y.put(disk.Image, "golden", image), 200)
	y.refused(y.put(disk.Image, "golden", strings.Replace(image, "/snap", "/other", 1)), 409, "PropertyChangeNotAllowed", "properties.storageProfile.osDisk.snapshot.id")
	y.refused(y.put(disk.Managed, "small", `{"location": "local", "properties": {"diskSizeGB": 7, "creationData": {"createOption": "FromImage", "imageReference": {"id": "`+idOf(disk.Image, "golden")+`"}}}}`),
		400, "InvalidParameter", "properties.diskSizeGB")
	y.must(y.put(disk.Managed, "root", `{"location": "local", "properties": {"creationData": {"createOption": "FromImage", "imageReference": {"id": "`+idOf(disk.Image, "golden")+`"}}}}`), 202)
	y.must(y.put(disk.Managed, "jammy", `{"location": "local", "properties": {"creationData": {"createOption": "FromImage", "imageReference": {"id":
		"/Subscriptions/s/Providers/Microsoft.Compute/Locations/local/Publishers/Canonical/ArtifactTypes/VMImage/Offers/jammy/Skus/22_04-lts/Versions/22.04.9"}}}}`), 202)
	for name, digest := range map[string]string{"root": "sha256:golden", "jammy": "sha256:00"} {
		if d := y.disk(disk.Managed, name); d.Source.Digest != digest || d.OSType != "Linux" || d.SKU != "Standard_LRS" {
			t.Errorf("%+v", d)
		}
	}
}

func TestFilesAreImportedWithoutShowingTheirSignature(t *testing.T) {
	y := newYard(t, 0)
	sum := strings.Repeat("ab", 32)
	body := `{"location": "local", "properties": {"storageProfile": {"osDisk": {"osType": "Linux", "blobUri": "https://x/y.img?sig=secret#agent=true&sha256=` + sum + `"}}}}`
	w := y.put(disk.Image, "i", body)
	y.must(w, 201)
	if d := y.disk(disk.Image, "i"); d.Source.File != (disk.File{URI: "https://x/y.img?sig=secret", SHA256: sum, Agent: true}) || strings.Contains(w.Body.String(), "secret") {
		t.Errorf("%+v %s", d, w.Body)
	}
	y.must(y.put(disk.Image, "i", body), 200)
	y.must(y.put(disk.Image, "i", w.Body.String()), 200)
	if d := y.disk(disk.Image, "i"); d.Source.File.URI != "https://x/y.img?sig=secret" {
		t.Errorf("%+v", d)
	}
	y.must(y.put(disk.Image, "i", strings.Replace(body, "sig=secret", "sig=another", 1)), 200)
	if d := y.disk(disk.Image, "i"); d.Source.File.URI != "https://x/y.img?sig=another" || d.Source.File.SHA256 != sum {
		t.Errorf("%+v", d)
	}
	y.made(disk.Image, "i", 1)
	y.must(y.put(disk.Image, "i", body), 200)
	if d := y.disk(disk.Image, "i"); d.Source.File.URI != "https://x/y.img?sig=another" {
		t.Errorf("it is fetched already: %+v", d)
	}
	vhd := `{"location": "local", "properties": {"creationData": {"createOption": "Import", "sourceUri": "file:///a.vhd", "storageAccountId": "/x"}}}`
	if body := y.must(y.put(disk.Managed, "d", vhd), 202); at(body, "properties.creationData.sourceUri") != "file:///a.vhd" || at(body, "properties.diskSizeGB") != nil {
		t.Errorf("%v", body)
	}
}

func TestAnImageIsCapturedOfAnInstanceThatRests(t *testing.T) {
	y := newYard(t, 2)
	body := `{"location": "local", "properties": {"sourceVirtualMachine": {"id": "` + y.set.ID.String() + `/virtualMachines/1"}}}`
	y.refused(y.put(disk.Image, "i", strings.Replace(body, "Machines/1", "Machines/9", 1)), 404, "ResourceNotFound", "properties.sourceVirtualMachine.id")
	if message := y.refused(y.put(disk.Image, "i", body), 409, "OperationNotAllowed", "properties.sourceVirtualMachine.id"); !strings.Contains(message, "az vmss stop") {
		t.Error(message)
	}
	y.change(1, func(row *vmss.Instance, seen *vmss.Observation) {
		row.Power, seen.Power, row.Disks = vmss.PowerStopped, vmss.PowerStopped, 3
	})
	y.must(y.put(disk.Image, "i", body), 201)
	want := disk.Instance{Set: yardUID, Instance: 1, OS: true, Generation: 3}
	if d := y.disk(disk.Image, "i"); d.Source.Instance != want || d.Source.Option != disk.Capture || d.OSType != "Linux" {
		t.Errorf("%+v", d)
	}
	// Disks of instances are named by what instances show.
	var shown struct {
		Properties struct {
			StorageProfile struct {
				OSDisk struct{ ManagedDisk struct{ ID string } }
			}
		}
	}
	y.get("/virtualMachines/1", &shown)
	id := shown.Properties.StorageProfile.OSDisk.ManagedDisk.ID
	y.must(y.put(disk.Snapshot, "s", `{"location": "local", "properties": {"creationData": {"createOption": "Copy", "sourceResourceId": "`+id+`"}}}`), 202)
	if d := y.disk(disk.Snapshot, "s"); d.Source.Instance != want || d.Source.Option != disk.Capture || d.OSType != "Linux" {
		t.Errorf("%+v", d)
	}
	y.refused(y.put(disk.Snapshot, "t", `{"location": "local", "properties": {"creationData": {"createOption": "Copy", "sourceResourceId": "`+id+`0"}}}`), 404, "ResourceNotFound", "properties.creationData.sourceResourceId")
}

func TestListsShowTheDisksOfTheirKind(t *testing.T) {
	y := newYard(t, 0)
	for i := range 120 {
		y.must(y.put(disk.Managed, fmt.Sprintf("d%03d", i), fmt.Sprintf(emptyDisk, 1)), 202)
	}
	y.must(y.put(disk.Snapshot, "s", fmt.Sprintf(emptyDisk, 1)), 202)
	for _, next := range []string{yardGroup + "/disks", "https://h/subscriptions/s/providers/Microsoft.Compute/disks"} {
		seen := 0
		for next != "" {
			var page struct {
				Value    []struct{ Name, Type string }
				NextLink string
			}
			y.get(next, &page)
			for _, v := range page.Value {
				if v.Type != "Microsoft.Compute/disks" {
					t.Error(v)
				}
			}
			seen, next = seen+len(page.Value), page.NextLink
		}
		if seen != 120 {
			t.Errorf("%d disks", seen)
		}
	}
	for version, status := range map[string]int{"2026-03-02": 200, "2022-03-02": 200, "2024-07-01": 200, "2024-07-02": 400} {
		if w := y.ask("GET", yardGroup+"/snapshots/s?api-version="+version, ""); w.Code != status {
			t.Errorf("%s: %d %s", version, w.Code, w.Body)
		}
	}
}

func TestAFailureIsToldByTheOperationAndTheState(t *testing.T) {
	y := newYard(t, 0)
	w := y.put(disk.Managed, "data", fmt.Sprintf(emptyDisk, 8))
	y.must(w, 202)
	d := y.disk(disk.Managed, "data")
	op, _, _ := y.store.LastOperation(vmss.UID(d.UID), func(vmss.Operation) bool { return true })
	poll := w.Header().Get("Azure-AsyncOperation")
	y.api.Progress = func(uid disk.UID) (int64, int64, bool) { return 1, 3, uid == d.UID }
	if body := y.must(y.ask("GET", poll, ""), 200); body["percentComplete"] != 33.3 || body["status"] != "InProgress" {
		t.Errorf("%v", body)
	}
	failure := disk.Failure{Code: "InsufficientStorage", Message: "The storage is full.", Attempts: 1, Since: time.Unix(1, 0)}
	y.commit(store.Put(store.DiskStates, d.UID, disk.State{Failure: &failure}),
		store.Put(store.Outcomes, op.Key(), vmss.Outcome{Status: vmss.OperationFailed, Finished: time.Unix(2, 0), Error: &vmss.OperationError{Code: failure.Code, Message: failure.Message}}))
	if w := y.ask("GET", strings.Replace(poll, "2024-07-01", "2022-07-02", 1), ""); w.Code != 200 {
		t.Errorf("with a version of disks: %d %s", w.Code, w.Body)
	}
	if body := y.must(y.ask("GET", poll, ""), 200); at(body, "error.code") != failure.Code || body["percentComplete"] != nil {
		t.Errorf("%v", body)
	}
	if body := y.must(y.ask("GET", yardGroup+"/disks/data", ""), 200); at(body, "properties.provisioningState") != "Failed" {
		t.Errorf("%v", body)
	}
	copied := `{"location": "local", "properties": {"creationData": {"createOption": "Copy", "sourceResourceId": "` + d.ID.String() + `"}}}`
	if message := y.refused(y.put(disk.Snapshot, "s", copied), 409, "OperationNotAllowed", "properties.creationData.sourceResourceId"); !strings.Contains(message, failure.Message) {
		t.Error(message)
	}
}

func TestDisksAreResourcesWithTags(t *testing.T) {
	y := newYard(t, 0)
	d := y.readyDisk("data", 1)
	var found []resource.Summary
	for _, s := range y.api.Resources(t.Context()) {
		if s.ID.Equal(d.ID) {
			found = append(found, s)
		}
	}
	if len(found) != 1 || found[0].State != "Succeeded" || found[0].Location != "local" {
		t.Errorf("%+v", found)
	}
	add := func(tags map[string]string) (map[string]string, error) { tags["a"] = "b"; return tags, nil }
	for range 2 {
		if tags, err := y.api.Tag(t.Context(), d.ID, add); err != nil || tags["a"] != "b" {
			t.Errorf("%v %v", tags, err)
		}
	}
	if got := y.disk(disk.Managed, "data"); got.Tags["a"] != "b" || got.SizeGB != 1 {
		t.Errorf("%+v", got)
	}
	if body := y.must(y.ask("GET", yardGroup+"/disks/data", ""), 200); at(body, "tags.a") != "b" {
		t.Errorf("%v", body)
	}
	gone := resource.In("s", "rg", "Microsoft.Compute", "snapshots", "data")
	if _, err := y.api.Tag(t.Context(), gone, nil); !resource.Is(err, resource.NotFound) {
		t.Error(err)
	}
	y.must(y.ask("DELETE", yardGroup+"/disks/data", ""), 202)
	if _, err := y.api.Tag(t.Context(), d.ID, add); !resource.Is(err, resource.Conflict) {
		t.Error(err)
	}
}
