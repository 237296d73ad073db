package server_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-vm/muster/internal/backup"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/server"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/store/etcdstore"
	"github.com/muster-vm/muster/internal/store/memstore"
)

var nowhere = slog.New(slog.DiscardHandler)

// backedUp runs a server with one set, makes a backup while it runs, and ends
// it.
func backedUp(t *testing.T) (c server.Config, file string) {
	t.Helper()
	c = configOf(t.TempDir())
	s := serve(t, c)
	s.put(web(`, "adminPassword": "Sesame-Open-1"`))
	file = filepath.Join(t.TempDir(), "muster.backup")
	var out bytes.Buffer
	if err := server.Backup(t.Context(), c, file, &out, nowhere); err != nil {
		t.Fatal(server.Explain(err))
	}
	wantWords(t, out.String(), "records", "secret", file)
	s.end()
	return c, file
}

// contents reads a directory: files by path, but not those of etcd or what
// comes and goes.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		if d.IsDir() && (name == "etcd" || strings.HasPrefix(name, "replaced-")) {
			return filepath.SkipDir
		}
		if !d.IsDir() && name != "lock" {
			b, err := os.ReadFile(path)
			all[name] = string(b)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// records reads all records of a stopped server's state, but leases.
func records(t *testing.T, state string) map[string]string {
	t.Helper()
	b, err := etcdstore.OpenEmbedded(t.Context(), etcdstore.Options{Dir: filepath.Join(state, "etcd")})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	all := map[string]string{}
	if _, err := b.Load(t.Context(), func(i store.Item) error { all[i.Key] = string(i.Value); return nil }); err != nil {
		t.Fatal(err)
	}
	maps.DeleteFunc(all, func(key, _ string) bool { return strings.HasPrefix(key, "leases/") })
	return all
}

// TestARestoredServerIsTheOneThatWasBackedUp goes through a new machine: an empty
// directory, the same records, keys and owner.
func TestARestoredServerIsTheOneThatWasBackedUp(t *testing.T) {
	old, _ := backedUp(t)
	file := filepath.Join(t.TempDir(), "offline.backup") // the server is stopped by now
	if err := server.Backup(t.Context(), old, file, io.Discard, nowhere); err != nil {
		t.Fatal(server.Explain(err))
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the backup has mode %v, %v", info.Mode(), err)
	}
	c := configOf(filepath.Join(t.TempDir(), "new"))
	if err := server.Restore(t.Context(), c, server.RestoreOptions{File: file}, io.Discard, nowhere); err != nil {
		t.Fatal(server.Explain(err))
	}
	if diff := cmp.Diff(records(t, old.State), records(t, c.State)); diff != "" {
		t.Errorf("records (-before +after):\n%s", diff)
	}
	before, after := contents(t, old.State), contents(t, c.State)
	maps.DeleteFunc(before, func(name, _ string) bool { return strings.HasPrefix(name, "images/") })
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("files (-before +after):\n%s", diff)
	}
	s := serve(t, c)
	if status, _, answer := s.call("GET", s.set()+setVersion, ""); status != http.StatusOK {
		t.Errorf("the set: %d %s", status, answer)
	}
}

// TestABackupWhileTheServerRunsIsOfOneMoment takes backups while groups are made
// one after the other: whichever a backup has, it has all before.
func TestABackupWhileTheServerRunsIsOfOneMoment(t *testing.T) {
	state := t.TempDir()
	s := serve(t, configOf(state))
	const groups, backups = 60, 3
	made := make(chan int, groups)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(made)
		for i := range groups {
			if status, _, answer := s.call("PUT", fmt.Sprintf("%s%03d%s", s.group(), i, groupVersion), `{"location": "local"}`); status >= 300 {
				t.Errorf("group %d: %d %s", i, status, answer)
			}
			made <- i
		}
	})
	var files []string
	for i := range made {
		if i%(groups/backups) != 0 {
			continue
		}
		file := filepath.Join(t.TempDir(), "backup")
		if err := server.Backup(t.Context(), configOf(state), file, io.Discard, nowhere); err != nil {
			t.Error(server.Explain(err))
		}
		files = append(files, file)
	}
	wg.Wait()
	for _, file := range files {
		fresh := configOf(t.TempDir())
		if err := server.Restore(t.Context(), fresh, server.RestoreOptions{File: file}, io.Discard, nowhere); err != nil {
			t.Fatal(server.Explain(err))
		}
		n, all := 0, records(t, fresh.State)
		for key := range all {
			if strings.HasPrefix(key, "groups/") {
				n++
			}
		}
		for i := range n {
			if key := fmt.Sprintf("groups/%s/lab%03d", s.admin.SubscriptionID, i); all[key] == "" {
				t.Errorf("of %d groups, %s is missing", n, key)
				break
			}
		}
	}
}

