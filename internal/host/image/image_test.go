package image_test

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/muster-vm/muster/internal/host/image"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/vmss"
)

// world is a host's directories.
type world struct {
	t      *testing.T
	images string // the allowed directory
	opts   image.Options
}

func newWorld(t *testing.T) *world {
	t.Helper()
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, images: filepath.Join(root, "images")}
	w.opts = image.Options{Allowed: []string{w.images}, CacheDir: filepath.Join(root, "cache")}
	w.write("images/disk.raw", strings.Repeat("x", 1000))
	return w
}

func (w *world) path(name string) string { return filepath.Join(filepath.Dir(w.images), name) }

// write writes a file and returns its SHA-256.
func (w *world) write(name, content string) string {
	w.t.Helper()
	if err := os.MkdirAll(filepath.Dir(w.path(name)), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(w.path(name), []byte(content), 0o644); err != nil {
		w.t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(content))
	return hex.EncodeToString(sum[:])
}

func (w *world) link(to, name string) {
	w.t.Helper()
	if err := os.Symlink(w.path(to), w.path(name)); err != nil {
		w.t.Fatal(err)
	}
}

// list writes the catalogue file.
func (w *world) list(yaml string) *world {
	w.t.Helper()
	w.write("catalogue.yaml", yaml)
	w.opts.File = w.path("catalogue.yaml")
	return w
}

func (w *world) open() *image.Catalogue {
	w.t.Helper()
	c, err := image.Open(w.t.Context(), w.opts)
	if err != nil {
		w.t.Fatal(problems(err))
	}
	return c
}

// guest writes a built-in guest and returns its directory.
func (w *world) guest(version string) {
	w.t.Helper()
	files := map[string]map[string]string{}
	for name, content := range map[string]string{
		"vmlinux": "kernel", "initrd": "initrd", "cmdline": "root=/dev/vda", "disk.qcow2": qcow2(256<<20, 0, 0),
	} {
		files[name] = map[string]string{"sha256": w.write("tiny/"+name, content)}
	}
	text, err := json.Marshal(map[string]any{"version": version, "agent": true, "needsCredentials": false, "files": files, "packages": map[string]string{"bash": "5"}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.write("tiny/manifest.json", string(text))
	w.opts.Tiny = w.path("tiny")
}

// qcow2 returns the header of an empty disk.
func qcow2(bytes, backing, features uint64) string {
	h := make([]byte, 512)
	copy(h, "QFI\xfb")
	binary.BigEndian.PutUint32(h[4:], 3)
	binary.BigEndian.PutUint64(h[8:], backing)
	binary.BigEndian.PutUint64(h[24:], bytes)
	binary.BigEndian.PutUint64(h[72:], features)
	return string(h)
}

// own lists one raw image with more keys.
func own(urn string, more ...string) string {
	return fmt.Sprintf("- {urn: %q, osType: Linux, file: images/disk.raw, format: raw%s}\n", urn, strings.Join(append([]string{""}, more...), ", "))
}

func ref(urn string) vmss.Image {
	p := strings.Split(urn, ":")
	return vmss.Image{Publisher: p[0], Offer: p[1], SKU: p[2], Version: p[3]}
}

func (w *world) resolve(c *image.Catalogue, urn string) vmss.Image {
	w.t.Helper()
	got, err := c.Resolve(ref(urn))
	if err != nil {
		w.t.Fatal(err)
	}
	return got
}

// wantError checks kind, code and parts of the message.
func wantError(t *testing.T, err error, kind resource.Kind, code string, parts ...string) {
	t.Helper()
	e, ok := errors.AsType[*resource.Error](err)
	if !ok || e.Kind != kind || e.Code != code {
		t.Fatalf("got %v, want %s %s", err, kind, code)
	}
	for _, p := range parts {
		if !strings.Contains(e.Msg, p) {
			t.Errorf("the message does not say %q: %s", p, e.Msg)
		}
	}
}

// problems returns an error with its details.
func problems(err error) string {
	text := err.Error()
	if e, ok := errors.AsType[*resource.Error](err); ok {
		for _, d := range e.Details {
			text += "\n" + d.Error()
		}
	}
	return text
}

// touch gives a file another time.
func (w *world) touch(name string) {
	w.t.Helper()
	at := time.Unix(1_000_000_000, 0)
	if err := os.Chtimes(w.path(name), at, at); err != nil {
		w.t.Fatal(err)
	}
}
