package compute_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-vm/muster/internal/disk"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/vmss"
)

func TestACreateWritesDocumentRevisionAndOperation(t *testing.T) {
	c := newCloud(t)
	w := c.must(201, "PUT", strings.ToUpper(inGroup)+"/Web", body(t))
	doc, ops := c.set("web"), c.store.OpenOperations(c.set("web").Value.UID)
	etag := fmt.Sprintf(`"%d"`, doc.Revision)
	if w.Header().Get("ETag") != etag || w.text("etag") != etag || w.text("properties.provisioningState") != "Creating" ||
		w.text("id") != inSub+"/resourceGroups/RG1/providers/Microsoft.Compute/virtualMachineScaleSets/Web" || w.text("properties.uniqueId") != string(doc.Value.UID) {
		t.Errorf("headers %v, body %s", w.Header(), w.Body)
	}
	for _, secret := range []string{"Passw0rd", "aGk=", "dXNlcg=="} {
		if strings.Contains(w.Body.String(), secret) {
			t.Errorf("the answer shows %s", secret)
		}
	}
	if len(ops) != 1 || ops[0].Kind != vmss.OpPut || !ops[0].CreatesSet || ops[0].WaitUpgrade || ops[0].Principal != "me" || ops[0].Location != "local" {
		t.Errorf("operations %+v", ops)
	}
	want := inCompute + "/locations/local/operations/" + ops[0].ID + "?p="
	if at := w.Header().Get("Azure-AsyncOperation"); !strings.Contains(at, want) || w.Header().Get("Location") != "" {
		t.Errorf("polled at %q, want %s", at, want)
	}
	if rev := c.model("web"); rev.Number != 1 || rev.Model.Size != "Standard_B1s" || rev.Model.Image.Exact != "1.0" || rev.Model.OS.Secrets.AdminPassword != "Passw0rd!" {
		t.Errorf("revision %+v", rev)
	}
	w = c.must(200, "GET", web, "")
	if w.Header().Get("ETag") != etag || w.text("etag") != etag || w.text("properties.provisioningState") != "Creating" {
		t.Errorf("GET: %v %s", w.Header(), w.Body)
	}
}

func TestAPutMergesAndMakesARevisionOnlyForAnotherModel(t *testing.T) {
	const tags, image = `{"tags":{"a":"b"}}`, `{"properties":{"virtualMachineProfile":{"storageProfile":{"imageReference":{"version":"1.0"}}}}}`
	const addsDisk = `{"properties":{"virtualMachineProfile":{"storageProfile":{"dataDisks":[{"lun":0,"createOption":"Empty","diskSizeGB":1}]}}}}`
	const caps = `{"properties":{"virtualMachineProfile":{"storageProfile":{"imageReference":{"publisher":"CANONICAL"}}}}}`
	for _, tt := range []struct {
		name, body string
		revision   vmss.RevisionNumber
		exact      string
		capacity   int
	}{
		{"scaling", `{"location":"local","sku":{"name":"Standard_B1s","tier":"Standard","capacity":5}}`, 1, "1.0", 5},
		{"scaling in", `{"sku":{"capacity":0}}`, 1, "1.0", 0},
		{"tags", tags, 1, "1.0", 2},
		{"the size", `{"sku":{"name":"Standard_B2s"}}`, 2, "1.0", 2},
		{"a disk keeps what latest meant", addsDisk, 2, "1.0", 2},
		{"another text of the reference resolves it anew", image, 2, "1.0", 2},
		{"another case of the reference does not", caps, 2, "1.0", 2},
		{"nothing", `{}`, 1, "1.0", 2},
		{"a custom image", `{"properties":{"virtualMachineProfile":{"storageProfile":{"imageReference":{"id":"` + inSub + `/resourceGroups/rg1/providers/Microsoft.Compute/images/golden"}}}}}`, 2, "", 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCloud(t)
			c.image("golden")
			c.must(201, "PUT", web, body(t))
			before := c.set("web")
			c.images.latest = "2.0"
			w := c.must(200, "PUT", web, tt.body)
			got := c.set("web").Value
			if got.Revision != tt.revision || got.SKU.Capacity != tt.capacity || c.model("web").Model.Image.Exact != tt.exact || w.text("properties.provisioningState") != "Updating" {
				t.Errorf("got revision %d, capacity %d, image %+v, answer %s", got.Revision, got.SKU.Capacity, c.model("web").Model.Image, w.Body)
			}
			if got.UID != before.Value.UID || !got.Created.Equal(before.Value.Created) || c.model("web").Model.OS.Secrets.AdminPassword != "Passw0rd!" {
				t.Error("the set lost what a PUT does not say")
			}
			if len(c.store.OpenOperations(got.UID)) != 2 || w.Header().Get("Azure-AsyncOperation") == "" {
				t.Error("there is no operation")
			}
			if moved := c.set("web").Revision != before.Revision; moved != (tt.name != "nothing") {
				t.Errorf("the ETag moved: %v", moved)
			}
		})
	}
}

