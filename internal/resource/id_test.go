package resource_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-vm/muster/internal/resource"
)

const web = "/subscriptions/S/resourceGroups/Lab/providers/Microsoft.Compute/virtualMachineScaleSets/web"

func TestIDsReadInAnyCaseAndKeepTheNamesGiven(t *testing.T) {
	id, err := resource.ParseID("/SUBSCRIPTIONS/S/resourcegroups/Lab/PROVIDERS/Microsoft.Compute/virtualMachineScaleSets/web/virtualMachines/0")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := id.String(), web+"/virtualMachines/0"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := id.Type(), "Microsoft.Compute/virtualMachineScaleSets/virtualMachines"; got != want {
		t.Errorf("type %s, want %s", got, want)
	}
	parents := []string{}
	for p := id.Parent(); p.Group != ""; p = p.Parent() {
		parents = append(parents, p.String())
	}
	if diff := cmp.Diff([]string{web, "/subscriptions/S/resourceGroups/Lab"}, parents); diff != "" {
		t.Error(diff)
	}
}

func TestIDsOfAnyOtherShapeAreRefused(t *testing.T) {
	for _, bad := range []string{"", "/", "subscriptions/S", "/subscriptions", "/subscriptions/", "/subscriptions/S/", "/subscriptions/S//x", "/subscriptions/S/resourceGroups",
		"/subscriptions/S/other/x", web + "/virtualMachines", "/subscriptions/S/providers", "/subscriptions/S/providers/P", strings.Repeat("/subscriptions/S", 200)} {
		id, err := resource.ParseID(bad)
		if !resource.Is(err, resource.Invalid) {
			t.Errorf("%q was read as %+v (%v)", bad, id, err)
		}
	}
}

func TestZeroIDWritesAndReadsAsNothing(t *testing.T) {
	text, err := resource.ID{}.MarshalText()
	id := resource.GroupID("s", "g")
	if err != nil || len(text) > 0 || id.UnmarshalText(text) != nil || !id.IsZero() {
		t.Errorf("%q became %+v (%v)", text, id, err)
	}
}

// FuzzParseID holds what is accepted to its canonical form: it reads back as
// the same id, with the same key.
func FuzzParseID(f *testing.F) {
	for _, s := range []string{web, web + "/virtualMachines/0", "/subscriptions/S", "/subscriptions/S/resourceGroups/g", "/subscriptions/S/providers/P/t/n", "//", "/subscriptions//"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := resource.ParseID(s)
		if err != nil {
			return
		}
		again, err := resource.ParseID(id.String())
		if err != nil || !again.Equal(id) || again.Key() != id.Key() || len(id.Types) != len(id.Names) {
			t.Fatalf("%q became %+v, then %+v (%v)", s, id, again, err)
		}
	})
}
