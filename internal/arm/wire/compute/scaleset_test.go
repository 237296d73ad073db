package compute_test

import (
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-vm/muster/internal/arm/wire/compute"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/vmss"
)

const (
	vmProfile = "properties.virtualMachineProfile."
	osProfile = vmProfile + "osProfile."
)

func TestACreateBodyOfTheCLIBecomesASet(t *testing.T) {
	got := put(t, nil, createBody)
	got.Set.Document, got.Model.Document = nil, nil
	want := compute.Current{
		Set: vmss.ScaleSet{
			ID: id, UID: "22222222-2222-2222-2222-222222222222", Created: created, Location: "eastus", Tags: map[string]string{},
			SKU: vmss.SKU{Name: "Standard_DS1_v2", Tier: "Standard", Capacity: 2}, FaultDomains: 5, SinglePlacementGroup: true,
			Overprovision: true, Upgrade: vmss.UpgradePolicy{Mode: vmss.UpgradeManual}, ScaleIn: vmss.ScaleInPolicy{Rule: vmss.ScaleInDefault},
		},
		Model: vmss.Model{
			Size: "Standard_DS1_v2", Image: image,
			OS: vmss.OSProfile{
				ComputerNamePrefix: "ss11c1fe4", AdminUsername: "azureuser",
				SSHKeys: []vmss.SSHKey{{Path: "/home/azureuser/.ssh/authorized_keys", Data: key}},
			},
			OSDisk: vmss.Disk{Caching: "ReadWrite", StorageType: "Premium_LRS"},
			NICs: []vmss.NIC{{Name: "ss11c1fe4Nic", Primary: true, IPConfigs: []vmss.IPConfig{{
				Name: "ss11c1fe4IPConfig", Primary: true,
				Subnet:   "/subscriptions/s/resourceGroups/rg1/providers/Microsoft.Network/virtualNetworks/ss1VNET/subnets/ss1Subnet",
				Pools:    []string{"/subscriptions/s/resourceGroups/rg1/providers/Microsoft.Network/loadBalancers/ss1LB/backendAddressPools/ss1LBBEPool"},
				NATPools: []string{"/subscriptions/s/resourceGroups/rg1/providers/Microsoft.Network/loadBalancers/ss1LB/inboundNatPools/ss1LBNatPool"},
			}}}},
		},
	}
	if diff := cmp.Diff(want, *got); diff != "" {
		t.Error(diff)
	}
}

