package cli

import (
	"context"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/compute/armcompute/v8"
)

var ownImages = shelf[armcompute.Image]{
	noun: "image", plain: "an image",
	get: func(ctx context.Context, c *call) (armcompute.Image, error) {
		res, err := c.compute.NewImagesClient().Get(ctx, c.Group, c.Name, nil)
		return res.Image, err
	},
	list: func(ctx context.Context, c *call) (any, error) {
		if c.Group == "" {
			return collect(ctx, c.compute.NewImagesClient().NewListPager(nil), func(p armcompute.ImagesClientListResponse) []*armcompute.Image { return p.Value })
		}
		return collect(ctx, c.compute.NewImagesClient().NewListByResourceGroupPager(c.Group, nil),
			func(p armcompute.ImagesClientListByResourceGroupResponse) []*armcompute.Image { return p.Value })
	},
	put: func(ctx context.Context, c *call, i armcompute.Image) (any, error) {
		p, err := c.compute.NewImagesClient().BeginCreateOrUpdate(ctx, c.Group, c.Name, i, nil)
		return begin(p, err, func(r armcompute.ImagesClientCreateOrUpdateResponse) any { return r.Image })
	},
	remove: func(ctx context.Context, c *call) (any, error) {
		p, err := c.compute.NewImagesClient().BeginDelete(ctx, c.Group, c.Name, nil)
		return begin(p, err, nil)
	},
	change: func(c *call, i *armcompute.Image) {
		if tags, ok := c.tagged(); ok {
			i.Tags = tags
		}
	},
}

func imageCommands() []command {
	return append(ownImages.commands(""),
		command{path: "image create", short: "Create an image from a file, a disk, a snapshot or an instance",
			takes: "resource-group! name! source! location os-type tags no-wait", run: createImage})
}

// createImage takes --source as az does: the id of an instance, which is to be
// stopped, of a disk or of a snapshot, or the address of a file.
func createImage(ctx context.Context, c *call) (any, error) {
	if err := c.locateInGroup(ctx); err != nil {
		return nil, err
	}
	source := c.idOf(c.Source, "snapshots")
	i := armcompute.Image{Location: &c.Location, Properties: &armcompute.ImageProperties{}}
	ownImages.change(c, &i)
	lower := strings.ToLower(source)
	if strings.Contains(lower, "/virtualmachines/") {
		i.Properties.SourceVirtualMachine = &armcompute.SubResource{ID: &source}
		return ownImages.put(ctx, c, i)
	}
	osType := c.OSType
	if osType == "" {
		osType = "Linux"
	}
	disk := &armcompute.ImageOSDisk{OSType: new(armcompute.OperatingSystemTypes(osType)), OSState: new(armcompute.OperatingSystemStateTypesGeneralized)}
	switch {
	case strings.Contains(lower, "/disks/"):
		disk.ManagedDisk = &armcompute.SubResource{ID: &source}
	case strings.Contains(lower, "/snapshots/") && strings.HasPrefix(lower, "/"):
		disk.Snapshot = &armcompute.SubResource{ID: &source}
	default:
		disk.BlobURI = &source
	}
	i.Properties.StorageProfile = &armcompute.ImageStorageProfile{OSDisk: disk}
	return ownImages.put(ctx, c, i)
}
