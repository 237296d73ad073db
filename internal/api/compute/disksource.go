package compute

import (
	"cmp"
	"slices"
	"strings"

	wire "github.com/muster-vm/muster/internal/arm/wire/compute"
	"github.com/muster-vm/muster/internal/disk"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/vmss"
)

// findSource finds what the content of a new disk is to come from, and has the
// commit depend on it. It fails with Invalid or NotFound for what is not there, and
// with Conflict for what is not ready.
func (a *API) findSource(draft *wire.DiskDraft, e *diskEdit, in *wire.DiskInput) error {
	source, err := draft.Source()
	if err != nil {
		return err
	}
	in.Source = source
	location, _ := a.offers().Find(draft.Location())
	switch source.Option {
	case disk.Copy:
		return a.copyOf(e, in, location)
	case disk.FromImage:
		return a.imageOf(in)
	case disk.Capture:
		return a.captureOf(e, in)
	}
	return nil
}

// copyOf finds a managed disk or a snapshot, or a disk of an instance by the name
// that the instance shows.
func (a *API) copyOf(e *diskEdit, in *wire.DiskInput, location string) error {
	id := in.Source.ID
	if err := a.known(id.Subscription); err != nil {
		return err
	}
	key, _ := disk.KeyOf(id)
	found, ok := store.Get(a.Store, store.Disks, key)
	if !ok {
		return a.ownDiskOf(e, in)
	}
	d, state := *found.Value, a.diskState(found.Value.UID)
	if err := settled(d, state); err != nil {
		return err
	}
	if d.Location != location {
		return resource.Errorf(resource.Invalid, "InvalidParameter", "'%s' is at %s and cannot be copied to %s.", id, d.Location, location).At("location")
	}
	in.Source.ID, in.Source.Disk, in.SizeGB, in.OSType = d.ID, d.UID, state.SizeGB, d.OSType
	e.with = append(e.with, store.Check(store.Disks, key, store.At(found.Revision)))
	return nil
}

// settled fails with Conflict unless there is something to copy or attach.
func settled(d disk.Disk, state disk.State) error {
	if d.Deleting {
		return errDiskDeleting(d)
	}
	if state.Ready {
		return nil
	}
	if f := state.Failure; f.Counts() {
		return resource.Errorf(resource.Conflict, "OperationNotAllowed", "'%s' holds nothing, for it could not be made: %s Make it again first.", d.ID, f.Message)
	}
	return resource.Errorf(resource.Conflict, "OperationNotAllowed", "'%s' is still being made. Wait until its provisioningState is Succeeded.", d.ID)
}

// imageOf finds an image, or a version in the catalogue.
func (a *API) imageOf(in *wire.DiskInput) error {
	id := in.Source.ID
	ref := vmss.Image{ID: id.String()}
	if !strings.EqualFold(id.Type(), disk.Image.Type()) {
		if _, ok := a.offers().Find(id.Names[0]); !ok {
			return resource.Errorf(resource.NotFound, "ImageNotFound", "There is no location '%s' in which there could be an image.", id.Names[0])
		}
		ref = vmss.Image{Publisher: id.Names[1], Offer: id.Names[3], SKU: id.Names[4], Version: id.Names[5]}
	}
	image, err := a.resolve(ref)
	if err != nil {
		return err
	}
	in.Source.Digest, in.SizeGB, in.OSType = image.Digest, image.SizeGB, image.OSType
	return nil
}

// resolve returns what an image reference means now: an image of this
// subscription, or one of the catalogue. It fails with NotFound, code
// ImageNotFound, and with Conflict for an image that is not ready.
func (a *API) resolve(ref vmss.Image) (vmss.Image, error) {
	if ref.ID == "" {
		return a.Images.Resolve(ref)
	}
	id, err := resource.ParseID(ref.ID)
	if err != nil {
		return ref, err
	}
	notFound := func(why string) (vmss.Image, error) {
		return ref, resource.Errorf(resource.NotFound, "ImageNotFound", "The image '%s' was not found: %s", ref.ID, why)
	}
	key, ok := disk.KeyOf(id)
	switch {
	case strings.Contains(strings.ToLower(id.Type()), "/galleries"):
		return notFound("there are no galleries here. Make an image (az image create) and name that.")
	case !ok || key.Kind != disk.Image:
		return notFound("it is a " + id.Type() + ". Name an image of " + disk.Image.Type() + ", or a publisher, offer, sku and version.")
	case a.known(id.Subscription) != nil:
		return notFound("it is in another subscription. Make an image in this one.")
	}
	e, ok := store.Get(a.Store, store.Disks, key)
	if !ok {
		return notFound("there is no image of that name in the resource group. List them with az image list.")
	}
	d, state := *e.Value, a.diskState(e.Value.UID)
	if err := settled(d, state); err != nil {
		return ref, err
	}
	out := ref
	out.Digest, out.OSType, out.SizeGB = state.Digest, d.OSType, d.Size(state)
	return out, nil
}

