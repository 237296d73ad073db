package backup_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-vm/muster/internal/backup"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/store/memstore"
)

// backends opens backends over directories that remember, in memory, what was
// in them.
type backends map[string]*memstore.DB

func (b backends) open(dir string) (store.Backend, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	db := memstore.New()
	b[dir] = db
	// A file stands for the records, so that moving the directory moves them.
	return db.Open(), os.WriteFile(filepath.Join(dir, "db"), []byte("new"), 0o600)
}

func load(t *testing.T, b store.Backend) map[string]string {
	t.Helper()
	all := map[string]string{}
	if _, err := b.Load(t.Context(), func(i store.Item) error { all[i.Key] = string(i.Value); return nil }); err != nil {
		t.Fatal(err)
	}
	return all
}

// written makes a backup of n records and a few files.
func written(t *testing.T, n int) (file string, want map[string]string) {
	t.Helper()
	b := memstore.New().Open()
	want = map[string]string{}
	for i := range n {
		key, value := fmt.Sprintf("instances/a/%019d", i), fmt.Sprintf(`{"v":1,"id":%d,"pad":%q}`, i, strings.Repeat("x", 900))
		if i == 0 {
			value = ""
		}
		want[key] = value
		if _, err := b.Commit(t.Context(), []store.Op{{Do: store.Write, Key: key, Value: []byte(value), Guard: store.Absent}}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.Acquire(t.Context(), "control-plane"); err != nil {
		t.Fatal(err)
	}
	state := t.TempDir()
	put(t, state, map[string]string{"ca.pem": "new ca", "principals.json": `{"tenantId": "here"}`, "network/leases.json": `{"new": 1}`,
		"server.log": "not kept", "images/digests.json": "not kept", ".hidden.json": "not kept"})
	file = filepath.Join(t.TempDir(), "backup")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := backup.Write(t.Context(), f, backup.Source{Backend: b, State: state, Muster: "v1", Now: time.Now()}); err != nil {
		t.Fatal(err)
	}
	return file, want
}

func put(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// tree reads all files of a directory; the time in names is left out.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		if rest, ok := strings.CutPrefix(name, "replaced-"); ok {
			_, rest, _ = strings.Cut(rest, "/")
			name = "old/" + rest
		}
		all[name] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestEveryRecordComesBackOverManyMembers(t *testing.T) {
	file, want := written(t, 10_000) // about 10 MB
	m, err := backup.Verify(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	if m.Records != len(want) || m.Tenant != "here" || m.Muster != "v1" || m.Revision == 0 {
		t.Errorf("the manifest says %d records, tenant %q, muster %q, revision %d", m.Records, m.Tenant, m.Muster, m.Revision)
	}
	var members []string
	for _, member := range m.Members {
		members = append(members, member.Name)
	}
	if diff := cmp.Diff([]string{"muster-backup", "records/000001", "records/000002", "records/000003", "state/ca.pem", "state/principals.json", "state/network/leases.json"}, members); diff != "" {
		t.Errorf("members (-want +got):\n%s", diff)
	}
	var got map[string]string
	_, err = backup.Stage(t.Context(), file, t.TempDir(), backends{}.open, func(b store.Backend) error { got = load(t, b); return nil })
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

// before is the state that a restore replaces.
var before = map[string]string{"etcd/db": "old", "ca.pem": "old ca", "server.pem": "of the old ca", "network/leases.json": `{"old": 1}`, "compute/lease": "7", "lock": "1"}

// TestACrashInARestoreLeavesTheOldStateOrTheNewOne has the process die at every
// step, and goes on with a new one.
func TestACrashInARestoreLeavesTheOldStateOrTheNewOne(t *testing.T) {
	file, _ := written(t, 3)
	want := map[string]string{"etcd/db": "new", "ca.pem": "new ca", "principals.json": `{"tenantId": "here"}`, "network/leases.json": `{"old": 1}`, "lock": "1",
		"compute/lease": "7", "old/etcd/db": "old", "old/ca.pem": "old ca", "old/server.pem": "of the old ca"}

	stage := func(t *testing.T) (string, *backup.Staged) {
		state := t.TempDir()
		put(t, state, before)
		s, err := backup.Stage(t.Context(), file, state, backends{}.open, func(store.Backend) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		return state, s
	}
	t.Run("before it is a fact", func(t *testing.T) {
		state, _ := stage(t)
		if replaced, err := backup.Finish(state, time.Now(), func() error { return errors.New("called") }); replaced != "" || err != nil {
			t.Errorf("%q %v", replaced, err)
		}
		s, err := backup.Stage(t.Context(), file, state, backends{}.open, func(store.Backend) error { return nil }) // clears what is left
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Discard(); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(before, tree(t, state)); diff != "" {
			t.Errorf("(-before +after):\n%s", diff)
		}
	})
	t.Run("while the old is set aside", func(t *testing.T) {
		state, s := stage(t)
		if err := s.Commit(); err != nil {
			t.Fatal(err)
		}
		died := errors.New("died")
		if _, err := backup.Finish(state, time.Now(), func() error { return died }); !errors.Is(err, died) || !resource.Is(err, resource.Unavailable) {
			t.Fatal(err)
		}
		finish(t, state, want)
	})
	// What a crash between two renames leaves is the same as somebody having
	// made the next ones already.
	for _, moved := range [][]string{{"ca.pem"}, {"ca.pem", "principals.json"}, {"ca.pem", "principals.json", "etcd"}} {
		t.Run("after "+strings.Join(moved, ", ")+" moved in", func(t *testing.T) {
			state, s := stage(t)
			if err := s.Commit(); err != nil {
				t.Fatal(err)
			}
			ready := filepath.Join(state, "restore.ready")
			put(t, ready, map[string]string{".moved": "", "replaced/keep": ""})
			for _, name := range []string{"etcd", "ca.pem", "server.pem"} {
				if err := os.Rename(filepath.Join(state, name), filepath.Join(ready, "replaced", name)); err != nil {
					t.Fatal(err)
				}
			}
			if err := errors.Join(os.Remove(filepath.Join(ready, "replaced", "keep")), os.Remove(filepath.Join(ready, "network", "leases.json"))); err != nil {
				t.Fatal(err)
			}
			for _, name := range moved {
				if err := os.Rename(filepath.Join(ready, name), filepath.Join(state, name)); err != nil {
					t.Fatal(err)
				}
			}
			finish(t, state, want)
		})
	}
}

func finish(t *testing.T, state string, want map[string]string) {
	t.Helper()
	if _, err := backup.Finish(state, time.Now(), func() error { return nil }); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, tree(t, state)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if replaced, err := backup.Finish(state, time.Now(), func() error { return errors.New("called") }); replaced != "" || err != nil {
		t.Errorf("finishing again: %q %v", replaced, err)
	}
}

func TestARefusedRestoreLeavesNothing(t *testing.T) {
	file, _ := written(t, 3)
	state := t.TempDir()
	put(t, state, before)
	no := errors.New("no")
	if _, err := backup.Stage(t.Context(), file, state, backends{}.open, func(store.Backend) error { return no }); !errors.Is(err, no) {
		t.Error(err)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := backup.Stage(canceled, file, state, backends{}.open, nil); !resource.Is(err, resource.Canceled) {
		t.Error(err)
	}
	if diff := cmp.Diff(before, tree(t, state)); diff != "" {
		t.Errorf("(-before +after):\n%s", diff)
	}
}

// TestStrangeMembersAreRefused reads archives that Write does not make.
func TestStrangeMembersAreRefused(t *testing.T) {
	const format = "1\n"
	for name, tt := range map[string]struct {
		members []string // name, content, ...
		word    string
	}{
		"newer format":         {[]string{"muster-backup", "2\n"}, "a newer one wrote it"},
		"another tar":          {[]string{"etc/passwd", "root"}, "not a backup"},
		"out of the directory": {[]string{"muster-backup", format, "state/../../etc/x.pem", "x"}, "no backup has"},
		"absolute":             {[]string{"muster-backup", format, "state//etc/x.pem", "x"}, "no backup has"},
		"the lock":             {[]string{"muster-backup", format, "state/lock", "1"}, "no backup has"},
		"no manifest":          {[]string{"muster-backup", format, "state/ca.pem", "x"}, "no manifest"},
		"another manifest":     {[]string{"muster-backup", format, "manifest.json", "{}"}, "not what the manifest says"},
		"record without value": {[]string{"muster-backup", format, "records/000001", "key\n"}, "no value"},
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			zip := gzip.NewWriter(&b)
			w := tar.NewWriter(zip)
			for i := 0; i < len(tt.members); i += 2 {
				content := tt.members[i+1]
				if err := w.WriteHeader(&tar.Header{Name: tt.members[i], Size: int64(len(content)), Mode: 0o600}); err != nil {
					t.Fatal(err)
				}
				if _, err := w.Write([]byte(content)); err != nil {
					t.Fatal(err)
				}
			}
			if err := errors.Join(w.Close(), zip.Close()); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(t.TempDir(), "strange")
			if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := backup.Verify(t.Context(), file)
			e, ok := errors.AsType[*resource.Error](err)
			if !ok || e.Kind != resource.Invalid || !strings.Contains(e.Msg, tt.word) {
				t.Errorf("%v does not say %q", err, tt.word)
			}
		})
	}
}
