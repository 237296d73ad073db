package cli

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/compute/armcompute/v8"
	"github.com/google/go-cmp/cmp"
)

func TestNamesAreThoseOfAz(t *testing.T) {
	for wire, want := range map[string]string{
		"diskSizeGB": "diskSizeGb", "enableIPForwarding": "enableIpForwarding", "privateIPAddressVersion": "privateIpAddressVersion", "name": "name",
		"doNotRunExtensionsOnOverprovisionedVMs": "doNotRunExtensionsOnOverprovisionedVMs", "diskMBpsReadWrite": "diskMBpsReadWrite",
		"diskIOPSReadWrite": "diskIopsReadWrite", "provisionVMAgent": "provisionVmAgent", "vmId": "vmId", "memoryInMB": "memoryInMb",
	} {
		if got := pythonName(wire); got != want {
			t.Errorf("%s: got %s, want %s", wire, got, want)
		}
	}
}

func TestPropertiesAreFlattened(t *testing.T) {
	const id = "/subscriptions/s/resourceGroups/lab/providers/Microsoft.Compute/virtualMachineScaleSets/web"
	in := map[string]any{"id": id, "tags": map[string]any{"diskSizeGB": "x"}, "properties": map[string]any{"diskSizeGB": 1, "id": "inner", "timeCreated": "2026-11-25T05:10:10.5Z"}}
	for s, want := range map[shape]any{
		flat: map[string]any{"id": id, "resourceGroup": "lab", "tags": map[string]any{"diskSizeGB": "x"}, "diskSizeGb": 1.0, "timeCreated": "2026-11-25T05:10:10.500000+00:00"},
		named: map[string]any{"id": id, "resourceGroup": "lab", "tags": map[string]any{"diskSizeGB": "x"},
			"properties": map[string]any{"diskSizeGb": 1.0, "id": "inner", "timeCreated": "2026-11-25T05:10:10.500000+00:00"}},
		wired: map[string]any{"id": id, "resourceGroup": "lab", "tags": map[string]any{"diskSizeGB": "x"}, "diskSizeGB": 1.0, "timeCreated": "2026-11-25T05:10:10.5Z"},
	} {
		got, err := reshape(in, s)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("shape %d (-want +got):\n%s", s, diff)
		}
	}
}

func TestResultsArePrintedAsAzDoes(t *testing.T) {
	rows := []any{map[string]any{"id": "x", "b": true, "a": "one", "n": nil, "l": []any{"z"}}, map[string]any{"b": false, "c": 2.0}}
	for _, tt := range []struct {
		name string
		p    printer
		want string
	}{
		{"table", printer{format: "table"}, "A    B      C\n---  -----  ---\none  True\n     False  2\n"},
		{"table of a query keeps its order", printer{format: "table", query: "[0].{Z:a, A:b}"}, "Z    A\n---  ----\none  True\n"},
		{"table of a command", printer{format: "table", table: "[].{Z:a}"}, "Z\n---\none\n\n"},
		{"tsv", printer{format: "tsv"}, "one\tTrue\tx\t1\tNone\nFalse\t2\n"},
		{"tsv of a query keeps its order", printer{format: "tsv", query: "[].{Z:a, A:b}"}, "one\tTrue\nNone\tFalse\n"},
		{"tsv of truth", printer{format: "tsv", query: "[0].b"}, "true\n"},
		{"json", printer{format: "json", query: "[1]"}, "{\n  \"b\": false,\n  \"c\": 2\n}\n"},
		{"nothing", printer{format: "json", query: "[9]"}, ""},
		{"none", printer{format: "none"}, ""},
		{"yaml", printer{format: "yaml", query: "[1]"}, "b: false\nc: 2\n"},
	} {
		var b bytes.Buffer
		if err := tt.p.print(&b, rows); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, b.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestWordsAfterAnOptionAreItsValues(t *testing.T) {
	got := Args(strings.Fields("vmss start --instance-ids 0 1 -g lab --set a=b c=d --no-wait"))
	want := strings.Fields("vmss start --instance-ids 0 --instance-ids 1 -g lab --set a=b --set c=d --no-wait")
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

func TestSetFindsMembersWhereTheyArePrinted(t *testing.T) {
	set := armcompute.VirtualMachineScaleSet{SKU: &armcompute.SKU{Capacity: new(int64(1))}, Tags: map[string]*string{}, Properties: &armcompute.VirtualMachineScaleSetProperties{}}
	got, err := assign(set, []string{"sku.capacity=3", "tags.n=1", "upgradePolicy.mode=Automatic", "overprovision=false"})
	if err != nil {
		t.Fatal(err)
	}
	if *got.SKU.Capacity != 3 || *got.Tags["n"] != "1" || *got.Properties.UpgradePolicy.Mode != "Automatic" || *got.Properties.Overprovision {
		t.Errorf("got %+v", got)
	}
	for _, bad := range []string{"nope=1", "sku.capacity=x", "sku"} {
		if _, err := assign(set, []string{bad}); err == nil {
			t.Errorf("--set %s is accepted", bad)
		}
	}
}
