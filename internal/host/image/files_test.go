package image_test

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/muster-vm/muster/internal/host/image"
	"github.com/muster-vm/muster/internal/resource"
)

func TestAFileThatChangedIsAnotherImage(t *testing.T) {
	for _, tt := range []struct {
		name, says string // says is empty for a change that does not matter
		change     func(w *world)
	}{
		{"content of the same size", "has changed", func(w *world) { w.write("images/disk.raw", strings.Repeat("y", 1000)); w.touch("images/disk.raw") }},
		{"size", "has changed", func(w *world) { w.write("images/disk.raw", "x") }},
		{"gone", "is missing", func(w *world) { os.Remove(w.path("images/disk.raw")) }},
		{"a directory", "is not a regular file", func(w *world) { os.Remove(w.path("images/disk.raw")); w.write("images/disk.raw/x", "") }},
		{"a link", "is not a regular file", func(w *world) {
			os.Remove(w.path("images/disk.raw"))
			w.write("images/other", strings.Repeat("x", 1000))
			w.link("images/other", "images/disk.raw")
		}},
		{"time only", "", func(w *world) { w.touch("images/disk.raw") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			c := w.list("images:\n" + own("a:b:c:1")).open()
			digest := w.resolve(c, "a:b:c:1").Digest
			tt.change(w)
			files, err := c.Files(t.Context(), digest)
			if tt.says != "" {
				wantError(t, err, resource.NotFound, "ImageNotFound", w.path("images/disk.raw"), tt.says, w.opts.File)
			} else if err != nil || files.Disk == "" {
				t.Errorf("got %v, %v", files, err)
			}
		})
	}
}

func TestAnImageWithUnusableFilesIsListedButNotResolved(t *testing.T) {
	for _, tt := range []struct{ name, keys, says string }{
		{"missing", "file: images/none, format: raw", "images/none is missing"},
		{"directory", "file: images, format: raw", "images is not a regular file"},
		{"dangling link", "file: images/dangling, format: raw", "images/dangling is missing"},
		{"digest", "file: images/disk.raw, format: raw, sha256: '" + strings.Repeat("0", 64) + "'", "instead of 0000"},
		{"too small", "file: images/big.qcow2, format: qcow2, sizeGB: 2", "needs 3 GB, more than its sizeGB of 2"},
		{"not qcow2", "file: images/disk.raw, format: qcow2", "is not a qcow2 disk"},
		{"empty", "file: images/empty, format: qcow2", "is not a qcow2 disk"},
		{"not raw", "file: images/big.qcow2, format: raw", "is a qcow2 disk and not a raw one"},
		{"backing file", "file: images/overlay.qcow2, format: qcow2", "is an overlay of another disk"},
		{"external data", "file: images/external.qcow2, format: qcow2", "keeps its data in another file"},
		{"absurd size", "file: images/absurd.qcow2, format: qcow2", "a size that no disk has"},
		{"kernel's digest", "kernel: images/disk.raw, sizeGB: 1, kernelSHA256: '" + strings.Repeat("0", 64) + "'", "instead of 0000"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.write("images/empty", "")
			w.write("images/big.qcow2", qcow2(3<<30, 0, 0))
			w.write("images/overlay.qcow2", qcow2(3<<30, 400, 0))
			w.write("images/external.qcow2", qcow2(3<<30, 0, 4))
			w.write("images/absurd.qcow2", qcow2(1<<63, 0, 0))
			w.link("etc/none", "images/dangling")
			c := w.list("images:\n" + own("a:b:c:1") + fmt.Sprintf("- {urn: 'a:b:c:2', osType: Linux, %s}\n", tt.keys)).open()
			if got := c.Versions("a", "b", "c"); len(got) != 2 {
				t.Errorf("got versions %q", got)
			}
			// The one before must not be taken for the latest in silence.
			_, err := c.Resolve(ref("a:b:c:latest"))
			wantError(t, err, resource.NotFound, "ImageNotFound", "a:b:c:2", tt.says, w.opts.File)
			if len(c.Faults()) != 1 {
				t.Errorf("got faults %v, want one", c.Faults())
			}
			w.resolve(c, "a:b:c:1")
		})
	}
}

