package compute_test

import (
	"strings"
	"testing"

	"github.com/muster-vm/muster/internal/arm/wire/compute"
)

// An api-version shows what there was when it was new, so that clients of its
// age find nothing that they do not know.
func TestAnOlderVersionShowsNothingYounger(t *testing.T) {
	c := put(t, nil, storageBody(t, map[string]any{"caching": "ReadOnly", "diffDiskSettings": map[string]any{"option": "Local"}}))
	for _, m := range []struct {
		member, before, since string
	}{
		{`"placement":`, "2019-07-01", "2019-12-01"},
		{`"orchestrationMode":`, "2020-06-01", "2020-12-01"},
		{`"osType":`, "2020-06-01", "2020-12-01"},
		{`"timeCreated":`, "2021-07-01", "2021-11-01"},
		{`"enableVMAgentPlatformUpdates":`, "2022-03-01", "2022-08-01"},
		{`"disableTcpStateTracking":`, "2022-03-01", "2022-08-01"},
		{`"maxSurge":`, "2022-08-01", "2022-11-01"},
		{`"rollbackFailedInstancesOnPolicyBreach":`, "2022-08-01", "2022-11-01"},
		{`"etag":`, "2023-07-01", "2023-09-01"},
	} {
		for version, want := range map[string]bool{m.before: false, m.since: true, "2016-04-30-preview": false, "": true} {
			raw, err := compute.RenderScaleSet(c.Set, c.Model, compute.SetView{ETag: "7", Version: version})
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Contains(string(raw), m.member); got != want {
				t.Errorf("%s with api-version %q: %v, want %v\n%s", m.member, version, got, want, raw)
			}
		}
	}
}

// What an old client reads and sends back changes nothing of what it did not see.
func TestWhatAnOldClientSendsBackKeepsWhatItDidNotSee(t *testing.T) {
	c := put(t, nil, createBody)
	old, err := compute.RenderScaleSet(c.Set, c.Model, compute.SetView{Version: "2020-06-01"})
	if err != nil {
		t.Fatal(err)
	}
	again := put(t, c, string(old))
	if string(again.Set.Document) != string(c.Set.Document) || !compute.SameModel(again.Model, c.Model) {
		t.Errorf("was %s %s\nis  %s %s", c.Set.Document, c.Model.Document, again.Set.Document, again.Model.Document)
	}
}
