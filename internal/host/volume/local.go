package volume

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/muster-vm/muster/internal/resource"
)

// open opens a file to import. size is -1 if it is not known.
func (i Import) open(ctx context.Context, u *url.URL) (in io.ReadCloser, size int64, err error) {
	switch u.Scheme {
	case "file":
		return i.openFile(ctx, u.Path)
	case "http", "https":
		return i.download(ctx, u)
	}
	return nil, 0, resource.Errorf(resource.Invalid, "InvalidParameter", "Files can be imported from file:///path and http(s)://host/path.")
}

// openFile opens a regular file inside the allowed directories. Its place
// is asked of the open file, so that neither a symbolic link nor a swap of names
// between look and use leads elsewhere.
func (i Import) openFile(ctx context.Context, path string) (io.ReadCloser, int64, error) {
	if !i.contains(path) {
		return nil, 0, i.notAllowed(path)
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0) // a pipe is opened without waiting for its other end
	if err != nil {
		return nil, 0, unreadable(path, err)
	}
	info, err := f.Stat()
	real, linkErr := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	switch {
	case err != nil || linkErr != nil:
		err = unreadable(path, errors.Join(err, linkErr))
	case !i.contains(real):
		err = i.notAllowed(path)
	case !info.Mode().IsRegular():
		err = resource.Errorf(resource.Invalid, "InvalidDiskFile", "The file %s is not a regular file.", path)
	default:
		return cancelable{ctx, f}, info.Size(), nil
	}
	return nil, 0, errors.Join(err, f.Close())
}

func unreadable(path string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return resource.Errorf(resource.NotFound, "FileNotFound", "There is no file %s on the server's machine.", path).Because(err)
	}
	return resource.Errorf(resource.Invalid, "FileNotReadable", "The server cannot read the file %s. Give it the right to.", path).Because(err)
}

// contains reports whether a path is inside an allowed directory, as that is
// written or as it really is.
func (i Import) contains(path string) bool {
	return slices.ContainsFunc(i.Allowed, func(dir string) bool {
		abs, err := filepath.Abs(dir)
		if dir == "" || err != nil {
			return false
		}
		if inside(abs, path) {
			return true
		}
		real, err := filepath.EvalSymlinks(abs)
		return err == nil && inside(real, path)
	})
}

func inside(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != "." && filepath.IsLocal(rel)
}

func (i Import) notAllowed(path string) error {
	if len(i.Allowed) == 0 {
		return resource.Errorf(resource.Forbidden, "FileNotAllowed", "The file %s cannot be imported: images.allowed in the server's config is empty. Name the file's directory there.", path)
	}
	return resource.Errorf(resource.Forbidden, "FileNotAllowed", "The file %s cannot be imported: it is outside the directories that images may come from (%s). "+
		"Move it there, or add its directory to images.allowed in the server's config.", path, strings.Join(i.Allowed, ", "))
}

// cancelable is a file whose reads end with a context.
type cancelable struct {
	ctx context.Context //nolint:containedctx // of one copy
	*os.File
}

// Read implements io.Reader.
func (c cancelable) Read(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.File.Read(b)
}
