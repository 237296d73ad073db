package compute

import (
	"cmp"
	"iter"
	"slices"
	"strings"

	"github.com/muster-vm/muster/internal/arm/wire"
	disks "github.com/muster-vm/muster/internal/disk"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/vmss"
)

// InstanceRenderer writes the instances of one set that have one model. What
// they share is written once, when it is made. It is safe for concurrent use.
type InstanceRenderer struct {
	set    vmss.ScaleSet
	model  vmss.Model
	number vmss.RevisionNumber
	id     string // of the set, with "/virtualMachines/" after it
	disks  string // what disk ids start with

	tags      []byte
	location  []byte
	sku       []byte // with its name before it
	network   []byte // networkProfileConfiguration, likewise
	image     []byte // the image reference
	ephemeral []byte // diffDiskSettings with its name before it, if there is one
	osProfile []byte // the members after adminUsername, each with a comma before it
}

// InstanceInput is one instance to write. Custom is nil unless it was customised.
type InstanceInput struct {
	Row     vmss.Instance
	Seen    vmss.Observation
	Custom  *vmss.Customization
	Leaving []vmss.Disk // that the request being answered detaches
}

// InstanceOptions is what a request wants to see.
type InstanceOptions struct {
	View     bool // $expand=instanceView
	OnlyView bool // $select=instanceView: nothing but what names the instance, and its view
	UserData bool // $expand=userData

	Provisioning vmss.ProvisioningState // shown in place of what row and observation say, if set
}

// NewInstanceRenderer prepares the instances of a set that have the model of a
// revision. It fails only if what is stored is no JSON.
func NewInstanceRenderer(set vmss.ScaleSet, revision vmss.Revision) (*InstanceRenderer, error) {
	vm, err := renderProfile(revision.Model)
	if err != nil {
		return nil, err
	}
	r := &InstanceRenderer{
		set: set, model: revision.Model, number: revision.Number,
		id:    set.ID.String() + "/virtualMachines/",
		disks: resource.In(set.ID.Subscription, set.ID.Group, "Microsoft.Compute", "disks", "").String(),
	}
	r.tags = appendTags(nil, set.Tags)
	r.location = wire.AppendString(nil, set.Location)
	r.sku = appendText(nil, `,"sku":{"name":`, revision.Model.Size)
	r.sku = append(appendText(r.sku, `,"tier":`, set.SKU.Tier), '}')
	r.network = append([]byte(`"networkProfileConfiguration":`), Instance.Node("properties.networkProfileConfiguration").
		Append(nil, map[string]any{"networkInterfaceConfigurations": wire.Get(vm, "networkProfile", "networkInterfaceConfigurations")})...)
	ref := wire.ObjectAt(vm, "storageProfile", "imageReference")
	if ref != nil && revision.Model.Image.Exact != "" {
		ref["exactVersion"] = revision.Model.Image.Exact
	}
	r.image = Instance.Node("properties.storageProfile.imageReference").Append(nil, ref)
	if diff := wire.ObjectAt(vm, "storageProfile", "osDisk", "diffDiskSettings"); diff != nil {
		r.ephemeral = Instance.Node("properties.storageProfile.osDisk.diffDiskSettings").Append([]byte(`,"diffDiskSettings":`), diff)
	}
	os := wire.ObjectAt(vm, "osProfile")
	delete(os, "computerNamePrefix")
	r.osProfile = Instance.Node("properties.osProfile").Append(nil, os)
	return r, nil
}

// Size returns the VM size of the model.
func (r *InstanceRenderer) Size() string { return r.model.Size }

// Render writes the answer of a GET on an instance.
func (r *InstanceRenderer) Render(in InstanceInput, opt InstanceOptions) []byte {
	return r.Append(nil, in, opt)
}

