package volume

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/muster-vm/muster/internal/disk"
	"github.com/muster-vm/muster/internal/resource"
)

// boot is how a content boots, if it is not by itself.
type boot struct {
	base  string // digest of the image that says so
	image Image
}

// build makes the half of a content from its source.
func (v *Vault) build(ctx context.Context, o disk.Order) (boot, error) {
	switch o.Source.Option {
	case disk.Empty:
		return boot{}, v.create(ctx, o.UID, o.SizeGB)
	case disk.Copy:
		return v.copyDisk(ctx, o)
	case disk.FromImage:
		return v.flatten(ctx, o)
	case disk.Capture:
		return v.capture(ctx, o)
	case disk.Import:
		return boot{image: Image{Agent: o.Source.File.Agent}}, v.fetch(ctx, o)
	}
	return boot{}, resource.Errorf(resource.Invalid, "InvalidParameter", "Nothing can be made from %q.", o.Source.Option)
}

// bootOf reads how the image with a digest boots. One that is not kept any more
// says nothing: the content has to boot by itself then.
func (v *Vault) bootOf(ctx context.Context, digest string) (boot, error) {
	if digest == "" {
		return boot{}, nil
	}
	image, err := v.opts.Images.Files(ctx, digest)
	if resource.Is(err, resource.NotFound) {
		return boot{}, nil
	}
	return boot{digest, image}, err
}

// copyDisk copies another content.
func (v *Vault) copyDisk(ctx context.Context, o disk.Order) (boot, error) {
	if err := check(o.Source.Disk); err != nil {
		return boot{}, err
	}
	from := v.path(o.Source.Disk, content)
	n, err := v.note(o.Source.Disk)
	if err != nil {
		return boot{}, err
	}
	b, err := v.bootOf(ctx, n.Base)
	if err != nil {
		return boot{}, err
	}
	b.image.Agent = b.image.Agent || n.Agent
	half, _ := v.half(o.UID, content)
	if o.SourceAt != nil && v.opts.Machines != nil {
		if _, err := v.roomFor(from); err != nil {
			return boot{}, err
		}
		at := disk.Instance{Set: o.SourceAt.Set, Instance: o.SourceAt.Instance, LUN: o.SourceAt.LUN}
		if err := v.opts.Machines.CopyDisk(ctx, at, half, o.Progress); !resource.Is(err, resource.NotFound) {
			return b, err
		}
		v.clear(o.UID)
	}
	if o.SourceAt == nil && clone(from, half) == nil { // what is attached is copied under QEMU's lock
		return b, nil
	}
	v.clear(o.UID)
	return b, v.copyOf(ctx, o, from, disk.FormatQcow2)
}

// clone has the file system share the blocks of a file with a new one, where it
// can.
func clone(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(unix.IoctlFileClone(int(out.Fd()), int(in.Fd())), out.Close())
}

// flatten makes a disk of an image's.
func (v *Vault) flatten(ctx context.Context, o disk.Order) (boot, error) {
	image, err := v.opts.Images.Files(ctx, o.Source.Digest)
	if err != nil {
		return boot{}, err
	}
	b := boot{o.Source.Digest, image}
	if image.Disk == "" {
		return b, v.create(ctx, o.UID, max(o.SizeGB, o.SourceGB, 1))
	}
	return b, v.copyOf(ctx, o, image.Disk, image.Format)
}

// capture copies a disk of an instance.
func (v *Vault) capture(ctx context.Context, o disk.Order) (boot, error) {
	if v.opts.Machines == nil {
		return boot{}, resource.Errorf(resource.Invalid, "OperationNotAllowed", "The disks of instances cannot be copied here.")
	}
	b, err := v.bootOf(ctx, o.Base)
	if err != nil {
		return boot{}, err
	}
	if err := v.room(0); err != nil {
		return boot{}, err
	}
	half, _ := v.half(o.UID, content)
	return b, v.opts.Machines.CopyDisk(ctx, o.Source.Instance, half, o.Progress)
}

// stretch gives a half the size that is wanted, and returns it in bytes.
func (v *Vault) stretch(ctx context.Context, o disk.Order) (int64, error) {
	half, _ := v.half(o.UID, content)
	bytes, err := sizeOf(half)
	if err != nil {
		return 0, v.failed(err)
	}
	want := int64(o.SizeGB) << 30
	if o.SizeGB == 0 || want == bytes {
		return bytes, nil
	}
	if want < bytes {
		return 0, resource.Errorf(resource.Invalid, "InvalidParameter",
			"The size of %d GB is smaller than that of the source, which has %d GB. Ask for at least as much, or for no size.", o.SizeGB, disk.GB(bytes))
	}
	return want, v.resize(ctx, half, o.SizeGB)
}
