package qemu

import (
	"errors"
	"io/fs"
	"os/exec"
	"strings"
	"syscall"

	"github.com/muster-vm/muster/internal/host/compute"
	"github.com/muster-vm/muster/internal/host/compute/qemu/qmp"
	"github.com/muster-vm/muster/internal/resource"
)

// errNotFound is the answer when there is no such machine.
func errNotFound(id compute.VMID) error {
	return resource.Errorf(resource.NotFound, "VMNotFound", "The virtual machine %s is not on this host.", id)
}

func errConflict(id compute.VMID, why string) error {
	return resource.Errorf(resource.Conflict, "VMConflict", "The virtual machine %s %s.", id, why)
}

// errDisk classifies what went wrong with a file. said is what a program that
// failed over it printed.
func errDisk(path string, err error, said string) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), strings.Contains(said, "No space left"):
		return resource.Errorf(resource.Exhausted, "HostDiskFull",
			"The host has no disk space left for %s. Free some space, or delete instances.", path).Because(err)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return resource.Errorf(resource.Unavailable, "HostDiskNotWritable",
			"The host may not write %s. Check the owner and mode of the directory.", path).Because(err)
	}
	if _, ok := errors.AsType[*resource.Error](err); ok {
		return err
	}
	return resource.Errorf(resource.Internal, "", "The host could not use %s.", path).Because(err)
}

// errProgram classifies a program that could not be run; pkg is the Debian
// package that has it.
func errProgram(name, pkg string, err error) error {
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return resource.Errorf(resource.Unavailable, "QemuNotInstalled",
			"%s is not installed on the host. Install it there: apt-get install %s.", name, pkg).Because(err)
	}
	return resource.Errorf(resource.Unavailable, "QemuNotRunnable", "The host could not run %s.", name).Because(err)
}

// errRefused is the answer when QEMU does not change a process's disks.
func errRefused(id compute.VMID, e *qmp.Error) error {
	if locked(e.Desc) {
		return resource.Errorf(resource.Unavailable, "DiskInUse",
			"A disk of %s is in use by another program on the host. End that, or attach another disk.", id).Because(e)
	}
	return resource.Errorf(resource.Unavailable, "QemuRefused",
		"QEMU did not change the disks of %s: %s. Restarting the instance may help.", id, strings.TrimSuffix(e.Desc, ".")).Because(e)
}

// locked reports whether QEMU speaks of a file that another program has open.
func locked(said string) bool {
	return strings.Contains(said, "Failed to get \"write\" lock") || strings.Contains(said, "Is another process using the image")
}

func errNoImage(digest, path string, err error) error {
	return resource.Errorf(resource.NotFound, "ImageNotFound",
		"The file %s of image %s is missing on the host. Import the image again.", path, digest).Because(err)
}

func errBadImage(digest, path, why string) error {
	return resource.Errorf(resource.Invalid, "ImageCorrupt",
		"The file %s of image %s cannot be used: %s.", path, digest, strings.TrimSuffix(why, "."))
}
