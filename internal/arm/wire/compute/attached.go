package compute

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/muster-vm/muster/internal/arm/wire"
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
}

func readAttached(p *wire.Problems, doc, now wire.Document, limit int, out *vmss.Customization) {
	if _, given := wire.Get(doc, "properties", "storageProfile", "dataDisks").([]any); !given {
		return
	}
	r := &attachedReader{Problems: p, now: objects(now, "properties", "storageProfile", "dataDisks"), attached: out.Attached, seen: map[int]bool{}, luns: map[int]bool{}}
	var kept []vmss.Disk
	for i, disk := range objects(doc, "properties", "storageProfile", "dataDisks") {
		if d, keep := r.disk(disk, fmt.Sprintf("%s[%d]", dataDisksPath, i)); keep {
			kept = append(kept, d)
		}
	}
	models := len(r.now) - len(r.attached)
	for at, disk := range r.now[:models] {
		if lun, _ := number(disk, "lun"); !r.seen[at] {
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
	lun, given := number(disk, "lun")
	if !given {
		r.Add(wire.InvalidParameter, path+".lun", "The required member '%s' is missing.", path+".lun")
		return d, false
	}
	at := r.find(lun, text(disk, "name"))
	switch detach := flag(disk, "toBeDetached"); {
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
		if n, _ := number(disk, "lun"); n != lun || r.seen[at] {
			continue
		}
		if name != "" && text(disk, "name") == name {
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
		unchanged{Problems: r.Problems, all: true}.check(node.Member(name), disk[name], is[name], path+"."+name)
	}
}

// fresh reads a disk that there is not yet.
func (r *attachedReader) fresh(disk wire.Document, path string, lun int) vmss.Disk {
	const maxLUN = 63
	if lun < 0 || lun > maxLUN {
		r.Add(wire.InvalidParameter, path+".lun", "The LUN %d is not between 0 and %d.", lun, maxLUN)
	}
	if wire.Get(disk, "managedDisk", "id") != nil {
		r.Add(wire.InvalidParameter, path+".managedDisk.id", "Managed disks that exist come with a later version; leave managedDisk.id out, and use createOption Empty and diskSizeGB for a new disk.")
	}
	if disk["name"] != nil {
		r.Add(wire.InvalidParameter, path+".name", "The name of a data disk follows from its instance; leave '%s' out.", path+".name")
	}
	if text(disk, "createOption") == "" {
		r.Add(wire.InvalidParameter, path+".createOption", "The required member '%s' is missing; a new data disk starts Empty.", path+".createOption")
	}
	size, sized := number(disk, "diskSizeGB")
	if !sized || size < 1 || size > maxDiskGB {
		r.Add(wire.InvalidParameter, path+".diskSizeGB", "A new data disk has a diskSizeGB between 1 and %d.", maxDiskGB)
	}
	r.others(disk, Instance.Node(dataDisksPath).Elem, path, "name")
	r.others(object(disk, "managedDisk"), Instance.Node(dataDisksPath+"[].managedDisk"), path+".managedDisk", "id")
	return vmss.Disk{LUN: lun, SizeGB: size, Caching: cmp.Or(text(disk, "caching"), "None"),
		StorageType: cmp.Or(text(disk, "managedDisk", "storageAccountType"), defaultStorage)}
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