// image records an image of the group whose content is there.
func (c *cloud) image(name string) {
	c.t.Helper()
	d := disk.Disk{ID: resource.In(subscription, "rg1", "Microsoft.Compute", "images", name), UID: disk.UID(name), Kind: disk.Image, Location: "local", OSType: "Linux", Document: []byte(`{}`)}
	if _, err := c.store.Commit(c.t.Context(), store.Put(store.Disks, d.Key(), d),
		store.Put(store.DiskStates, d.UID, disk.State{Ready: true, SizeGB: 30, Digest: "sha256:" + name})); err != nil {
		c.t.Fatal(err)
	}
}

func TestAnImageOfTheSubscriptionIsNamedByItsID(t *testing.T) {
	const images = inSub + "/resourceGroups/rg1/providers/Microsoft.Compute/images/"
	c := newCloud(t)
	c.image("golden")
	named := func(id string) string {
		return body(t, "properties.virtualMachineProfile.storageProfile.imageReference", `{"id":"`+id+`"}`)
	}
	c.must(201, "PUT", web, named(images+"GOLDEN"))
	if got := c.model("web").Model.Image; got.Digest != "sha256:golden" || got.OSType != "Linux" || got.SizeGB != 30 || got.ID != images+"GOLDEN" {
		t.Errorf("%+v", got)
	}
	late := disk.Disk{ID: resource.In(subscription, "rg1", "Microsoft.Compute", "images", "late"), UID: "late", Kind: disk.Image, Location: "local", Document: []byte(`{}`)}
	if _, err := c.store.Commit(t.Context(), store.Put(store.Disks, late.Key(), late)); err != nil {
		t.Fatal(err)
	}
	for id, status := range map[string]int{
		images + "late": 409, images + "none": 404, strings.Replace(images, "11111111", "22222222", 1) + "golden": 404,
		strings.Replace(images, "/images/", "/galleries/g/images/", 1) + "golden": 404, strings.Replace(images, "/images/", "/disks/", 1) + "golden": 404,
	} {
		c.must(status, "PUT", inGroup+"/other", named(id))
	}
	c.must(204, "DELETE", images+"none", "")
	c.must(202, "DELETE", images+"golden", "")
	c.must(200, "PUT", web, `{"sku":{"capacity":1}}`)
}

func TestAReferenceIsResolvedAnewOnlyWhenItsTextChanges(t *testing.T) {
	c := newCloud(t)
	c.must(201, "PUT", web, body(t, "properties.virtualMachineProfile.storageProfile.imageReference.version", `"1.0"`))
	c.images.latest = "2.0"
	c.must(200, "PATCH", web, `{"properties":{"virtualMachineProfile":{"storageProfile":{"imageReference":{"version":"latest"}}}}}`)
	if got := c.model("web").Model.Image; got.Exact != "2.0" || got.Version != "latest" || got.Digest != "sha256:2.0" {
		t.Errorf("got %+v", got)
	}
}

func TestTheOperationOfAnAutomaticUpgradeWaitsForIt(t *testing.T) {
	c := newCloud(t)
	c.must(201, "PUT", web, body(t, "properties.upgradePolicy.mode", `"automatic"`))
	if op := c.store.OpenOperations(c.set("web").Value.UID)[0]; !op.WaitUpgrade {
		t.Errorf("got %+v", op)
	}
}

