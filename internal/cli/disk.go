package cli

import (
	"context"
	"slices"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/compute/armcompute/v8"

	"github.com/muster-vm/muster/internal/cli/output"
)

// diskTable is the query that az makes its tables of disks and snapshots with.
const diskTable = "{Name:name, ResourceGroup:resourceGroup, Location:location, Zones: (!zones && ' ') || join(' ', zones), " +
	"Sku:sku.name, OsType:osType, SizeGb:diskSizeGb, ProvisioningState:provisioningState}"

// shelf is the SDK's client of one kind of resource, as commands use it. It has no
// type parameter: the description of one would keep every client that the SDK has
// in the program.
type shelf struct {
	noun, plain string // "disk", "a managed disk"
	table       string // query that az makes a row with; empty for its default
	get         func(context.Context, *call) (any, error)
	list        func(context.Context, *call) (any, error)
	update      func(context.Context, *call) (any, error)
	remove      func(context.Context, *call) (any, error)
}

// commands are those that every kind has. changes are the options of update beside
// those that all have.
func (s shelf) commands(changes string) []command {
	rows := s.table
	if rows != "" {
		rows = "[]." + rows
	}
	return []command{
		{path: s.noun + " list", short: "List " + s.noun + "s", table: rows, takes: "resource-group", run: s.list},
		{path: s.noun + " show", short: "Show " + s.plain, table: s.table, takes: "resource-group! name!", run: s.get},
		{path: s.noun + " update", short: "Change " + s.plain, table: s.table, takes: "resource-group! name! set tags no-wait " + changes, run: s.update},
		{path: s.noun + " delete", short: "Delete " + s.plain, takes: "resource-group! name! yes no-wait", confirm: s.noun == "disk", run: s.remove},
		{path: s.noun + " wait", short: "Wait until " + s.plain + " is in a state", takes: "resource-group! name! created updated deleted exists custom interval timeout",
			run: func(ctx context.Context, c *call) (any, error) {
				return nil, c.wait(ctx, output.Flat, func(ctx context.Context) (any, error) { return s.get(ctx, c) })
			}},
	}
}

var disks = shelf{
	noun: "disk", plain: "a managed disk", table: diskTable,
	get: func(ctx context.Context, c *call) (any, error) {
		res, err := c.compute.NewDisksClient().Get(ctx, c.Group, c.Name, nil)
		return res.Disk, err
	},
	list: func(ctx context.Context, c *call) (any, error) {
		if c.Group == "" {
			return collect(ctx, c.compute.NewDisksClient().NewListPager(nil), func(p armcompute.DisksClientListResponse) []*armcompute.Disk { return p.Value })
		}
		return collect(ctx, c.compute.NewDisksClient().NewListByResourceGroupPager(c.Group, nil),
			func(p armcompute.DisksClientListByResourceGroupResponse) []*armcompute.Disk { return p.Value })
	},
	update: func(ctx context.Context, c *call) (any, error) {
		was, err := c.compute.NewDisksClient().Get(ctx, c.Group, c.Name, nil)
		if err != nil {
			return nil, err
		}
		now, err := assign(was.Disk, c.Set)
		if err != nil {
			return nil, err
		}
		return c.putDisk(ctx, now)
	},
	remove: func(ctx context.Context, c *call) (any, error) {
		p, err := c.compute.NewDisksClient().BeginDelete(ctx, c.Group, c.Name, nil)
		return begin(p, err, nil)
	},
}

// putDisk writes a disk with what the options say.
func (c *call) putDisk(ctx context.Context, d armcompute.Disk) (any, error) {
	if c.SizeGB > 0 {
		d.Properties.DiskSizeGB = new(int32(c.SizeGB))
	}
	if c.StorageSKU != "" {
		d.SKU = &armcompute.DiskSKU{Name: new(armcompute.DiskStorageAccountTypes(c.StorageSKU))}
	}
	if tags, ok := c.tagged(); ok {
		d.Tags = tags
	}
	p, err := c.compute.NewDisksClient().BeginCreateOrUpdate(ctx, c.Group, c.Name, d, nil)
	return begin(p, err, func(r armcompute.DisksClientCreateOrUpdateResponse) any { return r.Disk })
}

