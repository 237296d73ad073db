package image_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/muster-vm/muster/internal/host/image"
)

func TestAnImageInUseStaysWhatItWas(t *testing.T) {
	for _, across := range []bool{false, true} {
		w := newWorld(t)
		w.opts.Pins = w.path("pins")
		if across {
			w.opts.Pins = filepath.Join(otherFilesystem(t), "pins")
		}
		c := w.list("images:\n" + own("a:b:c:1")).open()
		digest := w.resolve(c, "a:b:c:1").Digest
		before, err := c.Files(t.Context(), digest)
		if err != nil {
			t.Fatal(err)
		}
		content := read(t, before.Disk)
		os.Remove(w.path("images/disk.raw"))
		w.write("images/disk.raw", strings.Repeat("new", 400))
		for _, c := range []*image.Catalogue{c, w.list("images: []\n").open()} { // now, and after a restart without the entry
			after, err := c.Files(t.Context(), digest)
			if err != nil || after != before || read(t, after.Disk) != content {
				t.Errorf("across file systems %v: got %+v, %v, want %+v as it was", across, after, err, before)
			}
		}
		if err := c.Prune(func(d string) bool { return d == digest }); err != nil || read(t, before.Disk) != content {
			t.Errorf("pruning took what is kept: %v", err)
		}
		if err := c.Prune(func(string) bool { return false }); err != nil {
			t.Error(err)
		}
		if left, err := os.ReadDir(w.opts.Pins); err != nil || len(left) > 0 {
			t.Errorf("after pruning all there is %v (%v)", left, err)
		}
	}
}

// otherFilesystem returns a directory that links from temporary directories do
// not reach, where this machine has one; else one that they reach.
func otherFilesystem(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "muster-image-") //nolint:usetesting // another file system is wanted
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Error(err)
	}
	return string(b)
}
