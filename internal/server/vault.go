package server

import (
	"cmp"
	"context"
	"log/slog"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/muster-vm/muster/internal/controller"
	noun "github.com/muster-vm/muster/internal/disk"
	driver "github.com/muster-vm/muster/internal/host/compute"
	"github.com/muster-vm/muster/internal/host/image"
	"github.com/muster-vm/muster/internal/host/volume"
	volumesim "github.com/muster-vm/muster/internal/host/volume/sim"
	"github.com/muster-vm/muster/internal/population"
	"github.com/muster-vm/muster/internal/reconcile/disk"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/vmss"
)

// volumeDir is the directory of contents in a state directory.
const volumeDir = "volumes"

// Vault keeps the content of managed disks, snapshots and images.
type Vault interface {
	disk.Vault
	// Bases returns the digests of the images that contents are in, or boot as.
	Bases() ([]string, error)
}

var (
	_ Vault = (*volume.Vault)(nil)
	_ Vault = (*volumesim.Vault)(nil)
)

// SimulatedVault makes a vault for simulated hosts.
func SimulatedVault(images *image.Catalogue, fleet population.Population) *volumesim.Vault {
	return volumesim.New(volumesim.Options{Delay: fleet.Copy, Image: images.Has, Keep: images.Know})
}

// openVault opens the contents of a state directory.
func openVault(c Config, images *image.Catalogue, machines *Machines, log *slog.Logger) (*volume.Vault, error) {
	return volume.Open(volume.Options{Dir: filepath.Join(c.State, volumeDir), Images: shelf{images}, Machines: machines, Log: log,
		Import: volume.Import{Allowed: c.Images.Allowed, Hosts: c.Images.Hosts, MaxGB: c.Limits.ImageGB}})
}

// shelf is the catalogue as the vault wants it.
type shelf struct{ catalogue *image.Catalogue }

// Files implements volume.Images.
func (s shelf) Files(ctx context.Context, digest string) (volume.Image, error) {
	found, err := s.catalogue.Files(ctx, digest)
	return volume.Image(found), err
}

// Add implements volume.Images.
func (s shelf) Add(ctx context.Context, added volume.Image) (string, error) {
	return s.catalogue.Add(ctx, image.Files(added))
}

// Machines finds the driver that has an instance's disks. It is made before the
// Plane that knows: until that is assembled, it finds none.
type Machines struct{ found atomic.Pointer[hosted] }

// hosted is where instances are.
type hosted struct {
	store *store.Store
	hosts []HostPart
}

var errNoMachine = resource.Errorf(resource.NotFound, "NotFound", "There is no such virtual machine.")

func (m *Machines) bind(s *store.Store, hosts []HostPart) {
	if m != nil {
		m.found.Store(&hosted{s, hosts})
	}
}

// find returns the driver and the machine of an instance.
func (m *Machines) find(set string, instance int64) (driver.DiskCopier, driver.VMID, error) {
	at := m.found.Load()
	if at == nil {
		return nil, driver.VMID{}, errNoMachine
	}
	rec := at.store.Instance(vmss.UID(set), vmss.InstanceID(instance))
	if rec == nil {
		return nil, driver.VMID{}, errNoMachine
	}
	row := rec.Row.Value
	i := slices.IndexFunc(at.hosts, func(h HostPart) bool { return h.Place.Name == row.Host })
	if i < 0 {
		return nil, driver.VMID{}, errNoMachine
	}
	copier, ok := at.hosts[i].Driver.(driver.DiskCopier)
	if !ok {
		return nil, driver.VMID{}, resource.Errorf(resource.Invalid, "OperationNotAllowed", "The disks of instances on host %s cannot be copied.", row.Host)
	}
	return copier, driver.VMID{Set: set, Instance: instance, Disks: row.Disks}, nil
}

// CopyDisk implements volume.Machines.
func (m *Machines) CopyDisk(ctx context.Context, from noun.Instance, file string, progress func(done, total int64)) error {
	copier, id, err := m.find(from.Set, from.Instance)
	if err != nil {
		return err
	}
	if from.OS && from.Generation > 0 && from.Generation != id.Disks {
		return resource.Errorf(resource.NotFound, "NotFound", "Instance %d was reimaged, and the disk that was asked for is gone.", from.Instance)
	}
	return copier.CopyDisk(ctx, id, driver.DiskRef{OS: from.OS, LUN: from.LUN}, file, progress)
}

// GrowDisk implements volume.Machines.
func (m *Machines) GrowDisk(ctx context.Context, at noun.Attachment, sizeGB int) error {
	copier, id, err := m.find(at.Set, at.Instance)
	if err != nil {
		return err
	}
	return copier.GrowDisk(ctx, id, at.LUN, sizeGB)
}