var snapshots = shelf{
	noun: "snapshot", plain: "a snapshot", table: diskTable,
	get: func(ctx context.Context, c *call) (any, error) {
		res, err := c.compute.NewSnapshotsClient().Get(ctx, c.Group, c.Name, nil)
		return res.Snapshot, err
	},
	list: func(ctx context.Context, c *call) (any, error) {
		if c.Group == "" {
			return collect(ctx, c.compute.NewSnapshotsClient().NewListPager(nil), func(p armcompute.SnapshotsClientListResponse) []*armcompute.Snapshot { return p.Value })
		}
		return collect(ctx, c.compute.NewSnapshotsClient().NewListByResourceGroupPager(c.Group, nil),
			func(p armcompute.SnapshotsClientListByResourceGroupResponse) []*armcompute.Snapshot { return p.Value })
	},
	update: func(ctx context.Context, c *call) (any, error) {
		was, err := c.compute.NewSnapshotsClient().Get(ctx, c.Group, c.Name, nil)
		if err != nil {
			return nil, err
		}
		now, err := assign(was.Snapshot, c.Set)
		if err != nil {
			return nil, err
		}
		return c.putSnapshot(ctx, now)
	},
	remove: func(ctx context.Context, c *call) (any, error) {
		p, err := c.compute.NewSnapshotsClient().BeginDelete(ctx, c.Group, c.Name, nil)
		return begin(p, err, nil)
	},
}

// putSnapshot writes a snapshot with what the options say.
func (c *call) putSnapshot(ctx context.Context, s armcompute.Snapshot) (any, error) {
	if tags, ok := c.tagged(); ok {
		s.Tags = tags
	}
	p, err := c.compute.NewSnapshotsClient().BeginCreateOrUpdate(ctx, c.Group, c.Name, s, nil)
	return begin(p, err, func(r armcompute.SnapshotsClientCreateOrUpdateResponse) any { return r.Snapshot })
}

func diskCommands() []command {
	all := append(disks.commands("size-gb storage-sku"), snapshots.commands("")...)
	return append(all,
		command{path: "disk create", short: "Create a managed disk: empty, or from another one, a snapshot, an image or a file", table: diskTable,
			takes: "resource-group! name! location size-gb source storage-sku zone os-type tags no-wait", run: createDisk},
		command{path: "snapshot create", short: "Create a snapshot of a disk, or of another snapshot", table: diskTable,
			takes: "resource-group! name! source! location storage-sku tags no-wait", run: createSnapshot},
		command{path: "vmss disk attach", goal: "running", short: "Attach a managed disk to an instance", takes: "resource-group! vmss-name! instance-id! disk! lun caching no-wait", run: attachDisk},
		command{path: "vmss disk detach", goal: "running", short: "Detach the data disk at a LUN from an instance", takes: "resource-group! vmss-name! instance-id! lun! no-wait", run: detachDisk},
	)
}

// creation is what --source says that a disk or snapshot is made from.
func (c *call) creation() *armcompute.CreationData {
	source := c.idOf(c.Source, "snapshots")
	switch {
	case c.Source == "":
		return &armcompute.CreationData{CreateOption: new(armcompute.DiskCreateOptionEmpty)}
	case !strings.HasPrefix(source, "/"):
		return &armcompute.CreationData{CreateOption: new(armcompute.DiskCreateOptionImport), SourceURI: &source}
	case strings.Contains(strings.ToLower(source), "/images/"):
		return &armcompute.CreationData{CreateOption: new(armcompute.DiskCreateOptionFromImage), ImageReference: &armcompute.ImageDiskReference{ID: &source}}
	}
	return &armcompute.CreationData{CreateOption: new(armcompute.DiskCreateOptionCopy), SourceResourceID: &source}
}