// captureOf finds the instance whose OS disk becomes an image. It must not run:
// nothing else keeps what it writes whole.
func (a *API) captureOf(e *diskEdit, in *wire.DiskInput) error {
	id := in.Source.ID
	set, rec, err := a.instanceNamed(id)
	if err != nil {
		return err
	}
	const path = "properties.sourceVirtualMachine.id"
	if !resting(rec) {
		return resource.Errorf(resource.Conflict, "OperationNotAllowed",
			"The instance '%s' runs, and what it writes meanwhile would make the image unusable. Generalize its guest and stop it (az vmss stop, or az vmss deallocate) before an image is made of it.", id).At(path)
	}
	model, err := a.revision(set, rec.Row.Value.Revision)
	if err != nil {
		return err
	}
	if model.Model.OSDisk.Ephemeral {
		return resource.Errorf(resource.Conflict, "OperationNotAllowed", "The instance '%s' has an ephemeral OS disk, of which no image can be made.", id).At(path)
	}
	fromInstance(e, in, rec, disk.Instance{Set: string(set.UID), Instance: int64(rec.ID), OS: true, Generation: rec.Row.Value.Disks})
	in.SizeGB, in.OSType = osGB(model.Model), model.Model.Image.OSType
	return nil
}

// fromInstance has the content come from a disk of an instance as it is now.
func fromInstance(e *diskEdit, in *wire.DiskInput, rec *store.Record, from disk.Instance) {
	in.Source.Option, in.Source.Instance = disk.Capture, from
	key := vmss.InstanceKey{Set: vmss.UID(from.Set), ID: rec.ID}
	e.with = append(e.with, store.Check(store.Instances, key, store.At(rec.Row.Revision)))
}

func osGB(m vmss.Model) int { return cmp.Or(m.OSDisk.SizeGB, m.Image.SizeGB) }

// resting reports whether an instance neither runs nor is to run.
func resting(rec *store.Record) bool {
	rests := func(p vmss.PowerState) bool { return p == vmss.PowerStopped || p == vmss.PowerDeallocated }
	return rests(rec.Row.Value.Power) && rec.Seen != nil && rests(rec.Seen.Power)
}

// instanceNamed finds an instance by its id.
func (a *API) instanceNamed(id resource.ID) (vmss.ScaleSet, *store.Record, error) {
	set, ok := store.Get(a.Store, store.ScaleSets, vmss.NewKey(id.Subscription, id.Group, id.Names[0]))
	if ok {
		if n, err := vmss.ParseInstanceID(id.Name()); err == nil {
			if rec := a.Store.Instance(set.Value.UID, n); active(rec) {
				return *set.Value, rec, nil
			}
		}
	}
	return vmss.ScaleSet{}, nil, resource.Errorf(resource.NotFound, "ResourceNotFound", "The instance '%s' was not found. List a scale set's with az vmss list-instances.", id)
}

// ownDiskOf finds the disk of an instance that has this name: those are no resources
// of their own, but instances show their ids.
func (a *API) ownDiskOf(e *diskEdit, in *wire.DiskInput) error {
	id := in.Source.ID
	group := vmss.NewKey(id.Subscription, id.Group, "").Group
	for _, s := range store.All(a.Store, store.ScaleSets) {
		set := *s.Value
		if set.Key().Group != group || !prefixed(id.Name(), set.ID.Name()+"_"+set.ID.Name()+"_") {
			continue
		}
		number, _, _ := strings.Cut(id.Name()[2*len(set.ID.Name())+2:], "_")
		n, err := vmss.ParseInstanceID(number)
		if err != nil {
			continue
		}
		if rec := a.Store.Instance(set.UID, n); active(rec) {
			if found, err := a.ownDisk(e, in, set, rec); found || err != nil {
				return err
			}
		}
	}
	return resource.Errorf(resource.NotFound, "ResourceNotFound", "The disk or snapshot '%s' was not found. List them with az disk list and az snapshot list.", id)
}

func prefixed(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// ownDisk looks for the named disk among those of an instance.
func (a *API) ownDisk(e *diskEdit, in *wire.DiskInput, set vmss.ScaleSet, rec *store.Record) (found bool, err error) {
	row, name := *rec.Row.Value, in.Source.ID.Name()
	rev, err := a.revision(set, row.Revision)
	if err != nil {
		return false, err
	}
	from := disk.Instance{Set: string(set.UID), Instance: int64(rec.ID)}
	if strings.EqualFold(name, vmss.OSDiskName(set.ID.Name(), set.UID, rec.ID, row.Disks)) {
		if rev.Model.OSDisk.Ephemeral {
			return true, resource.Errorf(resource.Conflict, "OperationNotAllowed", "'%s' is an ephemeral OS disk, which cannot be copied.", in.Source.ID)
		}
		from.OS, from.Generation = true, row.Disks
		in.SizeGB, in.OSType = osGB(rev.Model), rev.Model.Image.OSType
	} else {
		all := slices.Concat(rev.Model.DataDisks, row.Attached)
		at := slices.IndexFunc(all, func(d vmss.Disk) bool {
			return d.Volume == "" && strings.EqualFold(name, vmss.DataDiskName(set.ID.Name(), set.UID, rec.ID, d.LUN, row.DiskGeneration(d)))
		})
		if at < 0 {
			return false, nil
		}
		from.LUN, from.Generation, in.SizeGB = all[at].LUN, row.DiskGeneration(all[at]), all[at].SizeGB
	}
	if e.kind == disk.Image && !resting(rec) {
		return true, resource.Errorf(resource.Conflict, "OperationNotAllowed", "'%s' is a disk of an instance that runs. Stop the instance before an image is made of it, or make a snapshot first.", in.Source.ID)
	}
	fromInstance(e, in, rec, from)
	return true, nil
}
