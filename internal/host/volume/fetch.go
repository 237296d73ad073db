package volume

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"hash"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path"
	"strings"
	"time"

	"github.com/muster-vm/muster/internal/disk"
	"github.com/muster-vm/muster/internal/resource"
)

// Import says what files may be imported.
type Import struct {
	Allowed []string // directories of this machine that files may come from
	Hosts   []string // web servers that may be at any address: name, *.suffix, or either with :port
	MaxGB   int      // of a disk; 0 for DefaultMaxGB

	Stall time.Duration // without a byte, after which a download ends; 0 for a minute
	Limit time.Duration // of a whole download; 0 for twelve hours
}

// DefaultMaxGB is the size of the largest disk that is imported.
const DefaultMaxGB = 128

func (i Import) maxGB() int64 { return int64(cmp.Or(i.MaxGB, DefaultMaxGB)) }

// fetch imports a file into the half of a content.
func (v *Vault) fetch(ctx context.Context, o disk.Order) error {
	file := o.Source.File
	u, err := url.Parse(file.URI)
	if err != nil || u.User != nil {
		return resource.Errorf(resource.Invalid, "InvalidParameter", "The file to import has no valid URI, or one with credentials.")
	}
	in, size, err := v.opts.Import.open(ctx, u)
	if err != nil {
		return err
	}
	defer in.Close()
	if size > v.mostBytes() {
		return tooLarge("file", v.opts.Import.maxGB())
	}
	if err := v.room(max(size, 0)); err != nil {
		return err
	}
	got, err := v.receive(o, in, size)
	if err != nil {
		return v.notReceived(ctx, u, err)
	}
	if sum := got.digest(); file.SHA256 != "" && sum != file.SHA256 {
		return resource.Errorf(resource.Invalid, "ChecksumMismatch", "The file %s has the SHA-256 %s instead of %s. Correct the one or the other.", shown(u), sum, file.SHA256)
	}
	from, err := v.inspect(ctx, o, got.n, u)
	if err != nil {
		return err
	}
	if err := v.convert(ctx, o, from, got.n); err != nil {
		return err
	}
	half, _ := v.half(o.UID, part)
	return v.failed(os.Remove(half))
}

// mostBytes is how long a file may be: a little more than the largest disk.
func (v *Vault) mostBytes() int64 { return (v.opts.Import.maxGB() + 1) << 30 }

