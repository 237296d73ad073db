package compute

import (
	"fmt"
	"strings"

	"github.com/muster-vm/muster/internal/arm/wire"
	disks "github.com/muster-vm/muster/internal/disk"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/vmss"
)

const (
	profilePath = "properties.virtualMachineProfile"
	storagePath = profilePath + ".storageProfile"
	nicsPath    = profilePath + ".networkProfile.networkInterfaceConfigurations"
)

func (p *parser) model() vmss.Model {
	vm := object(p.doc, "properties", "virtualMachineProfile")
	if vm == nil {
		return vmss.Model{}
	}
	p.imageReference(object(vm, "storageProfile", "imageReference"))
	return vmss.Model{
		Size: text(p.doc, "sku", "name"), Image: p.in.Image, OS: p.osProfile(vm),
		OSDisk:    p.osDisk(object(vm, "storageProfile", "osDisk")),
		DataDisks: p.dataDisks(objects(vm, "storageProfile", "dataDisks")),
		NICs:      p.nics(objects(vm, "networkProfile", "networkInterfaceConfigurations")),
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
		if text(ref, name) == "" {
			p.Add(wire.InvalidParameter, path+"."+name, "The required member '%s' is missing; an image is named by publisher, offer, sku and version, or by its id.", path+"."+name)
		}
	}
}

const maxDiskGB = 32767

func (p *parser) osDisk(disk wire.Document) vmss.Disk {
	const path = storagePath + ".osDisk"
	if option := text(disk, "createOption"); option != "FromImage" {
		p.Add(wire.InvalidParameter, path+".createOption", "The OS disk of a scale set is made from its image: createOption must be FromImage, not %s.", option)
	}
	if osType := text(disk, "osType"); osType != "" && p.in.Image.OSType != "" && osType != p.in.Image.OSType {
		p.Add(wire.InvalidParameter, path+".osType", "osType is %s, but the image holds %s; leave osType out.", osType, p.in.Image.OSType)
	}
	delete(disk, "osType")
	p.dropImageSize(disk)
	size, given := number(disk, "diskSizeGB")
	p.diskSize(size, given, path)
	if given && size > 0 && size < p.in.Image.SizeGB {
		p.Add(wire.InvalidParameter, path+".diskSizeGB", "The OS disk needs at least the %d GB of its image; diskSizeGB is %d.", p.in.Image.SizeGB, size)
	}
	out := vmss.Disk{SizeGB: size, Caching: text(disk, "caching"), StorageType: text(disk, "managedDisk", "storageAccountType")}
	out.Ephemeral = p.ephemeral(object(disk, "diffDiskSettings"), out)
	return out
}

// ephemeral reads whether the OS disk is ephemeral.
//
// Source: https://learn.microsoft.com/azure/virtual-machines/ephemeral-os-disks
func (p *parser) ephemeral(diff wire.Document, disk vmss.Disk) bool {
	const path = storagePath + ".osDisk"
	if text(diff, "option") == "" {
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
	size, given := number(disk, "diskSizeGB")
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
		p.Add(wire.InvalidParameter, storagePath+".dataDisks", "The size %s attaches at most %d data disks; %d were given.", text(p.doc, "sku", "name"), limit, len(list))
	}
	var out []vmss.Disk
	luns := map[int]bool{}
	for i, disk := range list {
		path := fmt.Sprintf("%s.dataDisks[%d]", storagePath, i)
		lun, given := number(disk, "lun")
		switch {
		case !given:
			p.Add(wire.InvalidParameter, path+".lun", "The required member '%s' is missing.", path+".lun")
		case lun < 0 || lun > maxLUN:
			p.Add(wire.InvalidParameter, path+".lun", "The LUN %d is not between 0 and %d.", lun, maxLUN)
		case luns[lun]:
			p.Add(wire.InvalidParameter, path+".lun", "Two data disks have LUN %d.", lun)
		}
		luns[lun] = true
		if option := text(disk, "createOption"); option != "Empty" {
			p.Add(wire.InvalidParameter, path+".createOption", "Data disks of a scale set start empty: createOption must be Empty, not '%s'.", option)
		}
		size, sized := number(disk, "diskSizeGB")
		if !sized {
			p.Add(wire.InvalidParameter, path+".diskSizeGB", "The required member '%s' is missing.", path+".diskSizeGB")
		}
		p.diskSize(size, sized, path)
		d := vmss.Disk{LUN: lun, SizeGB: size, Caching: text(disk, "caching"), StorageType: text(disk, "managedDisk", "storageAccountType")}
		d.IOPS, _ = number(disk, "diskIOPSReadWrite")
		d.MBps, _ = number(disk, "diskMBpsReadWrite")
		p.AddFrom(under(path, disks.CheckLimit(d.StorageType, size, disks.Limit{IOPS: d.IOPS, MBps: d.MBps})), path)
		out = append(out, d)
	}
	return out
}

