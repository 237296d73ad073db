package image_test

import (
	"strings"
	"testing"

	"github.com/muster-vm/muster/internal/host/image"
	"github.com/muster-vm/muster/internal/resource"
)

func TestABadCatalogueFileNamesFileAndKey(t *testing.T) {
	const ok = "urn: 'a:b:c:1', osType: Linux, "
	const disk = "file: images/disk.raw, format: raw"
	for _, tt := range []struct{ name, yaml, says string }{
		{"no YAML", "images: [", "did not find expected node content"},
		{"a list", "[]", "it is an array where an object belongs"},
		{"an unknown key at the top", "image: []", `unknown key "image"`},
		{"no list", "images: {}", "images is an object where a list belongs"},
		{"a key twice", "images: []\nimages: []", "already"},
		{"an unknown key", "images: [{" + ok + disk + ", formt: raw}]", `images[0]: unknown key "formt"`},
		{"text for a number", "images: [{" + ok + disk + ", sizeGB: big}]", "images[0]: sizeGB is a string where a whole number belongs"},
		{"a number for text", "images: [{urn: 5}]", "images[0]: urn is a number where text (in quotes) belongs"},
		{"text for a choice", "images: [{" + ok + disk + ", agent: maybe}]", "images[0]: agent is a string where true or false belongs"},
		{"nothing", "images: [null]", `images[0].urn: "" is not publisher:offer:sku:version`},
		{"no URN", "images: [{osType: Linux, " + disk + "}]", `images[0].urn: "" is not publisher:offer:sku:version`},
		{"a short URN", "images: [{urn: 'a:b:c', osType: Linux, " + disk + "}]", `images[0].urn: "a:b:c" is not`},
		{"a blank in a URN", "images: [{urn: 'a:b b:c:1', osType: Linux, " + disk + "}]", "images[0].urn"},
		{"a version that moves", "images: [{urn: 'a:b:c:latest', osType: Linux, " + disk + "}]", `images[0].urn: the version "latest" is not numbers`},
		{"a version too long", "images: [{urn: 'a:b:c:1.2.3.4.5', osType: Linux, " + disk + "}]", "is not numbers"},
		{"a URN twice", "images:\n" + own("a:b:c:1") + own("A:b:c:1"), "images[1].urn: A:b:c:1 is listed twice"},
		{"no OS type", "images: [{urn: 'a:b:c:1', " + disk + "}]", `images[0].osType: "" is not Linux or Windows`},
		{"another OS type", "images: [{urn: 'a:b:c:1', osType: BSD, " + disk + "}]", `images[0].osType: "BSD" is not Linux or Windows`},
		{"no format", "images: [{" + ok + "file: images/disk.raw}]", `images[0].format: "" is not qcow2 or raw`},
		{"another format", "images: [{" + ok + "file: images/disk.raw, format: vhd}]", `images[0].format: "vhd" is not qcow2 or raw`},
		{"a format of nothing", "images: [{" + ok + "kernel: images/disk.raw, sizeGB: 1, format: raw}]", "images[0].format: there is no disk"},
		{"no file", "images: [{" + ok + "format: raw}]", "images[0]: it needs either file"},
		{"file and kernel", "images: [{" + ok + disk + ", kernel: images/disk.raw}]", "images[0]: it needs either file"},
		{"initrd without kernel", "images: [{" + ok + disk + ", initrd: images/disk.raw}]", "images[0].initrd: it goes with kernel only"},
		{"cmdline without kernel", "images: [{" + ok + disk + ", cmdline: quiet}]", "images[0].cmdline: it goes with kernel only"},
		{"disk without kernel", "images: [{" + ok + disk + ", disk: images/disk.raw}]", "images[0].disk: it goes with kernel only"},
		{"no size of a blank disk", "images: [{" + ok + "kernel: images/disk.raw}]", "images[0].sizeGB: an image without a disk"},
		{"a negative size", "images: [{" + ok + disk + ", sizeGB: -1}]", "images[0].sizeGB: -1 is not between 1 and 4095"},
		{"a size too large", "images: [{" + ok + disk + ", sizeGB: 4096}]", "images[0].sizeGB: 4096 is not between"},
		{"no digest", "images: [{" + ok + disk + ", sha256: abc}]", `images[0].sha256: "abc" is not a SHA-256`},
		{"a digest of nothing", "images: [{" + ok + "kernel: images/disk.raw, sizeGB: 1, sha256: " + strings.Repeat("a", 64) + "}]", "images[0].sha256: there is no disk"},
		{"a bad alias", "images: [{" + ok + disk + ", alias: 'My image'}]", `images[0].alias: "My image" may have`},
		{"an alias of two", "images:\n" + own("a:b:c:1", "alias: X") + own("a:b:d:1", "alias: x"), "images[1].alias: x stands for a:b:c:1 already"},
		{"one content run in two ways", "images:\n" + own("a:b:c:1", "agent: true") + own("a:b:d:1"), "a:b:c:1 and a:b:d:1 have the same content and differ in format or agent"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.list(tt.yaml)
			_, err := image.Open(t.Context(), w.opts)
			if err == nil {
				t.Fatal("it is accepted")
			}
			wantError(t, err, resource.Invalid, "InvalidConfig", w.opts.File)
			if !strings.Contains(problems(err), tt.says) {
				t.Errorf("got %s\nwant %q", problems(err), tt.says)
			}
		})
	}
}

func TestAllProblemsOfACatalogueFileAreReported(t *testing.T) {
	w := newWorld(t)
	w.list("images:\n- {urn: x}\n" + own("a:b:c:1") + own("a:b:c:1"))
	_, err := image.Open(t.Context(), w.opts)
	wantError(t, err, resource.Invalid, "InvalidConfig", w.opts.File, "has 4 problems")
	for _, key := range []string{"images[0].urn", "images[0]:", "images[0].osType", "images[2].urn"} {
		if !strings.Contains(problems(err), key) {
			t.Errorf("%s is not reported: %s", key, problems(err))
		}
	}
}

func TestAMissingCatalogueFileIsRefused(t *testing.T) {
	w := newWorld(t)
	w.opts.File = w.path("none.yaml")
	_, err := image.Open(t.Context(), w.opts)
	wantError(t, err, resource.Invalid, "InvalidConfig", w.opts.File+" is missing", "images.catalogue")
}

func TestAnEmptyCatalogueFileIsFine(t *testing.T) {
	w := newWorld(t)
	if got := w.list("# nothing yet\n").open().Publishers(); len(got) != 0 {
		t.Errorf("got %q", got)
	}
}

func TestJSONIsACatalogueFileToo(t *testing.T) {
	w := newWorld(t)
	sum := w.write("images/disk.raw", "content")
	c := w.list(`{"images": [{"urn": "a:b:c:1", "osType": "Windows", "file": "` + w.path("images/disk.raw") +
		`", "format": "raw", "sizeGB": 127, "sha256": "sha256:` + strings.ToUpper(sum) + `"}]}`).open()
	got := w.resolve(c, "a:b:c:1")
	if got.Digest != "sha256:"+sum || got.OSType != "Windows" || got.SizeGB != 127 || !got.NeedsCredentials {
		t.Errorf("got %+v", got)
	}
}
