package compute

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/muster-vm/muster/internal/arm/wire"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/vmss"
)

const dataDisksPath = "properties.storageProfile.dataDisks"

// attachedReader reads the data disks of an instance-level PUT. Those of the
// model must be there as they are; the others are attached to the instance alone,
// and one that is left out, or is to be detached, goes.
type attachedReader struct {
	*wire.Problems
	now      []wire.Document // the disks as they are answered, the model's first
	attached []vmss.Disk     // the last ones of now
	seen     map[int]bool    // of now
	luns     map[int]bool    // in the body
	storage  string          // type of new disks that name none
}

func readAttached(p *wire.Problems, doc, now wire.Document, limit int, out *vmss.Customization) {
	if _, given := wire.Get(doc, "properties", "storageProfile", "dataDisks").([]any); !given {
		return
	}
	r := &attachedReader{Problems: p, now: wire.ObjectsAt(now, "properties", "storageProfile", "dataDisks"), attached: out.Attached, seen: map[int]bool{}, luns: map[int]bool{},
		storage: storageOf(wire.TextAt(now, "sku", "name"))}
	var kept []vmss.Disk
	for i, disk := range wire.ObjectsAt(doc, "properties", "storageProfile", "dataDisks") {
		if d, keep := r.disk(disk, fmt.Sprintf("%s[%d]", dataDisksPath, i)); keep {
			kept = append(kept, d)
		}
	}
	models := len(r.now) - len(r.attached)
	for at, disk := range r.now[:models] {
		if lun, _ := wire.NumberAt(disk, "lun"); !r.seen[at] {
			r.Add(wire.InvalidParameter, dataDisksPath, "The data disk at LUN %d is of the model and cannot be detached from one instance. Send it as it was read, or change the model.", lun)
		}
	}
	if n := models + len(kept); n > limit {
		r.Add(wire.InvalidParameter, dataDisksPath, "The size of the instance attaches at most %d data disks; %d were given.", limit, n)
	}
	slices.SortFunc(kept, func(a, b vmss.Disk) int { return cmp.Compare(a.LUN, b.LUN) })
	out.Attached = kept
}

// disk reads one disk of the body. keep is false for one that is not, or not any
// more, attached to the instance alone.
func (r *attachedReader) disk(disk wire.Document, path string) (d vmss.Disk, keep bool) {
	lun, given := wire.NumberAt(disk, "lun")
	if !given {
		r.Add(wire.InvalidParameter, path+".lun", "The required member '%s' is missing.", path+".lun")
		return d, false
	}
	at := r.find(lun, wire.TextAt(disk, "name"))
	switch detach := wire.FlagAt(disk, "toBeDetached"); {
	case r.luns[lun] && at < 0:
		r.Add(wire.InvalidParameter, path+".lun", "Two data disks have LUN %d.", lun)
		return d, false
	case at < 0 && detach:
		r.Add(wire.InvalidParameter, path+".toBeDetached", "There is no data disk at LUN %d to detach.", lun)
		return d, false
	case at < 0:
		r.luns[lun] = true
		return r.fresh(disk, path, lun), true
	default:
		r.seen[at] = true
		models := len(r.now) - len(r.attached)
		if at >= models && detach {
			return d, false // another one may take its LUN
		}
		r.luns[lun] = true
		r.same(disk, r.now[at], path)
		if at < models {
			return d, false
		}
		return r.attached[at-models], true
	}
}

// find returns which of the disks that there are a disk of the body is: the one
// of that name at its LUN, or else the first there, that was not named yet.
func (r *attachedReader) find(lun int, name string) int {
	found := -1
	for at, disk := range r.now {
		if n, _ := wire.NumberAt(disk, "lun"); n != lun || r.seen[at] {
			continue
		}
		if name != "" && wire.TextAt(disk, "name") == name {
			return at
		}
		if found < 0 {
			found = at
		}
	}
	return found
}

