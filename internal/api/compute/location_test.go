package compute_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/vmss"
)

// usage returns the current value and the limit of a usage in a location.
func (c *cloud) usage(location, name string) [2]int {
	c.t.Helper()
	var list struct {
		Value []struct {
			Unit         string
			CurrentValue int
			Limit        int
			Name         struct{ Value, LocalizedValue string }
		}
	}
	w := c.must(200, "GET", inCompute+"/locations/"+location+"/usages", "")
	if err := json.Unmarshal(w.Body.Bytes(), &list); err != nil {
		c.t.Fatal(err)
	}
	for _, u := range list.Value {
		if u.Name.Value == name && u.Unit == "Count" && u.Name.LocalizedValue != "" {
			return [2]int{u.CurrentValue, u.Limit}
		}
	}
	c.t.Fatalf("no usage %s in %s", name, w.Body)
	return [2]int{}
}

func TestUsagesFollowTheSetsOfTheLocation(t *testing.T) {
	c := newCloud(t)
	c.api.Quotas["Cores"] = 50
	check := func(when, name string, want ...int) {
		t.Helper()
		if diff := cmp.Diff([2]int(want), c.usage("local", name)); diff != "" {
			t.Errorf("%s, %s: %s", when, name, diff)
		}
	}
	check("at first", "cores", 0, 50)
	check("at first", "standardDSv5Family", 0, 100000)
	c.must(201, "PUT", inGroup+"/elsewhere", body(t, "location", `"eastus"`, nics, inDefault))
	c.must(201, "PUT", web, body(t, "sku.name", `"Standard_D2s_v5"`, "sku.capacity", "3"))
	check("before there are rows", "cores", 6, 50)
	c.settle("web")
	check("with rows", "cores", 6, 50)
	check("with rows", "standardDSv5Family", 6, 100000)
	check("with rows", "standardBSFamily", 0, 100000)
	check("with rows", "virtualMachines", 3, 25000)
	check("with rows", "virtualMachineScaleSets", 1, 2500)

	uid := c.set("web").Value.UID
	rows := c.store.Instances(uid, -1, 0)
	off := *rows[0].Row.Value
	off.Power = vmss.PowerDeallocated
	c.commit(store.Put(store.Instances, vmss.InstanceKey{Set: uid, ID: off.ID}, off))
	check("with one deallocated", "cores", 4, 50)
	check("with one deallocated", "virtualMachines", 3, 25000)

	c.must(200, "PUT", web, `{"sku":{"capacity":1}}`)
	check("until the surplus is gone", "virtualMachines", 3, 25000)
	c.must(202, "DELETE", web, "")
	check("until the set is gone", "cores", 4, 50)
	c.finish(uid)
	check("when it is gone", "virtualMachineScaleSets", 0, 2500)
	check("when it is gone", "virtualMachines", 0, 25000)
}

func TestSizesAreListedWithWhatTheyOffer(t *testing.T) {
	c := newCloud(t)
	w := c.must(200, "GET", inCompute+"/locations/LOCAL/vmSizes", "")
	sizes := w.at("value").([]any)
	if len(sizes) != len(vmss.Sizes()) {
		t.Errorf("%d sizes", len(sizes))
	}
	want := map[string]any{"name": "Muster_S1", "numberOfCores": 1.0, "memoryInMB": 512.0, "maxDataDiskCount": 8.0, "osDiskSizeInMB": 33553408.0, "resourceDiskSizeInMB": 0.0}
	if diff := cmp.Diff(want, sized(sizes, "Muster_S1")); diff != "" {
		t.Error(diff)
	}
}

// sized returns the first element of a list with that name.
func sized(all []any, name string) map[string]any {
	for _, v := range all {
		if m := v.(map[string]any); m["name"] == name {
			return m
		}
	}
	return nil
}

func TestSKUsAreListedByLocation(t *testing.T) {
	c := newCloud(t)
	for filter, want := range map[string]int{"": 2 * len(vmss.Sizes()), "?$filter=location+eq+'East+US'": len(vmss.Sizes()), "?$filter=location%20eq%20'mars'": 0} {
		w := c.must(200, "GET", inCompute+"/skus"+filter, "")
		all := w.at("value").([]any)
		if len(all) != want {
			t.Errorf("%q: %d SKUs, want %d", filter, len(all), want)
		}
		if want == 0 {
			continue
		}
		sku := sized(all, "Muster_S1")
		capabilities := map[string]any{}
		for _, x := range sku["capabilities"].([]any) {
			capabilities[x.(map[string]any)["name"].(string)] = x.(map[string]any)["value"]
		}
		zones := sku["locationInfo"].([]any)[0].(map[string]any)["zones"]
		if sku["resourceType"] != "virtualMachines" || capabilities["vCPUs"] != "1" || capabilities["MemoryGB"] != "0.5" || capabilities["MaxDataDiskCount"] != "8" || len(zones.([]any)) != 3 {
			t.Errorf("%q: %v", filter, sku)
		}
	}
}
