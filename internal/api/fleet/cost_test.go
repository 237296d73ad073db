package fleet_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/vmss"
)

// runs has prices, and lets instances 0 and 1 run and 2 be stopped. The set is to
// have five.
func (w *world) runs() {
	w.Helper()
	w.api.Prices = &vmss.Prices{Currency: "EUR", Hour: map[string]vmss.Money{"standard_b1s": 11_800, "Standard_B2s": 47_200}, DiskGBMonth: 50_000}
	e, _ := store.Get(w.store, store.ScaleSets, vmss.NewKey("0000", "rg", "web"))
	set := *e.Value
	set.SKU = vmss.SKU{Name: "Standard_B1s", Capacity: 5}
	w.commit(store.Put(store.ScaleSets, set.Key(), set, store.At(e.Revision)), w.sees(0, vmss.PowerRunning), w.sees(1, vmss.PowerRunning))
	failure := w.store.Instance(uid, 2).Seen.Failure
	w.commit(store.Put(store.Observations, vmss.InstanceKey{Set: uid, ID: 2}, vmss.Observation{Power: vmss.PowerStopped, Failure: failure}))
}

func (w *world) sees(id vmss.InstanceID, power vmss.PowerState) store.Change {
	return store.Put(store.Observations, vmss.InstanceKey{Set: uid, ID: id}, vmss.Observation{Power: power})
}

type costs struct {
	Now, Allocated, AtCapacity struct {
		InstanceCount                     int
		ComputePerHour, PerHour, PerMonth json.Number
	}
	Sizes []struct {
		VMSize                                                  string
		InstanceCount, AllocatedCount, RunningCount, DiskSizeGB int
	}
}

func (w *world) costs() (c costs) {
	w.Helper()
	var answer struct{ Properties *costs }
	answer.Properties = &c
	code, body := w.get("/costs")
	if err := json.Unmarshal([]byte(body), &answer); err != nil || code != 200 {
		w.Fatalf("%d %s", code, body)
	}
	return c
}

// TestWhatIsDeallocatedCostsItsDisksOnly follows a set from running to
// deallocated.
func TestWhatIsDeallocatedCostsItsDisksOnly(t *testing.T) {
	w := newWorld(t)
	w.runs()
	c := w.costs()
	if c.Now.InstanceCount != 2 || c.Now.ComputePerHour != "0.0236" || c.Allocated.InstanceCount != 3 || c.Allocated.ComputePerHour != "0.0354" ||
		c.AtCapacity.InstanceCount != 5 || c.AtCapacity.ComputePerHour != "0.059" {
		t.Errorf("%+v", c)
	}
	row := vmss.Instance{ID: 0, Revision: 2, Created: at, Attached: []vmss.Disk{{SizeGB: 100}}}
	w.commit(store.Put(store.Instances, vmss.InstanceKey{Set: uid, ID: 0}, row), w.sees(0, vmss.PowerDeallocated),
		w.sees(1, vmss.PowerDeallocated), w.sees(2, vmss.PowerDeallocated))
	c = w.costs()
	if c.Now != c.Allocated || c.Now.InstanceCount != 0 || c.Now.ComputePerHour != "0" || c.Now.PerHour != "0.006849" || c.Now.PerMonth != "5" {
		t.Errorf("three deallocated instances with a disk of 100 GB cost %+v", c.Now)
	}
	if c.AtCapacity.PerMonth != "43.07" { // 5 x 0.0118 x 730
		t.Errorf("at capacity %+v", c.AtCapacity)
	}
}

// TestInstancesCostWhatTheirOwnModelsSizeCosts has one instance of a size that
// the set had before.
func TestInstancesCostWhatTheirOwnModelsSizeCosts(t *testing.T) {
	w := newWorld(t)
	w.runs()
	w.commit(store.Put(store.Revisions, vmss.RevisionKey{Set: uid, Number: 1}, vmss.Revision{Number: 1, Model: vmss.Model{Size: "Standard_B2s", OSDisk: vmss.Disk{SizeGB: 30}}}))
	c := w.costs()
	got := []string{}
	for _, s := range c.Sizes {
		got = append(got, s.VMSize)
	}
	if diff := cmp.Diff([]string{"Standard_B1s", "Standard_B2s"}, got); diff != "" {
		t.Error(diff)
	}
	if c.Now.ComputePerHour != "0.059" || c.Now.PerMonth != "44.57" || c.Sizes[1].DiskSizeGB != 30 {
		t.Errorf("%+v", c)
	}
}

func TestCostsAreRefusedWithoutPrices(t *testing.T) {
	w := newWorld(t)
	code, body := w.get("/costs")
	if code != 404 || !strings.Contains(body, `"code":"PricesNotFound"`) || !strings.Contains(body, "name it as prices") {
		t.Errorf("without a price file: %d %s", code, body)
	}
	w.runs()
	delete(w.api.Prices.Hour, "standard_b1s")
	code, body = w.get("/costs")
	if code != 404 || !strings.Contains(body, `"code":"PriceNotFound"`) || !strings.Contains(body, "Standard_B1s") {
		t.Errorf("without a price for the size: %d %s", code, body)
	}
}
