package compute_test

import (
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/muster-vm/muster/internal/arm/wire/compute"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/vmss"
)

// storageBody is a create body with these members of its OS disk and data disks.
func storageBody(t *testing.T, osDisk map[string]any, data ...map[string]any) string {
	t.Helper()
	body := createBody
	for name, v := range osDisk {
		body = edit(t, body, v, "properties", "virtualMachineProfile", "storageProfile", "osDisk", name)
	}
	return edit(t, body, data, "properties", "virtualMachineProfile", "storageProfile", "dataDisks")
}

func TestAnEphemeralOSDiskIsCachedAndStaysSo(t *testing.T) {
	local := map[string]any{"option": "Local", "placement": "ResourceDisk"}
	c := put(t, nil, storageBody(t, map[string]any{"caching": "ReadOnly", "diffDiskSettings": local}))
	if !c.Model.OSDisk.Ephemeral {
		t.Errorf("%+v", c.Model.OSDisk)
	}
	rendered := string(renderer(t, c).Render(running(4), compute.InstanceOptions{}))
	if got := dig(t, rendered, "properties.storageProfile.osDisk.diffDiskSettings.placement"); got != "ResourceDisk" {
		t.Errorf("%v in %s", got, rendered)
	}
	if again := put(t, c, render(t, c)); !again.Model.OSDisk.Ephemeral || !compute.SameModel(c.Model, again.Model) {
		t.Errorf("sent back: %+v", again.Model.OSDisk)
	}
	_, err := tryPut(c, `{"properties":{"virtualMachineProfile":{"storageProfile":{"osDisk":{"diffDiskSettings":null}}}}}`)
	if e, _ := errors.AsType[*resource.Error](err); e == nil || e.Code != "PropertyChangeNotAllowed" {
		t.Error(err)
	}
	for _, tt := range []struct {
		current *compute.Current
		osDisk  map[string]any
		path    string
		kind    resource.Kind
	}{
		{nil, map[string]any{"caching": "ReadWrite", "diffDiskSettings": local}, "osDisk.caching", resource.Invalid},
		{nil, map[string]any{"caching": nil, "diffDiskSettings": local}, "osDisk.caching", resource.Invalid},
		{nil, map[string]any{"diffDiskSettings": map[string]any{"placement": "CacheDisk"}}, "osDisk.diffDiskSettings.option", resource.Invalid},
		{nil, map[string]any{"managedDisk": map[string]any{"storageAccountType": "UltraSSD_LRS"}}, "osDisk.managedDisk.storageAccountType", resource.Invalid},
		{put(t, nil, createBody), map[string]any{"caching": "ReadOnly", "diffDiskSettings": local}, "osDisk.diffDiskSettings", resource.Conflict},
	} {
		_, err := tryPut(tt.current, storageBody(t, tt.osDisk))
		if e, _ := errors.AsType[*resource.Error](err); e == nil || e.Target != vmProfile+"storageProfile."+tt.path || e.Kind != tt.kind {
			t.Errorf("%v: %v, want it at %s", tt.osDisk, err, tt.path)
		}
	}
}

func TestLimitsOfDataDisksAreAskedForWhereTheTypeHasThem(t *testing.T) {
	ultra := map[string]any{"lun": 0, "createOption": "Empty", "diskSizeGB": 10, "managedDisk": map[string]any{"storageAccountType": "UltraSSD_LRS"}, "diskIOPSReadWrite": 1000, "diskMBpsReadWrite": 200}
	c := put(t, nil, storageBody(t, nil, ultra))
	if want := (vmss.Disk{SizeGB: 10, Caching: "None", StorageType: "UltraSSD_LRS", IOPS: 1000, MBps: 200}); c.Model.DataDisks[0] != want {
		t.Errorf("%+v", c.Model.DataDisks)
	}
	rendered := renderer(t, c).Render(running(4), compute.InstanceOptions{})
	if !strings.Contains(string(rendered), `"diskIOPSReadWrite":1000,"diskMBpsReadWrite":200`) {
		t.Errorf("%s", rendered)
	}
	if _, err := compute.ParseInstance(rendered, compute.InstanceNow{Rendered: rendered, MaxDataDisks: 4}); err != nil {
		t.Error(err)
	}
	for _, tt := range []struct {
		member string
		value  any
	}{{"diskIOPSReadWrite", 5000}, {"diskMBpsReadWrite", 251}} {
		other := maps.Clone(ultra)
		other[tt.member] = tt.value
		_, err := tryPut(nil, storageBody(t, nil, other))
		if e, _ := errors.AsType[*resource.Error](err); e == nil || e.Target != vmProfile+"storageProfile.dataDisks[0]."+tt.member {
			t.Errorf("%s %v: %v", tt.member, tt.value, err)
		}
	}
}
