package resources_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-vm/muster/internal/api/resources"
	"github.com/muster-vm/muster/internal/arm"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/vmss"
)

// shelf is an API with three resources in two groups.
func shelf(t *testing.T) *arm.Server {
	t.Helper()
	m := &memory{groups: map[string]resource.Group{}, ops: map[string]vmss.Operation{}}
	for _, name := range []string{"rg1", "rg2"} {
		m.groups[name] = resource.Group{Subscription: "S", Name: name, Location: "local"}
	}
	set := func(group, name string, tags map[string]string) resource.Summary {
		return resource.Summary{ID: resource.In("S", group, "Microsoft.Compute", "virtualMachineScaleSets", name), Location: "local", Tags: tags,
			Created: time.Unix(0, 0), State: "Succeeded", SKU: resource.SKU{Name: "Standard_B1s", Tier: "Standard", Capacity: 2}, Zones: []string{"1"}}
	}
	all := []resource.Summary{set("rg2", "web", nil), set("rg1", "web", map[string]string{"App": "it's"}), set("rg1", "Db", map[string]string{"app": "db"})}
	api := &resources.API{Store: m, Subscription: resource.Subscription{ID: "S"}, Locations: []string{"local"},
		Resources: func(context.Context) []resource.Summary { return slices.Clone(all) },
		Tag: func(_ context.Context, id resource.ID, change func(map[string]string) (map[string]string, error)) (map[string]string, error) {
			at := slices.IndexFunc(all, func(s resource.Summary) bool { return s.ID.Equal(id) })
			if at < 0 {
				return nil, resource.Errorf(resource.NotFound, "ResourceNotFound", "The Resource '%s' was not found.", id)
			}
			if change == nil {
				return all[at].Tags, nil
			}
			tags, err := change(all[at].Tags)
			if err == nil {
				all[at].Tags = tags
			}
			return tags, err
		}}
	h, err := arm.NewServer(api.Routes(), open{}, open{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestResourcesAreFilteredAndPaged(t *testing.T) {
	h := shelf(t)
	const sub, group = "/subscriptions/s/resources", "/subscriptions/s/resourceGroups/RG1/resources"
	for _, c := range []struct {
		path, filter, top string
		want              []string // group/name; nil: refused
	}{
		{sub, "", "", []string{"rg1/Db", "rg1/web", "rg2/web"}},
		{sub, "", "1", []string{"rg1/Db", "rg1/web", "rg2/web"}},
		{group, "", "", []string{"rg1/Db", "rg1/web"}},
		{sub, "resourceType eq 'microsoft.compute/virtualmachinescalesets'", "2", []string{"rg1/Db", "rg1/web", "rg2/web"}},
		{sub, "resourceType eq 'Microsoft.Compute/disks'", "", []string{}},
		{sub, "name eq 'WEB' AND resourceGroup eq 'rg2'", "", []string{"rg2/web"}},
		{sub, "location eq 'Local' and name eq 'db'", "", []string{"rg1/Db"}},
		{sub, "tagname eq 'app'", "", []string{"rg1/Db", "rg1/web"}},
		{sub, "tagName eq 'app' and tagValue eq 'it''s' and name eq 'web'", "", []string{"rg1/web"}},
		{sub, "tagValue eq 'db'", "", nil},
		{sub, "name eq 'a' or name eq 'b'", "", nil},
		{sub, "name eq 'a' and ", "", nil},
		{sub, "colour eq 'red'", "", nil},
		{sub, "", "none", nil},
		{"/subscriptions/s/resourceGroups/none/resources", "", "", nil},
		{"/subscriptions/t/resources", "", "", nil},
	} {
		got, next := []string{}, c.path+"?api-version=2021-04-01&$filter="+url.QueryEscape(c.filter)+"&$top="+c.top
		for next != "" {
			w := do(h, "GET", next, "")
			var page struct {
				Value []struct {
					ID, Name, Type string
					SKU            struct{ Capacity int }
				}
				NextLink string
			}
			if err := json.Unmarshal(w.Body.Bytes(), &page); err != nil {
				t.Fatal(err)
			}
			if w.Code != 200 {
				got = nil
			}
			for _, v := range page.Value {
				got = append(got, strings.Split(v.ID, "/")[4]+"/"+v.Name)
				if v.Type != vmss.ResourceType || v.SKU.Capacity != 2 {
					t.Errorf("got %+v", v)
				}
			}
			next = page.NextLink
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s %q $top=%s: %s", c.path, c.filter, c.top, diff)
		}
	}
}

func TestResourcesShowMoreWhenExpanded(t *testing.T) {
	w := do(shelf(t), "GET", "/subscriptions/s/resourceGroups/rg2/resources?api-version=2021-04-01&$expand=createdTime,changedTime,provisioningState", "")
	want := `{"value":[{"createdTime":"1970-01-01T00:00:00Z","id":"/subscriptions/S/resourceGroups/rg2/providers/Microsoft.Compute/virtualMachineScaleSets/web",` +
		`"location":"local","name":"web","provisioningState":"Succeeded","sku":{"capacity":2,"name":"Standard_B1s","tier":"Standard"},"tags":{},` +
		`"type":"Microsoft.Compute/virtualMachineScaleSets","zones":["1"]}]}`
	if diff := cmp.Diff(want, w.Body.String()); diff != "" {
		t.Error(diff)
	}
}

func TestTagsOfAResourceChangeAsThoseOfAGroup(t *testing.T) {
	h := shelf(t)
	const web = "/subscriptions/s/resourceGroups/rg1/providers/microsoft.compute/virtualMachineScaleSets/web/providers/Microsoft.Resources/tags/default?api-version=2021-04-01"
	for _, c := range []struct {
		method, path, body string
		status             int
		has                string
	}{
		{"GET", web, "", 200, `"properties":{"tags":{"App":"it's"}}`},
		{"PATCH", web, `{"operation":"Merge","properties":{"tags":{"app":"x","b":"c"}}}`, 200, `"tags":{"App":"x","b":"c"}`},
		{"PATCH", web, `{"operation":"Delete","properties":{"tags":{"B":"c"}}}`, 200, `"tags":{"App":"x"}`},
		{"PATCH", web, `{"properties":{"tags":{}}}`, 400, `"InvalidTagsPatchOperation"`},
		{"PUT", web, `{"properties":{"tags":{"<":"x"}}}`, 400, `"InvalidTagNameCharacters"`},
		{"PUT", web, `{"properties":{"tags":{"n":"x"}}}`, 200, `"tags":{"n":"x"}`},
		{"DELETE", web, "", 200, ""},
		{"GET", web, "", 200, `"tags":{}`},
		{"GET", strings.Replace(web, "/web/", "/none/", 1), "", 404, "ResourceNotFound"},
		{"GET", strings.Replace(web, "/rg1/", "/none/", 1), "", 404, "ResourceGroupNotFound"},
	} {
		if w := do(h, c.method, c.path, c.body); w.Code != c.status || !strings.Contains(w.Body.String(), c.has) {
			t.Errorf("%s %s %s: %d %s, want %d with %s", c.method, c.path, c.body, w.Code, w.Body, c.status, c.has)
		}
	}
}
