package volume

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/muster-vm/muster/internal/disk"
	"github.com/muster-vm/muster/internal/resource"
)

const (
	halves  = "tmp"   // directory of what is being made
	content = "qcow2" // extensions of files by UID
	record  = "json"
	part    = "part" // a file that is imported, as it came
)

func (v *Vault) path(uid disk.UID, extension string) string {
	return filepath.Join(v.opts.Dir, string(uid)+"."+extension)
}

// half names a file that is being made, for this package and for qemu-img, which
// runs in the directory.
func (v *Vault) half(uid disk.UID, extension string) (path, name string) {
	return filepath.Join(v.tmp(), string(uid)+"."+extension), "./" + string(uid) + "." + extension
}

// clear removes what is half-made of a content.
func (v *Vault) clear(uid disk.UID) {
	for _, extension := range []string{content, part} {
		half, _ := v.half(uid, extension)
		os.Remove(half) //nolint:errcheck // the next Open tries again
	}
}

var uids = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z-]{0,63}$`)

// check refuses names that could lead out of the directory.
func check(uid disk.UID) error {
	if !uids.MatchString(string(uid)) {
		return resource.Errorf(resource.Invalid, "InvalidParameter", "%q is no disk's UID.", uid)
	}
	return nil
}

// Contents lists what a directory of contents has, without opening a vault. A
// directory that is not there has nothing.
func Contents(dir string) (all []disk.UID, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	seen := map[string]bool{}
	for _, e := range entries {
		name, extension, ok := strings.Cut(e.Name(), ".")
		if ok && !seen[name] && (extension == content || extension == record) && check(disk.UID(name)) == nil {
			seen[name] = true
			all = append(all, disk.UID(name))
		}
	}
	return all, err
}

// SetAside moves contents out of a directory, durably, into another one that is
// made if missing.
func SetAside(dir, to string, uids []disk.UID) error {
	if len(uids) == 0 {
		return nil
	}
	err := os.MkdirAll(to, 0o700)
	for _, uid := range uids {
		for _, extension := range []string{content, record} {
			name := string(uid) + "." + extension
			if e := os.Rename(filepath.Join(dir, name), filepath.Join(to, name)); !errors.Is(e, fs.ErrNotExist) {
				err = errors.Join(err, e)
			}
		}
	}
	return err
}

// sizeOf reads how large the disk in a file of ours is.
func sizeOf(path string) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	h, fault, err := disk.ReadHeader(f, info.Size(), disk.FormatQcow2)
	if fault != "" {
		err = resource.Errorf(resource.Unavailable, "DiskContentDamaged", "The file %s %s. Put a whole one in its place, or delete the resource.", path, fault)
	}
	return h.Bytes, err
}

// reserve is left free on the file system, for the records of the server.
const reserve = 256 << 20

// roomFor makes sure that a copy of a file has room, and returns how much that
// takes.
func (v *Vault) roomFor(path string) (int64, error) {
	var at unix.Stat_t
	if err := unix.Stat(path, &at); err != nil {
		return 0, v.failed(&fs.PathError{Op: "stat", Path: path, Err: err})
	}
	return at.Blocks * 512, v.room(at.Blocks * 512)
}

// room makes sure that there is room for so many bytes more.
func (v *Vault) room(bytes int64) error {
	var at unix.Statfs_t
	if err := unix.Statfs(v.opts.Dir, &at); err != nil {
		return v.failed(err)
	}
	gib := func(n int64) float64 { return float64(n) / (1 << 30) }
	free, need := int64(at.Bavail)*at.Bsize, bytes+reserve
	if free < need {
		return resource.Errorf(resource.Exhausted, "HostDiskFull",
			"The host has %.1f GiB of disk space left in %s, and this needs %.1f GiB. Free some space.", gib(free), v.opts.Dir, gib(need))
	}
	return nil
}

// failed words a failure of a file.
func (v *Vault) failed(err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*resource.Error](err); ok {
		return e
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return resource.Errorf(resource.NotFound, "NotFound", "The content of the disk is not on this machine.").Because(err)
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return v.full(err)
	case errors.Is(err, context.Canceled):
		return canceled(err)
	}
	return resource.Errorf(resource.Unavailable, "", "The directory %s cannot be used. Make it writable for the server.", v.opts.Dir).Because(err)
}

func (v *Vault) full(err error) *resource.Error {
	return resource.Errorf(resource.Exhausted, "HostDiskFull", "The host has no disk space left in %s. Free some space.", v.opts.Dir).Because(err)
}

func canceled(err error) error {
	return resource.Errorf(resource.Canceled, "", "The request was canceled.").Because(err)
}
