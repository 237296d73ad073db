package compute

import (
	"fmt"

	"github.com/muster-vm/muster/internal/arm/wire"
	"github.com/muster-vm/muster/internal/arm/wire/compute/nic"
	disks "github.com/muster-vm/muster/internal/disk"
	"github.com/muster-vm/muster/internal/vmss"
)

const (
	profilePath = "properties.virtualMachineProfile"
	storagePath = profilePath + ".storageProfile"
)

func (p *parser) model() vmss.Model {
	vm := wire.ObjectAt(p.doc, "properties", "virtualMachineProfile")
	if vm == nil {
		return vmss.Model{}
	}
	p.imageReference(wire.ObjectAt(vm, "storageProfile", "imageReference"))
	return vmss.Model{
		Size: wire.TextAt(p.doc, "sku", "name"), Image: p.in.Image, OS: p.osProfile(vm),
		OSDisk:    p.osDisk(wire.ObjectAt(vm, "storageProfile", "osDisk")),
		DataDisks: p.dataDisks(wire.ObjectsAt(vm, "storageProfile", "dataDisks")),
		NICs:      nic.Read(&p.Problems, wire.ObjectAt(vm, "networkProfile")),
	}
}

// imageReference checks that the reference names one image in one way.
func (p *parser) imageReference(ref wire.Document) {
	if ref == nil {
		return // reported as missing
	}
	const path = storagePath + ".imageReference"
	if ref["id"] != nil {
		if ref["publisher"] != nil || ref["offer"] != nil || ref["sku"] != nil {
			p.Add(wire.InvalidParameter, path, "The image is named by its id or by publisher, offer, sku and version, not by both.")
		}
		return
	}
	for _, name := range []string{"publisher", "offer", "sku", "version"} {
		if wire.TextAt(ref, name) == "" {
			p.Add(wire.InvalidParameter, path+"."+name, "The required member '%s' is missing; an image is named by publisher, offer, sku and version, or by its id.", path+"."+name)
		}
	}
}

const maxDiskGB = 32767

func (p *parser) osDisk(disk wire.Document) vmss.Disk {
	const path = storagePath + ".osDisk"
	if option := wire.TextAt(disk, "createOption"); option != "FromImage" {
		p.Add(wire.InvalidParameter, path+".createOption", "The OS disk of a scale set is made from its image: createOption must be FromImage, not %s.", option)
	}
	if osType := wire.TextAt(disk, "osType"); osType != "" && p.in.Image.OSType != "" && osType != p.in.Image.OSType {
		p.Add(wire.InvalidParameter, path+".osType", "osType is %s, but the image holds %s; leave osType out.", osType, p.in.Image.OSType)
	}
	delete(disk, "osType")
	p.dropImageSize(disk)
	size, given := wire.NumberAt(disk, "diskSizeGB")
	p.diskSize(size, given, path)
	if given && size > 0 && size < p.in.Image.SizeGB {
		p.Add(wire.InvalidParameter, path+".diskSizeGB", "The OS disk needs at least the %d GB of its image; diskSizeGB is %d.", p.in.Image.SizeGB, size)
	}
	out := vmss.Disk{SizeGB: size, Caching: wire.TextAt(disk, "caching"), StorageType: wire.TextAt(disk, "managedDisk", "storageAccountType")}
	out.Ephemeral = p.ephemeral(wire.ObjectAt(disk, "diffDiskSettings"), out)
	return out
}

// ephemeral reads whether the OS disk is ephemeral.
//
// Source: https://learn.microsoft.com/azure/virtual-machines/ephemeral-os-disks
func (p *parser) ephemeral(diff wire.Document, disk vmss.Disk) bool {
	const path = storagePath + ".osDisk"
	if wire.TextAt(diff, "option") == "" {
		for name, value := range diff {
			if value != false {
				p.Add(wire.InvalidParameter, path+".diffDiskSettings.option", "'%s' is for ephemeral OS disks: set option to Local, or leave diffDiskSettings out.", path+".diffDiskSettings."+name)
			}
		}
		return false
	}
	if disk.Caching != "ReadOnly" {
		p.Add(wire.InvalidParameter, path+".caching", "An ephemeral OS disk is cached ReadOnly, not %s; set caching to ReadOnly.", disk.Caching)
	}
	return true
}

// dropImageSize removes a disk size that only says what the image says. Answers
// show the image's size and clients send it back: that must neither change the
// model nor pin the size for images to come.
func (p *parser) dropImageSize(disk wire.Document) {
	size, given := wire.NumberAt(disk, "diskSizeGB")
	shown := p.current != nil && p.current.Model.OSDisk.SizeGB == 0 && size == p.current.Model.Image.SizeGB
	if given && size > 0 && (size == p.in.Image.SizeGB || shown) {
		delete(disk, "diskSizeGB")
	}
}

func (p *parser) diskSize(size int, given bool, path string) {
	if given && (size < 1 || size > maxDiskGB) {
		p.Add(wire.InvalidParameter, path+".diskSizeGB", "The disk size %d GB is not between 1 and %d.", size, maxDiskGB)
	}
}

func (p *parser) dataDisks(list []wire.Document) []vmss.Disk {
	const maxLUN = 63
	limit := p.in.MaxDataDisks
	if limit == 0 {
		limit = maxLUN + 1
	}
	if len(list) > limit {
		p.Add(wire.InvalidParameter, storagePath+".dataDisks", "The size %s attaches at most %d data disks; %d were given.", wire.TextAt(p.doc, "sku", "name"), limit, len(list))
	}
	var out []vmss.Disk
	luns := map[int]bool{}
	for i, disk := range list {
		path := fmt.Sprintf("%s.dataDisks[%d]", storagePath, i)
		lun, given := wire.NumberAt(disk, "lun")
		switch {
		case !given:
			p.Add(wire.InvalidParameter, path+".lun", "The required member '%s' is missing.", path+".lun")
		case lun < 0 || lun > maxLUN:
			p.Add(wire.InvalidParameter, path+".lun", "The LUN %d is not between 0 and %d.", lun, maxLUN)
		case luns[lun]:
			p.Add(wire.InvalidParameter, path+".lun", "Two data disks have LUN %d.", lun)
		}
		luns[lun] = true
		if option := wire.TextAt(disk, "createOption"); option != "Empty" {
			p.Add(wire.InvalidParameter, path+".createOption", "Data disks of a scale set start empty: createOption must be Empty, not '%s'.", option)
		}
		size, sized := wire.NumberAt(disk, "diskSizeGB")
		if !sized {
			p.Add(wire.InvalidParameter, path+".diskSizeGB", "The required member '%s' is missing.", path+".diskSizeGB")
		}
		p.diskSize(size, sized, path)
		d := vmss.Disk{LUN: lun, SizeGB: size, Caching: wire.TextAt(disk, "caching"), StorageType: wire.TextAt(disk, "managedDisk", "storageAccountType")}
		d.IOPS, _ = wire.NumberAt(disk, "diskIOPSReadWrite")
		d.MBps, _ = wire.NumberAt(disk, "diskMBpsReadWrite")
		p.AddFrom(under(path, disks.CheckLimit(d.StorageType, size, disks.Limit{IOPS: d.IOPS, MBps: d.MBps})), path)
		out = append(out, d)
	}
	return out
}
