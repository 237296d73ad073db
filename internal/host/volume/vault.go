package volume

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/muster-vm/muster/internal/disk"
	"github.com/muster-vm/muster/internal/durable"
	"github.com/muster-vm/muster/internal/resource"
)

// Images is the image store.
type Images interface {
	// Files returns the files of the image with a digest; NotFound if there is none.
	Files(ctx context.Context, digest string) (Image, error)
	// Add keeps an image. Its files may be removed afterwards.
	Add(ctx context.Context, image Image) (digest string, err error)
}

// Image is the files of an image and how it boots.
type Image struct {
	Disk, Format   string
	Kernel, Initrd string
	CommandLine    string
	Agent          bool // its guests run the QEMU guest agent
}

// Machines copies and enlarges disks that virtual machines have in use.
type Machines interface {
	// CopyDisk copies a disk of an instance as it is at one moment into a new
	// qcow2 file. NotFound if there is no such machine or disk.
	CopyDisk(ctx context.Context, from disk.Instance, file string, progress func(done, total int64)) error
	// GrowDisk enlarges a managed disk that a running machine has, so that its
	// guest sees it. NotFound if the machine does not run or has no such disk.
	GrowDisk(ctx context.Context, at disk.Attachment, sizeGB int) error
}

// Options are what a Vault needs.
type Options struct {
	Dir      string // of the contents; made if missing
	Images   Images
	Machines Machines // nil for none
	Import   Import
	Log      *slog.Logger // nil for none
}

// Vault keeps contents in files. At most one may use a directory at a time.
type Vault struct {
	opts  Options
	turns chan struct{} // held by what reads or writes much
}

// atOnce is how many contents are copied, converted or downloaded at a time.
const atOnce = 4

// Open opens a vault and clears away what a crash left half-made.
func Open(o Options) (*Vault, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	v := &Vault{o, make(chan struct{}, atOnce)}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, v.failed(err)
	}
	if err := os.RemoveAll(v.tmp()); err != nil {
		return nil, v.failed(err)
	}
	return v, v.failed(os.Mkdir(v.tmp(), 0o700))
}

// Make implements the port of package reconcile/disk.
func (v *Vault) Make(ctx context.Context, o disk.Order) (disk.Made, error) {
	if err := check(o.UID); err != nil {
		return disk.Made{}, err
	}
	if made, ok, err := v.find(ctx, o.UID, o.Kind); ok || err != nil {
		return made, err
	}
	if o.Progress == nil {
		o.Progress = func(int64, int64) {}
	}
	if o.Source.Option != disk.Empty {
		select {
		case v.turns <- struct{}{}:
			defer func() { <-v.turns }()
		case <-ctx.Done():
			return disk.Made{}, canceled(ctx.Err())
		}
	}
	v.clear(o.UID)
	defer v.clear(o.UID)
	return v.makeNew(ctx, o)
}

// makeNew makes a content that is not there.
func (v *Vault) makeNew(ctx context.Context, o disk.Order) (disk.Made, error) {
	b, err := v.build(ctx, o)
	if err != nil {
		return disk.Made{}, err
	}
	bytes, err := v.stretch(ctx, o)
	if err != nil {
		return disk.Made{}, err
	}
	if ctx.Err() != nil {
		return disk.Made{}, canceled(ctx.Err())
	}
	if o.Kind == disk.Image {
		return v.keepImage(ctx, o.UID, b, bytes)
	}
	if b.base != "" || b.image.Agent {
		if err := v.write(o.UID, note{Base: b.base, Agent: b.image.Agent}); err != nil {
			return disk.Made{}, err
		}
	}
	half, _ := v.half(o.UID, content)
	return disk.Made{Bytes: bytes, SizeGB: disk.GB(bytes)}, v.failed(durable.Settle(half, v.path(o.UID, content)))
}

// find returns a content that was made before.
func (v *Vault) find(ctx context.Context, uid disk.UID, kind disk.Kind) (disk.Made, bool, error) {
	if kind != disk.Image {
		bytes, err := sizeOf(v.path(uid, content))
		if errors.Is(err, fs.ErrNotExist) {
			return disk.Made{}, false, nil
		}
		return disk.Made{Bytes: bytes, SizeGB: disk.GB(bytes)}, err == nil, v.failed(err)
	}
	n, err := v.note(uid)
	if err != nil || n.Digest == "" {
		return disk.Made{}, false, err
	}
	ok, err := v.Has(ctx, uid, n.Digest)
	return disk.Made{Bytes: n.Bytes, SizeGB: disk.GB(n.Bytes), Digest: n.Digest}, ok, err
}

