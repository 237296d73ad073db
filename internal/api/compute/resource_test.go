package compute_test

import (
	"context"
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-vm/muster/internal/resource"
)

func TestScaleSetsAreListedAmongResources(t *testing.T) {
	c := newCloud(t)
	c.must(201, "PUT", web, body(t, "tags", `{"a":"b"}`, "zones", `["1"]`))
	got := c.api.Resources(context.Background())
	want := []resource.Summary{{ID: c.set("web").Value.ID, Location: "local", Tags: map[string]string{"a": "b"}, Zones: []string{"1"},
		SKU: resource.SKU{Name: "Standard_B1s", Tier: "Standard", Capacity: 2}, Created: c.set("web").Value.Created, State: "Creating"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestTagsChangeWithoutAnOperation(t *testing.T) {
	c, ctx := newCloud(t), context.Background()
	c.must(201, "PUT", web, body(t, "tags", `{"a":"b"}`))
	id, before := c.set("web").Value.ID, c.set("web")
	add := func(tags map[string]string) (map[string]string, error) { tags["c"] = "d"; return tags, nil }
	got, err := c.api.Tag(ctx, id, add)
	want := map[string]string{"a": "b", "c": "d"}
	if !maps.Equal(got, want) || err != nil || !maps.Equal(c.set("web").Value.Tags, want) {
		t.Errorf("got %v %v, stored %v", got, err, c.set("web").Value.Tags)
	}
	if diff := cmp.Diff(map[string]any{"a": "b", "c": "d"}, c.must(200, "GET", web, "").at("tags")); diff != "" {
		t.Error(diff)
	}
	after := c.set("web")
	if after.Revision == before.Revision || after.Value.Revision != 1 || len(c.store.OpenOperations(after.Value.UID)) != 1 || c.model("web").Model.OS.Secrets.AdminPassword == "" {
		t.Error("the tags changed more than the document")
	}
	if got, err = c.api.Tag(ctx, id, func(map[string]string) (map[string]string, error) { return nil, nil }); len(got) > 0 || err != nil || len(c.set("web").Value.Tags) > 0 {
		t.Errorf("got %v %v", got, err)
	}
	if got, err = c.api.Tag(ctx, id, nil); len(got) > 0 || err != nil {
		t.Errorf("got %v %v", got, err)
	}
	for _, gone := range []resource.ID{resource.In(subscription, "rg1", "Microsoft.Compute", "virtualMachineScaleSets", "none"), resource.In(subscription, "rg1", "Microsoft.Compute", "disks", "web")} {
		if _, err := c.api.Tag(ctx, gone, nil); !resource.Is(err, resource.NotFound) {
			t.Errorf("%s: %v", gone, err)
		}
	}
	c.must(202, "DELETE", web, "")
	if _, err := c.api.Tag(ctx, id, add); !resource.Is(err, resource.Conflict) {
		t.Errorf("while it goes: %v", err)
	}
}
