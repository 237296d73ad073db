package volume_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/muster-vm/muster/internal/disk"
	"github.com/muster-vm/muster/internal/host/volume"
	"github.com/muster-vm/muster/internal/resource"
)

// importing makes a content of a file.
func (w *world) importing(file disk.File) (disk.Made, error) {
	made, err := w.vault.Make(w.Context(), disk.Order{UID: "imported", Kind: disk.Managed, Source: disk.Source{Option: disk.Import, File: file}})
	if err == nil {
		return made, w.vault.Remove(w.Context(), "imported")
	}
	if halves, _ := os.ReadDir(w.path("volumes/tmp")); len(halves) > 0 {
		w.Errorf("of a failed import %v are left", halves)
	}
	return made, err
}

// wantFault checks an error and the words in it.
func wantFault(t *testing.T, err error, kind resource.Kind, code string, words ...string) {
	t.Helper()
	e, ok := errors.AsType[*resource.Error](err)
	if !ok || e.Kind != kind || e.Code != code {
		t.Errorf("failed with %v, want %v %s", err, kind, code)
		return
	}
	for _, word := range words {
		if !strings.Contains(e.Msg, word) {
			t.Errorf("%q does not say %q", e.Msg, word)
		}
	}
}

func (w *world) allowed(name string) string { return w.path("allowed/" + name) }

func TestEveryFormatIsImported(t *testing.T) {
	w := newWorld(t)
	raw := w.file("allowed/small.raw", 3<<20, "a guest was here")
	for name, options := range map[string][]string{
		"v3.qcow2": {"-O", "qcow2"}, "v2.qcow2": {"-O", "qcow2", "-o", "compat=0.10"}, "compressed.qcow2": {"-c", "-O", "qcow2"},
		"clusters.qcow2": {"-O", "qcow2", "-o", "cluster_size=2M"}, "extended.qcow2": {"-O", "qcow2", "-o", "extended_l2=on,cluster_size=128k"},
		"dynamic.vhd": {"-O", "vpc", "-o", "force_size=on"}, "fixed.vhd": {"-O", "vpc", "-o", "subformat=fixed,force_size=on"}, "copy.raw": {"-O", "raw"}, "plain.img": {"-O", "raw"},
	} {
		w.img(append(append([]string{"convert", "-f", "raw"}, options...), raw, w.allowed(name))...)
		format, _, _ := strings.Cut(map[string]string{".qcow2": "qcow2", ".vhd": "vhd"}[filepath.Ext(name)]+" raw", " ")
		for _, said := range []string{"", strings.TrimSpace(format)} {
			made, err := w.importing(disk.File{URI: "file://" + w.allowed(name), Format: said})
			if err != nil || made.Bytes != 3<<20 || made.SizeGB != 1 {
				t.Errorf("%s as %q: %+v, %v", name, said, made, err)
			}
		}
	}
	w.img("create", "-f", "raw", w.allowed("hole.raw"), "64M")
	if _, err := w.importing(disk.File{URI: "file://" + w.allowed("hole.raw")}); err != nil {
		t.Errorf("a disk of zeros: %v", err)
	}
}

