package compute_test

import (
	"encoding/json"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/vmss"
)

func TestPagesOfInstancesFollowEachOtherToTheEndOverGaps(t *testing.T) {
	y := newYard(t, 250)
	for _, gone := range []vmss.InstanceID{0, 99, 100, 249} {
		y.commit(store.Delete(store.Instances, vmss.InstanceKey{Set: y.set.UID, ID: gone}, store.Any))
	}
	var sizes []int
	seen := map[string]bool{}
	for next := yardSet + "/virtualMachines?$expand=instanceView&api-version=2022-11-01"; next != ""; {
		var l idList
		y.get(next, &l)
		for _, v := range l.Value {
			seen[v.InstanceID] = true
		}
		sizes, next = append(sizes, len(l.Value)), l.NextLink
	}
	if len(seen) != 246 || len(sizes) != 3 || sizes[0] != 100 || sizes[2] != 46 {
		t.Errorf("%d instances in pages of %v", len(seen), sizes)
	}
}

func TestAFullLastPageHasNoNextLink(t *testing.T) {
	y := newYard(t, 100)
	for _, path := range []string{"/virtualMachines", "/virtualMachines?$filter=latestModelApplied eq true"} {
		var l idList
		if y.get(path, &l); len(l.Value) != 100 || l.NextLink != "" {
			t.Errorf("%s: %d instances, then %q", path, len(l.Value), l.NextLink)
		}
	}
}

// filterYard has a failed, a stopped, an old and a deleted instance among five.
func filterYard(t *testing.T) *yard {
	y := newYard(t, 5)
	y.change(1, func(_ *vmss.Instance, seen *vmss.Observation) {
		seen.Failure = &vmss.Failure{Code: "OSProvisioningTimedOut", Final: true}
	})
	y.change(2, func(_ *vmss.Instance, seen *vmss.Observation) { seen.Power = vmss.PowerStopped })
	y.change(3, func(row *vmss.Instance, _ *vmss.Observation) { row.Deleting = true })
	y.change(4, func(_ *vmss.Instance, seen *vmss.Observation) { *seen = vmss.Observation{} })
	y.rewrite(func(s *vmss.ScaleSet) { s.Revision = 2 })
	rev, _ := store.Get(y.store, store.Revisions, vmss.RevisionKey{Set: y.set.UID, Number: 1})
	next := *rev.Value
	next.Number = 2
	y.commit(store.Put(store.Revisions, vmss.RevisionKey{Set: y.set.UID, Number: 2}, next))
	y.change(2, func(row *vmss.Instance, _ *vmss.Observation) { row.Revision = 2 })
	return y
}

func TestFiltersPickInstances(t *testing.T) {
	y := filterYard(t)
	for filter, want := range map[string]string{
		"": "0 1 2 3 4",
		"startswith(instanceView/statuses/code, 'PowerState') eq true":                                                   "0 1 2 3",
		"startsWith(properties/instanceView/statuses/code,'powerstate') eq false":                                        "4",
		"startswith(instanceView/statuses/code, 'ProvisioningState/failed/')":                                            "1",
		"instanceView/statuses/any(s: s/code eq 'PowerState/running')":                                                   "0 1 3",
		"instanceView/statuses/code eq 'PowerState/stopped'":                                                             "2",
		"properties/latestModelApplied eq true":                                                                          "2",
		"latestModelApplied eq false and instanceView/statuses/any(x:x/code eq 'PowerState/running')":                    "0 1 3",
		"properties/provisioningState eq 'Deleting'":                                                                     "3",
		"properties/provisioningState eq 'it''s'":                                                                        "",
		"provisioningState eq 'succeeded' and latestModelApplied eq false and startswith(instanceView/statuses/code,'')": "0",
	} {
		var l idList
		if y.get("/virtualMachines?$filter="+url.QueryEscape(filter), &l); l.ids() != want {
			t.Errorf("%s: %s, want %s", filter, l.ids(), want)
		}
	}
}

func TestQueriesThatAreNotUnderstoodAreRefusedAtTheirName(t *testing.T) {
	y := newYard(t, 1)
	for query, code := range map[string]string{
		"$filter=name eq 'x'":                                                                              "InvalidFilterInQueryString",
		"$filter=latestModelApplied eq true or name eq 'x'":                                                "InvalidFilterInQueryString",
		"$filter=latestModelApplied eq true and":                                                           "InvalidFilterInQueryString",
		"$filter=latestModelApplied eq true latestModelApplied eq true":                                    "InvalidFilterInQueryString",
		"$filter=latestModelApplied eq trueand latestModelApplied eq true":                                 "InvalidFilterInQueryString",
		"$filter=instanceView/statuses/any(s: t/code eq 'x')":                                              "InvalidFilterInQueryString",
		"$filter=latestModelApplied eq 1":                                                                  "InvalidFilterInQueryString",
		"$filter=" + strings.Repeat("latestModelApplied eq true and ", 100) + "latestModelApplied eq true": "InvalidFilterInQueryString",
		"$expand=everything":                                                                               "InvalidParameter",
		"$select=tags":                                                                                     "InvalidParameter",
		"$skiptoken=zzz":                                                                                   "InvalidSkipToken",
	} {
		name, _, _ := strings.Cut(query, "=")
		y.refused(y.ask("GET", "/virtualMachines?"+query, ""), 400, code, name)
	}
	y.refused(y.ask("GET", "/virtualMachines/0?$expand=resiliencyView", ""), 400, "InvalidParameter", "$expand")
}

