// Package durable replaces files so that a crash, at any moment, leaves the old
// content or the new, and that what is said to be written is on the disk.
package durable

import (
	"errors"
	"os"
	"path/filepath"
)

// suffix ends the name of a file that is being written. A crash may leave one
// behind; the next Write of the same file overwrites it.
const suffix = ".new"

// Write replaces a file as a whole. Only the owner may read it. One file has one
// writer at a time.
func Write(path string, content []byte) error {
	tmp := path + suffix
	if err := os.Remove(tmp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Close())
	if err == nil {
		err = Settle(tmp, path)
	}
	if err != nil {
		os.Remove(tmp) //nolint:errcheck // the first error says more
	}
	return err
}

// Settle gives a file that is complete its name, durably. Only the owner may
// read it.
func Settle(tmp, path string) error {
	f, err := os.OpenFile(tmp, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	err = f.Chmod(0o600)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// SyncDir makes the names in a directory durable.
func SyncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
