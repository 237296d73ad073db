package fleet_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-vm/muster/internal/access"
	"github.com/muster-vm/muster/internal/api/fleet"
	"github.com/muster-vm/muster/internal/arm"
	"github.com/muster-vm/muster/internal/plan"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/store/memstore"
	"github.com/muster-vm/muster/internal/vmss"
)

// gate lets everyone do everything.
type gate struct{}

func (gate) Authenticate(string) (access.Principal, error)    { return access.Principal{}, nil }
func (gate) Authorize(access.Principal, string, string) error { return nil }

var at = time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC)

const uid = vmss.UID("11111111-1111-1111-1111-111111111111")

// world is a set "web" with three instances: one that runs on the current
// model, one on the last, and one that cannot be made.
type world struct {
	testing.TB
	store   *store.Store
	handler *arm.Server
	api     *fleet.API
	blocked []plan.Blocked
}

func newWorld(t testing.TB) *world {
	t.Helper()
	s, err := store.Open(t.Context(), memstore.New().Open(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { s.Run(ctx) })
	t.Cleanup(func() { stop(); wg.Wait() })
	set := vmss.ScaleSet{ID: resource.In("0000", "rg", "Microsoft.Compute", "virtualMachineScaleSets", "web"), UID: uid, Revision: 2}
	w := &world{TB: t, store: s}
	w.api = &fleet.API{Store: s, Explain: func(vmss.UID) []plan.Blocked { return w.blocked },
		Set: func(_ context.Context, r *arm.Request) (store.Entry[vmss.ScaleSet], error) {
			if e, ok := store.Get(s, store.ScaleSets, vmss.NewKey(r.Var("subscription"), r.Var("group"), r.Var("set"))); ok {
				return e, nil
			}
			return store.Entry[vmss.ScaleSet]{}, resource.Errorf(resource.NotFound, "ResourceNotFound", "There is no such set.")
		}}
	if w.handler, err = arm.NewServer(w.api.Routes(), gate{}, gate{}, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	w.commit(store.Put(store.ScaleSets, set.Key(), set), w.revision(1, "22.04.9"), w.revision(2, "22.04.10"), w.row(0, 2, nil), w.row(1, 1, nil),
		w.row(2, 2, &vmss.Failure{Code: "DriverFailed", Message: "QEMU ended with status 1: could not open the disk.", Since: at.Add(time.Minute), Attempts: 2, RetryAt: at.Add(2 * time.Minute)}))
	w.blocked = []plan.Blocked{{Kind: "scaleIn", Reason: "Scale-in protection keeps 1 instance above the capacity; lift the protection or raise the capacity.", Instances: []vmss.InstanceID{0}}}
	return w
}

func (w *world) commit(changes ...store.Change) {
	w.Helper()
	if _, err := w.store.Commit(w.Context(), changes...); err != nil {
		w.Fatal(err)
	}
}

func (w *world) revision(n vmss.RevisionNumber, exact string) store.Change {
	return store.Put(store.Revisions, vmss.RevisionKey{Set: uid, Number: n}, vmss.Revision{Number: n, Created: at.Add(time.Duration(n) * time.Hour), Model: vmss.Model{Size: "Standard_B1s",
		Image: vmss.Image{Publisher: "Canonical", Offer: "0001-com-ubuntu-server-jammy", SKU: "22_04-lts", Version: "latest", Exact: exact, Digest: "sha256:5f2c"},
		OS:    vmss.OSProfile{Secrets: vmss.Secrets{AdminPassword: "hunter2", CustomData: []byte("hunter2")}}, Document: []byte(`{"hunter2":1}`)}})
}

func (w *world) row(id vmss.InstanceID, model vmss.RevisionNumber, f *vmss.Failure) store.Change {
	row := vmss.Instance{ID: id, Revision: model, Created: at, Host: "h", Generation: 1}
	if f != nil {
		w.commit(store.Put(store.Observations, vmss.InstanceKey{Set: uid, ID: id}, vmss.Observation{Failure: f}))
	}
	return store.Put(store.Instances, vmss.InstanceKey{Set: uid, ID: id}, row)
}

const base = "https://localhost:8443/subscriptions/0000/resourceGroups/rg/providers/Microsoft.Compute/virtualMachineScaleSets/web/providers/Muster.Fleet"

// get asks for what is below the set; errors are an answer too.
func (w *world) get(path string) (int, string) {
	if !strings.HasPrefix(path, "https://") {
		path = base + path + "?api-version=2026-11-01"
	}
	r := httptest.NewRequestWithContext(w.Context(), "GET", path, nil)
	r.Header.Set("Authorization", "Bearer x")
	rec := httptest.NewRecorder()
	w.handler.ServeHTTP(rec, r)
	return rec.Code, rec.Body.String()
}

// TestTheDocumentationShowsWhatIsAnswered compares the samples in the page
// with the answers, in order.
func TestTheDocumentationShowsWhatIsAnswered(t *testing.T) {
	page, err := os.ReadFile("../../../docs/api/muster-fleet.md")
	if err != nil {
		t.Fatal(err)
	}
	samples := strings.Split(string(page), "```json\n")[1:]
	w := newWorld(t)
	w.runs()
	for i, path := range []string{"/explanations", "/revisions", "/costs"} {
		code, body := w.get(path)
		var pretty bytes.Buffer
		if err := json.Indent(&pretty, []byte(body), "", "  "); err != nil || code != 200 {
			t.Fatalf("%s: %d %s", path, code, body)
		}
		sample := ""
		if i < len(samples) {
			sample, _, _ = strings.Cut(samples[i], "\n```")
		}
		if diff := cmp.Diff(sample, pretty.String()); diff != "" {
			t.Errorf("%s: %s\n%s", path, diff, pretty.String())
		}
	}
}

func TestNoAnswerHasASecret(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{"/explanations", "/revisions", "/revisions/1"} {
		if _, body := w.get(path); strings.Contains(body, "hunter2") {
			t.Errorf("%s: %s", path, body)
		}
	}
}

// page is a page of explanations.
type page struct {
	Value []struct {
		Name       string
		Properties struct {
			Code          string
			Failed        bool
			InstanceIDs   []string
			InstanceCount int
		}
	}
	NextLink string
}

func (w *world) page(path string) (p page) {
	w.Helper()
	code, body := w.get(path)
	if err := json.Unmarshal([]byte(body), &p); err != nil || code != 200 {
		w.Fatalf("%d %s", code, body)
	}
	return p
}

func TestFailuresComeInPagesAndTheRestOnce(t *testing.T) {
	w := newWorld(t)
	for from := vmss.InstanceID(10); from < 210; from += 50 {
		var rows []store.Change
		for id := from; id < from+50; id++ {
			rows = append(rows, store.Put(store.Instances, vmss.InstanceKey{Set: uid, ID: id}, vmss.Instance{ID: id, Created: at, Unplaced: "No host has room."}))
		}
		w.commit(rows...)
	}
	var names []string
	for next := "/explanations"; next != ""; {
		p := w.page(next)
		for _, v := range p.Value {
			names = append(names, v.Name)
		}
		next = p.NextLink
	}
	if len(names) != 202 || names[0] != "scaleIn" || names[1] != "instance-2" || names[201] != "instance-209" {
		t.Errorf("%d: %v", len(names), names)
	}
	if p := w.page("/explanations").Value[2]; p.Properties.Code != "AllocationFailed" || !p.Properties.Failed {
		t.Errorf("%+v", p)
	}
}

func TestAnInstanceThatDrainsSaysUntilWhen(t *testing.T) {
	w := newWorld(t)
	w.commit(w.row(3, 2, nil), store.Put(store.Observations, vmss.InstanceKey{Set: uid, ID: 3}, vmss.Observation{DrainUntil: at}))
	_, body := w.get("/explanations")
	if want := "drain, until " + at.Format(time.RFC3339) + " at most"; !strings.Contains(body, want) || !strings.Contains(body, `"instance-3"`) {
		t.Errorf("%s: want %q of instance 3", body, want)
	}
}

func TestManyInstancesAreCountedAndTheFirstNamed(t *testing.T) {
	w := newWorld(t)
	ids := make([]vmss.InstanceID, 5000)
	w.blocked = []plan.Blocked{{Kind: "place", Instances: ids}, {Kind: "place"}}
	p := w.page("/explanations")
	if v := p.Value[0].Properties; v.InstanceCount != 5000 || len(v.InstanceIDs) != 100 || p.Value[1].Name != "place-2" {
		t.Errorf("%d, %d named, then %s", v.InstanceCount, len(v.InstanceIDs), p.Value[1].Name)
	}
}

func TestARevisionByItselfIsTheSameAsInTheList(t *testing.T) {
	w := newWorld(t)
	_, all := w.get("/revisions")
	for _, path := range []string{"/revisions/1", "/revisions/2"} {
		if code, one := w.get(path); code != 200 || !strings.Contains(all, one) {
			t.Errorf("%s: %d %s is not in %s", path, code, one, all)
		}
	}
}

func TestASetWithoutTroubleHasAnEmptyList(t *testing.T) {
	w := newWorld(t)
	w.blocked = nil
	w.commit(store.Delete(store.Observations, vmss.InstanceKey{Set: uid, ID: 2}, store.Any))
	if code, body := w.get("/explanations"); code != 200 || body != `{"value":[]}` {
		t.Errorf("%d %s", code, body)
	}
}

func TestWhatIsNotThereIsRefused(t *testing.T) {
	w := newWorld(t)
	for path, want := range map[string]string{
		"/revisions/7":   `404 {"error":{"code":"RevisionNotFound"`,
		"/revisions/two": `400 {"error":{"code":"InvalidParameter"`,
		strings.Replace(base, "/web/", "/nope/", 1) + "/explanations?api-version=2026-11-01": `404 {"error":{"code":"ResourceNotFound"`,
		base + "/revisions?api-version=2022-11-01":                                           `400 {"error":{"code":"NoRegisteredProviderFound"`,
		base + "/explanations?$skiptoken=x&api-version=2026-11-01":                           `400 {"error":{"code":"InvalidSkipToken"`,
		base + "/explanations?$skiptoken=MTp4&api-version=2026-11-01":                        `400 {"error":{"code":"InvalidSkipToken"`,
	} {
		code, body := w.get(path)
		if got := fmt.Sprintf("%d %s", code, body); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}
