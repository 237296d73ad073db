package resources_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/muster-vm/muster/internal/access"
	"github.com/muster-vm/muster/internal/api/resources"
	"github.com/muster-vm/muster/internal/arm"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/vmss"
)

// memory is a Store in a map.
type memory struct {
	mu     sync.Mutex
	groups map[string]resource.Group
	ops    map[string]vmss.Operation
}

func (m *memory) Groups(context.Context, string) (all []resource.Group, err error) {
	for _, g := range m.groups {
		all = append(all, g)
	}
	return all, nil
}

func (m *memory) Group(_ context.Context, _, name string) (resource.Group, error) {
	g, ok := m.groups[strings.ToLower(name)]
	if !ok {
		return g, resource.Errorf(resource.NotFound, "", "No such group.")
	}
	return g, nil
}

func (m *memory) PutGroup(_ context.Context, g resource.Group) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := strings.ToLower(g.Name)
	if m.groups[key].Revision != g.Revision {
		return resource.Errorf(resource.Conflict, "", "Changed meanwhile.")
	}
	g.Revision++
	m.groups[key] = g
	return nil
}

func (m *memory) DeleteGroup(ctx context.Context, g resource.Group, op vmss.Operation) error {
	m.ops[op.ID] = op
	return m.PutGroup(ctx, g)
}

func (m *memory) Operation(_ context.Context, id string) (vmss.Operation, *vmss.Outcome, error) {
	op, ok := m.ops[id]
	if !ok {
		return op, nil, resource.Errorf(resource.NotFound, "", "No such operation.")
	}
	return op, nil, nil
}

type open struct{}

func (open) Authenticate(string) (access.Principal, error)    { return access.Principal{}, nil }
func (open) Authorize(access.Principal, string, string) error { return nil }

func TestAGroupLivesFromPutToDelete(t *testing.T) {
	api := &resources.API{Store: &memory{groups: map[string]resource.Group{}, ops: map[string]vmss.Operation{}},
		Subscription: resource.Subscription{ID: "S", TenantID: "T", Name: "Lab"}, Locations: []string{"local", "eastus"},
		Providers: []resources.Provider{{Namespace: "Microsoft.Compute", Types: []resources.Type{{Name: "x", Versions: []string{"1"}}}}}}
	h, err := arm.NewServer(api.Routes(), open{}, open{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	const rg, tags = "/subscriptions/s/resourcegroups/RG1", "/subscriptions/s/resourcegroups/RG1/providers/Microsoft.Resources/tags/default"
	for _, c := range []struct {
		method, path, body string
		status             int
		has                string
	}{
		{"GET", "/subscriptions", "", 200, `"tenantId":"T"`},
		{"GET", "/subscriptions/s/locations", "", 200, `"name":"local"`},
		{"GET", "/subscriptions/s/locations", "", 200, `"pairedRegion":[]`},
		{"GET", "/subscriptions/s/providers/microsoft.compute", "", 200, `"defaultApiVersion":"1"`},
		{"GET", "/subscriptions/s/providers/microsoft.compute", "", 200, `"apiVersions":["1"]`},
		{"GET", "/subscriptions/other", "", 404, "SubscriptionNotFound"},
		{"HEAD", rg, "", 404, ""},
		{"GET", rg, "", 404, "ResourceGroupNotFound"},
		{"PUT", rg, `{}`, 400, "LocationRequired"},
		{"PUT", rg, `{"location":"mars"}`, 400, "LocationNotAvailableForResourceGroup"},
		{"PUT", rg, `{"location":"local","colour":1}`, 400, "colour"},
		{"PUT", rg, `{"location":"East US","tags":{"a":"b"}}`, 201, `"name":"RG1"`},
		{"PUT", strings.ToLower(rg), `{"location":"eastus","tags":{"a":"b"}}`, 200, `"name":"RG1"`},
		{"PUT", rg, `{"location":"local"}`, 409, "InvalidResourceGroupLocation"},
		{"HEAD", rg, "", 204, ""},
		{"PATCH", rg, `{"tags":{"A":"c"}}`, 200, `"tags":{"A":"c"}`},
		{"PATCH", tags, `{"operation":"merge","properties":{"tags":{"a":"d","e":"f"}}}`, 200, `"tags":{"A":"d","e":"f"}`},
		{"PATCH", tags, `{"operation":"Delete","properties":{"tags":{"E":"f"}}}`, 200, `"tags":{"A":"d"}`},
		{"GET", "/subscriptions/s/resourcegroups?$filter=tagName+eq+'a'+and+tagValue+eq+'d'", "", 200, `"name":"RG1"`},
		{"GET", "/subscriptions/s/resourcegroups?$filter=tagName+eq+'zz'", "", 200, `"value":[]`},
		{"DELETE", rg, "", 202, ""},
		{"GET", rg, "", 200, `"provisioningState":"Deleting"`},
		{"PUT", rg, `{"location":"eastus"}`, 409, "ResourceGroupBeingDeleted"},
	} {
		path := c.path + "?api-version=2021-04-01"
		if strings.Contains(c.path, "?") {
			path = c.path + "&api-version=2021-04-01"
		}
		w := do(h, c.method, path, c.body)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.has) {
			t.Errorf("%s %s %s: %d %s, want %d with %s", c.method, c.path, c.body, w.Code, w.Body, c.status, c.has)
		}
		if w.Code != http.StatusAccepted {
			continue
		}
		if at := w.Header().Get("Location"); do(h, "GET", at, "").Code != 202 {
			t.Errorf("the operation at %s is not in progress", at)
		}
	}
}

func do(h http.Handler, method, target, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer x")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestAGroupThatAnotherOneNeedsIsNotDeleted(t *testing.T) {
	store := &memory{groups: map[string]resource.Group{}, ops: map[string]vmss.Operation{}}
	api := &resources.API{Store: store, Subscription: resource.Subscription{ID: "S"}, Locations: []string{"local"},
		Blocked: func(_, group string) error {
			return resource.Errorf(resource.Conflict, "ResourceGroupDeletionBlocked", "%s is needed.", group)
		}}
	h, err := arm.NewServer(api.Routes(), open{}, open{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	const rg = "/subscriptions/s/resourcegroups/RG1?api-version=2021-04-01"
	do(h, "PUT", rg, `{"location":"local"}`)
	if w := do(h, "DELETE", rg, ""); w.Code != 409 || !strings.Contains(w.Body.String(), "ResourceGroupDeletionBlocked") || len(store.ops) != 0 {
		t.Errorf("%d %s, operations %v", w.Code, w.Body, store.ops)
	}
	if w := do(h, "GET", rg, ""); !strings.Contains(w.Body.String(), `"Succeeded"`) {
		t.Errorf("%s", w.Body)
	}
}
