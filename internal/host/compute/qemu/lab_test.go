package qemu

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/muster-vm/muster/internal/host/compute"
	"github.com/muster-vm/muster/internal/host/compute/drivertest"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/vmss"
)

// shelf is the images of the lab: one with an agent and one without.
type shelf struct{}

func (shelf) Image(_ context.Context, digest string) (Image, error) {
	switch digest {
	case "sha256:ok":
		return Image{Disk: "/images/ok", Format: "qcow2", Agent: true}, nil
	case "sha256:mute":
		return Image{Disk: "/images/mute", Format: "qcow2"}, nil
	}
	return Image{}, resource.Errorf(resource.NotFound, "ImageNotFound", "The host has no image %s.", digest)
}

var lease = compute.Fence{Lease: 10, Generation: 1}

// lab is a driver over a farm, which another driver can take over.
type lab struct {
	*farm
	t    *testing.T
	root string
	d    *Driver

	volumes shelved
}

func newLab(t *testing.T) *lab {
	l := &lab{farm: newFarm(t), t: t, root: t.TempDir(), volumes: shelved(t.TempDir())}
	l.reopen()
	t.Cleanup(func() { l.d.Close() })
	return l
}

// shelved is the managed disks of the lab: files beside the driver's own.
type shelved string

func (s shelved) Volume(_ context.Context, uid string) (string, error) {
	path := filepath.Join(string(s), uid+".qcow2")
	if _, err := os.Stat(path); err != nil {
		return "", resource.Errorf(resource.NotFound, "DiskNotFound", "There is no content of the disk %s.", uid)
	}
	return path, nil
}

// volume makes a managed disk's content.
func (l *lab) volume(name string) func() bool {
	l.t.Helper()
	path := filepath.Join(string(l.volumes), name+".qcow2")
	if err := os.WriteFile(path, []byte(name), 0o600); err != nil {
		l.t.Fatal(err)
	}
	return func() bool {
		b, err := os.ReadFile(path)
		return err == nil && string(b) == name
	}
}

// reopen has a new driver take over, as a server does that is started again.
func (l *lab) reopen() {
	l.t.Helper()
	if l.d != nil {
		l.d.Close()
	}
	d, err := open(l.t.Context(), Options{Root: l.root, Images: shelf{}, Volumes: l.volumes}, l.farm, l.crash)
	if err != nil {
		l.t.Fatal(err)
	}
	l.d = d
}

func labSpec(instance int64) compute.Spec {
	id := compute.VMID{Set: "6d757374-6572-4000-8000-000000000001", Instance: instance, Disks: 1}
	return compute.Spec{ID: id, Name: fmt.Sprintf("web_%d", instance), VCPUs: 1, MemoryMB: 96, Image: "sha256:ok", Boots: 1,
		DataDisks: []compute.Disk{{LUN: 0, SizeGB: 1, Generation: 1}, {LUN: 3, SizeGB: 1, Generation: 1}},
		NICs:      []compute.NIC{{MAC: vmss.MAC(vmss.UID(id.Set), vmss.InstanceID(id.Instance), 0), Port: "port"}},
		Guest:     compute.Guest{InstanceID: id.String(), HostName: fmt.Sprintf("web%06d", instance)}}
}

// wait lets virtual time pass until cond holds, five minutes at most.
func wait(cond func() bool) bool {
	for range 1500 {
		synctest.Wait()
		if cond() {
			return true
		}
		time.Sleep(200 * time.Millisecond)
	}
	return cond()
}

// create makes a machine whose guest is up.
func (l *lab) create(spec compute.Spec) {
	l.t.Helper()
	if err := l.d.Create(l.t.Context(), lease, spec); err != nil {
		l.t.Fatalf("Create: %v", err)
	}
	l.await(spec.ID, compute.Running)
}

func (l *lab) await(id compute.VMID, want compute.State) {
	l.t.Helper()
	if !wait(func() bool { return l.vm(id).State == want }) {
		l.t.Fatalf("machine %s: want it %s, got %+v", id, want, l.vm(id))
	}
}

// vm returns the machine, and the zero VM if there is none.
func (l *lab) vm(id compute.VMID) compute.VM {
	l.t.Helper()
	vm, err := l.d.Get(l.t.Context(), id)
	if err != nil && !resource.Is(err, resource.NotFound) {
		l.t.Fatal(err)
	}
	return vm
}

// process returns the machine's process, which must run.
func (l *lab) process(id compute.VMID) *emulator {
	l.t.Helper()
	e := l.find(l.d.root.vm(id))
	if e == nil {
		l.t.Fatalf("%s has no process", id)
	}
	return e
}

func (l *lab) path(id compute.VMID, file string) string {
	return filepath.Join(l.d.root.vm(id), file)
}

// diskFiles returns the contents of an instance's disks by file name.
func (l *lab) diskFiles(id compute.VMID) map[string]string {
	l.t.Helper()
	found := map[string]string{}
	entries, _ := os.ReadDir(l.d.root.disks(id)) // none, if there is no such directory
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(l.d.root.disks(id), e.Name()))
		if err != nil {
			l.t.Fatal(err)
		}
		found[e.Name()] = string(b)
	}
	return found
}

// identities names disks as the suite does.
func (l *lab) identities(id compute.VMID) map[string]string {
	found := map[string]string{}
	for file, content := range l.diskFiles(id) {
		part := strings.Split(file, "-")
		name := part[0]
		if name == "data" {
			name += part[1]
		}
		if found[name] != "" {
			l.t.Errorf("disk %s has two files", name)
		}
		found[name] = content
	}
	return found
}

func TestConformsOverProcessesInMemory(t *testing.T) {
	drivertest.RunVirtual(t, func(t *testing.T) drivertest.Fixture {
		l := newLab(t)
		return drivertest.Fixture{
			Driver: l.d, Spec: labSpec, Wait: wait, Missing: "sha256:missing", Disks: l.identities,
			Volume: l.volume,
			Reopen: func() compute.Driver { l.reopen(); return l.d },
			BootID: func(id compute.VMID) string { return l.process(id).bootID() },
		}
	})
}

func TestConformsWithGuestsWithoutAgent(t *testing.T) {
	drivertest.RunVirtual(t, func(t *testing.T) drivertest.Fixture {
		l := newLab(t)
		l.boot = time.Nanosecond // nobody could tell when it is up
		return drivertest.Fixture{
			Driver: l.d, Wait: wait, Missing: "sha256:missing", Disks: l.identities,
			Spec: func(n int64) compute.Spec {
				s := labSpec(n)
				s.Image = "sha256:mute"
				return s
			},
			Volume: l.volume,
			Reopen: func() compute.Driver { l.reopen(); return l.d },
			BootID: func(id compute.VMID) string { return l.process(id).bootID() },
		}
	})
}
