package compute_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/muster-vm/muster/internal/arm/wire/compute"
	"github.com/muster-vm/muster/internal/arm/wire/compute/nic"
	"github.com/muster-vm/muster/internal/vmss"
)

// marker is in every secret that is generated, and in nothing else.
const marker = "S3cret-marker"

// maybe sets a member, or leaves it out.
func maybe[V any](t *rapid.T, m map[string]any, name string, g *rapid.Generator[V]) {
	if rapid.Bool().Draw(t, "has "+name) {
		m[name] = g.Draw(t, name)
	}
}

// bodies generates bodies of PUTs that create a set.
func bodies() *rapid.Generator[[]byte] {
	return rapid.Custom(func(t *rapid.T) []byte {
		zones := rapid.SampledFrom([][]string{nil, {"2"}, {"1", "3"}, {"3", "1", "2"}}).Draw(t, "zones")
		props := map[string]any{"upgradePolicy": map[string]any{"mode": rapid.SampledFrom([]string{"manual", "Automatic"}).Draw(t, "mode")}}
		maybe(t, props, "overprovision", rapid.Bool())
		maybe(t, props, "platformFaultDomainCount", rapid.SampledFrom([]int{1, 5}))
		maybe(t, props, "scaleInPolicy", rapid.Just(map[string]any{"rules": []string{"OldestVM"}, "forceDeletion": true}))
		if len(zones) > 1 {
			maybe(t, props, "zoneBalance", rapid.Bool())
		}
		props["virtualMachineProfile"] = profiles().Draw(t, "profile")
		body := map[string]any{
			"location": "eastus", "properties": props,
			"sku": map[string]any{"name": rapid.SampledFrom([]string{"Standard_B1s", "Standard_D2s_v3"}).Draw(t, "size"), "capacity": rapid.IntRange(0, 100).Draw(t, "capacity")},
		}
		if zones != nil {
			body["zones"] = zones
		}
		maybe(t, body, "tags", rapid.MapOfN(rapid.StringMatching(`[a-z]{1,5}`), rapid.String().Filter(func(s string) bool { return len(s) < 256 }), 0, 3))
		raw, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	})
}

func profiles() *rapid.Generator[map[string]any] {
	return rapid.Custom(func(t *rapid.T) map[string]any {
		os := map[string]any{"adminUsername": "azureuser", "adminPassword": marker}
		maybe(t, os, "computerNamePrefix", rapid.StringMatching(`[a-z][a-z0-9]{0,14}`))
		maybe(t, os, "customData", rapid.Just(base64.StdEncoding.EncodeToString([]byte(marker))))
		maybe(t, os, "linuxConfiguration", rapid.Just(map[string]any{"ssh": map[string]any{"publicKeys": []any{map[string]any{"keyData": key}}}}))
		image := rapid.SampledFrom([]map[string]any{
			{"publisher": "p", "offer": "o", "sku": "s", "version": "latest"},
			{"id": "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/images/i"},
		}).Draw(t, "image")
		disk := map[string]any{"createOption": "fromimage"}
		maybe(t, disk, "diskSizeGB", rapid.IntRange(30, 32767))
		maybe(t, disk, "caching", rapid.SampledFrom([]string{"None", "readonly", "ReadWrite"}))
		data := []any{}
		for lun := range rapid.IntRange(0, 3).Draw(t, "disks") {
			data = append(data, map[string]any{"lun": lun, "createOption": "Empty", "diskSizeGB": rapid.IntRange(1, 4095).Draw(t, "size")})
		}
		nics := []any{}
		for i := range rapid.IntRange(1, 3).Draw(t, "nics") {
			nics = append(nics, card(t, i))
		}
		vm := map[string]any{
			"osProfile": os, "storageProfile": map[string]any{"imageReference": image, "osDisk": disk, "dataDisks": data},
			"networkProfile": map[string]any{"networkInterfaceConfigurations": nics},
		}
		maybe(t, vm, "userData", rapid.Just(base64.StdEncoding.EncodeToString([]byte(marker))))
		return vm
	})
}

