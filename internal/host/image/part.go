package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"

	"github.com/muster-vm/muster/internal/resource"
)

// The roles of files in an image.
const (
	kernel = "kernel"
	initrd = "initrd"
	disk   = "disk"
)

// part is one file of an image.
type part struct {
	role   string
	path   string // absolute, without symbolic links
	want   string // SHA-256 that somebody said it has; empty if nobody did
	remedy string // what to do about a fault, a sentence

	mu   sync.Mutex
	seen stamp // when sum was last found right
	sum  string
}

// stamp tells whether a file may have changed.
type stamp struct {
	Size     int64 `json:"size"`
	Modified int64 `json:"modified"` // ns since 1970
}

// take remembers what the file is now. A fault completes the sentence "the
// file is ..."; an error means that the context ended or the cache is broken.
func (p *part) take(ctx context.Context, cache *cache) (fault string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at, err := stampOf(p.path)
	if err != nil {
		return faultOf(err), nil
	}
	sum, known := cache.find(p.path, at)
	if !known {
		if sum, at, err = hash(ctx, p.path); err != nil {
			return faultOrEnd(ctx, err)
		}
		if err := cache.put(p.path, at, sum); err != nil {
			return "", err
		}
	}
	p.seen, p.sum = at, sum
	if p.want != "" && p.want != p.sum {
		return fmt.Sprintf("has the SHA-256 %s instead of %s", p.sum, p.want), nil
	}
	return "", nil
}

// verify returns a fault if the file is not what it was. It reads the file only
// if its stamp differs.
func (p *part) verify(ctx context.Context) (fault string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at, err := stampOf(p.path)
	if err != nil {
		return faultOf(err), nil
	}
	if at == p.seen {
		return "", nil
	}
	sum, at, err := hash(ctx, p.path)
	if err != nil {
		return faultOrEnd(ctx, err)
	}
	if sum != p.sum {
		return "has changed since the server took its digest", nil
	}
	p.seen = at
	return "", nil
}

// faultOrEnd tells a file that cannot be hashed from a caller that went away.
func faultOrEnd(ctx context.Context, err error) (string, error) {
	if ctx.Err() != nil {
		return "", resource.Errorf(resource.Canceled, "", "The request ended while an image was being read.").Because(err)
	}
	return faultOf(err), nil
}

var (
	errNotRegular = errors.New("is not a regular file")
	errWritten    = errors.New("is being written to")
)

// stampOf does not follow a symbolic link: paths have none when they are kept.
func stampOf(path string) (stamp, error) {
	at, err := os.Lstat(path)
	if err != nil {
		return stamp{}, err
	}
	if !at.Mode().IsRegular() {
		return stamp{}, errNotRegular
	}
	return stamp{Size: at.Size(), Modified: at.ModTime().UnixNano()}, nil
}

func faultOf(err error) string {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		err = path.Err
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "is missing"
	case errors.Is(err, errNotRegular), errors.Is(err, errWritten):
		return err.Error()
	default:
		return "cannot be read: " + err.Error()
	}
}

// hash returns the SHA-256 of a file that nobody wrote to meanwhile.
func hash(ctx context.Context, path string) (sum string, at stamp, err error) {
	if at, err = stampOf(path); err != nil {
		return "", at, err
	}
	f, err := os.Open(path)
	if err != nil {
		return "", at, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.CopyBuffer(h, reader{ctx, f}, make([]byte, 1<<20)); err != nil {
		return "", at, err
	}
	if after, err := stampOf(path); err != nil || after != at {
		return "", at, errWritten
	}
	return hex.EncodeToString(h.Sum(nil)), at, nil
}

// reader reads until its context ends.
type reader struct {
	ctx  context.Context //nolint:containedctx // io.Reader has no parameter for it; it lives as long as one call
	file io.Reader
}

// Read implements io.Reader.
func (r reader) Read(b []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.file.Read(b)
}

// contentDigest names the content of an image. For a disk alone it is what
// sha256sum prints, so that an operator can compare it.
func contentDigest(parts []*part, commandLine string) string {
	if len(parts) == 1 && parts[0].role == disk {
		return "sha256:" + parts[0].sum
	}
	var all strings.Builder
	for _, p := range parts {
		fmt.Fprintf(&all, "%s %s\n", p.role, p.sum)
	}
	fmt.Fprintf(&all, "cmdline %q\n", commandLine)
	return textDigest(all.String())
}

func textDigest(text string) string { return "sha256:" + textSum(text) }

func textSum(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}
