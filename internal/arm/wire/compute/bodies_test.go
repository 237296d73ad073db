package compute_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/muster-vm/muster/internal/arm/wire/compute"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/vmss"
)

// key is an SSH public key that is well-formed; nobody has its other half.
const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g me@home"

var (
	id    = resource.In("11111111-1111-1111-1111-111111111111", "rg1", "Microsoft.Compute", "virtualMachineScaleSets", "ss1")
	image = vmss.Image{
		Publisher: "Canonical", Offer: "0001-com-ubuntu-server-jammy", SKU: "22_04-lts-gen2", Version: "latest",
		Exact: "22.04.202611010", OSType: "Linux", SizeGB: 30, NeedsCredentials: true,
	}
	created = time.Date(2026, 1, 31, 8, 0, 0, 123456700, time.UTC)
)

func input() compute.Input { return compute.Input{ID: id, Location: "eastus", Image: image} }

// createBody is what az vmss create makes of its template, with the template's
// functions resolved.
const createBody = `{"location": "eastus", "tags": {}, "properties": {"overprovision": true,
 "upgradePolicy": {"mode": "manual", "rollingUpgradePolicy": {}}, "singlePlacementGroup": null,
 "virtualMachineProfile": {"storageProfile": {"osDisk": {"createOption": "FromImage", "caching": "ReadWrite", "managedDisk": {"storageAccountType": null}},
  "imageReference": {"publisher": "Canonical", "offer": "0001-com-ubuntu-server-jammy", "sku": "22_04-lts-gen2", "version": "latest"}},
  "osProfile": {"computerNamePrefix": "ss11c1fe4", "adminUsername": "azureuser", "linuxConfiguration": {"disablePasswordAuthentication": true,
   "ssh": {"publicKeys": [{"path": "/home/azureuser/.ssh/authorized_keys", "keyData": "` + key + `"}]}}},
  "networkProfile": {"networkInterfaceConfigurations": [{"name": "ss11c1fe4Nic", "properties": {"ipConfigurations": [{"name": "ss11c1fe4IPConfig",
   "properties": {"subnet": {"id": "/subscriptions/s/resourceGroups/rg1/providers/Microsoft.Network/virtualNetworks/ss1VNET/subnets/ss1Subnet"},
   "loadBalancerBackendAddressPools": [{"id": "/subscriptions/s/resourceGroups/rg1/providers/Microsoft.Network/loadBalancers/ss1LB/backendAddressPools/ss1LBBEPool"}],
   "loadBalancerInboundNatPools": [{"id": "/subscriptions/s/resourceGroups/rg1/providers/Microsoft.Network/loadBalancers/ss1LB/inboundNatPools/ss1LBNatPool"}]}}],
   "primary": "true"}}]}}, "orchestrationMode": "Uniform"}, "sku": {"name": "Standard_DS1_v2", "capacity": 2}}`

// put makes the current document out of a body, on top of another or of none.
func put(t *testing.T, current *compute.Current, body string) *compute.Current {
	t.Helper()
	next, err := tryPut(current, body)
	if err != nil {
		t.Fatalf("PUT %s: %v", body, err)
	}
	return next
}

func tryPut(current *compute.Current, body string) (*compute.Current, error) {
	d, err := compute.Put(current, []byte(body))
	if err != nil {
		return nil, err
	}
	return parse(d)
}

func parse(d *compute.Draft) (*compute.Current, error) {
	set, model, err := d.Parse(input())
	if err != nil {
		return nil, err
	}
	if set.UID == "" {
		set.UID, set.Created = "22222222-2222-2222-2222-222222222222", created
	}
	return &compute.Current{Set: set, Model: model}, nil
}

func render(t *testing.T, c *compute.Current) string {
	t.Helper()
	raw, err := compute.RenderScaleSet(c.Set, c.Model, compute.SetView{Provisioning: vmss.Succeeded, ETag: "7"})
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// edit changes one member of a body; a nil value removes it.
func edit(t *testing.T, body string, v any, path ...string) string {
	t.Helper()
	var doc map[string]any
	if err := json.Unmarshal([]byte(body), &doc); err != nil {
		t.Fatal(err)
	}
	at := doc
	for _, name := range path[:len(path)-1] {
		next, ok := at[name].(map[string]any)
		if !ok {
			next = map[string]any{}
			at[name] = next
		}
		at = next
	}
	last := path[len(path)-1]
	if at[last] = v; v == nil {
		delete(at, last)
	}
	raw, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// dig returns the member at a dotted path of an answer.
func dig(t *testing.T, raw, path string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(raw), &v); err != nil {
		t.Fatal(err)
	}
	for name := range strings.SplitSeq(path, ".") {
		m, _ := v.(map[string]any)
		v = m[name]
	}
	return v
}
