// Package sim is a vault in memory: contents that take time to make and have
// nothing in them. It reads the clock only through package time, so that a
// synctest bubble makes it run in virtual time.
//
// A Vault outlives a "crash" of the server by being handed to the next one. One
// that is made anew is told of what there was by Adopt.
package sim

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/muster-vm/muster/internal/disk"
	"github.com/muster-vm/muster/internal/resource"
)

// usualGB is how large the disks of sources are of which nothing is known.
const usualGB = 30

// Options shape a Vault. All members may be zero.
type Options struct {
	Delay time.Duration                     // that making a content takes; 0 for two seconds
	Image func(digest string) bool          // whether there is an image; nil for any
	Keep  func(digest string)               // hears of the images that are made; nil for nobody
	Fail  func(op string, u disk.UID) error // strikes a call of "make", "grow" or "remove"; nil for none
}

// Vault keeps contents in memory. Make it with New.
type Vault struct {
	opts Options

	mu       sync.Mutex
	contents map[disk.UID]disk.Made
	makes    map[disk.UID]int
}

// New returns a vault without contents.
func New(o Options) *Vault {
	if o.Fail == nil {
		o.Fail = func(string, disk.UID) error { return nil }
	}
	return &Vault{opts: o, contents: map[disk.UID]disk.Made{}, makes: map[disk.UID]int{}}
}

// Adopt takes a content for made.
func (v *Vault) Adopt(uid disk.UID, made disk.Made) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.contents[uid] = made
	if made.Digest != "" && v.opts.Keep != nil {
		v.opts.Keep(made.Digest)
	}
}

// Lose forgets a content, as when its file is removed by hand.
func (v *Vault) Lose(uid disk.UID) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.contents, uid)
}

// Makes returns how often a content was made, and not found made.
func (v *Vault) Makes(uid disk.UID) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.makes[uid]
}

// Make implements the port of package reconcile/disk.
func (v *Vault) Make(ctx context.Context, o disk.Order) (disk.Made, error) {
	if made, ok := v.get(o.UID); ok {
		return made, nil
	}
	if err := v.opts.Fail("make", o.UID); err != nil {
		return disk.Made{}, err
	}
	sizeGB, err := v.source(o)
	if err != nil {
		return disk.Made{}, err
	}
	if o.SizeGB > 0 && o.SizeGB < sizeGB {
		return disk.Made{}, resource.Errorf(resource.Invalid, "InvalidParameter", "The size of %d GB is smaller than that of the source, which has %d GB.", o.SizeGB, sizeGB)
	}
	made := disk.Made{SizeGB: cmp.Or(o.SizeGB, sizeGB)}
	made.Bytes = int64(made.SizeGB) << 30
	if err := v.wait(ctx, o, made.Bytes); err != nil {
		return disk.Made{}, err
	}
	if o.Kind == disk.Image {
		sum := sha256.Sum256([]byte("image " + o.UID))
		made.Digest = "sha256:" + hex.EncodeToString(sum[:])
	}
	v.Adopt(o.UID, made)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.makes[o.UID]++
	return made, nil
}

// source returns the size of what a content is made from.
func (v *Vault) source(o disk.Order) (int, error) {
	switch o.Source.Option {
	case disk.Empty:
		if o.SizeGB < 1 {
			return 0, resource.Errorf(resource.Invalid, "InvalidParameter", "An empty disk needs a size.")
		}
		return o.SizeGB, nil
	case disk.Copy:
		from, ok := v.get(o.Source.Disk)
		if !ok {
			return 0, notFound()
		}
		return from.SizeGB, nil
	case disk.FromImage:
		if v.opts.Image != nil && !v.opts.Image(o.Source.Digest) {
			return 0, resource.Errorf(resource.NotFound, "ImageNotFound", "There is no image %s here.", o.Source.Digest)
		}
	}
	return cmp.Or(o.SourceGB, min(usualGB, cmp.Or(o.SizeGB, usualGB))), nil
}

func notFound() error {
	return resource.Errorf(resource.NotFound, "NotFound", "The content of the disk is not on this machine.")
}

// wait lets the time pass that making takes.
func (v *Vault) wait(ctx context.Context, o disk.Order, bytes int64) error {
	const steps = 4
	for i := range int64(steps) {
		if o.Progress != nil {
			o.Progress(bytes*i/steps, bytes)
		}
		select {
		case <-ctx.Done():
			return resource.Errorf(resource.Canceled, "", "The request was canceled.").Because(ctx.Err())
		case <-time.After(cmp.Or(v.opts.Delay, 2*time.Second) / steps):
		}
	}
	return nil
}

func (v *Vault) get(uid disk.UID) (disk.Made, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	made, ok := v.contents[uid]
	return made, ok
}

// Grow implements the port of package reconcile/disk.
func (v *Vault) Grow(_ context.Context, uid disk.UID, sizeGB int, _ *disk.Attachment) error {
	if err := v.opts.Fail("grow", uid); err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	made, ok := v.contents[uid]
	if !ok {
		return notFound()
	}
	if sizeGB > made.SizeGB {
		v.contents[uid] = disk.Made{SizeGB: sizeGB, Bytes: int64(sizeGB) << 30, Digest: made.Digest}
	}
	return nil
}

// Remove implements the port of package reconcile/disk.
func (v *Vault) Remove(_ context.Context, uid disk.UID) error {
	if err := v.opts.Fail("remove", uid); err != nil {
		return err
	}
	v.Lose(uid)
	return nil
}

// SetAside implements the port of package reconcile/disk.
func (v *Vault) SetAside(ctx context.Context, uid disk.UID) error { return v.Remove(ctx, uid) }

// Has implements the port of package reconcile/disk.
func (v *Vault) Has(_ context.Context, uid disk.UID, _ string) (bool, error) {
	_, ok := v.get(uid)
	return ok, nil
}

// List implements the port of package reconcile/disk.
func (v *Vault) List(context.Context) ([]disk.UID, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Sorted(maps.Keys(v.contents)), nil
}

// Bases returns nothing: what has no content boots as nothing.
func (v *Vault) Bases() ([]string, error) { return nil, nil }