func TestFilesThatAreNoWholeDisksAreRefused(t *testing.T) {
	w := newWorld(t)
	raw := w.file("allowed/small.raw", 3<<20, strings.Repeat("data", 700_000))
	w.img("convert", "-f", "raw", "-O", "qcow2", raw, w.allowed("whole.qcow2"))
	w.img("convert", "-f", "raw", "-O", "vpc", raw, w.allowed("whole.vhd"))
	w.img("convert", "-f", "raw", "-O", "vpc", "-o", "subformat=fixed,force_size=on", raw, w.allowed("fixed.vhd"))
	w.img("create", "-f", "qcow2", "-b", raw, "-F", "raw", w.allowed("overlay.qcow2"))
	w.img("create", "-f", "qcow2", "-o", "data_file="+w.allowed("data.raw"), w.allowed("external.qcow2"), "1M")
	w.img("create", "-f", "qcow2", w.allowed("huge.qcow2"), "300G")
	w.img("convert", "-f", "raw", "-O", "vmdk", raw, w.allowed("foreign.img"))
	cut := func(name, of string, keep int64) {
		t.Helper()
		b, err := os.ReadFile(w.allowed(of))
		if err != nil {
			t.Fatal(err)
		}
		if keep < 0 {
			keep += int64(len(b))
		}
		if err := os.WriteFile(w.allowed(name), b[:keep], 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cut("half.qcow2", "whole.qcow2", 1<<20)
	cut("header.qcow2", "whole.qcow2", 512)
	cut("half.vhd", "whole.vhd", 1<<20)
	cut("footless.vhd", "fixed.vhd", -512)
	cut("odd.raw", "small.raw", 1000)
	cut("empty.raw", "small.raw", 0)
	for _, tt := range []struct {
		name, format string
		code         string
		words        []string
	}{
		{"half.qcow2", "", "InvalidDiskFile", []string{"cut short"}},
		{"header.qcow2", "", "InvalidDiskFile", []string{"cut short"}},
		{"half.vhd", "", "InvalidDiskFile", []string{"footer", "cut short"}},
		{"footless.vhd", "", "InvalidDiskFile", []string{"not a vhd disk"}},
		{"odd.raw", "", "InvalidDiskFile", []string{"1000 bytes"}},
		{"empty.raw", "", "InvalidDiskFile", []string{"empty"}},
		{"overlay.qcow2", "", "InvalidDiskFile", []string{"overlay"}},
		{"external.qcow2", "", "InvalidDiskFile", []string{"another file"}},
		{"foreign.img", "", "InvalidDiskFile", []string{"VMDK", "qemu-img convert"}},
		{"huge.qcow2", "", "DiskTooLarge", []string{"128 GB", "limits.imageGB"}},
		{"whole.qcow2", "raw", "InvalidDiskFile", []string{"qcow2", "raw"}},
		{"whole.vhd", "qcow2", "InvalidDiskFile", []string{"vhd", "qcow2"}},
		{"small.raw", "qcow2", "InvalidDiskFile", []string{"qcow2"}},
	} {
		_, err := w.importing(disk.File{URI: "file://" + w.allowed(tt.name), Format: tt.format})
		t.Run(tt.name, func(t *testing.T) { wantFault(t, err, resource.Invalid, tt.code, tt.words...) })
	}
}

func TestFilesComeFromAllowedDirectoriesAlone(t *testing.T) {
	w := newWorld(t)
	secret := w.file("secret.raw", 1<<20, "secret")
	if err := os.Symlink(secret, w.allowed("link.raw")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(w.path("allowed"), w.path("door")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(w.allowed("pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		path string
		kind resource.Kind
		code string
	}{
		{secret, resource.Forbidden, "FileNotAllowed"},
		{w.allowed("link.raw"), resource.Forbidden, "FileNotAllowed"},
		{w.path("allowed") + "/../secret.raw", resource.Forbidden, "FileNotAllowed"},
		{w.path("door/guest.raw"), resource.Forbidden, "FileNotAllowed"},
		{w.path("allowed"), resource.Forbidden, "FileNotAllowed"},
		{w.allowed("missing.raw"), resource.NotFound, "FileNotFound"},
		{w.allowed("pipe"), resource.Invalid, "InvalidDiskFile"},
	} {
		_, err := w.importing(disk.File{URI: "file://" + tt.path})
		wantFault(t, err, tt.kind, tt.code, filepath.Base(tt.path))
	}
	w.opts.Import.Allowed = []string{w.path("door")} // by another name, it is the same directory
	w.open()
	for _, path := range []string{w.path("door/guest.raw"), w.allowed("guest.raw")} {
		if _, err := w.importing(disk.File{URI: "file://" + path}); err != nil {
			t.Error(err)
		}
	}
	w.opts.Import.Allowed = nil
	w.open()
	_, err := w.importing(disk.File{URI: "file://" + w.allowed("guest.raw")})
	wantFault(t, err, resource.Forbidden, "FileNotAllowed", "images.allowed")
}

func TestAChecksumHasToHold(t *testing.T) {
	w := newWorld(t)
	raw, err := os.ReadFile(w.file("allowed/small.raw", 1<<20, "a guest was here"))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(raw)
	file := disk.File{URI: "file://" + w.allowed("small.raw"), SHA256: hex.EncodeToString(sum[:])}
	if _, err := w.importing(file); err != nil {
		t.Error(err)
	}
	file.SHA256 = strings.Repeat("0", 64)
	_, err = w.importing(file)
	wantFault(t, err, resource.Invalid, "ChecksumMismatch", hex.EncodeToString(sum[:]), file.SHA256)
}

// site is a web server of a test, and a vault that may use it.
func (w *world) site(handle http.HandlerFunc) *httptest.Server {
	server := httptest.NewServer(handle)
	w.Cleanup(server.Close)
	w.opts.Import.Hosts = []string{strings.TrimPrefix(server.URL, "http://")}
	w.open()
	return server
}

func TestAFileIsDownloaded(t *testing.T) {
	w := newWorld(t)
	server := w.site(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/moved.raw" {
			http.Redirect(rw, r, "/guest.raw?signature=secret", http.StatusFound)
			return
		}
		if r.URL.Path == "/chunked.raw" {
			rw.(http.Flusher).Flush() // no length
		}
		_, _ = rw.Write(make([]byte, 1<<20))
	})
	for _, name := range []string{"guest.raw", "moved.raw", "chunked.raw"} {
		if made, err := w.importing(disk.File{URI: server.URL + "/" + name}); err != nil || made.Bytes != 1<<20 {
			t.Errorf("%s: %+v, %v", name, made, err)
		}
	}
}

func TestWhatServersDoWrongHasItsName(t *testing.T) {
	w := newWorld(t)
	var server *httptest.Server
	server = w.site(func(rw http.ResponseWriter, r *http.Request) {
		switch name := strings.Trim(r.URL.Path, "/"); name {
		case "short":
			rw.Header().Set("Content-Length", "4096")
			_, _ = rw.Write(make([]byte, 1000))
		case "loop":
			http.Redirect(rw, r, "/loop", http.StatusFound)
		case "credentials":
			http.Redirect(rw, r, strings.Replace(server.URL, "http://", "http://user:pass@", 1)+"/x", http.StatusFound)
		case "file":
			http.Redirect(rw, r, "file:///etc/passwd", http.StatusFound)
		case "elsewhere":
			http.Redirect(rw, r, strings.Replace(server.URL, "127.0.0.1", "127.0.0.2", 1)+"/x", http.StatusFound)
		case "large":
			rw.Header().Set("Content-Length", fmt.Sprint(int64(200)<<30))
			rw.(http.Flusher).Flush()
		case "zipped":
			rw.Header().Set("Content-Encoding", "gzip")
			_, _ = rw.Write(make([]byte, 1024))
		case "page":
			_, _ = rw.Write([]byte("<!DOCTYPE html><html></html>"))
		default:
			var code int
			_, _ = fmt.Sscan(name, &code)
			rw.WriteHeader(code)
		}
	})
	for _, tt := range []struct {
		name string
		kind resource.Kind
		code string
		word string
	}{
		{"404", resource.NotFound, "FileNotFound", "404"},
		{"403", resource.Forbidden, "FileNotAllowed", "403"},
		{"503", resource.Unavailable, "FileUnavailable", "503"},
		{"429", resource.Unavailable, "FileUnavailable", "429"},
		{"204", resource.Forbidden, "FileNotAllowed", "204"},
		{"short", resource.Unavailable, "FileUnavailable", "ended early"},
		{"loop", resource.Forbidden, "FileNotAllowed", "more than 5 times"},
		{"credentials", resource.Forbidden, "FileNotAllowed", "credentials"},
		{"file", resource.Forbidden, "FileNotAllowed", "redirects to file"},
		{"elsewhere", resource.Forbidden, "FileNotAllowed", "127.0.0.2"},
		{"large", resource.Invalid, "DiskTooLarge", "128 GB"},
		{"zipped", resource.Invalid, "InvalidDiskFile", "gzip"},
		{"page", resource.Invalid, "InvalidDiskFile", "web page"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := w.importing(disk.File{URI: server.URL + "/" + tt.name + "?signature=secret"})
			wantFault(t, err, tt.kind, tt.code, tt.word)
			if strings.Contains(fmt.Sprint(err), "pass@") {
				t.Errorf("%v shows credentials", err)
			}
			if e, ok := errors.AsType[*resource.Error](err); ok && strings.Contains(e.Msg, "secret") {
				t.Errorf("%q shows a signature", e.Msg)
			}
		})
	}
	_, err := w.importing(disk.File{URI: strings.Replace(server.URL, "http://", "http://user:pass@", 1) + "/x"})
	wantFault(t, err, resource.Invalid, "InvalidParameter", "credentials")
	server.Close()
	_, err = w.importing(disk.File{URI: server.URL + "/x"})
	wantFault(t, err, resource.Unavailable, "FileUnavailable")
}

func TestAServerThatStallsIsNotWaitedFor(t *testing.T) {
	for _, limit := range []volume.Import{{Stall: 50 * time.Millisecond}, {Limit: 50 * time.Millisecond}} {
		w := newWorld(t)
		w.opts.Import = limit
		ended := make(chan struct{})
		server := w.site(func(rw http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/mid" {
				_, _ = rw.Write(make([]byte, 1024))
				rw.(http.Flusher).Flush()
			}
			<-ended
		})
		for _, path := range []string{"/begin", "/mid"} {
			_, err := w.importing(disk.File{URI: server.URL + path})
			wantFault(t, err, resource.Unavailable, "FileUnavailable")
		}
		close(ended)
	}
}

func TestHostsThatNobodyNamedHavePublicAddresses(t *testing.T) {
	w := newWorld(t)
	server := w.site(func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write(make([]byte, 1024)) })
	w.opts.Import.Hosts = nil
	w.open()
	t.Setenv("HTTP_PROXY", server.URL) // which is not asked either
	_, port, _ := strings.Cut(strings.TrimPrefix(server.URL, "http://"), ":")
	for _, host := range []string{"127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "2130706433"} {
		_, err := w.importing(disk.File{URI: "http://" + host + ":" + port + "/guest.raw"})
		if err == nil || resource.Is(err, resource.Invalid) {
			t.Errorf("%s: %v", host, err)
		}
	}
	_, err := w.importing(disk.File{URI: "http://127.0.0.1:" + port + "/guest.raw"})
	wantFault(t, err, resource.Forbidden, "FileNotAllowed", "127.0.0.1", "images.hosts")
}

func TestThereHasToBeRoom(t *testing.T) {
	w := newWorld(t)
	w.opts.Import.MaxGB = 1 << 20
	server := w.site(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Length", fmt.Sprint(int64(900)<<40))
		rw.(http.Flusher).Flush()
	})
	_, err := w.importing(disk.File{URI: server.URL + "/large.raw"})
	wantFault(t, err, resource.Exhausted, "HostDiskFull", "921600.2 GiB", "Free some space")
}
