package compute_test

import (
	"strings"
	"testing"

	"github.com/muster-vm/muster/internal/arm/wire/compute"
)

// The address of an instance's own has a version and a list of tags, whether
// they were asked for or not; clients read both.
func TestPublicAddressesOfInstancesHaveAVersionAndTags(t *testing.T) {
	body := strings.Replace(createBody, `"loadBalancerInboundNatPools"`,
		`"publicIPAddressConfiguration": {"name": "ip", "properties": {"idleTimeoutInMinutes": "10"}}, "loadBalancerInboundNatPools"`, 1)
	answer := render(t, put(t, nil, body))
	for _, want := range []string{`"publicIPAddressVersion":"IPv4"`, `"ipTags":[]`, `"idleTimeoutInMinutes":10`} {
		if !strings.Contains(answer, want) {
			t.Errorf("no %s in %s", want, answer)
		}
	}
	if answer := render(t, put(t, nil, createBody)); strings.Contains(answer, "publicIPAddress") {
		t.Errorf("an address that was not asked for: %s", answer)
	}
}

// A set without an identity shows none, also after its identity was taken away.
func TestNoIdentityIsNotShown(t *testing.T) {
	for _, none := range []any{map[string]any{}, map[string]any{"type": "none"}, map[string]any{"type": "None", "userAssignedIdentities": map[string]any{}}} {
		if answer := render(t, put(t, nil, edit(t, createBody, none, "identity"))); strings.Contains(answer, `"identity"`) {
			t.Errorf("%v: %s", none, answer)
		}
	}
}

// What a request leaves to Azure is in its answer, so that a client that reads it
// knows what it got, and sends it back without a change.
func TestStorageShowsWhatWasLeftOut(t *testing.T) {
	ultra := map[string]any{"lun": 0, "createOption": "Empty", "diskSizeGB": 4, "managedDisk": map[string]any{"storageAccountType": "UltraSSD_LRS"}}
	plain := map[string]any{"lun": 1, "createOption": "Empty", "diskSizeGB": 4}
	c := put(t, nil, storageBody(t, map[string]any{"caching": "ReadOnly", "diffDiskSettings": map[string]any{"option": "Local"}}, ultra, plain))
	answer := render(t, c)
	if got := c.Model.OSDisk.StorageType; got != "Standard_LRS" {
		t.Errorf("an ephemeral OS disk of type %s", got)
	}
	for want, n := range map[string]int{`"diffDiskSettings":{"option":"Local","placement":"CacheDisk"}`: 1, `"diskIOPSReadWrite":500,"diskMBpsReadWrite":100`: 1, `"diskIOPSReadWrite"`: 1} {
		if got := strings.Count(answer, want); got != n {
			t.Errorf("%d times %s in %s", got, want, answer)
		}
	}
	if again := put(t, c, answer); !compute.SameModel(c.Model, again.Model) {
		t.Errorf("sent back: %s", again.Model.Document)
	}
	ultra["diskIOPSReadWrite"] = 200
	if answer := render(t, put(t, nil, storageBody(t, nil, ultra))); !strings.Contains(answer, `"diskIOPSReadWrite":200`) || strings.Contains(answer, "diskMBpsReadWrite") {
		t.Errorf("half of it is chosen: %s", answer)
	}
}

// A notice that is turned off is none, as recorded answers show.
func TestNoticesThatAreOffAreNotShown(t *testing.T) {
	off := map[string]any{"enable": false}
	events := map[string]any{"osImageNotificationProfile": off, "terminateNotificationProfile": off}
	answer := render(t, put(t, nil, edit(t, createBody, events, "properties", "virtualMachineProfile", "scheduledEventsProfile")))
	if !strings.Contains(answer, `"scheduledEventsProfile":{}`) {
		t.Errorf("%s", answer)
	}
}

// Azure gives the sizes without premium storage standard disks, and a client that
// sends them back meets no conflict.
func TestTierAndStorageTypeFollowFromTheSize(t *testing.T) {
	for size, want := range map[string]string{"Standard_DS1_v2": "Premium_LRS", "Standard_B1ls": "Premium_LRS", "Muster_T1": "Premium_LRS", "Basic_A1": "Standard_LRS", "standard_d2_v5": "Standard_LRS"} {
		body := edit(t, createBody, size, "sku", "name")
		if c := put(t, nil, body); c.Model.OSDisk.StorageType != want {
			t.Errorf("%s: %+v", size, c.Model.OSDisk)
		} else if basic := strings.HasPrefix(size, "Basic_"); basic != (c.Set.SKU.Tier == "Basic") || basic != strings.Contains(string(compute.RenderSizes([]string{size}, 1)), `"tier":"Basic"`) {
			t.Errorf("%s: %+v", size, c.Set.SKU)
		}
	}
}