// keepImage hands a content to the image store.
func (v *Vault) keepImage(ctx context.Context, uid disk.UID, b boot, bytes int64) (disk.Made, error) {
	half, _ := v.half(uid, content)
	image := b.image
	image.Disk, image.Format = half, disk.FormatQcow2
	digest, err := v.opts.Images.Add(ctx, image)
	if err != nil {
		return disk.Made{}, err
	}
	return disk.Made{Bytes: bytes, SizeGB: disk.GB(bytes), Digest: digest}, v.write(uid, note{Digest: digest, Bytes: bytes})
}

// Grow implements the port of package reconcile/disk.
func (v *Vault) Grow(ctx context.Context, uid disk.UID, sizeGB int, at *disk.Attachment) error {
	if err := check(uid); err != nil {
		return err
	}
	bytes, err := sizeOf(v.path(uid, content))
	if err != nil {
		return v.failed(err)
	}
	if at != nil && v.opts.Machines != nil {
		// Even if the content is large enough: the guest may not know yet.
		err := v.opts.Machines.GrowDisk(ctx, *at, max(sizeGB, disk.GB(bytes)))
		if !resource.Is(err, resource.NotFound) {
			return err
		}
	}
	if bytes >= int64(sizeGB)<<30 {
		return nil
	}
	return v.resize(ctx, v.path(uid, content), sizeGB)
}

// Remove implements the port of package reconcile/disk.
func (v *Vault) Remove(_ context.Context, uid disk.UID) error {
	if err := check(uid); err != nil {
		return err
	}
	v.clear(uid)
	for _, extension := range []string{content, record} {
		if err := os.Remove(v.path(uid, extension)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return v.failed(err)
		}
	}
	return v.failed(durable.SyncDir(v.opts.Dir))
}

// unclaimed is where contents go that no record speaks of: below the vault's own
// directory, for the operator to look at.
const unclaimed = "unclaimed"

// SetAside implements the port of package reconcile/disk.
func (v *Vault) SetAside(_ context.Context, uid disk.UID) error {
	if err := check(uid); err != nil {
		return err
	}
	v.clear(uid)
	return v.failed(SetAside(v.opts.Dir, filepath.Join(v.opts.Dir, unclaimed), []disk.UID{uid}))
}

// Has implements the port of package reconcile/disk.
func (v *Vault) Has(ctx context.Context, uid disk.UID, digest string) (bool, error) {
	if digest != "" {
		_, err := v.opts.Images.Files(ctx, digest)
		if resource.Is(err, resource.NotFound) {
			return false, nil
		}
		return err == nil, err
	}
	if err := check(uid); err != nil {
		return false, err
	}
	_, err := os.Lstat(v.path(uid, content))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, v.failed(err)
}

// List implements the port of package reconcile/disk. Images that were made and
// not removed are listed too.
func (v *Vault) List(context.Context) ([]disk.UID, error) {
	found, err := Contents(v.opts.Dir)
	return found, v.failed(err)
}

// Volume returns the file of a content, for a driver. NotFound if there is none.
func (v *Vault) Volume(_ context.Context, uid string) (string, error) {
	if err := check(disk.UID(uid)); err != nil {
		return "", err
	}
	path := v.path(disk.UID(uid), content)
	_, err := os.Lstat(path)
	return path, v.failed(err)
}

// Bases returns the digests of the images that the image store must keep: those
// that hold a content, and those whose way to boot a content has inherited.
func (v *Vault) Bases() (all []string, err error) {
	found, err := Contents(v.opts.Dir)
	for _, uid := range found {
		n, e := v.note(uid)
		err = errors.Join(err, e)
		for _, digest := range []string{n.Base, n.Digest} {
			if digest != "" {
				all = append(all, digest)
			}
		}
	}
	return all, v.failed(err)
}

// note is what is known of a content beside its bytes.
type note struct {
	Base   string `json:"base,omitempty"`   // digest of the image that it boots as
	Agent  bool   `json:"agent,omitempty"`  // what boots from it runs the QEMU guest agent
	Digest string `json:"digest,omitempty"` // of an image: where its content is
	Bytes  int64  `json:"bytes,omitempty"`  // of an image
}

// note reads a note. One that cannot be understood says nothing.
func (v *Vault) note(uid disk.UID) (n note, err error) {
	raw, err := os.ReadFile(v.path(uid, record))
	if errors.Is(err, fs.ErrNotExist) {
		return n, nil
	}
	if err != nil {
		return n, v.failed(err)
	}
	if json.Unmarshal(raw, &n) != nil {
		n = note{}
	}
	return n, nil
}

func (v *Vault) write(uid disk.UID, n note) error {
	raw, err := json.Marshal(n)
	if err == nil {
		err = durable.Write(v.path(uid, record), append(raw, '\n'))
	}
	return v.failed(err)
}

func (v *Vault) tmp() string { return filepath.Join(v.opts.Dir, halves) }
