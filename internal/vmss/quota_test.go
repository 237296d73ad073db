package vmss_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-vm/muster/internal/vmss"
)

func size(t *testing.T, name string) vmss.Size {
	t.Helper()
	s, ok := vmss.SizeNamed(name)
	if !ok {
		t.Fatalf("no size %s", name)
	}
	return s
}

func usage(t *testing.T, all []vmss.Usage, name string) vmss.Usage {
	t.Helper()
	for _, u := range all {
		if u.Name == name {
			return u
		}
	}
	t.Fatalf("no usage %s in %+v", name, all)
	return vmss.Usage{}
}

func TestUsageCountsWhatIsThereAndWhatIsWanted(t *testing.T) {
	two := size(t, "Standard_D2s_v5")
	for _, c := range []struct {
		name             string
		demand           vmss.Demand
		cores, instances int
	}{
		{"nothing is there yet", vmss.Demand{Size: two, Capacity: 5}, 10, 5},
		{"as wanted", vmss.Demand{Size: two, Capacity: 5, Rows: 5, Allocated: 5}, 10, 5},
		{"the surplus counts until it is gone", vmss.Demand{Size: two, Capacity: 2, Rows: 5, Allocated: 5}, 10, 5},
		{"deallocated instances hold no cores", vmss.Demand{Size: two, Capacity: 5, Rows: 5, Allocated: 2}, 4, 5},
		{"growth beside deallocated instances", vmss.Demand{Size: two, Capacity: 7, Rows: 5, Allocated: 2}, 8, 7},
		{"empty", vmss.Demand{Size: two}, 0, 0},
	} {
		all := vmss.Usages([]vmss.Demand{c.demand}, nil)
		got := []int{usage(t, all, "cores").Current, usage(t, all, "standardDSv5Family").Current, usage(t, all, "standardBSFamily").Current,
			usage(t, all, "virtualMachines").Current, usage(t, all, "virtualMachineScaleSets").Current}
		if diff := cmp.Diff([]int{c.cores, c.cores, 0, c.instances, 1}, got); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}

func TestUsagesAddUpAndLimitsAreOverriddenInAnyCase(t *testing.T) {
	all := vmss.Usages([]vmss.Demand{
		{Size: size(t, "Standard_D2s_v5"), Capacity: 3}, {Size: size(t, "Standard_B2s"), Capacity: 1},
	}, map[string]int{"CORES": 9, "standarddsv5family": 7})
	want := vmss.Usage{Name: "cores", Label: "Total Regional vCPUs", Current: 8, Limit: 9}
	if got := usage(t, all, "cores"); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	want = vmss.Usage{Name: "standardDSv5Family", Label: "Standard DSv5 Family vCPUs", Current: 6, Limit: 7}
	if got := usage(t, all, "standardDSv5Family"); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	seen := map[string]bool{}
	for _, u := range all {
		if seen[u.Name] || u.Label == "" || u.Limit <= 0 {
			t.Errorf("usage %+v is listed twice or lacks something", u)
		}
		seen[u.Name] = true
	}
}

func TestOnlyGrowthIsRefusedForAQuota(t *testing.T) {
	two, four := size(t, "Standard_D2s_v5"), size(t, "Standard_D4s_v5")
	was := vmss.Demand{Size: two, Capacity: 5, Rows: 5, Allocated: 5} // 10 cores
	for _, c := range []struct {
		name     string
		was      *vmss.Demand
		want     vmss.Demand
		limits   map[string]int
		short    string // usage; empty if it fits
		required int
	}{
		{"just fits", &was, vmss.Demand{Size: two, Capacity: 6, Rows: 5, Allocated: 5}, map[string]int{"cores": 12}, "", 0},
		{"one too many", &was, vmss.Demand{Size: two, Capacity: 6, Rows: 5, Allocated: 5}, map[string]int{"cores": 11}, "cores", 2},
		{"a larger size", &was, vmss.Demand{Size: four, Capacity: 5, Rows: 5, Allocated: 5}, map[string]int{"cores": 19}, "cores", 10},
		{"of the family", &was, vmss.Demand{Size: two, Capacity: 6, Rows: 5, Allocated: 5}, map[string]int{"standardDSv5Family": 11}, "standardDSv5Family", 2},
		{"of instances", &was, vmss.Demand{Size: two, Capacity: 7, Rows: 5, Allocated: 5}, map[string]int{"virtualMachines": 6}, "virtualMachines", 2},
		{"of sets", nil, vmss.Demand{Size: two}, map[string]int{"virtualMachineScaleSets": 1}, "virtualMachineScaleSets", 1},
		{"a new set", nil, vmss.Demand{Size: two, Capacity: 1}, map[string]int{"cores": 11}, "cores", 2},
		{"less is always allowed", &was, vmss.Demand{Size: two, Capacity: 4, Rows: 5, Allocated: 5}, map[string]int{"cores": 1, "virtualMachines": 1}, "", 0},
		{"the same is always allowed", &was, was, map[string]int{"cores": 1, "virtualMachines": 1, "virtualMachineScaleSets": 0}, "", 0},
	} {
		got := vmss.FindShortage(vmss.Usages([]vmss.Demand{was}, c.limits), c.was, c.want)
		switch {
		case got == nil && c.short == "":
		case got == nil || got.Name != c.short || got.Required != c.required:
			t.Errorf("%s: got %+v, want %s short of %d", c.name, got, c.short, c.required)
		}
	}
}
