package image_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-vm/muster/internal/host/image"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/vmss"
)

const target = "properties.virtualMachineProfile.storageProfile.imageReference"

func TestResolveFillsInWhatAReferenceMeans(t *testing.T) {
	w := newWorld(t)
	sum := w.write("images/web.qcow2", qcow2(2<<30+1, 0, 0))
	c := w.list("images:\n- {urn: 'Acme:Web:Prod:1.2.3', osType: linux, file: images/web.qcow2, format: QCOW2, agent: true, needsCredentials: false}").open()
	want := vmss.Image{
		Publisher: "Acme", Offer: "Web", SKU: "Prod", Exact: "1.2.3", Digest: "sha256:" + sum, OSType: "Linux", SizeGB: 3,
	}
	for _, version := range []string{"latest", "Latest", "", "1.2.3"} {
		want.Version = version
		if diff := cmp.Diff(want, w.resolve(c, "aCME:wEB:pROD:"+version)); diff != "" {
			t.Errorf("version %q: %s", version, diff)
		}
	}
	files, err := c.Files(t.Context(), want.Digest)
	if diff := cmp.Diff(image.Files{Disk: w.path("images/web.qcow2"), Format: "qcow2", Agent: true}, files); diff != "" || err != nil {
		t.Error(diff, err)
	}
	if !c.Has(want.Digest) || c.Has("sha256:other") {
		t.Error("Has does not tell images apart")
	}
}

func TestLatestIsTheHighestVersionByNumber(t *testing.T) {
	for _, tt := range []struct{ low, high string }{
		{"9.0.0", "10.0.0"},
		{"1.9", "1.10"},
		{"1.2", "1.2.0"},
		{"22.04.202301140", "22.04.202302140"},
		{"2022.01.13", "2022.11.4"},
		{"1.0", "1.00"}, // equal as numbers: as text, but always the same
		{"999999999999999998", "999999999999999999"},
	} {
		for _, yaml := range []string{own("a:b:c:"+tt.low) + own("a:b:c:"+tt.high), own("a:b:c:"+tt.high) + own("A:b:c:"+tt.low)} {
			w := newWorld(t)
			c := w.list("images:\n" + yaml).open()
			if got := w.resolve(c, "a:b:c:latest").Exact; got != tt.high {
				t.Errorf("of %s and %s, %s is latest", tt.low, tt.high, got)
			}
			if got := c.Versions("a", "B", "c"); !cmp.Equal(got, []string{tt.low, tt.high}) {
				t.Errorf("got versions %q", got)
			}
		}
	}
}

func TestWhatIsNotKnownIsNotFoundWithTheRemedy(t *testing.T) {
	w := newWorld(t)
	c := w.list("images:\n" + own("acme:web:prod:1.0") + own("acme:web:prod:2.0")).open()
	for _, tt := range []struct {
		name string
		ref  vmss.Image
		says []string
	}{
		{"publisher", ref("other:web:prod:latest"), []string{"other:web:prod:latest", "Known are acme:web:prod.", w.opts.File}},
		{"version", ref("acme:web:prod:3.0"), []string{"acme:web:prod:3.0", "Its versions are 1.0, 2.0."}},
		{"version as a number only", ref("acme:web:prod:1.00"), []string{"acme:web:prod:1.00"}},
		{"id", vmss.Image{ID: "/subscriptions/s/images/x"}, []string{"/subscriptions/s/images/x", "catalogue", "publisher, offer, sku and version"}},
		{"built-in guest", ref("Muster:Tiny:Debian:latest"), []string{"muster:tiny:debian", "make guest", "images.tiny"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := c.Resolve(tt.ref)
			wantError(t, err, resource.NotFound, "ImageNotFound", tt.says...)
			if e := err.(*resource.Error); e.Target != target { //nolint:errorlint // the interface promises it
				t.Errorf("got target %q", e.Target)
			}
		})
	}
	_, err := c.Resolve(vmss.Image{Publisher: "acme"})
	wantError(t, err, resource.Invalid, "InvalidParameter", "publisher, offer and sku")
	_, err = c.Files(t.Context(), "sha256:none")
	wantError(t, err, resource.NotFound, "ImageNotFound", "sha256:none", "put the old files back")
}

func TestWithoutACatalogueFileTheRemedySaysHowToNameOne(t *testing.T) {
	w := newWorld(t)
	_, err := w.open().Resolve(ref("Canonical:UbuntuServer:18.04-LTS:latest"))
	wantError(t, err, resource.NotFound, "ImageNotFound", "Canonical:UbuntuServer:18.04-LTS:latest", "No image is known here.", "images.catalogue")
}

