package qemu

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/muster-vm/muster/internal/durable"
	"github.com/muster-vm/muster/internal/host/compute"
)

// Stored lists the machines under a root that no driver has open.
func Stored(dir string) ([]compute.VMID, error) {
	ids, err := root(dir).ids()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return ids, err
}

// KeptDisks lists the instances that have disks under a root, but no machine,
// with the generation of their OS disk; 0 if they have none.
func KeptDisks(dir string) ([]compute.VMID, error) {
	machines, err := Stored(dir)
	if err != nil {
		return nil, err
	}
	have := map[string]bool{}
	for _, id := range machines {
		have[instanceOf(id)] = true
	}
	entries, err := os.ReadDir(disksDir(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var ids []compute.VMID
	for _, e := range entries {
		id, ok := parseID(e.Name() + "-0")
		if !ok || !e.IsDir() || have[e.Name()] {
			continue
		}
		files, err := filepath.Glob(filepath.Join(disksDir(dir), e.Name(), "os-*.qcow2"))
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			var n int64
			if _, err := fmt.Sscanf(filepath.Base(f), "os-%d.qcow2", &n); err == nil {
				id.Disks = max(id.Disks, n)
			}
		}
		ids = append(ids, id)
	}
	return ids, err
}

func disksDir(dir string) string { return filepath.Join(dir, "disks") }

// SetAside moves the disks of instances without a machine into a directory,
// which it makes if there are any.
func SetAside(dir, to string, ids []compute.VMID) error {
	for _, id := range ids {
		if err := os.MkdirAll(to, 0o700); err != nil {
			return err
		}
		err := os.Rename(root(dir).disks(id), filepath.Join(to, instanceOf(id)))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// ForgetLease has the driver that is opened next under a root take calls with
// any lease. It is for a store that counts its revisions anew, and for a caller
// who knows that nobody with an older lease is left.
func ForgetLease(dir string) error {
	err := os.Remove(root(dir).leaseFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return durable.SyncDir(dir)
}
