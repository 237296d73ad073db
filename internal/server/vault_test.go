package server

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/muster-vm/muster/internal/disk"
	driver "github.com/muster-vm/muster/internal/host/compute"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/store/memstore"
	"github.com/muster-vm/muster/internal/vmss"
)

// openStore opens a store over an empty memory.
func openStore(t *testing.T) *store.Store {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	session := memstore.New().Open()
	s, err := store.Open(ctx, session, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() { s.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait(); session.Close() })
	return s
}

// copier notes what it is asked to copy and enlarge.
type copier struct {
	driver.Driver
	asked []any
}

func (c *copier) CopyDisk(_ context.Context, id driver.VMID, ref driver.DiskRef, file string, _ func(done, total int64)) error {
	c.asked = append(c.asked, id, ref, file)
	return nil
}

func (c *copier) GrowDisk(_ context.Context, id driver.VMID, lun, sizeGB int) error {
	c.asked = append(c.asked, id, lun, sizeGB)
	return nil
}

func TestDisksAreCopiedByTheHostThatHasThem(t *testing.T) {
	s := openStore(t)
	for id, host := range map[vmss.InstanceID]string{1: "a", 2: "b", 3: "c"} {
		if _, err := s.Commit(t.Context(), store.Put(store.Instances, vmss.InstanceKey{Set: "web", ID: id}, vmss.Instance{ID: id, Host: host, Disks: 5})); err != nil {
			t.Fatal(err)
		}
	}
	var m Machines
	of := func(instance int64) disk.Instance {
		return disk.Instance{Set: "web", Instance: instance, OS: true, Generation: 5}
	}
	if err := m.CopyDisk(t.Context(), of(1), "/x", nil); !resource.Is(err, resource.NotFound) {
		t.Errorf("before there is a plane: %v", err)
	}
	a, b := &copier{}, &copier{}
	m.bind(s, []HostPart{{Place: vmss.Host{Name: "a"}, Driver: a}, {Place: vmss.Host{Name: "b"}, Driver: b}, {Place: vmss.Host{Name: "c"}}})
	if err := m.CopyDisk(t.Context(), of(2), "/x", nil); err != nil || len(a.asked) > 0 || b.asked[0] != (driver.VMID{Set: "web", Instance: 2, Disks: 5}) || b.asked[1] != (driver.DiskRef{OS: true}) {
		t.Errorf("CopyDisk: %v; asked %v and %v", err, a.asked, b.asked)
	}
	if err := m.GrowDisk(t.Context(), disk.Attachment{Set: "web", Instance: 1, LUN: 4}, 9); err != nil || len(a.asked) != 3 || a.asked[1] != 4 || a.asked[2] != 9 {
		t.Errorf("GrowDisk: %v; asked %v", err, a.asked)
	}
	old := of(1)
	old.Generation = 4
	for _, tt := range []struct {
		from disk.Instance
		kind resource.Kind
	}{{of(9), resource.NotFound}, {old, resource.NotFound}, {of(3), resource.Invalid}} {
		if err := m.CopyDisk(t.Context(), tt.from, "/x", nil); !resource.Is(err, tt.kind) {
			t.Errorf("CopyDisk of %+v: %v, want %v", tt.from, err, tt.kind)
		}
	}
}

func TestARestoreTellsOfContentsThatAreMissingAndMovesThoseOfNobody(t *testing.T) {
	state := t.TempDir()
	dir := filepath.Join(state, volumeDir)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"here.qcow2", "image.json", "stray.qcow2", "stray.json"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := openStore(t)
	for _, name := range []disk.UID{"here", "image", "missing", "unmade"} {
		d := disk.Disk{ID: resource.In("sub", "lab", "Microsoft.Compute", "disks", string(name)), UID: name, Kind: disk.Managed}
		if _, err := s.Commit(t.Context(), store.Put(store.Disks, d.Key(), d), store.Put(store.DiskStates, name, disk.State{Ready: name != "unmade"})); err != nil {
			t.Fatal(err)
		}
	}
	var l lost
	var out bytes.Buffer
	if err := l.compareContents(s, state); err != nil {
		t.Fatal(err)
	}
	if err := l.tellOfContents(state, &out); err != nil {
		t.Fatal(err)
	}
	said := out.String()
	if !strings.Contains(said, "/disks/missing is not in "+dir) || strings.Count(said, "\n") != 2 || !strings.Contains(said, "1 disks") {
		t.Errorf("it says %q", said)
	}
	moved, _ := filepath.Glob(filepath.Join(state, "replaced-volumes-*", "stray.*"))
	left, _ := filepath.Glob(filepath.Join(dir, "*"))
	if len(moved) != 2 || len(left) != 2 {
		t.Errorf("moved are %v, left are %v", moved, left)
	}
}