func TestSelectShowsTheViewAlone(t *testing.T) {
	y := newYard(t, 1)
	var l struct{ Value []map[string]any }
	y.get("/virtualMachines?$select=instanceView&$expand=instanceView", &l)
	if props := l.Value[0]["properties"].(map[string]any); len(props) != 1 || props["instanceView"] == nil || l.Value[0]["instanceId"] != "0" {
		t.Errorf("%v", l.Value[0])
	}
}

func TestAnInstanceIsShownAsAzureDoes(t *testing.T) {
	y := newYard(t, 14)
	var vm struct {
		Name, InstanceID string
		Properties       struct {
			LatestModelApplied bool
			OSProfile          struct{ ComputerName string }
			InstanceView       *struct{ Statuses []struct{ Code string } }
			UserData           string
		}
	}
	w := y.ask("GET", "/virtualMachines/13?$expand=instanceView,userData", "")
	if err := json.Unmarshal(w.Body.Bytes(), &vm); err != nil {
		t.Fatal(err)
	}
	if p := vm.Properties; vm.Name != "web_13" || !p.LatestModelApplied || p.OSProfile.ComputerName != "web00000D" || p.InstanceView.Statuses[1].Code != "PowerState/running" {
		t.Errorf("%s", w.Body)
	}
	if strings.Contains(w.Body.String(), "c2VjcmV0") {
		t.Error("custom data is shown")
	}
	var view struct{ Statuses []struct{ Code string } }
	if y.get("/virtualMachines/13/instanceView", &view); view.Statuses[0].Code != "ProvisioningState/succeeded" {
		t.Errorf("%v", view)
	}
}

func TestMissingInstancesAreWordedAsAzures(t *testing.T) {
	y := newYard(t, 1)
	for _, path := range []string{"/virtualMachines/7", "/virtualMachines/7/instanceView", "/virtualMachines/7/networkInterfaces?api-version=2018-10-01"} {
		if msg := y.refused(y.ask("GET", path, ""), 404, "NotFound", ""); msg != "The entity was not found in this Azure location." {
			t.Error(msg)
		}
	}
	y.refused(y.ask("GET", "/virtualMachines/seven", ""), 400, "InvalidParameter", "instanceId")
	y.refused(y.ask("GET", strings.Replace(yardSet, "/web", "/nope", 1)+"/virtualMachines/0", ""), 404, "ResourceNotFound", "")
	if msg := y.refused(y.ask("PUT", "/virtualMachines/7", "{}"), 400, "InvalidParameter", "instanceIds"); msg != "The provided instanceId 7 is not an active Virtual Machine Scale Set VM instanceId." {
		t.Error(msg)
	}
	if w := y.ask("DELETE", "/virtualMachines/7", ""); w.Code != 204 || y.current().Value.SKU.Capacity != 1 {
		t.Errorf("deleting what is not there: %d", w.Code)
	}
}

// protect puts back what was read, with protection.
func protect(y *yard, id, policy string, header ...string) *httptest.ResponseRecorder {
	var vm map[string]any
	y.get("/virtualMachines/"+id, &vm)
	vm["properties"].(map[string]any)["protectionPolicy"] = json.RawMessage(policy)
	body, _ := json.Marshal(vm)
	return y.ask("PUT", "/virtualMachines/"+id, string(body), header...)
}

func TestPuttingAnInstanceCustomisesItAndBeginsAnOperation(t *testing.T) {
	y := newYard(t, 3)
	w := protect(y, "2", `{"protectFromScaleSetActions": true}`)
	if w.Code != 200 || w.Header().Get("Azure-AsyncOperation") == "" || w.Header().Get("Location") != "" {
		t.Fatalf("%d %s %v", w.Code, w.Body, w.Header())
	}
	custom, _ := store.Get(y.store, store.Customizations, vmss.InstanceKey{Set: y.set.UID, ID: 2})
	op := y.lastOp()
	if p := custom.Value.Protection; !p.FromScaleIn || !p.FromScaleSetActions || custom.Value.Sequence != op.Sequence {
		t.Errorf("stored %+v of operation %d", custom.Value, op.Sequence)
	}
	if op.Kind != vmss.OpCustomize || !op.AtInstance || !op.Covers(2) || op.Covers(1) || op.Target.Name() != "2" {
		t.Errorf("%+v", op)
	}
	var vm struct {
		Properties struct {
			ProtectionPolicy struct{ ProtectFromScaleIn bool }
		}
	}
	if y.get("/virtualMachines/2", &vm); !vm.Properties.ProtectionPolicy.ProtectFromScaleIn {
		t.Error("the protection is not shown")
	}
}