// shown is a URI as it may be shown: its query may carry a signature.
func shown(u *url.URL) string {
	if u.Scheme == "file" {
		return u.Path
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// receive copies what is imported into a file that nobody else writes to.
func (v *Vault) receive(o disk.Order, in io.Reader, size int64) (*sink, error) {
	half, _ := v.half(o.UID, part)
	out, err := os.OpenFile(half, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	s := &sink{file: out, sum: sha256.New(), most: v.mostBytes(), room: v.room, tell: func(n int64) { o.Progress(n, 2*max(size, 0)) }}
	_, err = io.CopyBuffer(s, struct{ io.Reader }{in}, make([]byte, 1<<20))
	if errors.Is(err, errTooLong) {
		err = tooLarge("file", v.opts.Import.maxGB())
	}
	if err == nil {
		err = out.Truncate(s.n)
	}
	return s, errors.Join(err, out.Close())
}

// notReceived words why a file did not arrive.
func (v *Vault) notReceived(ctx context.Context, u *url.URL, err error) error {
	if e, ok := errors.AsType[*resource.Error](err); ok {
		return e
	}
	if ctx.Err() != nil {
		return canceled(ctx.Err())
	}
	if fault := v.failed(err); u.Scheme == "file" || resource.Is(fault, resource.Exhausted) {
		return fault
	}
	return notDownloaded(u, "the connection failed or ended early").Because(err)
}

// sink writes a file with holes where there are zeros, and takes its checksum.
type sink struct {
	file    *os.File
	sum     hash.Hash
	n, most int64
	looked  int64 // n when the room was last looked at
	room    func(int64) error
	tell    func(n int64)
}

var errTooLong = errors.New("the file is too long")

// Write implements io.Writer.
func (s *sink) Write(b []byte) (int, error) {
	const hole, look = 64 << 10, 64 << 20
	if s.n+int64(len(b)) > s.most {
		return 0, errTooLong
	}
	if s.n-s.looked > look {
		if err := s.room(0); err != nil {
			return 0, err
		}
		s.looked = s.n
	}
	s.sum.Write(b)
	for i := 0; i < len(b); i += hole {
		piece := b[i:min(i+hole, len(b))]
		if zeros(piece) {
			continue
		}
		if _, err := s.file.WriteAt(piece, s.n+int64(i)); err != nil {
			return 0, err
		}
	}
	s.n += int64(len(b))
	s.tell(s.n)
	return len(b), nil
}

func zeros(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

func (s *sink) digest() string { return hex.EncodeToString(s.sum.Sum(nil)) }

func tooLarge(what string, mostGB int64) error {
	return resource.Errorf(resource.Invalid, "DiskTooLarge", "The %s to import is larger than %d GB. Raise limits.imageGB in the server's config if it shall be imported.", what, mostGB)
}

// damaged is a file that no disk can be made of; the sentence starts with it.
func damaged(format string, args ...any) *resource.Error {
	return resource.Errorf(resource.Invalid, "InvalidDiskFile", "The file to import "+format, args...)
}

// inspect finds out what a file that was received is, and whether it is whole. It
// returns how qemu-img is told of it.
func (v *Vault) inspect(ctx context.Context, o disk.Order, size int64, u *url.URL) ([]string, error) {
	half, name := v.half(o.UID, part)
	f, err := os.Open(half)
	if err != nil {
		return nil, v.failed(err)
	}
	defer f.Close()
	h, fault, err := disk.ReadHeader(f, size, cmp.Or(o.Source.File.Format, named[strings.ToLower(path.Ext(u.Path))]))
	switch {
	case err != nil:
		return nil, v.failed(err)
	case fault != "":
		return nil, damaged("%s.", fault)
	case h.Bytes > v.opts.Import.maxGB()<<30:
		return nil, tooLarge("disk", v.opts.Import.maxGB())
	case o.SizeGB > 0 && h.Bytes > int64(o.SizeGB)<<30:
		return nil, resource.Errorf(resource.Invalid, "InvalidParameter", "The disk to import has %d GB, more than the %d GB that were asked for.", disk.GB(h.Bytes), o.SizeGB)
	case h.Format == disk.FormatQcow2:
		if err := v.checkTables(ctx, name); err != nil {
			return nil, err
		}
	}
	from := stranger(name, h.Format)
	return from, v.roomToConvert(ctx, from)
}

// named are the formats that the ends of files' names promise.
var named = map[string]string{".qcow2": disk.FormatQcow2, ".vhd": disk.FormatVHD}

// checkTables has qemu-img look at all tables of a qcow2 disk: what they point at
// must be in the file.
func (v *Vault) checkTables(ctx context.Context, name string) error {
	_, err := v.run(ctx, true, nil, "check", "-q", "-f", disk.FormatQcow2, "--output=json", "--", name)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		switch exit.ExitCode() {
		case 3: // clusters that nothing points at do no harm
			return nil
		case 2:
			return damaged("is a damaged qcow2 disk, or was cut short: `qemu-img check` finds that its tables are wrong.")
		}
	}
	return err
}

// roomToConvert makes sure that there is room for what a disk is converted to.
func (v *Vault) roomToConvert(ctx context.Context, from []string) error {
	out, err := v.run(ctx, true, nil, append([]string{"measure", "-O", disk.FormatQcow2, "--output=json"}, from...)...)
	if err != nil {
		return err
	}
	var size struct {
		Required int64 `json:"required"`
	}
	if err := json.Unmarshal(out, &size); err != nil {
		return resource.Errorf(resource.Unavailable, "", "qemu-img did not say how much space the disk needs.").Because(err)
	}
	return v.room(size.Required)
}
