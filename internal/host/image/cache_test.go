package image_test

import (
	"os"
	"strings"
	"testing"

	"github.com/muster-vm/muster/internal/host/image"
	"github.com/muster-vm/muster/internal/resource"
)

func (w *world) cached() string {
	w.t.Helper()
	text, err := os.ReadFile(w.path("cache/digests.json"))
	if err != nil {
		w.t.Fatal(err)
	}
	return string(text)
}

func TestADigestIsTakenOnceForAFileThatDoesNotChange(t *testing.T) {
	w := newWorld(t)
	w.list("images:\n" + own("a:b:c:1"))
	real := w.resolve(w.open(), "a:b:c:1").Digest
	if at, err := os.Stat(w.path("cache/digests.json")); err != nil || at.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v; want a file for the server only", at, err)
	}

	// A digest that is wrong in the cache shows that the cache is what is asked.
	fake := "sha256:" + strings.Repeat("f", 64)
	w.write("cache/digests.json", strings.Replace(w.cached(), strings.TrimPrefix(real, "sha256:"), strings.Repeat("f", 64), 1))
	if got := w.resolve(w.open(), "a:b:c:1").Digest; got != fake {
		t.Errorf("the file was hashed again: %s", got)
	}
	w.touch("images/disk.raw")
	if got := w.resolve(w.open(), "a:b:c:1").Digest; got != real {
		t.Errorf("the file has another time and was not hashed again: %s", got)
	}
}

func TestACacheThatMakesNoSenseIsForgotten(t *testing.T) {
	w := newWorld(t)
	w.list("images:\n" + own("a:b:c:1"))
	real := w.resolve(w.open(), "a:b:c:1").Digest
	sum := strings.TrimPrefix(real, "sha256:")
	for _, text := range []string{"", "null", "[]", `{"x": 1}`, w.cached()[:40], strings.Replace(w.cached(), sum, "../x", 1)} {
		w.write("cache/digests.json", text)
		if got := w.resolve(w.open(), "a:b:c:1").Digest; got != real {
			t.Errorf("%q: got %s", text, got)
		}
	}
}

func TestTheCacheForgetsFilesThatAreNotListed(t *testing.T) {
	w := newWorld(t)
	w.list("images:\n" + own("a:b:c:1")).open()
	w.write("images/other", "other")
	w.list("images:\n- {urn: 'a:b:c:1', osType: Linux, file: images/other, format: raw}\n").open()
	if text := w.cached(); strings.Contains(text, "disk.raw") || !strings.Contains(text, "images/other") {
		t.Error(text)
	}
	entries, err := os.ReadDir(w.opts.CacheDir)
	if err != nil || len(entries) != 1 {
		t.Errorf("got %v, %v; want one file", entries, err)
	}
}

func TestWithoutACacheNothingIsKept(t *testing.T) {
	w := newWorld(t)
	w.opts.CacheDir = ""
	w.resolve(w.list("images:\n"+own("a:b:c:1")).open(), "a:b:c:1")
	if _, err := os.Stat(w.path("cache")); !os.IsNotExist(err) {
		t.Errorf("got %v", err)
	}
}

func TestACacheThatCannotBeKeptIsReported(t *testing.T) {
	w := newWorld(t)
	w.opts.CacheDir = w.path("images/disk.raw")
	_, err := image.Open(t.Context(), w.list("images:\n"+own("a:b:c:1")).opts)
	wantError(t, err, resource.Unavailable, "", w.opts.CacheDir, "writable")
}
