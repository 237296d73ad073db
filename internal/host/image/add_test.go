package image_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/muster-vm/muster/internal/host/image"
)

func TestAnImageThatIsAddedIsFoundByItsDigestAfterARestart(t *testing.T) {
	w := newWorld(t)
	w.opts.Pins = w.path("pins")
	c := w.list("images: []\n").open()
	sum := w.write("half.qcow2", "a disk")
	w.write("vmlinux", "a kernel")
	alone, err := c.Add(t.Context(), image.Files{Disk: w.path("half.qcow2"), Format: "qcow2"})
	if err != nil || alone != "sha256:"+sum {
		t.Errorf("Add: %s, %v, want the SHA-256 of the disk", alone, err)
	}
	booted, err := c.Add(t.Context(), image.Files{Disk: w.path("half.qcow2"), Format: "qcow2", Kernel: w.path("vmlinux"), CommandLine: "quiet", Agent: true})
	if err != nil || booted == alone {
		t.Errorf("Add: %s, %v, want another digest for another way to boot", booted, err)
	}
	if again, err := c.Add(t.Context(), image.Files{Disk: w.path("half.qcow2"), Format: "qcow2"}); again != alone || err != nil {
		t.Errorf("added again it is %s, %v", again, err)
	}
	if other, err := c.Add(t.Context(), image.Files{Disk: w.path("half.qcow2"), Format: "qcow2", Agent: true}); other == alone || err != nil {
		t.Errorf("with an agent it is %s, %v, want another image", other, err)
	}
	os.Remove(w.path("half.qcow2"))
	c = w.list("images: []\n").open()
	for digest, agent := range map[string]bool{alone: false, booted: true} {
		files, err := c.Files(t.Context(), digest)
		if err != nil || read(t, files.Disk) != "a disk" || files.Agent != agent || (files.Kernel != "") != agent {
			t.Errorf("after a restart: %+v, %v", files, err)
		}
	}
}

func TestImagesAreReleasedWhileOthersAreAdded(t *testing.T) {
	w := newWorld(t)
	w.opts.Pins = w.path("pins")
	c := w.list("images: []\n").open()
	w.write("half.qcow2", "a disk")
	digest, err := c.Add(t.Context(), image.Files{Disk: w.path("half.qcow2"), Format: "qcow2"})
	if err != nil {
		t.Fatal(err)
	}
	half := filepath.Join(w.opts.Pins, ".new-1")
	if err := os.Mkdir(half, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := c.Release(func(string) bool { return false }); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(half); err != nil {
		t.Errorf("what is being added went: %v", err)
	}
	if _, err := c.Files(t.Context(), digest); err == nil {
		t.Error("what nobody keeps is there")
	}
}

func TestWhereImagesHaveNoFilesThoseThatAreAddedAreKnown(t *testing.T) {
	c, err := image.Open(t.Context(), image.Options{Simulated: true})
	if err != nil {
		t.Fatal(err)
	}
	digest := "sha256:" + strings.Repeat("0", 64)
	if c.Has(digest) {
		t.Error("an image is known before it was added")
	}
	if c.Know(digest); !c.Has(digest) {
		t.Error("an image that was added is not known")
	}
}