// same wants the members of a disk to be what they are.
func (r *attachedReader) same(disk, is wire.Document, path string) {
	node := Instance.Node(dataDisksPath).Elem
	for _, name := range slices.Sorted(maps.Keys(disk)) {
		if name == "deleteOption" && wire.TextAt(is, "createOption") == attach && wire.TextAt(disk, name) == "Detach" {
			continue // what becomes of managed disks, though it is not shown
		}
		unchanged{Problems: r.Problems, all: true}.check(node.Member(name), disk[name], is[name], path+"."+name)
	}
}

// fresh reads a disk that there is not yet: a new one, or a managed disk.
func (r *attachedReader) fresh(disk wire.Document, path string, lun int) vmss.Disk {
	if lun < 0 || lun > maxLUN {
		r.Add(wire.InvalidParameter, path+".lun", "The LUN %d is not between 0 and %d.", lun, maxLUN)
	}
	r.others(disk, Instance.Node(dataDisksPath).Elem, path, "name")
	r.others(wire.ObjectAt(disk, "managedDisk"), Instance.Node(dataDisksPath+"[].managedDisk"), path+".managedDisk", "id")
	out := vmss.Disk{LUN: lun, ID: wire.TextAt(disk, "managedDisk", "id"), Caching: cmp.Or(wire.TextAt(disk, "caching"), "None"), StorageType: wire.TextAt(disk, "managedDisk", "storageAccountType")}
	switch option := wire.TextAt(disk, "createOption"); {
	case option == "":
		r.Add(wire.InvalidParameter, path+".createOption", "The required member '%s' is missing: Empty for a new disk, Attach for a managed disk.", path+".createOption")
	case option == attach && out.ID == "":
		r.Add(wire.InvalidParameter, path+".managedDisk.id", "The required member '%s' is missing: the id of the disk to attach.", path+".managedDisk.id")
	case option == attach:
		r.managed(disk, path, out)
	case out.ID != "":
		r.Add(wire.InvalidParameter, path+".createOption", "A managed disk that exists is attached: set createOption to Attach, or leave managedDisk.id out for a new disk.")
	default:
		out.SizeGB = r.empty(disk, path)
		out.StorageType = cmp.Or(out.StorageType, r.storage)
	}
	return out
}

const (
	maxLUN = 63
	attach = "Attach" // createOption of managed disks
)

// empty reads what a new disk says beside what all do.
func (r *attachedReader) empty(disk wire.Document, path string) (sizeGB int) {
	if disk["name"] != nil {
		r.Add(wire.InvalidParameter, path+".name", "The name of a data disk follows from its instance; leave '%s' out.", path+".name")
	}
	if wire.TextAt(disk, "deleteOption") == "Detach" {
		r.Add(wire.InvalidParameter, path+".deleteOption", "A disk of the instance's own is deleted with it; set deleteOption to Delete, or attach a managed disk.")
	}
	size, sized := wire.NumberAt(disk, sizeMember)
	if !sized || size < 1 || size > maxDiskGB {
		r.Add(wire.InvalidParameter, path+"."+sizeMember, "A new data disk has a diskSizeGB between 1 and %d.", maxDiskGB)
	}
	return size
}

// managed reads what a managed disk says beside what all do.
func (r *attachedReader) managed(disk wire.Document, path string, out vmss.Disk) {
	if id, err := resource.ParseID(out.ID); err == nil && disk["name"] != nil && !strings.EqualFold(wire.TextAt(disk, "name"), id.Name()) {
		r.Add(wire.InvalidParameter, path+".name", "The managed disk is called '%s'; leave '%s' out.", id.Name(), path+".name")
	}
	if disk[sizeMember] != nil {
		r.Add(wire.InvalidParameter, path+"."+sizeMember, "A managed disk has the size it has; leave '%s' out, and enlarge the disk by itself.", path+"."+sizeMember)
	}
	if wire.TextAt(disk, "deleteOption") == "Delete" {
		r.Add(wire.InvalidParameter, path+".deleteOption", "Managed disks outlive the instance that has them attached; set deleteOption to Detach.")
	}
}

