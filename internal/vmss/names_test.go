package vmss_test

import (
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/muster-vm/muster/internal/vmss"
)

func TestNamesAreAzures(t *testing.T) {
	for _, tt := range []struct{ got, want string }{
		{vmss.InstanceName("web", 13), "web_13"},
		{vmss.ComputerName("vmss", 13), "vmss00000D"},
		{vmss.ComputerName("vmss", 0), "vmss000000"},
		{vmss.ComputerName("p", 36*36), "p000100"},
		{vmss.DefaultComputerNamePrefix("my_web.app-with-a-long-name"), "mywebapp-with-a"},
		{vmss.DefaultComputerNamePrefix("fourteen-chars-x"), "fourteen-chars"},
		{vmss.DefaultComputerNamePrefix("_._"), "vm"},
	} {
		if tt.got != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
	if got := vmss.OSDiskName("web", "u", 3, 0); !regexp.MustCompile(`^web_web_3_OsDisk_1_[0-9a-f]{32}$`).MatchString(got) {
		t.Errorf("OS disk name %q", got)
	}
	if got := vmss.DataDiskName("web", "u", 3, 0, 0); !regexp.MustCompile(`^web_web_3_disk2_[0-9a-f]{32}$`).MatchString(got) {
		t.Errorf("data disk name %q", got)
	}
}

func TestDefaultPrefixIsValid(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.String().Draw(t, "name")
		if err := vmss.CheckComputerNamePrefix(vmss.DefaultComputerNamePrefix(name)); err != nil {
			t.Fatal(err)
		}
	})
}

func TestGUIDsAreVersion5AndDiffer(t *testing.T) {
	v5 := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	seen := map[string]bool{}
	for _, uid := range []vmss.UID{"a", "b"} {
		for id := range vmss.InstanceID(500) {
			guid := vmss.InstanceGUID(uid, id)
			if !v5.MatchString(guid) || seen[guid] {
				t.Fatalf("instance %d of %s: %s is no version 5 GUID or was given before", id, uid, guid)
			}
			seen[guid] = true
		}
	}
}

func TestPlacementGroupsHoldAHundred(t *testing.T) {
	many, one := vmss.ScaleSet{UID: "u"}, vmss.ScaleSet{UID: "u", SinglePlacementGroup: true}
	if vmss.PlacementGroupID(many, 0) != vmss.PlacementGroupID(many, 99) || vmss.PlacementGroupID(many, 99) == vmss.PlacementGroupID(many, 100) {
		t.Error("a placement group of a large set must hold exactly a hundred")
	}
	if vmss.PlacementGroupID(one, 0) != vmss.PlacementGroupID(one, 999) {
		t.Error("a single placement group must hold all")
	}
}

func TestScaleSetNamesFollowAzuresRule(t *testing.T) {
	for _, name := range []string{"a", "web-1", "w.e_b", "x_", strings.Repeat("a", 64)} {
		if err := vmss.CheckName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"", "-a", "_a", ".a", "a-", "a.", "a b", "ä", strings.Repeat("a", 65)} {
		if vmss.CheckName(name) == nil {
			t.Errorf("%q was accepted", name)
		}
	}
}
