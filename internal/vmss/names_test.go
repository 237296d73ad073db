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

func TestGUIDsNeverChange(t *testing.T) {
	const uid = "6f1f3cf0-3f2b-4c5e-9d0f-000000000001"
	for _, tt := range []struct {
		want  string
		uid   vmss.UID
		words []string
	}{
		{"94b16f11-370b-5845-8ca8-70b93a6d8b77", "", nil},
		{"2fb18fe6-d2a3-5886-bf32-12fe481fb2b6", "u", nil},
		{"2fb18fe6-d2a3-5886-bf32-12fe481fb2b6", "u", []string{""}},
		{"dd951e34-a22f-5676-8f66-596c3af6d7ff", "u", []string{"", ""}},
		{"c01a3aa5-39cf-573f-9065-394e73e0ac5e", "u", []string{"instance", "0"}},
		{"59ddf100-f856-5d5e-9438-4d5e2a3147cf", "u", []string{"instance", "13"}},
		{"483326d1-2a07-5fc5-b75a-8bae08db164d", uid, []string{"instance", "99999"}},
		{"b5e7705d-922a-5629-968c-0ba307b57064", uid, []string{"3", "OsDisk_1", "1"}},
		{"2b290af9-e1dd-567c-b362-85a53621a71e", uid, []string{"3", "disk2", "0"}},
		{"8304367b-1786-5431-824e-4ebaf4df1804", uid, []string{"placementGroup", "0"}},
		{"dc1822fb-5f72-5817-ba29-4636ee3f67f3", "u", []string{"ä", "日本"}},
		{"7c0ffca5-a611-5804-9526-758f5b735e06", "u", []string{strings.Repeat("x", 1000)}},
	} {
		if got := vmss.GUID(tt.uid, tt.words...); got != tt.want {
			t.Errorf("GUID(%q, %.40q) = %s, want %s", tt.uid, tt.words, got, tt.want)
		}
	}
}

func TestAGUIDCostsOneAllocation(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { vmss.GUID("6f1f3cf0-3f2b-4c5e-9d0f-000000000001", "3", "OsDisk_1", "1") }); n > 1 {
		t.Errorf("%v allocations, want the result's alone", n)
	}
}

func BenchmarkGUID(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		vmss.GUID("6f1f3cf0-3f2b-4c5e-9d0f-000000000001", "3", "OsDisk_1", "1")
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