func TestOnlyTheUsersDocumentMovesAnInstancesETag(t *testing.T) {
	y := newYard(t, 1)
	tag := func() string { return y.ask("GET", "/virtualMachines/0", "").Header().Get("ETag") }
	first := tag()
	y.change(0, func(row *vmss.Instance, _ *vmss.Observation) { row.Generation++ })
	if again := tag(); first == "" || again != first {
		t.Errorf("%s, then %s", first, again)
	}
	w := protect(y, "0", `{"protectFromScaleIn": true}`, "If-Match", first)
	if w.Code != 200 || w.Header().Get("ETag") == first || w.Header().Get("ETag") != tag() {
		t.Errorf("%d %s; %s, then %s and %s", w.Code, w.Body, first, w.Header().Get("ETag"), tag())
	}
	y.refused(protect(y, "0", `{"protectFromScaleIn": false}`, "If-Match", first), 412, "PreconditionFailed", "")
}

func TestWhatAnInstanceCannotChangeIsRefusedWithItsPath(t *testing.T) {
	y := newYard(t, 1)
	y.refused(y.ask("PUT", "/virtualMachines/0", `{"properties": {"hardwareProfile": {"vmSize": "Standard_B2s"}}}`), 400, "InvalidParameter", "properties.hardwareProfile.vmSize")
	if op := y.lastOp(); op.ID != "" {
		t.Errorf("an operation began: %+v", op)
	}
}

func TestAnInstanceThatIsBeingDeletedIsNotCustomised(t *testing.T) {
	y := newYard(t, 1)
	y.change(0, func(row *vmss.Instance, _ *vmss.Observation) { row.Deleting = true })
	y.refused(y.ask("PUT", "/virtualMachines/0", `{"tags": {}}`), 400, "InvalidParameter", "instanceIds")
	y.rewrite(func(s *vmss.ScaleSet) { s.Deleting = true })
	y.refused(y.ask("PUT", "/virtualMachines/0", `{"tags": {}}`), 409, "OperationNotAllowed", "")
}

func TestAPageShowsEachInstanceWithItsOwnModel(t *testing.T) {
	y := newYard(t, 2)
	rev, _ := store.Get(y.store, store.Revisions, vmss.RevisionKey{Set: y.set.UID, Number: 1})
	next := *rev.Value
	next.Number, next.Model.Size = 2, "Standard_B2s"
	y.commit(store.Put(store.Revisions, vmss.RevisionKey{Set: y.set.UID, Number: 2}, next))
	y.rewrite(func(s *vmss.ScaleSet) { s.Revision, s.SKU.Name = 2, "Standard_B2s" })
	y.change(1, func(row *vmss.Instance, _ *vmss.Observation) { row.Revision = 2 })
	var l struct {
		Value []struct {
			SKU        struct{ Name string }
			Properties struct{ LatestModelApplied bool }
		}
	}
	y.get("/virtualMachines", &l)
	if a, b := l.Value[0], l.Value[1]; a.SKU.Name != "Standard_B1s" || a.Properties.LatestModelApplied || b.SKU.Name != "Standard_B2s" || !b.Properties.LatestModelApplied {
		t.Errorf("%+v", l)
	}
}

// BenchmarkPage asks for pages of a hundred with the instance view, all over a
// set of a hundred thousand, and BenchmarkAllPages for all of them in order.
func BenchmarkPage(b *testing.B) {
	y := newYard(b, 100_000)
	var first idList
	y.get("/virtualMachines?$expand=instanceView", &first)
	paths := []string{first.NextLink}
	for range 20 {
		var l idList
		y.get(paths[len(paths)-1], &l)
		paths = append(paths, l.NextLink)
	}
	var took []time.Duration
	for i := 0; b.Loop(); i++ {
		start := time.Now()
		if w := y.ask("GET", paths[i%len(paths)], ""); w.Code != 200 {
			b.Fatal(w.Body)
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*99/100])/1e6, "p99-ms")
}

func BenchmarkAllPages(b *testing.B) {
	y := newYard(b, 100_000)
	for b.Loop() {
		for next := "/virtualMachines?$expand=instanceView"; next != ""; {
			w := y.ask("GET", next, "")
			_, link, _ := strings.Cut(w.Body.String(), `"nextLink":"`)
			next = strings.ReplaceAll(strings.TrimSuffix(link, `"}`), `\u0026`, "&")
		}
	}
}

func BenchmarkFilterThatFindsNothing(b *testing.B) {
	y := newYard(b, 100_000)
	for b.Loop() {
		y.ask("GET", "/virtualMachines?$filter=instanceView/statuses/any(s: s/code eq 'PowerState/stopped')", "")
	}
}