// Append appends an instance to b: lists are made of instances of several
// renderers.
func (r *InstanceRenderer) Append(b []byte, in InstanceInput, opt InstanceOptions) []byte {
	id := in.Row.ID.String()
	b = appendText(b, `{"name":`, vmss.InstanceName(r.set.ID.Name(), in.Row.ID))
	b = appendText(b, `,"id":`, r.id+id)
	if opt.OnlyView {
		b = appendText(b, `,"instanceId":`, id)
		b = r.appendView(append(b, `,"properties":{"instanceView":`...), in)
		return append(b, '}', '}')
	}
	b = append(b, `,"type":"`+vmss.ResourceType+`/virtualMachines","location":`...)
	b = append(append(b, r.location...), `,"tags":`...)
	if in.Custom != nil && in.Custom.Tags != nil {
		b = appendTags(b, in.Custom.Tags)
	} else {
		b = append(b, r.tags...)
	}
	b = append(appendText(b, `,"instanceId":`, id), r.sku...)
	if in.Row.Zone != "" {
		b = append(appendText(b, `,"zones":[`, in.Row.Zone), ']')
	}
	b = r.appendProperties(append(b, `,"properties":`...), in, opt)
	return append(b, '}')
}

func (r *InstanceRenderer) appendProperties(b []byte, in InstanceInput, opt InstanceOptions) []byte {
	b = append(b, `{"latestModelApplied":`...)
	b = appendBool(b, r.number == r.set.Revision)
	definition := "VirtualMachineScaleSet"
	if in.Custom != nil {
		definition = "VirtualMachine"
	}
	b = append(appendText(b, `,"modelDefinitionApplied":`, definition), ',')
	b = append(b, r.network...)
	b = appendProtection(b, in.Custom)
	b = appendText(b, `,"vmId":`, vmss.InstanceGUID(r.set.UID, in.Row.ID))
	b = append(appendText(b, `,"hardwareProfile":{"vmSize":`, r.model.Size), '}')
	b = r.appendStorage(append(b, `,"storageProfile":`...), in)
	b = appendText(b, `,"osProfile":{"computerName":`, vmss.ComputerName(r.model.OS.ComputerNamePrefix, in.Row.ID))
	b = append(appendRest(b, r.osProfile), `,"networkProfile":{"networkInterfaces":[`...)
	for i, nic := range r.model.NICs {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendText(b, `{"id":`, r.id+in.Row.ID.String()+"/networkInterfaces/"+nic.Name), '}')
	}
	b = append(b, ']', '}')
	if opt.UserData && len(r.model.OS.Secrets.UserData) > 0 {
		b = appendText(b, `,"userData":`, encodeBlob(r.model.OS.Secrets.UserData))
	}
	if opt.View {
		b = r.appendView(append(b, `,"instanceView":`...), in)
	}
	b = appendText(b, `,"provisioningState":`, string(cmp.Or(opt.Provisioning, vmss.Provisioning(in.Row, in.Seen))))
	b = appendText(b, `,"timeCreated":`, stamp(in.Row.Created))
	return append(b, '}')
}

func (r *InstanceRenderer) osDisk(row vmss.Instance) string {
	return vmss.OSDiskName(r.set.ID.Name(), r.set.UID, row.ID, row.Disks)
}

func (r *InstanceRenderer) dataDisk(row vmss.Instance, disk vmss.Disk) string {
	if disk.Volume != "" {
		return disk.ID[strings.LastIndex(disk.ID, "/")+1:]
	}
	return vmss.DataDiskName(r.set.ID.Name(), r.set.UID, row.ID, disk.LUN, row.DiskGeneration(disk))
}

// dataDisks yields the data disks of the model, and then those that are attached
// to the instance alone.
func (r *InstanceRenderer) dataDisks(custom *vmss.Customization) iter.Seq[vmss.Disk] {
	return func(yield func(vmss.Disk) bool) {
		for _, disk := range r.model.DataDisks {
			if !yield(disk) {
				return
			}
		}
		if custom == nil {
			return
		}
		for _, disk := range custom.Attached {
			if !yield(disk) {
				return
			}
		}
	}
}

// storage yields the data disks of the instance, and then those that leave it.
func (r *InstanceRenderer) storage(in InstanceInput) iter.Seq[vmss.Disk] {
	return func(yield func(vmss.Disk) bool) {
		for disk := range r.dataDisks(in.Custom) {
			if !yield(disk) {
				return
			}
		}
		for _, disk := range in.Leaving {
			if !yield(disk) {
				return
			}
		}
	}
}

