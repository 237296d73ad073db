package cli

import (
	"context"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/compute/armcompute/v8"
)

var ownImages = shelf{
	noun: "image", plain: "an image",
	get: func(ctx context.Context, c *call) (any, error) {
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
	update: func(ctx context.Context, c *call) (any, error) {
		was, err := c.compute.NewImagesClient().Get(ctx, c.Group, c.Name, nil)
		if err != nil {
			return nil, err
		}
		now, err := assign(was.Image, c.Set)
		if err != nil {
			return nil, err
		}
		return c.putImage(ctx, now)
	},
	remove: func(ctx context.Context, c *call) (any, error) {
		p, err := c.compute.NewImagesClient().BeginDelete(ctx, c.Group, c.Name, nil)
		return begin(p, err, nil)
	},
}

// putImage writes an image with what the options say.
func (c *call) putImage(ctx context.Context, i armcompute.Image) (any, error) {
	if tags, ok := c.tagged(); ok {
		i.Tags = tags
	}
	p, err := c.compute.NewImagesClient().BeginCreateOrUpdate(ctx, c.Group, c.Name, i, nil)
	return begin(p, err, func(r armcompute.ImagesClientCreateOrUpdateResponse) any { return r.Image })
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
	lower := strings.ToLower(source)
	if strings.Contains(lower, "/virtualmachines/") {
		i.Properties.SourceVirtualMachine = &armcompute.SubResource{ID: &source}
		return c.putImage(ctx, i)
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
	return c.putImage(ctx, i)
}