func TestFilesOutsideTheAllowedDirectoriesAreRefused(t *testing.T) {
	for _, tt := range []struct{ name, file, says string }{
		{"absolute", "/etc/shadow", "/etc/shadow is outside"},
		{"absolute and missing", "/etc/none", "/etc/none is outside"},
		{"dots", "images/../secret", "secret is outside"},
		{"neighbour", "images-too/disk", "images-too/disk is outside"},
		{"link", "images/link", "images/link leads to"},
		{"link on the way", "images/out/secret", "images/out/secret leads to"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.write("secret", "s")
			w.write("images-too/disk", "s")
			w.link("secret", "images/link")
			w.link("", "images/out")
			w.list(fmt.Sprintf("images:\n- {urn: 'a:b:c:1', osType: Linux, file: %q, format: raw}\n", tt.file))
			_, err := image.Open(t.Context(), w.opts)
			wantError(t, err, resource.Invalid, "InvalidConfig", w.opts.File, "images[0].file", tt.says, "("+w.images+")", "images.allowed")

			w.opts.Allowed = nil
			_, err = image.Open(t.Context(), w.opts)
			wantError(t, err, resource.Invalid, "InvalidConfig", "images.allowed", "is empty")
			w.opts.Allowed = []string{""}
			if _, err = image.Open(t.Context(), w.opts); err == nil {
				t.Error("an empty name allows a directory")
			}
		})
	}
}

func TestLinksWithinTheAllowedDirectoriesAreFollowed(t *testing.T) {
	w := newWorld(t)
	w.link("images/disk.raw", "images/current")
	w.link("images", "srv")
	w.opts.Allowed = []string{w.path("srv")}
	w.list("images:\n- {urn: 'a:b:c:1', osType: Linux, file: srv/current, format: raw}\n" +
		"- {urn: 'a:b:c:2', osType: Linux, file: images/current, format: raw}\n")
	c := w.open()
	for _, urn := range []string{"a:b:c:1", "a:b:c:2"} {
		if f, err := c.Files(t.Context(), w.resolve(c, urn).Digest); err != nil || f.Disk != w.path("images/disk.raw") {
			t.Errorf("%s: got %v, %v", urn, f, err)
		}
	}
}

func TestAKernelIsAnImageTogetherWithAllThatIsBootedWithIt(t *testing.T) {
	const yaml = "images:\n- {urn: 'a:b:c:1', osType: Linux, kernel: images/k, initrd: images/i, cmdline: %s, disk: images/disk.raw, format: raw}\n"
	digests := map[string]string{}
	for name, change := range map[string]func(w *world){
		"as it is": func(*world) {},
		"kernel":   func(w *world) { w.write("images/k", "other") },
		"initrd":   func(w *world) { w.write("images/i", "other") },
		"disk":     func(w *world) { w.write("images/disk.raw", "other") },
		"cmdline":  func(w *world) { w.list(fmt.Sprintf(yaml, "other")) },
	} {
		w := newWorld(t)
		w.write("images/k", "k")
		w.write("images/i", "i")
		w.list(fmt.Sprintf(yaml, "quiet"))
		change(w)
		c := w.open()
		digest := w.resolve(c, "a:b:c:1").Digest
		if other, taken := digests[digest]; taken {
			t.Errorf("%q and %q have the same digest", name, other)
		}
		digests[digest] = name
		f, err := c.Files(t.Context(), digest)
		if err != nil || f.Kernel != w.path("images/k") || f.Initrd != w.path("images/i") || f.Disk != w.path("images/disk.raw") {
			t.Errorf("%s: got %+v, %v", name, f, err)
		}
	}
}

func TestTheSameContentElsewhereServesWhileOneFileIsGone(t *testing.T) {
	w := newWorld(t)
	w.write("images/copy.raw", strings.Repeat("x", 1000))
	c := w.list("images:\n" + own("a:b:c:1") + "- {urn: 'a:b:c:2', osType: Linux, file: images/copy.raw, format: raw}\n").open()
	digest := w.resolve(c, "a:b:c:1").Digest
	os.Remove(w.path("images/disk.raw"))
	if f, err := c.Files(t.Context(), digest); err != nil || f.Disk != w.path("images/copy.raw") {
		t.Errorf("got %v, %v", f, err)
	}
}

func TestFilesMayBeAskedForAtTheSameTime(t *testing.T) {
	w := newWorld(t)
	c := w.list("images:\n" + own("a:b:c:1")).open()
	digest := w.resolve(c, "a:b:c:1").Digest
	w.touch("images/disk.raw")
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if _, err := c.Files(t.Context(), digest); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}
