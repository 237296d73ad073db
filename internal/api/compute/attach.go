package compute

import (
	"slices"
	"strings"
	"time"

	"github.com/muster-vm/muster/internal/disk"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/vmss"
)

// attach looks up the managed disks that are new in an instance's customization,
// and returns what takes them for it: it commits only while nobody else has them.
// Those that are not in it any more are let go by the reconcilers, once the guest
// has. It fails with Invalid, NotFound, or Conflict.
func (a *API) attach(f found, custom *vmss.Customization) (changes []store.Change, err error) {
	custom.Attached = slices.Clone(custom.Attached)
	for i := range custom.Attached {
		v := &custom.Attached[i]
		if v.ID == "" || v.Volume != "" {
			continue
		}
		taken := slices.ContainsFunc(custom.Attached, func(o vmss.Disk) bool { return o != *v && strings.EqualFold(o.ID, v.ID) })
		some, err := a.attachOne(f, v, taken)
		if err != nil {
			return nil, err
		}
		changes = append(changes, some...)
	}
	return changes, nil
}

// attachOne completes a managed disk of a customization; twice says that it is in
// there another time.
func (a *API) attachOne(f found, v *vmss.Disk, twice bool) ([]store.Change, error) {
	id, err := resource.ParseID(v.ID)
	if err != nil {
		return nil, err
	}
	key, ok := disk.KeyOf(id)
	if !ok || key.Kind != disk.Managed {
		return nil, resource.Errorf(resource.Invalid, "InvalidParameter", "'%s' is a %s; managed disks can be attached.", id, id.Type())
	}
	if err := a.known(id.Subscription); err != nil {
		return nil, err
	}
	found, ok := store.Get(a.Store, store.Disks, key)
	if !ok {
		return nil, resource.Errorf(resource.NotFound, "ResourceNotFound", "The disk '%s' was not found; it is to be attached at LUN %d. List disks with az disk list.", id, v.LUN)
	}
	d := *found.Value
	here := instanceOf(*f.set.Value, f.id)
	if twice {
		return nil, resource.Errorf(resource.Invalid, "InvalidParameter", "The disk '%s' is named twice; an instance has a disk once.", d.ID)
	}
	if err := a.attachable(d, f, v.StorageType); err != nil {
		return nil, err
	}
	if h := a.holder(d.UID); h.attachment != nil {
		return nil, a.errTaken(d, h, here)
	}
	v.ID, v.Volume = d.ID.String(), string(d.UID)
	*v = a.fitted(*v, d)
	at := disk.Attachment{Set: string(f.set.Value.UID), Instance: int64(f.id), LUN: v.LUN, Since: time.Now().UTC()}
	return []store.Change{store.Put(store.Attachments, d.UID, at, store.Absent), store.Check(store.Disks, key, store.At(found.Revision))}, nil
}

// attachable fails unless the disk can be attached to the instance.
func (a *API) attachable(d disk.Disk, f found, storageType string) error {
	if err := settled(d, a.diskState(d.UID)); err != nil {
		return err
	}
	if storageType != "" && storageType != d.SKU {
		return resource.Errorf(resource.Invalid, "InvalidParameter", "The disk '%s' is of type %s, not %s; leave storageAccountType out.", d.ID, d.SKU, storageType).At("properties.storageProfile.dataDisks.managedDisk.storageAccountType")
	}
	if d.Location != f.set.Value.Location {
		return resource.Errorf(resource.Invalid, "InvalidParameter", "The disk '%s' is at %s and cannot be attached at %s.", d.ID, d.Location, f.set.Value.Location)
	}
	zone := f.rec.Row.Value.Zone
	if len(d.Zones) > 0 && d.Zones[0] != zone || len(d.Zones) == 0 && zone != "" && !strings.HasSuffix(d.SKU, "_ZRS") {
		return resource.Errorf(resource.Invalid, "InvalidParameter", "The disk '%s' (zones %v) cannot be attached to an instance in zone '%s': both are in the same zone, or neither is in one. Copy it to a disk in that zone.",
			d.ID, d.Zones, zone)
	}
	return nil
}

// errTaken says who has a disk. Clients look for the codes.
func (a *API) errTaken(d disk.Disk, h holder, here resource.ID) error {
	key := vmss.InstanceKey{Set: vmss.UID(h.attachment.Set), ID: vmss.InstanceID(h.attachment.Instance)}
	custom, ok := store.Get(a.Store, store.Customizations, key)
	if h.rec == nil || !ok || !slices.ContainsFunc(custom.Value.Attached, func(v vmss.Disk) bool { return v.Volume == string(d.UID) }) {
		return resource.Errorf(resource.Conflict, "AttachDiskWhileBeingDetached",
			"Cannot attach data disk '%s' to VM '%s' because the disk is currently being detached. Wait until it is completely detached, and try again.", d.ID.Name(), here)
	}
	return resource.Errorf(resource.Conflict, "ConflictingUserInput",
		"Disk '%s' cannot be attached as the disk is already owned by VM '%s'. Detach it from there first.", d.ID, h.id)
}
