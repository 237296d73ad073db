package volume_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/muster-vm/muster/internal/disk"
	"github.com/muster-vm/muster/internal/host/volume"
	"github.com/muster-vm/muster/internal/host/volume/volumetest"
	"github.com/muster-vm/muster/internal/resource"
)

// shelf is an image store in a directory.
type shelf struct {
	dir    string
	images map[string]volume.Image
}

func (s *shelf) Files(_ context.Context, digest string) (volume.Image, error) {
	if image, ok := s.images[digest]; ok {
		return image, nil
	}
	return volume.Image{}, resource.Errorf(resource.NotFound, "ImageNotFound", "There is no image %s.", digest)
}

func (s *shelf) Add(_ context.Context, image volume.Image) (string, error) {
	raw, err := os.ReadFile(image.Disk)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(raw)
	name := hex.EncodeToString(sum[:])
	image.Disk = filepath.Join(s.dir, name)
	s.images["sha256:"+name] = image
	return "sha256:" + name, os.WriteFile(image.Disk, raw, 0o600)
}

// machines is one stopped machine of the set web, whose every disk is a file.
type machines struct{ file string }

func (m machines) CopyDisk(ctx context.Context, from disk.Instance, file string, progress func(done, total int64)) error {
	if from.Set != "web" {
		return resource.Errorf(resource.NotFound, "NotFound", "There is no such machine.")
	}
	progress(0, 1)
	return exec.CommandContext(ctx, "qemu-img", "convert", "-f", "raw", "-O", "qcow2", m.file, file).Run()
}

func (m machines) GrowDisk(context.Context, disk.Attachment, int) error {
	return resource.Errorf(resource.NotFound, "NotFound", "It does not run.")
}

// world is a vault over files of a test.
type world struct {
	*testing.T
	dir   string
	shelf *shelf
	opts  volume.Options
	vault *volume.Vault
}

func newWorld(t *testing.T) *world {
	t.Helper()
	for _, program := range volume.Programs() {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed", program)
		}
	}
	w := &world{T: t, dir: t.TempDir()}
	w.shelf = &shelf{w.path("images"), map[string]volume.Image{}}
	for _, dir := range []string{"images", "allowed"} {
		if err := os.Mkdir(w.path(dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	raw := w.file("allowed/guest.raw", 64<<20, "a guest was here")
	w.shelf.images["sha256:tiny"] = volume.Image{Disk: raw, Format: "raw", Kernel: "/vmlinux", CommandLine: "quiet", Agent: true}
	w.opts = volume.Options{Dir: w.path("volumes"), Images: w.shelf, Machines: machines{raw}, Import: volume.Import{Allowed: []string{w.path("allowed")}}}
	w.open()
	return w
}

func (w *world) open() {
	w.Helper()
	var err error
	if w.vault, err = volume.Open(w.opts); err != nil {
		w.Fatal(err)
	}
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

// file makes a sparse file that begins with a text.
func (w *world) file(name string, size int64, text string) string {
	w.Helper()
	path := w.path(name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		w.Fatal(err)
	}
	if err := os.Truncate(path, size); err != nil {
		w.Fatal(err)
	}
	return path
}

// img runs qemu-img.
func (w *world) img(words ...string) {
	w.Helper()
	if out, err := exec.CommandContext(w.Context(), "qemu-img", words...).CombinedOutput(); err != nil {
		w.Fatalf("qemu-img %v: %v\n%s", words, err, out)
	}
}

// begins reads how the content of a disk begins.
func (w *world) begins(path string, n int) string {
	w.Helper()
	raw := w.path("out.raw")
	w.img("convert", "-f", "qcow2", "-O", "raw", path, raw)
	f, err := os.Open(raw)
	if err != nil {
		w.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, n)
	if _, err := f.ReadAt(b, 0); err != nil {
		w.Fatal(err)
	}
	return string(b)
}

func (w *world) volume(uid disk.UID) string {
	w.Helper()
	path, err := w.vault.Volume(w.Context(), string(uid))
	if err != nil {
		w.Fatal(err)
	}
	return path
}

func TestTheVaultDoesWhatVaultsDo(t *testing.T) {
	for _, c := range volumetest.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			w := newWorld(t)
			c.Check(t, volumetest.Fixture{Vault: w.vault, ImageGB: 1,
				Image:   disk.Source{Option: disk.FromImage, Digest: "sha256:tiny"},
				Import:  disk.Source{Option: disk.Import, File: disk.File{URI: "file://" + w.path("allowed/guest.raw")}},
				Capture: disk.Source{Option: disk.Capture, Instance: disk.Instance{Set: "web", OS: true}}})
			if halves, err := os.ReadDir(w.path("volumes/tmp")); err != nil || len(halves) > 0 {
				t.Errorf("halves are left: %v, %v", halves, err)
			}
		})
	}
}