// card generates the card with a number, in one virtual network.
func card(t *rapid.T, i int) map[string]any {
	named := func(paths ...string) []any {
		var out []any
		for _, path := range paths {
			out = append(out, map[string]any{"id": "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/" + path})
		}
		return out
	}
	ip := map[string]any{"subnet": named("virtualNetworks/v/subnets/s")[0]}
	maybe(t, ip, "applicationSecurityGroups", rapid.Just(named("applicationSecurityGroups/a", "applicationSecurityGroups/b")))
	maybe(t, ip, "loadBalancerBackendAddressPools", rapid.Just(named("loadBalancers/l/backendAddressPools/p")))
	maybe(t, ip, "loadBalancerInboundNatPools", rapid.Just(named("loadBalancers/l/inboundNatPools/p")))
	public := map[string]any{"name": "own", "properties": map[string]any{"dnsSettings": map[string]any{"domainNameLabel": "shop"}}}
	maybe(t, public, "sku", rapid.SampledFrom([]any{map[string]any{"name": "standard"}, map[string]any{"name": "Basic", "tier": "Regional"}}))
	maybe(t, ip, "publicIPAddressConfiguration", rapid.Just(public))
	props := map[string]any{"primary": i == 0, "ipConfigurations": []any{map[string]any{"name": "ip", "properties": ip}}}
	maybe(t, props, "networkSecurityGroup", rapid.Just(named("networkSecurityGroups/n")[0]))
	maybe(t, props, "dnsSettings", rapid.Just(map[string]any{"dnsServers": []string{"10.0.0.9"}}))
	maybe(t, props, "enableIPForwarding", rapid.Bool())
	maybe(t, props, "enableAcceleratedNetworking", rapid.Bool())
	return map[string]any{"name": fmt.Sprint("nic", i), "properties": props}
}

// TestParsingWhatWasRenderedChangesNothing is the law that a PUT of a GET does
// nothing, and that both halves agree on every default.
func TestParsingWhatWasRenderedChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		body := bodies().Draw(t, "body")
		first, err := tryPut(nil, string(body))
		if err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		answer, err := compute.RenderScaleSet(first.Set, first.Model, compute.SetView{Provisioning: vmss.Succeeded})
		if err != nil {
			t.Fatal(err)
		}
		again, err := tryPut(first, string(answer))
		if err != nil {
			t.Fatalf("%s: %v", answer, err)
		}
		if diff := cmp.Diff(first, again); diff != "" {
			t.Fatalf("%s became other: %s", body, diff)
		}
		if same, err := tryPut(first, `{}`); err != nil || !cmp.Equal(first, same) {
			t.Fatalf("an empty PUT changed the set: %v", err)
		}
	})
}

// TestNoSecretIsEverWritten searches everything that can be written for secrets.
func TestNoSecretIsEverWritten(t *testing.T) {
	encoded := base64.StdEncoding.EncodeToString([]byte(marker))
	rapid.Check(t, func(t *rapid.T) {
		c, err := tryPut(nil, string(bodies().Draw(t, "body")))
		if err != nil {
			t.Fatal(err)
		}
		r, err := compute.NewInstanceRenderer(c.Set, vmss.Revision{Model: c.Model})
		if err != nil {
			t.Fatal(err)
		}
		set, err := compute.RenderScaleSet(c.Set, c.Model, compute.SetView{})
		if err != nil {
			t.Fatal(err)
		}
		cards, err := nic.NewRenderer(c.Set, c.Model, "")
		if err != nil {
			t.Fatal(err)
		}
		written := [][]byte{
			set, r.Render(running(0), compute.InstanceOptions{View: true}), c.Set.Document, c.Model.Document,
			fmt.Appendf(nil, "%v %+v %#v", c.Model.OS, c.Model, c.Model.OS.Secrets),
		}
		written = append(written, cards.NICs(nic.Input{})...)
		for _, raw := range written {
			if bytes.Contains(raw, []byte(marker)) || bytes.Contains(raw, []byte(encoded)) {
				t.Fatalf("a secret is in %s", raw)
			}
		}
	})
}

// TestRefusalsShowNoSecret feeds secrets that are wrong in every way.
func TestRefusalsShowNoSecret(t *testing.T) {
	for _, body := range []string{
		edit(t, createBody, marker+"\x00 lower", "properties", "virtualMachineProfile", "osProfile", "customData"),
		edit(t, createBody, []string{marker}, "properties", "virtualMachineProfile", "osProfile", "adminPassword"),
		edit(t, createBody, marker, "properties", "virtualMachineProfile", "userData"),
		createBody + marker,
	} {
		_, err := tryPut(nil, body)
		if err == nil || bytes.Contains([]byte(err.Error()), []byte(marker)) {
			t.Errorf("got %v, want a refusal without the secret", err)
		}
	}
}