func TestAPatchDeletesTagsByNullAndNeedsASet(t *testing.T) {
	c := newCloud(t)
	if w := c.ask("PATCH", web, `{"tags":{}}`); w.Code != 404 || w.code() != "ResourceNotFound" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	c.must(201, "PUT", web, body(t, "tags", `{"a":"1","b":"2"}`))
	w := c.must(200, "PATCH", web, `{"tags":{"a":null,"c":"3"}}`)
	if diff := cmp.Diff(map[string]any{"b": "2", "c": "3"}, w.at("tags")); diff != "" || w.Header().Get("Azure-AsyncOperation") == "" {
		t.Error(diff, w.Header())
	}
}

func TestUserDataIsShownWhereItIsAskedFor(t *testing.T) {
	c := newCloud(t)
	c.must(201, "PUT", web, body(t))
	if got := c.must(200, "GET", web+"?$expand=userdata", "").text("properties.virtualMachineProfile.userData"); got != "dXNlcg==" {
		t.Errorf("got %q", got)
	}
}

func TestRefusalsNameCodeAndPlace(t *testing.T) {
	const image = "properties.virtualMachineProfile.storageProfile.imageReference"
	const gone = inSub + "/resourceGroups/gone/providers/Microsoft.Compute/virtualMachineScaleSets"
	const going = inSub + "/resourceGroups/going/providers/Microsoft.Compute/virtualMachineScaleSets"
	const other = "/subscriptions/22222222-2222-2222-2222-222222222222/resourceGroups/rg1/providers/Microsoft.Compute/virtualMachineScaleSets"
	c := newCloud(t)
	c.putGroup(resource.Group{Subscription: subscription, Name: "going", Deleting: true})
	c.must(201, "PUT", web, body(t, "zones", `["1","2"]`))
	c.must(201, "PUT", inGroup+"/dying", body(t))
	c.must(202, "DELETE", inGroup+"/dying", "")
	c.api.Quotas["Standardesv5family"] = 3
	for _, tt := range []struct {
		method, target, body string
		header               []string
		status               int
		code, at             string
	}{
		{"PUT", inGroup + "/new", `{`, nil, 400, "InvalidRequestContent", ""},
		{"PUT", inGroup + "/new", body(t, "properties.banana", "1"), nil, 400, "InvalidRequestContent", "properties.banana"},
		{"PUT", inGroup + "/new", body(t, "location", ""), nil, 400, "LocationRequired", "location"},
		{"PUT", inGroup + "/new", body(t, "location", `"mars"`), nil, 400, "LocationNotAvailableForResourceType", "location"},
		{"PUT", inGroup + "/new", body(t, "sku.name", `"Standard_Nope"`), nil, 400, "InvalidParameter", "sku.name"},
		{"PUT", inGroup + "/new", body(t, "sku.name", ""), nil, 400, "InvalidParameter", "sku.name"},
		{"PUT", inGroup + "/new", body(t, "sku.capacity", "1001"), nil, 400, "InvalidParameter", "sku.capacity"},
		{"PUT", inGroup + "/new", body(t, "sku.capacity", "101", "properties.singlePlacementGroup", "true"), nil, 400, "InvalidParameter", "sku.capacity"},
		{"PUT", inGroup + "/new", body(t, image+".offer", `"none"`), nil, 404, "ImageNotFound", image},
		{"PUT", inGroup + "/new", body(t, image+".offer", ""), nil, 400, "InvalidParameter", image + ".offer"},
		{"PUT", inGroup + "/new", body(t, image, ""), nil, 400, "InvalidParameter", image},
		{"PUT", inGroup + "/new", body(t, "zones", `["4"]`), nil, 400, "InvalidParameter", "zones"},
		{"PUT", inGroup + "/new", body(t, "properties.orchestrationMode", `"Flexible"`), nil, 400, "InvalidParameter", "properties.orchestrationMode"},
		{"PUT", inGroup + "/new", body(t, "properties.upgradePolicy.mode", `"Rolling"`), nil, 400, "InvalidParameter", "properties.upgradePolicy.mode"},
		{"PUT", inGroup + "/new", body(t, "properties.virtualMachineProfile.storageProfile.dataDisks",
			`[{"lun":0,"createOption":"Empty","diskSizeGB":1},{"lun":1,"createOption":"Empty","diskSizeGB":1},{"lun":2,"createOption":"Empty","diskSizeGB":1}]`),
			nil, 400, "InvalidParameter", "properties.virtualMachineProfile.storageProfile.dataDisks"},
		{"PUT", inGroup + "/-new", body(t), nil, 400, "InvalidParameter", "vmScaleSetName"},
		{"PUT", inGroup + "/new", body(t, "sku.name", `"Standard_E2s_v5"`), nil, 409, "OperationNotAllowed", "sku.capacity"},
		{"PUT", web, `{"sku":{"name":"Standard_E2s_v5"}}`, nil, 409, "OperationNotAllowed", "sku.name"},
		{"PUT", web, `{"location":"eastus"}`, nil, 409, "PropertyChangeNotAllowed", "location"},
		{"PUT", web, `{"zones":["1"]}`, nil, 409, "PropertyChangeNotAllowed", "zones"},
		{"PATCH", web, `{"properties":{"platformFaultDomainCount":5}}`, nil, 409, "PropertyChangeNotAllowed", "properties.platformFaultDomainCount"},
		{"PUT", web, `{}`, []string{"If-Match", `"1"`}, 412, "PreconditionFailed", ""},
		{"PATCH", web, `{}`, []string{"If-Match", `"1"`}, 412, "PreconditionFailed", ""},
		{"PUT", web, `{}`, []string{"If-None-Match", "*"}, 412, "PreconditionFailed", ""},
		{"PUT", inGroup + "/new", body(t), []string{"If-Match", "*"}, 412, "PreconditionFailed", ""},
		{"DELETE", web, "", []string{"If-Match", `"1"`}, 412, "PreconditionFailed", ""},
		{"DELETE", web + "?forceDeletion=perhaps", "", nil, 400, "InvalidParameter", "forceDeletion"},
		{"PUT", inGroup + "/dying", `{}`, nil, 409, "OperationNotAllowed", ""},
		{"PATCH", inGroup + "/dying", `{}`, nil, 409, "OperationNotAllowed", ""},
		{"PUT", gone + "/new", body(t), nil, 404, "ResourceGroupNotFound", ""},
		{"PUT", going + "/new", body(t), nil, 409, "ResourceGroupBeingDeleted", ""},
		{"PUT", other + "/new", body(t), nil, 404, "SubscriptionNotFound", ""},
		{"GET", inGroup + "/new", "", nil, 404, "ResourceNotFound", ""},
		{"GET", gone + "/new", "", nil, 404, "ResourceGroupNotFound", ""},
		{"GET", going + "/new", "", nil, 404, "ResourceNotFound", ""},
		{"GET", web + "?$expand=everything", "", nil, 400, "InvalidParameter", "$expand"},
		{"GET", inGroup + "/new/instanceView", "", nil, 404, "ResourceNotFound", ""},
		{"GET", inGroup + "/new/skus", "", nil, 404, "ResourceNotFound", ""},
		{"GET", inGroup + "/new/osUpgradeHistory", "", nil, 404, "ResourceNotFound", ""},
		{"DELETE", gone + "/new", "", nil, 404, "ResourceGroupNotFound", ""},
		{"GET", gone, "", nil, 404, "ResourceGroupNotFound", ""},
		{"GET", inCompute + "/virtualMachineScaleSets?$skiptoken=zzz", "", nil, 400, "InvalidSkipToken", "$skiptoken"},
		{"GET", inCompute + "/locations/mars/virtualMachineScaleSets", "", nil, 400, "NoRegisteredProviderFound", ""},
		{"GET", inCompute + "/locations/mars/usages", "", nil, 400, "NoRegisteredProviderFound", ""},
		{"GET", inCompute + "/locations/mars/vmSizes", "", nil, 400, "NoRegisteredProviderFound", ""},
		{"GET", inCompute + "/skus?$filter=size+eq+'x'", "", nil, 400, "InvalidFilterInQueryString", "$filter"},
	} {
		w := c.ask(tt.method, tt.target, tt.body, tt.header...)
		if w.Code != tt.status || w.code() != tt.code || tt.at != "" && w.text("error.target") != tt.at {
			t.Errorf("%s %s %v %s: got %d %s, want %d %s at %q", tt.method, tt.target, tt.header, tt.body, w.Code, w.Body, tt.status, tt.code, tt.at)
		}
	}
}