func TestGetTakesURNsAndAliases(t *testing.T) {
	w := newWorld(t)
	c := w.list("images:\n" + own("acme:web:prod:1.0", "alias: Web") + own("acme:web:prod:2.0")).open()
	for urn, want := range map[string]string{"web": "2.0", "ACME:web:prod:1.0": "1.0", "acme:web:prod:latest": "2.0"} {
		if got, err := c.Get(urn); err != nil || got.Version != want || got.Publisher != "acme" {
			t.Errorf("%s is %v, %v", urn, got, err)
		}
	}
	_, err := c.Get("nothing")
	wantError(t, err, resource.NotFound, "ImageNotFound", "nothing", "acme:web:prod")
	_, err = c.Get("a:b")
	wantError(t, err, resource.Invalid, "InvalidParameter", "publisher:offer:sku:version")
}

func TestTheBuiltInGuestComesFromItsManifest(t *testing.T) {
	w := newWorld(t)
	w.guest("1.20260101.7")
	c := w.open()
	got := w.resolve(c, "muster:tiny:debian:latest")
	want := vmss.Image{
		Publisher: "muster", Offer: "tiny", SKU: "debian", Version: "latest", Exact: "1.20260101.7",
		Digest: got.Digest, OSType: "Linux", SizeGB: 1,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	files, err := c.Files(t.Context(), got.Digest)
	if diff := cmp.Diff(image.Files{
		Disk: w.path("tiny/disk.qcow2"), Format: "qcow2", Agent: true,
		Kernel: w.path("tiny/vmlinux"), Initrd: w.path("tiny/initrd"), CommandLine: "root=/dev/vda",
	}, files); diff != "" || err != nil {
		t.Error(diff, err)
	}
	if faults := c.Faults(); len(faults) != 0 {
		t.Error(faults)
	}
}

func TestADamagedBuiltInGuestIsNoErrorUntilItIsUsed(t *testing.T) {
	for _, tt := range []struct {
		name, says string
		damage     func(w *world)
	}{
		{"no directory", "does not hold the built-in guest", func(w *world) { w.opts.Tiny = w.path("nowhere") }},
		{"no manifest", "does not hold the built-in guest", func(w *world) { os.Remove(w.path("tiny/manifest.json")) }},
		{"manifest without a version", "does not hold the built-in guest", func(w *world) { w.write("tiny/manifest.json", `{"version":"x"}`) }},
		{"manifest without digests", "vmlinux has no SHA-256", func(w *world) { w.write("tiny/manifest.json", `{"version":"1.0"}`) }},
		{"missing kernel", "vmlinux is missing", func(w *world) { os.Remove(w.path("tiny/vmlinux")) }},
		{"other initrd", "initrd has the SHA-256", func(w *world) { w.write("tiny/initrd", "other") }},
		{"other command line", "cmdline does not have the SHA-256", func(w *world) { w.write("tiny/cmdline", "init=/bin/sh") }},
		{"a file elsewhere", "leads to", func(w *world) { os.Remove(w.path("tiny/initrd")); w.link("images/disk.raw", "tiny/initrd") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.guest("1.0.0")
			tt.damage(w)
			c := w.open()
			_, err := c.Resolve(ref("muster:tiny:debian:latest"))
			wantError(t, err, resource.NotFound, "ImageNotFound", "muster:tiny:debian", tt.says, "make guest", "images.tiny")
			if len(c.Faults()) != 1 {
				t.Errorf("got faults %v, want one", c.Faults())
			}
		})
	}
}

func TestTheGuestThatThisTreeBuildsIsUsable(t *testing.T) {
	dir, err := filepath.Abs("../../../.cache/tiny")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "manifest.json")); err != nil {
		t.Skip("the tiny guest is not built; make guest builds it")
	}
	w := newWorld(t)
	w.opts.Tiny = dir
	c := w.open()
	got := w.resolve(c, "muster:tiny:debian:latest")
	if files, err := c.Files(t.Context(), got.Digest); err != nil || files.Kernel == "" || files.CommandLine == "" || got.SizeGB != 1 {
		t.Errorf("got %+v, %+v, %v", got, files, err)
	}
}

func TestAnOwnImageTakesThePlaceOfABuiltInOne(t *testing.T) {
	w := newWorld(t)
	w.guest("1.0.0")
	c := w.list("images:\n" + own("Muster:tiny:debian:1.0.0") + own("muster:tiny:debian:0.9")).open()
	if got := c.Versions("muster", "tiny", "debian"); !cmp.Equal(got, []string{"0.9", "1.0.0"}) {
		t.Errorf("got versions %q", got)
	}
	if got := w.resolve(c, "muster:tiny:debian:1.0.0"); !got.NeedsCredentials {
		t.Error("got the built-in guest")
	}
}

func TestTheContextEndsHashing(t *testing.T) {
	w := newWorld(t)
	w.list("images:\n" + own("a:b:c:1"))
	ctx, stop := context.WithCancel(t.Context())
	stop()
	_, err := image.Open(ctx, w.opts)
	wantError(t, err, resource.Canceled, "")

	c := w.open()
	digest := w.resolve(c, "a:b:c:1").Digest
	w.touch("images/disk.raw")
	_, err = c.Files(ctx, digest)
	wantError(t, err, resource.Canceled, "")
	if _, err := c.Files(t.Context(), digest); err != nil {
		t.Errorf("the image is lost: %v", err)
	}
}