// idOf is a resource's id: as given, or made of its name in the command's group.
// Addresses of files stay what they are.
func (c *call) idOf(name, kind string) string {
	if name == "" || strings.HasPrefix(name, "/") || strings.Contains(name, "://") {
		return name
	}
	return "/subscriptions/" + c.conn.Subscription + "/resourceGroups/" + c.Group + "/providers/Microsoft.Compute/" + kind + "/" + name
}

func createDisk(ctx context.Context, c *call) (any, error) {
	if err := c.locateInGroup(ctx); err != nil {
		return nil, err
	}
	d := armcompute.Disk{Location: &c.Location, Properties: &armcompute.DiskProperties{CreationData: c.creation()}}
	if c.Zone != "" {
		d.Zones = []*string{&c.Zone}
	}
	if c.OSType != "" {
		d.Properties.OSType = new(armcompute.OperatingSystemTypes(c.OSType))
	}
	return c.putDisk(ctx, d)
}

func createSnapshot(ctx context.Context, c *call) (any, error) {
	if err := c.locateInGroup(ctx); err != nil {
		return nil, err
	}
	c.Source = c.idOf(c.Source, "disks")
	s := armcompute.Snapshot{Location: &c.Location, Properties: &armcompute.SnapshotProperties{CreationData: c.creation()}}
	if c.StorageSKU != "" {
		s.SKU = &armcompute.SnapshotSKU{Name: new(armcompute.SnapshotStorageAccountTypes(c.StorageSKU))}
	}
	return c.putSnapshot(ctx, s)
}

func attachDisk(ctx context.Context, c *call) (any, error) {
	vm, err := c.theInstance(ctx)
	if err != nil {
		return nil, err
	}
	storage := vm.Properties.StorageProfile
	lun := int32(c.LUN)
	taken := func(d *armcompute.DataDisk) bool { return *d.Lun == lun }
	if lun < 0 { // the first free one, as az
		for lun = 0; slices.ContainsFunc(storage.DataDisks, taken); lun++ {
		}
	}
	d := armcompute.DataDisk{Lun: &lun, CreateOption: new(armcompute.DiskCreateOptionTypesAttach), ManagedDisk: &armcompute.ManagedDiskParameters{ID: new(c.idOf(c.Disk, "disks"))}}
	if c.Caching != "" {
		d.Caching = new(armcompute.CachingTypes(c.Caching))
	}
	storage.DataDisks = append(storage.DataDisks, &d)
	return c.putInstance(ctx, vm)
}

func detachDisk(ctx context.Context, c *call) (any, error) {
	vm, err := c.theInstance(ctx)
	if err != nil {
		return nil, err
	}
	storage := vm.Properties.StorageProfile
	left := slices.DeleteFunc(slices.Clone(storage.DataDisks), func(d *armcompute.DataDisk) bool { return int(*d.Lun) == c.LUN })
	if len(left) == len(storage.DataDisks) {
		return nil, problem("Instance %s of '%s' has no data disk at LUN %d.\nNext: muster vmss show -g %s -n %s --instance-id %[1]s --query storageProfile.dataDisks -o table",
			c.InstanceID[0], c.Name, c.LUN, c.Group, c.Name)
	}
	storage.DataDisks = left
	return c.putInstance(ctx, vm)
}

func (c *call) theInstance(ctx context.Context) (armcompute.VirtualMachineScaleSetVM, error) {
	res, err := c.vms().Get(ctx, c.Group, c.Name, c.InstanceID[0], nil)
	return res.VirtualMachineScaleSetVM, err
}

func (c *call) putInstance(ctx context.Context, vm armcompute.VirtualMachineScaleSetVM) (any, error) {
	p, err := c.vms().BeginUpdate(ctx, c.Group, c.Name, c.InstanceID[0], vm, nil)
	return begin(p, err, func(r armcompute.VirtualMachineScaleSetVMsClientUpdateResponse) any {
		return r.VirtualMachineScaleSetVM
	})
}