// RenderStorage writes the storage profile of an instance alone.
func (r *InstanceRenderer) RenderStorage(in InstanceInput) []byte { return r.appendStorage(nil, in) }

func (r *InstanceRenderer) appendStorage(b []byte, in InstanceInput) []byte {
	row := in.Row
	b = append(append(b, `{"imageReference":`...), r.image...)
	b = appendText(b, `,"osDisk":{"osType":`, r.model.Image.OSType)
	name := r.osDisk(row)
	b = appendText(b, `,"name":`, name)
	b = append(b, `,"createOption":"FromImage"`...)
	b = r.appendDisk(b, r.model.OSDisk, name, osDiskSize(r.model))
	b = append(append(b, r.ephemeral...), `},"dataDisks":[`...)
	first := true
	for disk := range r.storage(in) {
		if !first {
			b = append(b, ',')
		}
		first = false
		b = r.appendDataDisk(b, in, disk)
	}
	return append(b, ']', '}')
}

func (r *InstanceRenderer) appendDataDisk(b []byte, in InstanceInput, disk vmss.Disk) []byte {
	name, option := r.dataDisk(in.Row, disk), "Empty"
	if disk.Volume != "" {
		option = attach
	}
	b = appendInt(append(b, `{"lun":`...), disk.LUN)
	b = appendText(b, `,"name":`, name)
	b = appendText(b, `,"createOption":`, option)
	b = r.appendDisk(b, disk, name, disk.SizeGB)
	b = appendBool(append(b, `,"toBeDetached":`...), slices.Contains(in.Leaving, disk))
	if disks.SettableLimits(disk.StorageType) {
		limit := disks.Limit{IOPS: disk.IOPS, MBps: disk.MBps}.Or(disks.LimitOf(disk.StorageType, disk.SizeGB))
		b = appendInt(append(b, `,"diskIOPSReadWrite":`...), limit.IOPS)
		b = appendInt(append(b, `,"diskMBpsReadWrite":`...), limit.MBps)
	}
	return append(b, '}')
}

func (r *InstanceRenderer) appendDisk(b []byte, disk vmss.Disk, name string, sizeGB int) []byte {
	id := disk.ID
	if disk.Volume == "" {
		id = r.disks + name
	}
	b = appendText(b, `,"caching":`, disk.Caching)
	b = appendText(b, `,"managedDisk":{"storageAccountType":`, disk.StorageType)
	b = append(appendText(b, `,"id":`, id), '}')
	if sizeGB > 0 {
		b = appendInt(append(b, `,"diskSizeGB":`...), sizeGB)
	}
	return b
}

func appendProtection(b []byte, custom *vmss.Customization) []byte {
	if custom == nil || custom.Protection == (vmss.Protection{}) {
		return b
	}
	b = appendBool(append(b, `,"protectionPolicy":{"protectFromScaleIn":`...), custom.Protection.FromScaleIn)
	b = appendBool(append(b, `,"protectFromScaleSetActions":`...), custom.Protection.FromScaleSetActions)
	return append(b, '}')
}

// appendRest appends the members of an object that was written, after others
// that were not closed, and closes it.
func appendRest(b, object []byte) []byte {
	if len(object) <= len("{}") {
		return append(b, '}')
	}
	return append(append(b, ','), object[1:]...)
}

func appendTags(b []byte, tags map[string]string) []byte {
	m := make(map[string]any, len(tags))
	for name, value := range tags {
		m[name] = value
	}
	return ScaleSet.Node("tags").Append(b, m)
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, "true"...)
	}
	return append(b, "false"...)
}

// RenderPage puts values that were rendered into a list answer; next is the
// absolute URL of the next page, empty on the last.
func RenderPage(values [][]byte, next string) []byte {
	room := len(next) + 64
	for _, v := range values {
		room += len(v) + 1
	}
	return AppendPage(make([]byte, 0, room), values, next)
}

// AppendPage is RenderPage at the end of b.
func AppendPage(b []byte, values [][]byte, next string) []byte {
	b = append(b, `{"value":[`...)
	for i, v := range values {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, v...)
	}
	return append(appendTextIf(append(b, ']'), `,"nextLink":`, next), '}')
}