// others wants an object to say nothing but through members that act, and one
// that was looked at.
func (r *attachedReader) others(body wire.Document, n *wire.Node, path, but string) {
	for _, name := range slices.Sorted(maps.Keys(body)) {
		if name != but {
			unchanged{Problems: r.Problems}.check(n.Member(name), body[name], nil, path+"."+name)
		}
	}
}

// ParseAttachDetach reads the body of attachDetachDataDisks, which names managed
// disks by their ids: those to detach from the instance, and those to attach. It
// returns what ParseInstance does.
func ParseAttachDetach(body []byte, is InstanceNow) (vmss.Customization, error) {
	doc, err := AttachDetach.Decode(body)
	if err != nil {
		return vmss.Customization{}, err
	}
	now, out, err := is.read()
	if err != nil {
		return vmss.Customization{}, err
	}
	var p wire.Problems
	there := wire.ObjectsAt(now, "properties", "storageProfile", "dataDisks")
	kept := detached(&p, doc, out.Attached)
	taken := map[int]bool{}
	for _, disk := range there[:len(there)-len(out.Attached)] {
		lun, _ := wire.NumberAt(disk, "lun")
		taken[lun] = true
	}
	for _, disk := range kept {
		taken[disk.LUN] = true
	}
	kept = append(kept, attachedAt(&p, doc, taken)...)
	if n := len(there) - len(out.Attached) + len(kept); n > is.MaxDataDisks {
		p.Add(wire.InvalidParameter, attachMember, "The size of the instance attaches at most %d data disks; it would have %d.", is.MaxDataDisks, n)
	}
	slices.SortFunc(kept, func(a, b vmss.Disk) int { return cmp.Compare(a.LUN, b.LUN) })
	out.Attached = kept
	return out, p.Err()
}

const attachMember, detachMember = "dataDisksToAttach", "dataDisksToDetach"

// detached returns the disks that stay when those of the body are detached.
func detached(p *wire.Problems, doc wire.Document, disks []vmss.Disk) []vmss.Disk {
	kept := slices.Clone(disks)
	for i, disk := range wire.ObjectsAt(doc, detachMember) {
		id, path := wire.TextAt(disk, "diskId"), fmt.Sprintf("%s[%d].diskId", detachMember, i)
		at := slices.IndexFunc(kept, func(d vmss.Disk) bool { return d.Volume != "" && strings.EqualFold(d.ID, id) })
		switch {
		case id == "":
			p.Add(wire.InvalidParameter, path, "The required member '%s' is missing.", path)
		case at < 0:
			p.Add(wire.InvalidParameter, path, "The instance does not have the disk '%s' attached.", id)
		default:
			kept = slices.Delete(kept, at, at+1)
		}
	}
	return kept
}

// attachedAt returns the disks that the body attaches, each at its LUN or at the
// first that is free.
func attachedAt(p *wire.Problems, doc wire.Document, taken map[int]bool) (all []vmss.Disk) {
	disks := wire.ObjectsAt(doc, attachMember)
	for i, disk := range disks {
		lun, given := wire.NumberAt(disk, "lun")
		path := fmt.Sprintf("%s[%d].lun", attachMember, i)
		switch {
		case given && (lun < 0 || lun > maxLUN):
			p.Add(wire.InvalidParameter, path, "The LUN %d is not between 0 and %d.", lun, maxLUN)
		case given && taken[lun]:
			p.Add(wire.InvalidParameter, path, "Two data disks have LUN %d.", lun)
		}
		if given {
			taken[lun] = true
		}
	}
	for i, disk := range disks {
		lun, given := wire.NumberAt(disk, "lun")
		for !given && taken[lun] {
			lun++
		}
		taken[lun] = true
		id := wire.TextAt(disk, "diskId")
		if path := fmt.Sprintf("%s[%d].diskId", attachMember, i); id == "" {
			p.Add(wire.InvalidParameter, path, "The required member '%s' is missing.", path)
		}
		all = append(all, vmss.Disk{LUN: lun, ID: id, Caching: cmp.Or(wire.TextAt(disk, "caching"), "None")})
	}
	return all
}
