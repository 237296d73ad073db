package output

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNamesAreThoseOfAz(t *testing.T) {
	for wire, want := range map[string]string{
		"diskSizeGB": "diskSizeGb", "enableIPForwarding": "enableIpForwarding", "privateIPAddressVersion": "privateIpAddressVersion", "name": "name",
		"doNotRunExtensionsOnOverprovisionedVMs": "doNotRunExtensionsOnOverprovisionedVMs", "diskMBpsReadWrite": "diskMBpsReadWrite",
		"diskIOPSReadWrite": "diskIopsReadWrite", "provisionVMAgent": "provisionVmAgent", "vmId": "vmId", "memoryInMB": "memoryInMb",
	} {
		if got := Name(wire); got != want {
			t.Errorf("%s: got %s, want %s", wire, got, want)
		}
	}
}

func TestPropertiesAreFlattened(t *testing.T) {
	const id = "/subscriptions/s/resourceGroups/lab/providers/Microsoft.Compute/virtualMachineScaleSets/web"
	in := map[string]any{"id": id, "tags": map[string]any{"diskSizeGB": "x"}, "properties": map[string]any{"diskSizeGB": 1, "id": "inner", "timeCreated": "2026-11-25T05:10:10.5Z"}}
	for s, want := range map[Shape]any{
		Flat: map[string]any{"id": id, "resourceGroup": "lab", "tags": map[string]any{"diskSizeGB": "x"}, "diskSizeGb": 1.0, "timeCreated": "2026-11-25T05:10:10.500000+00:00"},
		Named: map[string]any{"id": id, "resourceGroup": "lab", "tags": map[string]any{"diskSizeGB": "x"},
			"properties": map[string]any{"diskSizeGb": 1.0, "id": "inner", "timeCreated": "2026-11-25T05:10:10.500000+00:00"}},
		Wired: map[string]any{"id": id, "resourceGroup": "lab", "tags": map[string]any{"diskSizeGB": "x"}, "diskSizeGB": 1.0, "timeCreated": "2026-11-25T05:10:10.5Z"},
	} {
		got, err := Reshape(in, s)
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
		p    Printer
		want string
	}{
		{"table", Printer{Format: "table"}, "A    B      C\n---  -----  ---\none  True\n     False  2\n"},
		{"table of a query keeps its order", Printer{Format: "table", Query: "[0].{Z:a, A:b}"}, "Z    A\n---  ----\none  True\n"},
		{"table of a command", Printer{Format: "table", Table: "[].{Z:a}"}, "Z\n---\none\n\n"},
		{"tsv", Printer{Format: "tsv"}, "one\tTrue\tx\t1\tNone\nFalse\t2\n"},
		{"tsv of a query keeps its order", Printer{Format: "tsv", Query: "[].{Z:a, A:b}"}, "one\tTrue\nNone\tFalse\n"},
		{"tsv of truth", Printer{Format: "tsv", Query: "[0].b"}, "true\n"},
		{"json", Printer{Format: "json", Query: "[1]"}, "{\n  \"b\": false,\n  \"c\": 2\n}\n"},
		{"a literal that is no JSON", Printer{Format: "tsv", Query: "[?a==`one`].b"}, "true\n"},
		{"a back-quote in quotes", Printer{Format: "tsv", Query: "[?a=='`x`' || c==`2`].c"}, "2\n"},
		{"nothing", Printer{Format: "json", Query: "[9]"}, ""},
		{"none", Printer{Format: "none"}, ""},
		{"yaml", Printer{Format: "yaml", Query: "[1]"}, "b: false\nc: 2\n"},
	} {
		var b bytes.Buffer
		if err := tt.p.Print(&b, rows); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, b.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}