const maxNICs = 8

func (p *parser) nics(list []wire.Document) []vmss.NIC {
	if len(list) > maxNICs {
		p.Add(wire.InvalidParameter, nicsPath, "An instance has at most %d network interfaces; %d were given.", maxNICs, len(list))
	}
	var out []vmss.NIC
	names, primary := map[string]bool{}, 0
	for i, nic := range list {
		path := fmt.Sprintf("%s[%d]", nicsPath, i)
		n := vmss.NIC{Name: text(nic, "name"), Primary: flag(nic, "properties", "primary")}
		p.uniqueName(names, n.Name, path+".name")
		if n.Primary {
			primary++
		}
		n.IPConfigs = p.ipConfigs(objects(nic, "properties", "ipConfigurations"), path+".properties.ipConfigurations")
		out = append(out, n)
	}
	if object(p.doc, "properties", "virtualMachineProfile", "networkProfile") != nil && primary != 1 {
		p.Add(wire.InvalidParameter, nicsPath, "Exactly one network interface must be primary; %d are.", primary)
	}
	return out
}

// ipConfigs reads the addresses of a NIC. One that names no subnet is in the
// default network of its host: that is ours, Azure requires a subnet.
func (p *parser) ipConfigs(list []wire.Document, path string) []vmss.IPConfig {
	if len(list) == 0 {
		p.Add(wire.InvalidParameter, path, "A network interface needs an IP configuration.")
	}
	var out []vmss.IPConfig
	names, primary := map[string]bool{}, 0
	for i, ip := range list {
		at := fmt.Sprintf("%s[%d]", path, i)
		props := object(ip, "properties")
		c := vmss.IPConfig{Name: text(ip, "name"), Subnet: text(props, "subnet", "id")}
		c.Primary = flag(props, "primary") || len(list) == 1 && props["primary"] == nil
		p.uniqueName(names, c.Name, at+".name")
		p.subnet(c.Subnet, at+".properties.subnet.id")
		if c.Primary {
			primary++
		}
		out = append(out, c)
	}
	if len(list) > 0 && primary != 1 {
		p.Add(wire.InvalidParameter, path, "Exactly one IP configuration must be primary; %d are.", primary)
	}
	return out
}

// subnet checks that an id, if there is one, is a subnet's. Its syntax was
// checked when it was decoded.
func (p *parser) subnet(id, path string) {
	const subnets = "Microsoft.Network/virtualNetworks/subnets"
	if parsed, err := resource.ParseID(id); err == nil && !strings.EqualFold(parsed.Type(), subnets) {
		p.Add(wire.InvalidParameter, path, "'%s' is not the id of a subnet but of a %s; leave subnet out for the default network.", id, parsed.Type())
	}
}

func (p *parser) uniqueName(seen map[string]bool, name, path string) {
	switch folded := strings.ToLower(name); {
	case name == "":
		p.Add(wire.InvalidParameter, path, "The required member '%s' is missing.", path)
	case seen[folded]:
		p.Add(wire.InvalidParameter, path, "The name '%s' is used twice.", name)
	default:
		seen[folded] = true
	}
}
