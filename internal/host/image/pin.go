package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/muster-vm/muster/internal/durable"
	"github.com/muster-vm/muster/internal/resource"
)

// Instances' disks are overlays over an image's file, so that file must stay
// what it was for as long as one of them exists, whatever becomes of the file in
// the catalogue. The first use of an image therefore pins it: its files are
// linked, or copied where links cannot reach, into a directory by digest.

// pins is the directory of pinned images. Empty, nothing is pinned.
type pins string

// pinnedFile describes a pinned image, beside its files.
const pinnedFile = "image.json"

func (p pins) dir(digest string) string {
	return filepath.Join(string(p), strings.ReplaceAll(digest, ":", "-"))
}

// get returns a pinned image's files.
func (p pins) get(digest string) (files Files, ok bool, err error) {
	if p == "" || strings.ContainsAny(digest, "/\\") {
		return Files{}, false, nil
	}
	raw, err := os.ReadFile(filepath.Join(p.dir(digest), pinnedFile))
	if errors.Is(err, fs.ErrNotExist) {
		return Files{}, false, nil
	}
	if err == nil {
		err = json.Unmarshal(raw, &files)
	}
	for _, name := range []*string{&files.Disk, &files.Kernel, &files.Initrd} {
		if *name != "" {
			*name = filepath.Join(p.dir(digest), filepath.Base(*name))
		}
	}
	return files, err == nil, err
}

// add pins an image. Its directory appears complete or not at all.
func (p pins) add(ctx context.Context, digest string, files Files) error {
	tmp, err := os.MkdirTemp(string(p), ".new-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp) //nolint:errcheck // gone once it has its name
	for role, path := range map[string]*string{"disk": &files.Disk, "kernel": &files.Kernel, "initrd": &files.Initrd} {
		if *path == "" {
			continue
		}
		if err := linkOrCopy(ctx, *path, filepath.Join(tmp, role)); err != nil {
			return err
		}
		if err := settle(filepath.Join(tmp, role)); err != nil {
			return err
		}
		*path = role
	}
	raw, err := json.Marshal(files)
	if err != nil {
		return err
	}
	if err := durable.Write(filepath.Join(tmp, pinnedFile), raw); err != nil {
		return err
	}
	err = os.Rename(tmp, p.dir(digest))
	if errors.Is(err, fs.ErrExist) || errors.Is(err, syscall.ENOTEMPTY) {
		return nil // somebody was faster
	}
	return errors.Join(err, durable.SyncDir(string(p)))
}

// settle makes what is in a file durable.
func settle(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// linkOrCopy gives a file a second name. Where the file systems differ it is
// copied.
func linkOrCopy(ctx context.Context, from, to string) error {
	if err := os.Link(from, to); err == nil {
		return nil
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, cancelable{ctx, in})
	return errors.Join(err, out.Sync(), out.Close())
}

// cancelable is a reader that ends with its context.
type cancelable struct {
	ctx context.Context //nolint:containedctx // of one copy
	r   io.Reader
}

// Read implements io.Reader.
func (c cancelable) Read(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(b)
}

// pinError words a failure to pin an image.
func pinError(dir string, err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return resource.Errorf(resource.Exhausted, "HostDiskFull", "The host has no disk space left for an image in %s. Free some space.", dir).Because(err)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return resource.Errorf(resource.Canceled, "", "The request was canceled.").Because(err)
	}
	return resource.Errorf(resource.Unavailable, "", "The image cannot be kept in %s. Make the directory writable.", dir).Because(fmt.Errorf("pin: %w", err))
}

// Prune removes pinned images that nobody keeps, and what a crash left of pinning.
// Nobody else may use the catalogue meanwhile.
func (c *Catalogue) Prune(keep func(digest string) bool) error {
	return c.prune(keep, true)
}

// Release removes pinned images that nobody keeps, while the catalogue is in use.
func (c *Catalogue) Release(keep func(digest string) bool) error {
	return c.prune(keep, false)
}

func (c *Catalogue) prune(keep func(digest string) bool, halves bool) error {
	if c.pins == "" {
		return nil
	}
	entries, err := os.ReadDir(string(c.pins))
	for _, e := range entries {
		digest := strings.Replace(e.Name(), "-", ":", 1)
		pinned := e.IsDir() && strings.HasPrefix(digest, "sha256:")
		if pinned && !keep(digest) || halves && strings.HasPrefix(e.Name(), ".new-") {
			err = errors.Join(err, os.RemoveAll(filepath.Join(string(c.pins), e.Name())))
		}
	}
	return err
}
