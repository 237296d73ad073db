package compute_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-vm/muster/internal/arm/wire/compute"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/vmss"
)

// attachedNow is an instance with the model's disk at LUN 3 and one at LUN 5 of
// its own.
func attachedNow(t *testing.T) (compute.InstanceNow, []byte) {
	t.Helper()
	in := running(4)
	in.Custom = &vmss.Customization{Protection: vmss.Protection{FromScaleIn: true}, Tags: map[string]string{"a": "b"},
		Attached: []vmss.Disk{{LUN: 5, SizeGB: 20, Caching: "ReadOnly", StorageType: "Standard_LRS", Attached: 7}}}
	rendered := renderer(t, withDisks(t)).Render(in, compute.InstanceOptions{View: true})
	return compute.InstanceNow{Rendered: rendered, Custom: in.Custom, MaxDataDisks: 4}, rendered
}

func TestAnInstancePutAttachesAndDetachesDisksOfItsOwn(t *testing.T) {
	now, rendered := attachedNow(t)
	own := now.Custom.Attached[0]
	const model = `{"lun":3,"createOption":"Empty","diskSizeGB":10}`
	for name, tt := range map[string]struct {
		body string
		want []vmss.Disk
	}{
		"sent back as it was read":     {string(rendered), []vmss.Disk{own}},
		"says nothing of disks":        {`{"tags":{"a":"b"}}`, []vmss.Disk{own}},
		"null":                         {disksBody("null"), []vmss.Disk{own}},
		"left out":                     {disksBody(`[` + model + `]`), nil},
		"to be detached":               {disksBody(`[` + model + `,{"lun":5,"createOption":"Empty","toBeDetached":true}]`), nil},
		"another, with defaults":       {disksBody(`[` + model + `,{"lun":5},{"lun":"0","createOption":"empty","diskSizeGB":"1"}]`), []vmss.Disk{{SizeGB: 1, Caching: "None", StorageType: "Premium_LRS"}, own}},
		"another in place of it":       {disksBody(`[` + model + `,{"lun":5,"toBeDetached":true},{"lun":5,"createOption":"Empty","diskSizeGB":2,"caching":"None"}]`), []vmss.Disk{{LUN: 5, SizeGB: 2, Caching: "None", StorageType: "Premium_LRS"}}},
		"what asks for nothing beside": {disksBody(`[` + model + `,{"lun":6,"createOption":"Empty","diskSizeGB":2,"writeAcceleratorEnabled":false,"managedDisk":{"storageAccountType":"StandardSSD_LRS"}}]`), []vmss.Disk{{LUN: 6, SizeGB: 2, Caching: "None", StorageType: "StandardSSD_LRS"}}},
	} {
		got, err := compute.ParseInstance([]byte(tt.body), now)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := *now.Custom
		want.Attached = tt.want
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if now.Custom.Attached[0] != own {
		t.Error("the customization of before was changed")
	}
}

func disksBody(disks string) string {
	return `{"properties":{"storageProfile":{"dataDisks":` + disks + `}}}`
}

// managed names a managed disk.
const managed = `"managedDisk":{"id":"/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/disks/d"}`

func TestAManagedDiskIsAttachedByItsID(t *testing.T) {
	const id = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/disks/d"
	now, _ := attachedNow(t)
	got, err := compute.ParseInstance([]byte(disksBody(`[{"lun":3},{"lun":5},{"lun":6,"createOption":"attach","caching":"ReadOnly","deleteOption":"Detach",`+managed+`}]`)), now)
	want := vmss.Disk{LUN: 6, ID: id, Caching: "ReadOnly"}
	if err != nil || len(got.Attached) != 2 || got.Attached[1] != want {
		t.Fatalf("%+v %v", got, err)
	}
	// It is there, and is sent back as it was read.
	got.Attached[1].Volume, got.Attached[1].SizeGB, got.Attached[1].StorageType = "u", 7, "Standard_LRS"
	in := running(4)
	in.Custom = &got
	now.Rendered, now.Custom = renderer(t, withDisks(t)).Render(in, compute.InstanceOptions{}), &got
	if !strings.Contains(string(now.Rendered), `{"lun":6,"name":"d","createOption":"Attach","caching":"ReadOnly","managedDisk":{"storageAccountType":"Standard_LRS","id":"`+id+`"},"diskSizeGB":7,"toBeDetached":false}`) {
		t.Errorf("%s", now.Rendered)
	}
	if view := string(renderer(t, withDisks(t)).RenderInstanceView(in)); !strings.Contains(view, `{"name":"d",`) {
		t.Errorf("%s", view)
	}
	again, err := compute.ParseInstance([]byte(strings.Replace(string(now.Rendered), `7,"toBeDetached":false`, `7,"toBeDetached":false,"deleteOption":"Detach"`, 1)), now)
	if diff := cmp.Diff(got, again); diff != "" || err != nil {
		t.Errorf("with what becomes of it: %v (-want +got):\n%s", err, diff)
	}
	again, err = compute.ParseInstance(now.Rendered, now)
	if diff := cmp.Diff(got, again); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for _, tt := range []struct {
		body, path string
		want       []int // LUNs
	}{
		{`{"dataDisksToDetach":[{"diskId":"` + strings.ToUpper(id) + `"}]}`, "", []int{5}},
		{`{"dataDisksToAttach":[{"diskId":"` + id + `2"}]}`, "", []int{0, 5, 6}},
		{`{"dataDisksToDetach":[{"diskId":"` + id + `"}],"dataDisksToAttach":[{"diskId":"` + id + `2","lun":6},{"diskId":"` + id + `3"}]}`, "", []int{0, 5, 6}},
		{`{"dataDisksToDetach":[{"diskId":"` + id + `2"}]}`, "dataDisksToDetach[0].diskId", nil},
		{`{"dataDisksToAttach":[{"diskId":"` + id + `2","lun":3}]}`, "dataDisksToAttach[0].lun", nil},
		{`{"dataDisksToAttach":[{"lun":7}]}`, "dataDisksToAttach[0].diskId", nil},
		{`{"dataDisksToAttach":[{"diskId":"` + id + `2","deleteOption":"Delete"}]}`, "dataDisksToAttach[0].deleteOption", nil},
		{`{"dataDisksToAttach":[{"diskId":"` + id + `2"},{"diskId":"` + id + `3"}]}`, "dataDisksToAttach", nil},
	} {
		next, err := compute.ParseAttachDetach([]byte(tt.body), now)
		var luns []int
		for _, d := range next.Attached {
			luns = append(luns, d.LUN)
		}
		e, _ := errors.AsType[*resource.Error](err)
		if tt.path == "" && (err != nil || !slices.Equal(luns, tt.want)) || tt.path != "" && (e == nil || e.Target != tt.path) {
			t.Errorf("%s: %v %v, want %v at %q", tt.body, luns, err, tt.want, tt.path)
		}
	}
}

func TestDisksThatCannotBeAttachedAreRefusedByPath(t *testing.T) {
	now, _ := attachedNow(t)
	const model, own, at = `{"lun":3},`, `{"lun":5}`, "properties.storageProfile.dataDisks"
	for _, tt := range []struct{ disks, path, words string }{
		{own, at, "LUN 3 is of the model"},
		{`{"lun":3,"toBeDetached":true},` + own, at + "[0].toBeDetached", "cannot be changed"},
		{`{"lun":3,"diskSizeGB":11},` + own, at + "[0].diskSizeGB", "cannot be changed"},
		{model + `{"lun":5,"diskSizeGB":21}`, at + "[1].diskSizeGB", "cannot be changed"},
		{model + `{"lun":5,"caching":"None"}`, at + "[1].caching", "cannot be changed"},
		{model + own + `,{"lun":5,"createOption":"Empty","diskSizeGB":1}`, at + "[2].lun", "Two data disks have LUN 5"},
		{model + own + `,{"lun":3,"createOption":"Empty","diskSizeGB":1}`, at + "[2].lun", "Two data disks have LUN 3"},
		{model + `{"createOption":"Empty","diskSizeGB":1}`, at + "[1].lun", "missing"},
		{model + `{"lun":64,"createOption":"Empty","diskSizeGB":1}`, at + "[1].lun", "between 0 and 63"},
		{model + `{"lun":6,"diskSizeGB":1}`, at + "[1].createOption", "missing"},
		{model + `{"lun":6,"createOption":"Empty"}`, at + "[1].diskSizeGB", "between 1 and 32767"},
		{model + `{"lun":6,"createOption":"Empty","diskSizeGB":0}`, at + "[1].diskSizeGB", "between 1 and 32767"},
		{model + `{"lun":6,"createOption":"Attach","diskSizeGB":1}`, at + "[1].managedDisk.id", "missing"},
		{model + `{"lun":6,"createOption":"Copy","diskSizeGB":1}`, at + "[1].createOption", "Attach and managedDisk.id"},
		{model + `{"lun":6,"createOption":"Attach","diskSizeGB":1,` + managed + `}`, at + "[1].diskSizeGB", "the size it has"},
		{model + `{"lun":6,"createOption":"Attach","name":"e",` + managed + `}`, at + "[1].name", "called 'd'"},
		{model + `{"lun":6,"createOption":"Attach","deleteOption":"Delete",` + managed + `}`, at + "[1].deleteOption", "outlive"},
		{model + `{"lun":6,"createOption":"Empty","diskSizeGB":1,"deleteOption":"Detach"}`, at + "[1].deleteOption", "deleted with it"},
		{model + `{"lun":6,"createOption":"Empty","diskSizeGB":1,` + managed + `}`, at + "[1].createOption", "set createOption to Attach"},
		{model + `{"lun":6,"createOption":"Empty","diskSizeGB":1,"name":"d"}`, at + "[1].name", "leave"},
		{model + `{"lun":6,"createOption":"Empty","diskSizeGB":1,"writeAcceleratorEnabled":true}`, at + "[1].writeAcceleratorEnabled", "cannot be changed"},
		{model + `{"lun":6,"toBeDetached":true}`, at + "[1].toBeDetached", "no data disk at LUN 6"},
		{model + own + `,{"lun":0,"createOption":"Empty","diskSizeGB":1},{"lun":1,"createOption":"Empty","diskSizeGB":1},{"lun":2,"createOption":"Empty","diskSizeGB":1}`, at, "at most 4"},
	} {
		_, err := compute.ParseInstance([]byte(disksBody("["+tt.disks+"]")), now)
		e, ok := errors.AsType[*resource.Error](err)
		if !ok || e.Kind != resource.Invalid || e.Code != "InvalidParameter" || e.Target != tt.path || len(e.Details) > 0 || !strings.Contains(e.Msg, tt.words) {
			t.Errorf("%s: got %v, want InvalidParameter at %s saying %q", tt.disks, err, tt.path, tt.words)
		}
	}
}

// TestADiskOfAnInstanceGivesWayToOneOfTheModel detaches the instance's disk after
// the model got one at the same LUN: each is known by its name.
func TestADiskOfAnInstanceGivesWayToOneOfTheModel(t *testing.T) {
	in := running(4)
	in.Custom = &vmss.Customization{Attached: []vmss.Disk{{LUN: 3, SizeGB: 20, Caching: "None", StorageType: "Premium_LRS", Attached: 7}}}
	r := renderer(t, withDisks(t))
	now := compute.InstanceNow{Rendered: r.Render(in, compute.InstanceOptions{}), Custom: in.Custom, MaxDataDisks: 4}
	if got, err := compute.ParseInstance(now.Rendered, now); err != nil || !slices.Equal(got.Attached, in.Custom.Attached) {
		t.Errorf("sent back as it was read: %+v %v", got, err)
	}
	without := in
	without.Custom = nil
	got, err := compute.ParseInstance(r.Render(without, compute.InstanceOptions{}), now)
	if err != nil || got.Attached != nil {
		t.Errorf("without it: %+v %v", got, err)
	}
}