func TestEverySourceKeepsWhatWasInIt(t *testing.T) {
	w := newWorld(t)
	for uid, source := range map[disk.UID]disk.Source{
		"image":   {Option: disk.FromImage, Digest: "sha256:tiny"},
		"import":  {Option: disk.Import, File: disk.File{URI: "file://" + w.path("allowed/guest.raw")}},
		"capture": {Option: disk.Capture, Instance: disk.Instance{Set: "web", OS: true}},
	} {
		if _, err := w.vault.Make(t.Context(), disk.Order{UID: uid, Kind: disk.Managed, Source: source}); err != nil {
			t.Fatal(err)
		}
		// A copy has it too, attached to a machine that is not there or to nobody.
		for of, at := range map[disk.UID]*disk.Attachment{"-copy": nil, "-attached": {Set: "gone"}} {
			if _, err := w.vault.Make(t.Context(), disk.Order{UID: uid + of, Kind: disk.Snapshot, SizeGB: 2, SourceAt: at, Source: disk.Source{Option: disk.Copy, Disk: uid}}); err != nil {
				t.Fatal(err)
			}
		}
		for _, name := range []disk.UID{uid, uid + "-copy", uid + "-attached"} {
			if got := w.begins(w.volume(name), 16); got != "a guest was here" {
				t.Errorf("%s begins with %q", name, got)
			}
			if info, err := os.Stat(w.volume(name)); err != nil || info.Mode().Perm() != 0o600 || info.Size() > 10<<20 {
				t.Errorf("%s: %v, %v; want a small file for its owner", name, info, err)
			}
		}
	}
}

func TestWhatWasMadeOfAnImageBootsAsItDoes(t *testing.T) {
	w := newWorld(t)
	orders := []disk.Order{
		{UID: "disk", Kind: disk.Managed, Source: disk.Source{Option: disk.FromImage, Digest: "sha256:tiny"}},
		{UID: "snapshot", Kind: disk.Snapshot, Source: disk.Source{Option: disk.Copy, Disk: "disk"}},
		{UID: "generalized", Kind: disk.Image, Source: disk.Source{Option: disk.Copy, Disk: "snapshot"}},
		{UID: "file", Kind: disk.Managed, Source: disk.Source{Option: disk.Import, File: disk.File{URI: "file://" + w.path("allowed/guest.raw"), Agent: true}}},
		{UID: "ofFile", Kind: disk.Image, Source: disk.Source{Option: disk.Copy, Disk: "file"}},
		{UID: "captured", Kind: disk.Image, Base: "sha256:tiny", Source: disk.Source{Option: disk.Capture, Instance: disk.Instance{Set: "web", OS: true}}},
	}
	for _, o := range orders {
		made, err := w.vault.Make(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if o.Kind != disk.Image {
			continue
		}
		image, err := w.shelf.Files(t.Context(), made.Digest)
		if o.UID == "ofFile" {
			if err != nil || image.Kernel != "" || !image.Agent {
				t.Errorf("%s boots as %+v, %v; want by itself, with an agent", o.UID, image, err)
			}
			continue
		}
		if err != nil || image.Kernel != "/vmlinux" || image.CommandLine != "quiet" || !image.Agent || image.Format != "qcow2" {
			t.Errorf("%s boots as %+v, %v; want what it came from", o.UID, image, err)
		}
	}
	if bases, err := w.vault.Bases(); err != nil || len(bases) != 5 || !slices.Contains(bases, "sha256:tiny") {
		t.Errorf("images that are still needed: %v, %v", bases, err)
	}
}

func TestACrashLeavesHalvesThatTheNextStartRemoves(t *testing.T) {
	w := newWorld(t)
	half := w.file("volumes/tmp/cut.qcow2", 100, "half")
	w.open()
	if _, err := os.Stat(half); !os.IsNotExist(err) {
		t.Errorf("the half is still there: %v", err)
	}
	if left, err := w.vault.List(t.Context()); err != nil || len(left) > 0 {
		t.Errorf("a half counts: %v, %v", left, err)
	}
}

func TestNamesThatLeadElsewhereAreRefused(t *testing.T) {
	w := newWorld(t)
	for _, uid := range []disk.UID{"", "../x", "a/b", "tmp.", "-f", "a,b", "a:b"} {
		_, err := w.vault.Make(t.Context(), disk.Order{UID: uid, Kind: disk.Managed, SizeGB: 1, Source: disk.Source{Option: disk.Empty}})
		if !resource.Is(err, resource.Invalid) || !resource.Is(w.vault.Remove(t.Context(), uid), resource.Invalid) {
			t.Errorf("%q: %v, want Invalid", uid, err)
		}
	}
}

func TestADamagedContentIsReportedAndNotMadeAgain(t *testing.T) {
	w := newWorld(t)
	o := disk.Order{UID: "data", Kind: disk.Managed, SizeGB: 1, Source: disk.Source{Option: disk.Empty}}
	if _, err := w.vault.Make(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(w.volume("data"), 1000); err != nil {
		t.Fatal(err)
	}
	if _, err := w.vault.Make(t.Context(), o); !resource.Is(err, resource.Unavailable) {
		t.Errorf("Make over a damaged file: %v", err)
	}
}