func TestSeveralMistakesAreToldTogether(t *testing.T) {
	c := newCloud(t)
	w := c.ask("PUT", web, body(t, "location", `"mars"`, "sku.name", `"x"`, "properties.virtualMachineProfile.storageProfile.imageReference.offer", `"none"`))
	if details, _ := w.at("error.details").([]any); w.Code != 400 || len(details) != 3 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestAQuotaIsToldWithItsNumbers(t *testing.T) {
	c := newCloud(t)
	c.api.Quotas["cores"] = 10
	c.must(201, "PUT", web, body(t, "sku.capacity", "8"))
	w := c.ask("PATCH", web, `{"sku":{"capacity":11}}`)
	for _, part := range []string{"Total Regional vCPUs quota", "Current Limit: 10", "Current Usage: 8", "Additional Required: 3", "New Limit Required: 11", "quotas.cores"} {
		if w.Code != 409 || !strings.Contains(w.text("error.message"), part) {
			t.Errorf("%d %s lacks %q", w.Code, w.Body, part)
		}
	}
	c.must(200, "PUT", web, `{"sku":{"capacity":10}}`)
	if w := c.ask("PUT", inGroup+"/two", body(t, "sku.capacity", "1")); w.code() != "OperationNotAllowed" {
		t.Errorf("a second set got in: %d %s", w.Code, w.Body)
	}
	c.must(201, "PUT", inGroup+"/three", body(t, "sku.capacity", "1", "location", `"eastus"`, nics, inDefault))
	c.must(200, "PUT", web, `{"sku":{"capacity":0}}`)
	c.must(201, "PUT", inGroup+"/two", body(t, "sku.capacity", "10"))
}

func TestADeleteMarksTheSetAndIsTheSameOperationWhenRepeated(t *testing.T) {
	c := newCloud(t)
	c.must(201, "PUT", web, body(t))
	c.settle("web")
	w := c.must(202, "DELETE", web, "")
	at := w.Header().Get("Location")
	if w.Body.Len() != 0 || w.Header().Get("Azure-AsyncOperation") == "" || !strings.HasSuffix(at, "&monitor=true") {
		t.Fatalf("%v %s", w.Header(), w.Body)
	}
	guid := func(url string) string { return strings.SplitN(url, "?", 2)[0] }
	again := c.must(202, "DELETE", web, "")
	if guid(again.Header().Get("Location")) != guid(at) {
		t.Errorf("another operation: %v, first %s", again.Header(), at)
	}
	if c.set("web").Value.ForceDelete {
		t.Error("force, which nobody asked for")
	}
	forced := c.must(202, "DELETE", web+"?forceDeletion=True", "")
	if guid(forced.Header().Get("Location")) != guid(at) || !c.set("web").Value.ForceDelete {
		t.Errorf("force was not added to the running operation: %v", forced.Header())
	}
	if got := c.must(200, "GET", web, "").text("properties.provisioningState"); got != "Deleting" {
		t.Errorf("provisioningState %s", got)
	}
	if w := c.ask("GET", at, ""); w.Code != 202 {
		t.Errorf("poll: %d", w.Code)
	}
	uid := c.set("web").Value.UID
	c.finish(uid)
	if w := c.ask("GET", at, ""); w.Code != 200 {
		t.Errorf("poll at the end: %d %s", w.Code, w.Body)
	}
	c.must(204, "DELETE", web, "")
	c.must(404, "GET", web, "")
	c.must(201, "PUT", web, body(t))
	if c.set("web").Value.UID == uid {
		t.Error("a new set has the UID of the old one")
	}
}

// finish is settle for a set that goes.
func (c *cloud) finish(uid vmss.UID) {
	c.t.Helper()
	for range 5 {
		for _, rec := range c.store.Instances(uid, -1, 0) {
			c.commit(store.Put(store.Observations, vmss.InstanceKey{Set: uid, ID: rec.Row.Value.ID}, vmss.Observation{Gone: rec.Row.Value.Deleting}))
		}
		if _, err := c.rec.Reconcile(context.Background(), uid); err != nil {
			c.t.Fatal(err)
		}
	}
}

func TestASetWhoseRevisionsWentAheadIsStillShown(t *testing.T) {
	c := newCloud(t)
	c.must(201, "PUT", web, body(t))
	c.must(202, "DELETE", web, "")
	c.commit(store.Delete(store.Revisions, vmss.RevisionKey{Set: c.set("web").Value.UID, Number: 1}, store.Any))
	if got := c.must(200, "GET", web, "").text("properties.provisioningState"); got != "Deleting" {
		t.Errorf("provisioningState %s", got)
	}
	if all := c.must(200, "GET", inGroup, "").at("value").([]any); len(all) != 1 {
		t.Errorf("listed %v", all)
	}
}

func TestHeadTellsWhetherThereIsASet(t *testing.T) {
	c := newCloud(t)
	c.must(404, "HEAD", web, "")
	c.must(201, "PUT", web, body(t))
	c.must(204, "HEAD", web, "")
}

func TestTheStateFollowsTheOperations(t *testing.T) {
	c := newCloud(t)
	state := func() string { return c.must(200, "GET", web, "").text("properties.provisioningState") }
	c.must(201, "PUT", web, body(t))
	c.must(200, "PUT", web, `{"sku":{"capacity":1}}`)
	if got := state(); got != "Creating" {
		t.Errorf("while it is created: %s", got)
	}
	c.settle("web")
	if got := state(); got != "Succeeded" {
		t.Errorf("after its creation: %s", got)
	}
	c.must(200, "PUT", web, `{"sku":{"capacity":2}}`)
	if got := state(); got != "Updating" {
		t.Errorf("while it is updated: %s", got)
	}
	c.end("web", vmss.OperationFailed, &vmss.OperationError{Code: "AllocationFailed", Message: "No room."})
	if got := state(); got != "Failed" {
		t.Errorf("after a failure: %s", got)
	}
	w := c.must(200, "GET", web+"/instanceView", "")
	status := w.at("statuses").([]any)[0].(map[string]any)
	if status["code"] != "ProvisioningState/failed/AllocationFailed" || status["message"] != "No room." || status["level"] != "Error" {
		t.Errorf("status %v", status)
	}
	c.must(200, "PUT", web, `{}`)
	c.settle("web")
	if got := state(); got != "Succeeded" {
		t.Errorf("after a PUT that succeeded: %s", got)
	}
}

func TestTheInstanceViewCountsAndSaysWhatIsNotDone(t *testing.T) {
	c := newCloud(t)
	c.must(201, "PUT", web, body(t))
	c.settle("web")
	c.must(200, "PUT", web, `{"sku":{"name":"Standard_B2s"}}`)
	c.settle("web")
	w := c.must(200, "GET", web+"/instanceView", "")
	want := []any{map[string]any{"code": "PowerState/running", "count": 2.0}, map[string]any{"code": "ProvisioningState/succeeded", "count": 2.0}}
	if diff := cmp.Diff(want, w.at("virtualMachine.statusesSummary")); diff != "" {
		t.Error(diff)
	}
	statuses := w.at("statuses").([]any)
	if len(statuses) != 2 {
		t.Fatalf("statuses %v", statuses)
	}
	blocked := statuses[1].(map[string]any)
	if blocked["code"] != "Muster/blocked/upgrade" || !strings.HasSuffix(blocked["message"].(string), "Instances: 0, 1.") {
		t.Errorf("got %v", blocked)
	}
}

func TestConcurrentWritesLoseNothing(t *testing.T) {
	const writers = 8
	c := newCloud(t)
	c.must(201, "PUT", web, body(t))
	var all sync.WaitGroup
	for i := range writers {
		all.Go(func() {
			if w := c.ask("PATCH", web, fmt.Sprintf(`{"tags":{"t%d":"x"}}`, i)); w.Code != 200 {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		})
	}
	all.Wait()
	if got := c.set("web").Value.Tags; len(got) != writers {
		t.Errorf("got %v", got)
	}
	seen := map[int64]bool{}
	for _, op := range c.store.OpenOperations(c.set("web").Value.UID) {
		seen[op.Sequence] = true
	}
	if len(seen) != writers+1 {
		t.Errorf("got operations %v", seen)
	}
}

func TestOfTwoCreatesThatMustNotOverwriteOneWins(t *testing.T) {
	c := newCloud(t)
	codes := make(chan int, 4)
	var all sync.WaitGroup
	for range cap(codes) {
		all.Go(func() { codes <- c.ask("PUT", web, body(t), "If-None-Match", "*").Code })
	}
	all.Wait()
	close(codes)
	got := map[int]int{}
	for code := range codes {
		got[code]++
	}
	if diff := cmp.Diff(map[int]int{201: 1, 412: cap(codes) - 1}, got); diff != "" {
		t.Error(diff)
	}
}

func TestNoSetIsMadeInAGroupThatBeganToGo(t *testing.T) {
	c := newCloud(t)
	group := c.api.Group
	first := true
	c.api.Group = func(ctx context.Context, sub, name string) (resource.Group, error) {
		g, err := group(ctx, sub, name)
		if first {
			first = false
			gone := g
			gone.Deleting = true
			c.putGroup(gone) // after the look, before the commit
		}
		return g, err
	}
	if w := c.ask("PUT", web, body(t)); w.code() != "ResourceGroupBeingDeleted" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestListsArePagedAndBounded(t *testing.T) {
	c := newCloud(t)
	c.putGroup(resource.Group{Subscription: subscription, Name: "rg2", Location: "local"})
	c.must(201, "PUT", web, body(t))
	seed := *c.set("web").Value
	const n = 203
	for i := range n {
		next := seed
		next.ID = resource.In(subscription, "rg2", "Microsoft.Compute", "virtualMachineScaleSets", fmt.Sprintf("S-%03d", i))
		next.UID = vmss.UID(fmt.Sprintf("u%d", i))
		if i%2 == 0 {
			next.Location = "eastus"
		}
		c.commit(store.Put(store.ScaleSets, next.Key(), next), store.Put(store.Revisions, vmss.RevisionKey{Set: next.UID, Number: 1}, c.model("web")))
	}
	for _, tt := range []struct {
		target string
		want   int
	}{
		{inGroup, 1},
		{strings.Replace(inGroup, "rg1", "RG2", 1), n},
		{inCompute + "/virtualMachineScaleSets", n + 1},
		{inCompute + "/locations/East%20US/virtualMachineScaleSets", (n + 1) / 2},
	} {
		seen := map[string]bool{}
		for next := tt.target; next != ""; {
			w := c.must(200, "GET", next, "")
			var page struct {
				Value    []struct{ ID, Type string }
				NextLink string
			}
			if err := json.Unmarshal(w.Body.Bytes(), &page); err != nil {
				t.Fatal(err)
			}
			for _, set := range page.Value {
				seen[set.ID] = true
			}
			if len(page.Value) > 100 {
				t.Errorf("%s: a page of %d", next, len(page.Value))
			}
			next = page.NextLink
		}
		if len(seen) != tt.want {
			t.Errorf("%s: got %d sets, want %d", tt.target, len(seen), tt.want)
		}
	}
}

func TestSizesOfASetAndItsOSUpgrades(t *testing.T) {
	c := newCloud(t)
	c.must(201, "PUT", web, body(t, "properties.singlePlacementGroup", "true"))
	w := c.must(200, "GET", web+"/skus", "")
	first := w.at("value").([]any)[0].(map[string]any)
	if len(w.at("value").([]any)) != len(vmss.Sizes()) || first["capacity"].(map[string]any)["maximum"] != 100.0 {
		t.Errorf("got %v", first)
	}
	if got := c.must(200, "GET", web+"/osUpgradeHistory", "").Body.String(); got != `{"value":[]}` {
		t.Errorf("got %s", got)
	}
}
