package image_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/vmss"
)

func TestListingsAreSortedAndMatchInAnyCase(t *testing.T) {
	w := newWorld(t)
	c := w.list("images:\n" + own("zeta:b:c:1") + own("Acme:web:prod:10.0") + own("acme:Web:Prod:9.0") +
		own("acme:web:canary:1") + own("acme:api:x:1")).open()
	for _, tt := range []struct {
		name      string
		got, want []string
	}{
		{"publishers", c.Publishers(), []string{"Acme", "zeta"}},
		{"offers", c.Offers("ACME"), []string{"api", "web"}},
		{"SKUs", c.SKUs("acme", "WEB"), []string{"canary", "Prod"}},
		{"versions", c.Versions("acme", "web", "prod"), []string{"9.0", "10.0"}},
		{"offers of nobody", c.Offers("nobody"), []string{}},
		{"offers of no name", c.Offers(""), []string{}},
		{"SKUs of another's offer", c.SKUs("zeta", "web"), []string{}},
		{"versions of nothing", c.Versions("acme", "web", "none"), []string{}},
	} {
		// Names that differ in letter case are one; which spelling is shown is not promised.
		if diff := cmp.Diff(tt.want, tt.got, cmp.Comparer(strings.EqualFold)); diff != "" || tt.got == nil {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
}

func TestAliasesStandForTheLatestVersion(t *testing.T) {
	w := newWorld(t)
	c := w.list("images:\n" + own("acme:web:prod:1.0", "alias: Web") + own("acme:web:prod:2.0", "alias: WEB") + own("acme:api:prod:2.0")).open()
	want := map[string]map[string]vmss.Image{
		"Linux":   {"Web": {Publisher: "acme", Offer: "web", SKU: "prod", Version: "latest"}},
		"Windows": {},
	}
	if diff := cmp.Diff(want, c.Aliases()); diff != "" {
		t.Error(diff)
	}
}

func TestTheSimulatorKnowsTheAliasesOfAz(t *testing.T) {
	w := newWorld(t)
	w.opts.Simulated = true
	c := w.open()
	seen := map[string]string{}
	for os, names := range map[string]string{
		"Linux": "CentOS Debian Flatcar openSUSE-Leap RHEL SLES UbuntuLTS " +
			"CentOS85Gen2 Debian11 FlatcarLinuxFreeGen2 OpenSuseLeap154Gen2 RHELRaw8LVMGen2 SuseSles15SP3 Ubuntu2204",
		"Windows": "Win2022Datacenter Win2022AzureEditionCore Win2019Datacenter Win2016Datacenter Win2012R2Datacenter Win2012Datacenter Win2008R2SP1",
	} {
		for alias := range strings.FieldsSeq(names) {
			ref, ok := c.Aliases()[os][alias]
			if !ok {
				t.Errorf("there is no %s", alias)
				continue
			}
			got, err := c.Resolve(ref)
			if err != nil || got.OSType != os || got.SizeGB == 0 || !got.NeedsCredentials || !c.Has(got.Digest) {
				t.Errorf("%s: got %+v, %v", alias, got, err)
			}
			urn := ref.Publisher + ref.Offer + ref.SKU
			if other := seen[got.Digest]; other != "" && other != urn {
				t.Errorf("%s has the digest of %s", urn, other)
			}
			seen[got.Digest] = urn
		}
	}
	if versions := c.Versions("canonical", "0001-com-ubuntu-server-jammy", "22_04-lts-gen2"); len(versions) < 2 {
		t.Errorf("there is nothing to upgrade from: %q", versions)
	}
}

func TestTheSimulatorNeedsNoFiles(t *testing.T) {
	w := newWorld(t)
	w.opts.Simulated = true
	w.opts.Allowed = nil
	w.list("images:\n- {urn: 'Canonical:own:x:1', alias: Ubuntu2204, osType: Linux, file: /none/disk, format: raw}\n")
	c := w.open()
	if got := w.resolve(c, "muster:tiny:debian:latest"); !strings.HasPrefix(got.Exact, "1.") || got.NeedsCredentials || !c.Has(got.Digest) {
		t.Errorf("got %+v", got)
	}
	own := w.resolve(c, "canonical:own:x:latest")
	if !c.Has(own.Digest) || own.SizeGB == 0 {
		t.Errorf("got %+v", own)
	}
	if got := c.Aliases()["Linux"]["Ubuntu2204"].Offer; got != "own" {
		t.Errorf("the own alias stands for %s", got)
	}
	if faults := c.Faults(); len(faults) != 0 {
		t.Error(faults)
	}
	_, err := c.Files(t.Context(), own.Digest)
	wantError(t, err, resource.NotFound, "ImageNotFound")

	w.guest("1.5.0")
	if got := w.resolve(w.open(), "muster:tiny:debian:latest"); got.Exact != "1.5.0" {
		t.Errorf("got %+v, want the version that is built", got)
	}
}
