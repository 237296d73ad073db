package qemu

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/muster-vm/muster/internal/durable"
	"github.com/muster-vm/muster/internal/host/compute"
)

// root is the driver's directory, and the one place that knows its layout.
type root string

const (
	recordFile = "vm.json"
	seedFile   = "seed.iso"
	newPrefix  = ".new-"  // of a directory whose record is being written
	gonePrefix = ".gone-" // of a directory that is being removed
)

func (r root) vms() string                  { return filepath.Join(string(r), "vms") }
func (r root) vm(id compute.VMID) string    { return filepath.Join(r.vms(), id.String()) }
func (r root) leaseFile() string            { return filepath.Join(string(r), "lease") }
func (r root) disks(id compute.VMID) string { return filepath.Join(string(r), "disks", instanceOf(id)) }
func (r root) osDisk(id compute.VMID) string {
	return filepath.Join(r.disks(id), "os-"+itoa(id.Disks)+".qcow2")
}

func (r root) dataDisk(id compute.VMID, d compute.Disk) string {
	return filepath.Join(r.disks(id), "data-"+strconv.Itoa(d.LUN)+"-"+itoa(d.Generation)+".qcow2")
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// instanceOf names what a machine's disk generations have in common.
func instanceOf(id compute.VMID) string { return id.Set + "-" + itoa(id.Instance) }

// parseID reads what VMID.String writes.
func parseID(s string) (compute.VMID, bool) {
	rest, disks, ok1 := cutLast(s)
	set, instance, ok2 := cutLast(rest)
	return compute.VMID{Set: set, Instance: instance, Disks: disks}, ok1 && ok2 && set != ""
}

func cutLast(s string) (before string, n int64, ok bool) {
	i := strings.LastIndexByte(s, '-')
	if i < 0 {
		return "", 0, false
	}
	n, err := strconv.ParseInt(s[i+1:], 10, 64)
	return s[:i], n, err == nil
}

// open makes the directories and clears away what a crash left half named.
func (r root) open() error {
	for _, dir := range []string{r.vms(), filepath.Join(string(r), "disks")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	entries, err := os.ReadDir(r.vms())
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), newPrefix) || strings.HasPrefix(e.Name(), gonePrefix) {
			err = errors.Join(err, os.RemoveAll(filepath.Join(r.vms(), e.Name())))
		}
	}
	return err
}

// ids lists the machines that have a directory.
func (r root) ids() ([]compute.VMID, error) {
	entries, err := os.ReadDir(r.vms())
	if err != nil {
		return nil, err
	}
	var ids []compute.VMID
	for _, e := range entries {
		if id, ok := parseID(e.Name()); ok && e.IsDir() {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// load reads a machine's record. One that cannot be read is a record in phase
// deleting with a fault: the machine is reported, and can only be deleted.
func (r root) load(id compute.VMID) record {
	b, err := os.ReadFile(filepath.Join(r.vm(id), recordFile))
	var rec record
	if err == nil {
		err = json.Unmarshal(b, &rec)
	}
	if err == nil && (rec.Spec.ID != id || rec.Phase == "") {
		err = errors.New("it does not say what it is of")
	}
	if err != nil {
		return record{Spec: compute.Spec{ID: id}, Phase: deleting, Disposal: compute.KeepDisks,
			Fault: "Its record cannot be read: " + err.Error() + ". Delete the virtual machine and make it again."}
	}
	if rec.Fit == "" && rec.Hash != rec.Spec.Hash() {
		rec.Fit = rec.Spec.Fit() // it was written when disks were part of the hash
	}
	rec.Hash = rec.Spec.Hash()
	return rec
}

// add makes a machine's directory, which appears with its record in it.
func (r root) add(rec record) error {
	id := rec.Spec.ID
	tmp := filepath.Join(r.vms(), newPrefix+id.String())
	if err := os.RemoveAll(tmp); err != nil {
		return err
	}
	if err := os.Mkdir(tmp, 0o700); err != nil {
		return err
	}
	if err := writeJSON(filepath.Join(tmp, recordFile), rec); err != nil {
		return err
	}
	if err := os.Rename(tmp, r.vm(id)); err != nil {
		return err
	}
	return durable.SyncDir(r.vms())
}

// save replaces a machine's record.
func (r root) save(rec record) error {
	return writeJSON(filepath.Join(r.vm(rec.Spec.ID), recordFile), rec)
}

// remove takes a machine's directory away in one step.
func (r root) remove(id compute.VMID) error {
	gone := filepath.Join(r.vms(), gonePrefix+id.String())
	if err := os.RemoveAll(gone); err != nil {
		return err
	}
	if err := os.Rename(r.vm(id), gone); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return errors.Join(durable.SyncDir(r.vms()), os.RemoveAll(gone))
}

// removeDisks takes away what the disposal says of an instance's disks.
func (r root) removeDisks(id compute.VMID, disposal compute.Disposal) error {
	switch disposal {
	case compute.KeepDisks:
		return nil
	case compute.All:
		return os.RemoveAll(r.disks(id))
	}
	return removePrefixed(r.disks(id), "os-")
}

// removePrefixed removes the files of a directory whose names start with
// prefix, and keeps some.
func removePrefixed(dir, prefix string, keep ...string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if path := filepath.Join(dir, e.Name()); strings.HasPrefix(e.Name(), prefix) && !slices.Contains(keep, path) {
			err = errors.Join(err, os.Remove(path))
		}
	}
	return err
}

// lease reads the highest lease seen, and 0 if there is none.
func (r root) lease() (int64, error) {
	b, err := os.ReadFile(r.leaseFile())
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
}

func (r root) saveLease(lease int64) error {
	return durable.Write(r.leaseFile(), []byte(itoa(lease)+"\n"))
}

func writeJSON(path string, v any) error {
	b, err := json.MarshalIndent(v, "", "\t")
	if err != nil {
		return err
	}
	return durable.Write(path, append(b, '\n'))
}