// adopt tells a vault that forgets of the contents that were made.
func (p *Plane) adopt(parts Parts) {
	if parts.Adopt == nil {
		return
	}
	for uid, e := range store.Each(p.store, store.DiskStates) {
		if e.Value.Ready {
			parts.Adopt(uid, noun.Made{SizeGB: e.Value.SizeGB, Bytes: e.Value.Bytes, Digest: e.Value.Digest})
		}
	}
	for _, e := range store.Each(p.store, store.Revisions) {
		parts.Images.Know(e.Value.Model.Image.Digest)
	}
}

// wireDisks makes the controllers of managed disks, snapshots and images, and
// the pokes that wake them.
func (p *Plane) wireDisks(parts Parts, fence store.Change, pokeGroup func(store.GroupKey)) {
	p.disks = disk.New(disk.Options{Store: p.store, Vault: parts.Vault, Fence: fence, Log: parts.Log})
	// The vault bounds what is costly; what is not waits for none of it.
	disks := controller.New(controller.Options[noun.Key]{Name: "disk", Workers: 32, Log: parts.Log, Observe: parts.observe(), List: p.diskKeys, Reconciler: p.disks})
	unused := map[string]time.Time{}
	sweep := controller.New(controller.Options[struct{}]{Name: "contents", Log: parts.Log, Observe: parts.observe(),
		List: func(context.Context) ([]struct{}, error) { return []struct{}{{}}, nil },
		Reconciler: controller.Func[struct{}](func(ctx context.Context, _ struct{}) (time.Time, error) {
			next, err := p.disks.Sweep(ctx)
			if err == nil {
				err = p.releaseImages(parts, unused)
			}
			return next, err
		})})
	p.loops = append(p.loops, disks, sweep)

	store.OnChange(p.store, store.Disks, func(k noun.Key) {
		p.disks.Interrupt(k)
		disks.Poke(k)
		pokeGroup(store.GroupKeyOf(k.Subscription, k.Group))
	})
	ofDisk := func(uid noun.UID) {
		if e, ok := p.store.DiskByUID(uid); ok {
			disks.Poke(e.Value.Key())
		}
	}
	store.OnChange(p.store, store.DiskStates, ofDisk)
	store.OnChange(p.store, store.Attachments, ofDisk)
	store.OnChange(p.store, store.Operations, func(k vmss.OperationKey) { ofDisk(noun.UID(k.Set)) })
	ofInstance := func(k vmss.InstanceKey) {
		for _, uid := range p.store.AttachedTo(k) {
			ofDisk(uid)
		}
	}
	store.OnChange(p.store, store.Instances, ofInstance)
	store.OnChange(p.store, store.Observations, ofInstance)
	store.OnChange(p.store, store.Customizations, ofInstance)
}

func (p *Plane) diskKeys(context.Context) (all []noun.Key, err error) {
	for k := range store.Each(p.store, store.Disks) {
		all = append(all, k)
	}
	return all, nil
}

// releaseImages removes the files of images that nobody has used for as long as
// contents without a record are kept. A request that found an image just before
// it went has ended by then.
func (p *Plane) releaseImages(parts Parts, unused map[string]time.Time) error {
	used, err := p.images(parts)
	if err != nil {
		return err
	}
	now := time.Now()
	return parts.Images.Release(func(digest string) bool {
		if used(digest) {
			delete(unused, digest)
			return true
		}
		if _, known := unused[digest]; !known {
			unused[digest] = now
		}
		return now.Sub(unused[digest]) < disk.Grace
	})
}

// images tells which images' files are kept: those in the catalogue, those that a
// model revision pins, those of image resources, and those that contents boot as.
func (p *Plane) images(parts Parts) (func(digest string) bool, error) {
	used := map[string]bool{}
	for _, e := range store.Each(p.store, store.Revisions) {
		used[e.Value.Model.Image.Digest] = true
	}
	for _, e := range store.Each(p.store, store.DiskStates) {
		used[e.Value.Digest] = true
	}
	for _, e := range store.Each(p.store, store.Disks) {
		used[e.Value.Source.Digest] = true
	}
	bases, err := parts.Vault.Bases()
	for _, digest := range bases {
		used[digest] = true
	}
	return func(digest string) bool { return used[digest] || parts.Images.Has(digest) }, err
}

// withVault fills in a simulated vault where there is none.
func (p Parts) withVault() Parts {
	p.Vault = cmp.Or[Vault](p.Vault, SimulatedVault(p.Images, population.Default()))
	return p
}