// TestADamagedBackupChangesNothing spoils a backup in several ways.
func TestADamagedBackupChangesNothing(t *testing.T) {
	c, file := backedUp(t)
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before := contents(t, c.State)
	all := records(t, c.State)
	flipped := slices.Clone(good)
	flipped[len(flipped)/2] ^= 0x40
	for name, tt := range map[string]struct {
		content []byte
		words   []string
	}{
		"cut in the middle": {good[:len(good)/2], []string{"damaged or cut off"}},
		"end missing":       {good[:len(good)-4], []string{"damaged or cut off"}},
		"a bit flipped":     {flipped, []string{"damaged or cut off"}},
		"something after":   {append(slices.Clone(good), "more"...), []string{"damaged or cut off"}},
		"empty":             {nil, []string{"not a backup"}},
		"something else":    {[]byte("#!/bin/sh\n"), []string{"not a backup"}},
	} {
		t.Run(name, func(t *testing.T) {
			bad := filepath.Join(t.TempDir(), "bad")
			if err := os.WriteFile(bad, tt.content, 0o600); err != nil {
				t.Fatal(err)
			}
			err := server.Restore(t.Context(), c, server.RestoreOptions{File: bad, Force: true, DiscardVMs: true}, io.Discard, nowhere)
			if !resource.Is(err, resource.Invalid) {
				t.Fatalf("it was restored: %v", err)
			}
			wantWords(t, server.Explain(err), append(tt.words, bad)...)
			if diff := cmp.Diff(before, contents(t, c.State)); diff != "" {
				t.Errorf("files (-before +after):\n%s", diff)
			}
		})
	}
	if diff := cmp.Diff(all, records(t, c.State)); diff != "" {
		t.Errorf("records (-before +after):\n%s", diff)
	}
}

// TestARestoreAsksFirst looks at what an operator has to agree to.
func TestARestoreAsksFirst(t *testing.T) {
	c, file := backedUp(t)
	restore := func(o server.RestoreOptions) (string, error) {
		var out bytes.Buffer
		o.File = file
		err := server.Restore(t.Context(), c, o, &out, nowhere)
		return out.String(), err
	}
	_, err := restore(server.RestoreOptions{})
	wantWords(t, server.Explain(err), c.State, "--force", "Nothing was changed")

	for _, made := range []string{"vms/madetoday-7-1", "disks/madetoday-7", "disks/stopped-3"} {
		if err := os.MkdirAll(filepath.Join(c.State, "compute", made), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	_, err = restore(server.RestoreOptions{Force: true})
	wantWords(t, server.Explain(err), "know 2", "madetoday-7-1: made after", "stopped-3-0 (disks only): made after", "--discard-vms", "Nothing was changed")
	if left, _ := filepath.Glob(filepath.Join(c.State, "restore.*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}

	lease := filepath.Join(c.State, "compute", "lease")
	if err := os.WriteFile(lease, []byte("99999\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	said, err := restore(server.RestoreOptions{Force: true, DiscardVMs: true})
	if err != nil {
		t.Fatal(server.Explain(err))
	}
	wantWords(t, said, "replaced-", "madetoday-7-1")
	if old, _ := filepath.Glob(filepath.Join(c.State, "replaced-*", "etcd", "member")); len(old) != 1 {
		t.Errorf("the records of before are in %v", old)
	}
	if old, _ := filepath.Glob(filepath.Join(c.State, "replaced-disks-*", "stopped-3")); len(old) != 1 {
		t.Errorf("the disks of before are in %v", old)
	}
	if _, err := os.Stat(lease); err == nil {
		t.Error("the driver would refuse the leases of the new store")
	}
	s := serve(t, c)
	err = server.Restore(t.Context(), c, server.RestoreOptions{File: file, Force: true}, io.Discard, nowhere)
	wantWords(t, server.Explain(err), "in use by process", "Stop that server")
	s.end()
}

// TestACanceledBackupLeavesNothing cancels before and while it is written.
func TestACanceledBackupLeavesNothing(t *testing.T) {
	c, _ := backedUp(t)
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := server.Backup(ctx, c, filepath.Join(dir, "b"), io.Discard, nowhere); err == nil {
		t.Error("it was made")
	}
	s := serve(t, c)
	if err := server.Backup(ctx, c, filepath.Join(dir, "b"), io.Discard, nowhere); err == nil {
		t.Error("it was made")
	}
	s.end()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// TestARecordOfANewerMusterIsRefused restores what this one cannot read.
func TestARecordOfANewerMusterIsRefused(t *testing.T) {
	b := memstore.New().Open()
	if _, err := b.Commit(t.Context(), []store.Op{{Do: store.Write, Key: "groups/s/g", Value: []byte(`{"v":99}`), Guard: store.Absent}}); err != nil {
		t.Fatal(err)
	}
	var content bytes.Buffer
	if err := backup.Write(t.Context(), &content, backup.Source{Backend: b, State: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "newer")
	if err := os.WriteFile(file, content.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	c := configOf(t.TempDir())
	err := server.Restore(t.Context(), c, server.RestoreOptions{File: file}, io.Discard, nowhere)
	wantWords(t, server.Explain(err), file, "groups/s/g", "a newer one wrote it", "Nothing was changed")
	if left := contents(t, c.State); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestTheDoctorAsksTheRunningServer looks at a state that is in use.
func TestTheDoctorAsksTheRunningServer(t *testing.T) {
	c := configOf(t.TempDir())
	serve(t, c)
	found := map[string]string{}
	for _, check := range server.Diagnose(t.Context(), c) {
		found[check.Name] = string(check.Level) + " " + check.Finding
	}
	wantWords(t, found["state directory"], "ok", "A server runs")
	wantWords(t, found["etcd"], "ok", "It answers", "by records")
	if info, err := os.Stat(filepath.Join(c.State, "control", "muster.sock")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the control socket: %v %v", info, err)
	}
	if info, err := os.Stat(filepath.Join(c.State, "control")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("its directory: %v %v", info, err)
	}
}
