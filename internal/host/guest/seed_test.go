package guest_test

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/filesystem/iso9660"
	"github.com/google/go-cmp/cmp"

	"github.com/muster-vm/muster/internal/host/guest"
)

var setup = guest.Setup{
	InstanceID: "i-1", HostName: "web000001", AdminUser: "anna", PasswordHash: "$6$salt$hash",
	SSHKeys:    []string{"ssh-ed25519 AAAA a@b", "ssh-rsa BBBB"},
	CustomData: []byte("#!/bin/sh\necho \"\xff: hello\"\n"),
}

func seed(t *testing.T, s guest.Setup) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "seed.iso")
	if err := guest.Seed(path, s); err != nil {
		t.Fatal(err)
	}
	return path
}

// readBack returns the label of the volume at path and the files in it.
func readBack(t *testing.T, path string) (label string, files map[string]string) {
	t.Helper()
	disk, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	volume, err := iso9660.Read(file.New(disk, true), 0, 0, 2048)
	if err != nil {
		t.Fatal(err)
	}
	files = map[string]string{}
	var walk func(dir string)
	walk = func(dir string) {
		entries, err := volume.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			name := filepath.Join(dir, e.Name())
			if e.IsDir() {
				walk(name)
				continue
			}
			f, err := volume.OpenFile(name, os.O_RDONLY)
			if err != nil {
				t.Fatal(err)
			}
			content, err := io.ReadAll(f)
			if err != nil {
				t.Fatal(err)
			}
			files[name] = string(content)
		}
	}
	walk(".")
	return strings.TrimRight(volume.Label(), " \x00"), files
}

func TestSeedHoldsEveryValueUnderItsOwnName(t *testing.T) {
	label, files := readBack(t, seed(t, setup))
	if label != "cidata" {
		t.Errorf("label %q, want cidata", label)
	}
	got := map[string]any{}
	for name, content := range files {
		got[name] = content
		var document any
		if json.Unmarshal([]byte(strings.TrimPrefix(content, "#cloud-config\n")), &document) == nil {
			got[name] = document
		}
	}
	admin := map[string]any{
		"name": "anna", "gecos": "anna", "groups": []any{"adm", "sudo"}, "sudo": "ALL=(ALL) NOPASSWD:ALL",
		"shell": "/bin/bash", "lock_passwd": false, "hashed_passwd": "$6$salt$hash",
		"ssh_authorized_keys": []any{"ssh-ed25519 AAAA a@b", "ssh-rsa BBBB"},
	}
	want := map[string]any{
		"meta-data": "instance-id: \"i-1\"\nlocal-hostname: \"web000001\"\n", // line by line, for shells
		"network-config": map[string]any{"version": 2.0, "ethernets": map[string]any{
			"all": map[string]any{"match": map[string]any{"name": "e*"}, "dhcp4": true}}},
		"user-data": string(setup.CustomData),
		"vendor-data": map[string]any{"users": []any{admin}, "ssh_pwauth": true,
			"system_info": map[string]any{"default_user": admin}, "chpasswd": map[string]any{"expire": false}},
		"muster/hostname":        "web000001\n",
		"muster/admin-user":      "anna\n",
		"muster/password-hash":   "$6$salt$hash\n",
		"muster/authorized_keys": "ssh-ed25519 AAAA a@b\nssh-rsa BBBB\n",
		"muster/custom-data":     string(setup.CustomData),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if !strings.HasPrefix(files["vendor-data"], "#cloud-config\n") {
		t.Errorf("vendor-data does not say what it is: %q", files["vendor-data"])
	}
}

func TestSeedOfABareSetupLeavesPlainFilesOut(t *testing.T) {
	_, files := readBack(t, seed(t, guest.Setup{InstanceID: "i-2", HostName: "bare"}))
	var doc map[string]any
	if err := json.Unmarshal([]byte(strings.TrimPrefix(files["vendor-data"], "#cloud-config\n")), &doc); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]any{"ssh_pwauth": false}, doc); diff != "" {
		t.Errorf("vendor-data (-want +got):\n%s", diff)
	}
	if got, ok := files["user-data"]; got != "" || !ok {
		t.Errorf("user-data %q, present %v; want an empty file, which NoCloud insists on", got, ok)
	}
	for name := range files {
		if strings.HasPrefix(name, "muster/") && name != "muster/hostname" {
			t.Errorf("%s is there", name)
		}
	}
}

func TestSeedDependsOnTheSetupAlone(t *testing.T) {
	read := func(path string) []byte {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	first := read(seed(t, setup))
	again := seed(t, setup)
	if !bytes.Equal(first, read(again)) {
		t.Error("the same setup made different volumes")
	}
	other := setup
	other.HostName = "web000002"
	if err := guest.Seed(again, other); err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(first, read(again)) {
		t.Error("a volume was not replaced")
	}
}

func TestSeedIsPrivateAndHoldsLargeCustomData(t *testing.T) {
	large := setup
	large.CustomData = bytes.Repeat([]byte("0123456789abcdef"), 4096) // 64 KiB, Azure's limit
	path := seed(t, large)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o600 || info.Size()%2048 != 0 {
		t.Errorf("mode %v and %d bytes, want 0600 and whole sectors", info.Mode(), info.Size())
	}
	if _, files := readBack(t, path); files["muster/custom-data"] != string(large.CustomData) {
		t.Error("custom data was changed")
	}
}

// TestSeedReadsTheSameToOtherTools checks the volume with an implementation
// that is not the one that wrote it.
func TestSeedReadsTheSameToOtherTools(t *testing.T) {
	isoinfo, err := exec.LookPath("isoinfo")
	if err != nil {
		t.Skip("isoinfo is not installed (apt package genisoimage)")
	}
	path := seed(t, setup)
	out, err := exec.Command(isoinfo, "-R", "-x", "/muster/authorized_keys", "-i", path).Output()
	if want := "ssh-ed25519 AAAA a@b\nssh-rsa BBBB\n"; err != nil || string(out) != want {
		t.Errorf("got %q, %v, want %q", out, err, want)
	}
}