func TestPutMerges(t *testing.T) {
	first := put(t, nil, edit(t, createBody, map[string]string{"a": "1", "b": "2"}, "tags"))
	for _, tt := range []struct {
		name, body, path string
		want             any
	}{
		{"scale keeps everything else", `{"location":"eastus","sku":{"name":"Standard_DS1_v2","capacity":3}}`, osProfile + "adminUsername", "azureuser"},
		{"scale scales", `{"sku":{"capacity":"3"}}`, "sku.capacity", 3.0},
		{"tags are replaced as a whole", `{"tags":{"k":"v"}}`, "tags", map[string]any{"k": "v"}},
		{"null resets", `{"properties":{"virtualMachineProfile":{"storageProfile":{"osDisk":{"caching":null}}}}}`, vmProfile + "storageProfile.osDisk.caching", "None"},
		{"part of an image reference", `{"properties":{"virtualMachineProfile":{"storageProfile":{"imageReference":{"version":"22.04.999"}}}}}`, vmProfile + "storageProfile.imageReference",
			map[string]any{"publisher": "Canonical", "offer": "0001-com-ubuntu-server-jammy", "sku": "22_04-lts-gen2", "version": "22.04.999"}},
		{"an image reference of another kind", `{"properties":{"virtualMachineProfile":{"storageProfile":{"imageReference":{"id":"/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/images/i"}}}}}`, vmProfile + "storageProfile.imageReference",
			map[string]any{"id": "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/images/i"}},
		{"any letter case", `{"Properties":{"UPGRADEPolicy":{"Mode":"automatic"}}}`, "properties.upgradePolicy.mode", "Automatic"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, dig(t, render(t, put(t, first, tt.body)), tt.path)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPatchMergesTags(t *testing.T) {
	first := put(t, nil, edit(t, createBody, map[string]string{"a": "1", "b": "2"}, "tags"))
	d, err := compute.Patch(first, []byte(`{"tags":{"a":null,"c":"3"}}`))
	if err != nil {
		t.Fatal(err)
	}
	next, err := parse(d)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"b": "2", "c": "3"}, next.Set.Tags); diff != "" {
		t.Error(diff)
	}
}

func TestSecretsSurviveAPutWithoutThem(t *testing.T) {
	body := edit(t, createBody, base64.StdEncoding.EncodeToString([]byte("custom")), "properties", "virtualMachineProfile", "osProfile", "customData")
	body = edit(t, body, base64.StdEncoding.EncodeToString([]byte("user")), "properties", "virtualMachineProfile", "userData")
	body = edit(t, body, "Passw0rd!", "properties", "virtualMachineProfile", "osProfile", "adminPassword")
	first := put(t, nil, body)
	again := put(t, first, render(t, first))
	want := vmss.Secrets{AdminPassword: "Passw0rd!", CustomData: []byte("custom"), UserData: []byte("user")}
	if diff := cmp.Diff(want, again.Model.OS.Secrets); diff != "" {
		t.Error(diff)
	}
	gone := put(t, first, `{"properties":{"virtualMachineProfile":{"userData":null,"osProfile":{"customData":null}}}}`)
	if s := gone.Model.OS.Secrets; s.CustomData != nil || s.UserData != nil {
		t.Errorf("null left %q and %q", s.CustomData, s.UserData)
	}
	if compute.SameModel(first.Model, gone.Model) {
		t.Error("a model with other custom data counts as the same")
	}
}

func TestAPutOfWhatWasReadChangesNothing(t *testing.T) {
	first := put(t, nil, createBody)
	again := put(t, first, render(t, first))
	if diff := cmp.Diff(first, again); diff != "" {
		t.Error(diff)
	}
	if !compute.SameModel(first.Model, again.Model) {
		t.Error("the model counts as changed")
	}
	scaled := put(t, first, `{"sku":{"capacity":9}}`)
	if !compute.SameModel(first.Model, scaled.Model) {
		t.Error("scaling counts as a change of the model")
	}
}

// refusals are bodies with one mistake, and what the answer points at.
func TestMistakesAreNamed(t *testing.T) {
	vm := func(path ...string) []string { return append([]string{"properties", "virtualMachineProfile"}, path...) }
	nic := func(primary bool, name string) map[string]any {
		return map[string]any{"name": name, "properties": map[string]any{"primary": primary, "ipConfigurations": []any{
			map[string]any{"name": "ip", "properties": map[string]any{"subnet": map[string]any{"id": "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/v/subnets/s"}}},
		}}}
	}
	disk := func(lun, size int) map[string]any {
		return map[string]any{"lun": lun, "createOption": "Empty", "diskSizeGB": size}
	}
	for _, tt := range []struct {
		value  any
		path   []string
		target string // of the only problem; empty takes path
		code   string // empty is InvalidParameter
	}{
		{1, []string{"properties", "banana"}, "", "InvalidRequestContent"},
		{"x", []string{"sku", "capacity"}, "", "InvalidRequestContent"},
		{1001, []string{"sku", "capacity"}, "", ""},
		{-1, []string{"sku", "capacity"}, "", ""},
		{nil, []string{"sku", "name"}, "", ""},
		{nil, []string{"properties", "upgradePolicy"}, "", ""},
		{nil, []string{"properties", "virtualMachineProfile"}, "", ""},
		{"Rolling", []string{"properties", "upgradePolicy", "mode"}, "", ""},
		{"Flexible", []string{"properties", "orchestrationMode"}, "", ""},
		{"Sideways", []string{"properties", "upgradePolicy", "mode"}, "", ""},
		{true, []string{"properties", "upgradePolicy", "automaticOSUpgradePolicy", "enableAutomaticOSUpgrade"}, "", ""},
		{"Spot", vm("priority"), "", ""},
		{[]any{map[string]any{"name": "x"}}, vm("extensionProfile", "extensions"), "", ""},
		{true, []string{"properties", "automaticRepairsPolicy", "enabled"}, "properties.automaticRepairsPolicy", ""},
		{"SystemAssigned", []string{"identity", "type"}, "", ""},
		{[]string{"1", "4"}, []string{"zones"}, "", ""},
		{[]string{"1", "1"}, []string{"zones"}, "", ""},
		{true, []string{"properties", "zoneBalance"}, "", ""},
		{6, []string{"properties", "platformFaultDomainCount"}, "", ""},
		{[]string{"Default", "NewestVM"}, []string{"properties", "scaleInPolicy", "rules"}, "", ""},
		{"-a", vm("osProfile", "computerNamePrefix"), "", ""},
		{"waytoolongforaprefix", vm("osProfile", "computerNamePrefix"), "", ""},
		{"weak", vm("osProfile", "adminPassword"), "", ""},
		{"alllower", vm("osProfile", "adminPassword"), "", ""},
		{"???", vm("osProfile", "customData"), "", ""},
		{base64.StdEncoding.EncodeToString(make([]byte, 65536)), vm("osProfile", "customData"), "", ""},
		{"Empty", vm("storageProfile", "osDisk", "createOption"), "", ""},
		{"Windows", vm("storageProfile", "osDisk", "osType"), "", ""},
		{29, vm("storageProfile", "osDisk", "diskSizeGB"), "", ""},
		{32768, vm("storageProfile", "osDisk", "diskSizeGB"), "", ""},
		{[]any{disk(0, 1), disk(0, 1)}, vm("storageProfile", "dataDisks"), vmProfile + "storageProfile.dataDisks[1].lun", ""},
		{[]any{disk(64, 1)}, vm("storageProfile", "dataDisks"), vmProfile + "storageProfile.dataDisks[0].lun", ""},
		{[]any{disk(0, 0)}, vm("storageProfile", "dataDisks"), vmProfile + "storageProfile.dataDisks[0].diskSizeGB", ""},
		{[]any{nic(true, "a"), nic(true, "b")}, vm("networkProfile", "networkInterfaceConfigurations"), "", ""},
		{[]any{nic(true, "a"), nic(false, "A")}, vm("networkProfile", "networkInterfaceConfigurations"), vmProfile + "networkProfile.networkInterfaceConfigurations[1].name", ""},
		{[]any{map[string]any{"keyData": "ssh-rsa AAAA"}}, vm("osProfile", "linuxConfiguration", "ssh", "publicKeys"), osProfile + "linuxConfiguration.ssh.publicKeys[0].keyData", ""},
		{[]any{}, vm("osProfile", "linuxConfiguration", "ssh", "publicKeys"), "", ""},
		{false, vm("osProfile", "linuxConfiguration", "disablePasswordAuthentication"), osProfile + "adminPassword", ""},
		{map[string]any{"timeZone": "UTC"}, vm("osProfile", "windowsConfiguration"), "", ""},
		{map[string]any{"<": "x"}, []string{"tags"}, "", "InvalidTagNameCharacters"},
		{"nonsense", vm("storageProfile", "imageReference", "id"), "", "LinkedInvalidPropertyId"},
	} {
		t.Run(strings.Join(tt.path, "."), func(t *testing.T) {
			_, err := tryPut(nil, edit(t, createBody, tt.value, tt.path...))
			e, ok := errors.AsType[*resource.Error](err)
			if !ok {
				t.Fatalf("value %v: got %v, want an error for users", tt.value, err)
			}
			target, code := tt.target, tt.code
			if target == "" {
				target = strings.Join(tt.path, ".")
			}
			if code == "" {
				code = "InvalidParameter"
			}
			if e.Target != target || e.Code != code || e.Kind != resource.Invalid || len(e.Details) > 0 {
				t.Errorf("value %v: got %v, want one problem with code %s at %s", tt.value, err, code, target)
			}
		})
	}
}

func TestAllProblemsAreReportedTogether(t *testing.T) {
	_, err := tryPut(nil, `{"location":"eastus","sku":{"name":"A","capacity":5000},"zones":["9"]}`)
	e, ok := errors.AsType[*resource.Error](err)
	if !ok {
		t.Fatal(err)
	}
	var got []string
	for _, d := range e.Details {
		got = append(got, d.Target)
	}
	slices.Sort(got)
	want := []string{"properties.upgradePolicy", "properties.virtualMachineProfile", "sku.capacity", "zones"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestWhatCannotChangeIsAConflict(t *testing.T) {
	first := put(t, nil, edit(t, edit(t, createBody, []string{"1", "2"}, "zones"), 5, "properties", "platformFaultDomainCount"))
	for path, body := range map[string]string{
		"location":                            "{\"location\":\"westus\"}",
		"zones":                               `{"zones":["1","3"]}`,
		"properties.platformFaultDomainCount": `{"properties":{"platformFaultDomainCount":1}}`,
		"properties.singlePlacementGroup":     `{"properties":{"singlePlacementGroup":true}}`,
		osProfile + "computerNamePrefix":      `{"properties":{"virtualMachineProfile":{"osProfile":{"computerNamePrefix":"other"}}}}`,
		vmProfile + "storageProfile.osDisk.managedDisk.storageAccountType": `{"properties":{"virtualMachineProfile":{"storageProfile":{"osDisk":{"managedDisk":{"storageAccountType":"standard_lrs"}}}}}}`,
	} {
		_, err := tryPut(first, body)
		e, ok := errors.AsType[*resource.Error](err)
		if !ok || e.Kind != resource.Conflict || e.Code != "PropertyChangeNotAllowed" || e.Target != path {
			t.Errorf("PUT %s: got %v, want PropertyChangeNotAllowed at %s", body, err, path)
		}
	}
	const kept = `{"properties":{"platformFaultDomainCount":null,"singlePlacementGroup":null,"virtualMachineProfile":{"storageProfile":{"osDisk":{"managedDisk":{"storageAccountType":null}}}}}}`
	for _, body := range []string{kept, `{"location":"East US"}`, `{"zones":["1","2","3"]}`, `{"properties":{"platformFaultDomainCount":5}}`} {
		if _, err := tryPut(first, body); err != nil {
			t.Errorf("PUT %s: %v", body, err)
		}
	}
}

func TestZonesAddedLaterKeepTheFaultDomains(t *testing.T) {
	first := put(t, nil, createBody)
	zonal := put(t, first, `{"zones":["1"]}`)
	if zonal.Set.FaultDomains != 5 || !zonal.Set.SinglePlacementGroup {
		t.Errorf("got %d fault domains and single placement group %v, want what was there: 5 and true", zonal.Set.FaultDomains, zonal.Set.SinglePlacementGroup)
	}
	created := put(t, nil, edit(t, createBody, []string{"1"}, "zones"))
	if created.Set.FaultDomains != 1 || created.Set.SinglePlacementGroup {
		t.Errorf("a set made with zones has %d fault domains and single placement group %v, want 1 and false", created.Set.FaultDomains, created.Set.SinglePlacementGroup)
	}
}

func TestUserDataIsShownOnDemandOnly(t *testing.T) {
	c := put(t, nil, edit(t, createBody, "dXNlcg==", "properties", "virtualMachineProfile", "userData"))
	if strings.Contains(render(t, c), "dXNlcg==") {
		t.Error("userData is shown unasked")
	}
	raw, err := compute.RenderScaleSet(c.Set, c.Model, compute.SetView{UserData: true})
	if err != nil || dig(t, string(raw), vmProfile+"userData") != "dXNlcg==" {
		t.Errorf("userData is not shown: %s, %v", raw, err)
	}
}
