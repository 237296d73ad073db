package cli

import (
	"context"

	"strconv"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/compute/armcompute/v8"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/resources/armresources"

	"github.com/muster-vm/muster/internal/cli/output"
)

func (c *call) images() *armcompute.VirtualMachineImagesClient {
	return c.compute.NewVirtualMachineImagesClient()
}

// catalogCommands show what a location offers.
func catalogCommands() []command {
	return []command{
		{path: "vm list-usage", short: "List quotas and what of them is used", table: "[].{Name:localName, CurrentValue:currentValue, Limit:limit}", takes: "location!", run: listUsage},
		{path: "vm list-sizes", short: "List sizes of instances", takes: "location!", run: func(ctx context.Context, c *call) (any, error) {
			return collect(ctx, c.compute.NewVirtualMachineSizesClient().NewListPager(c.Location, nil),
				func(p armcompute.VirtualMachineSizesClientListResponse) []*armcompute.VirtualMachineSize {
					return p.Value
				})
		}},
		{path: "vm image list", short: "List images that instances can be made from", shape: output.AsIs, takes: "location publisher offer sku all", run: listImages},
		{path: "vm image show", short: "Show an image", takes: "location urn publisher offer sku version", run: showImage},
	}
}

// listUsage answers as az, which makes text of the numbers and puts the name at
// the top.
func listUsage(ctx context.Context, c *call) (any, error) {
	all, err := collect(ctx, c.compute.NewUsageClient().NewListPager(c.Location, nil),
		func(p armcompute.UsageClientListResponse) []*armcompute.Usage { return p.Value })
	shown := []any{}
	for _, u := range all {
		shown = append(shown, map[string]any{
			"currentValue": strconv.Itoa(int(*u.CurrentValue)), "limit": strconv.FormatInt(*u.Limit, 10), "localName": *u.Name.LocalizedValue,
			"name": map[string]any{"localizedValue": *u.Name.LocalizedValue, "value": *u.Name.Value},
		})
	}
	return shown, err
}

// listImages walks the catalogue: publishers, offers, SKUs, versions.
func listImages(ctx context.Context, c *call) (any, error) {
	if err := c.locate(ctx); err != nil {
		return nil, err
	}
	found := []any{}
	publishers, err := c.images().ListPublishers(ctx, c.Location, nil)
	if err != nil {
		return nil, err
	}
	for _, p := range matching(publishers.VirtualMachineImageResourceArray, c.Publisher) {
		offers, err := c.images().ListOffers(ctx, c.Location, p, nil)
		if err != nil {
			return nil, err
		}
		for _, o := range matching(offers.VirtualMachineImageResourceArray, c.Offer) {
			skus, err := c.images().ListSKUs(ctx, c.Location, p, o, nil)
			if err != nil {
				return nil, err
			}
			for _, s := range matching(skus.VirtualMachineImageResourceArray, c.SKU) {
				versions, err := c.versions(ctx, p, o, s)
				if err != nil {
					return nil, err
				}
				found = append(found, versions...)
			}
		}
	}
	return found, nil
}

// matching are the names that have a part in them, as az matches.
func matching(all []*armcompute.VirtualMachineImageResource, part string) (names []string) {
	for _, r := range all {
		if strings.Contains(strings.ToLower(*r.Name), strings.ToLower(part)) {
			names = append(names, *r.Name)
		}
	}
	return names
}

func (c *call) versions(ctx context.Context, publisher, offer, sku string) ([]any, error) {
	list, err := c.images().List(ctx, c.Location, publisher, offer, sku, nil)
	if err != nil {
		return nil, err
	}
	var found []any
	for _, v := range list.VirtualMachineImageResourceArray {
		image := map[string]any{"publisher": publisher, "offer": offer, "sku": sku, "version": *v.Name, "urn": strings.Join([]string{publisher, offer, sku, *v.Name}, ":")}
		full, err := c.images().Get(ctx, c.Location, publisher, offer, sku, *v.Name, nil)
		if err != nil {
			return nil, err
		}
		if full.Properties != nil && full.Properties.Architecture != nil {
			image["architecture"] = string(*full.Properties.Architecture)
		}
		found = append(found, image)
	}
	return found, nil
}

func showImage(ctx context.Context, c *call) (any, error) {
	if c.URN != "" {
		ref, err := parseImage(c.URN)
		if err != nil || ref.ID != nil {
			return nil, usage("--urn should be in the format of 'publisher:offer:sku:version'")
		}
		c.Publisher, c.Offer, c.SKU, c.Version = *ref.Publisher, *ref.Offer, *ref.SKU, *ref.Version
	}
	if c.Publisher == "" || c.Offer == "" || c.SKU == "" {
		return nil, usage("the following arguments are required: --urn/-u, or --publisher/-p, --offer/-f and --sku/-s")
	}
	if err := c.locate(ctx); err != nil {
		return nil, err
	}
	if strings.EqualFold(c.Version, "latest") {
		list, err := c.images().List(ctx, c.Location, c.Publisher, c.Offer, c.SKU,
			&armcompute.VirtualMachineImagesClientListOptions{Top: new(int32(1)), Orderby: new("name desc")})
		if err != nil {
			return nil, err
		}
		if len(list.VirtualMachineImageResourceArray) == 0 {
			return nil, problem("Can't resolve the version of '%s:%s:%s'\nNext: muster vm image list --all -o table", c.Publisher, c.Offer, c.SKU)
		}
		c.Version = *list.VirtualMachineImageResourceArray[0].Name
	}
	res, err := c.images().Get(ctx, c.Location, c.Publisher, c.Offer, c.SKU, c.Version, nil)
	return res.VirtualMachineImage, err
}

// locate asks the server where it is, unless --location says.
func (c *call) locate(ctx context.Context) error {
	if c.Location != "" {
		return nil
	}
	p, err := c.resources.NewProvidersClient().Get(ctx, "Microsoft.Compute", nil)
	if err != nil {
		return err
	}
	for _, t := range p.ResourceTypes {
		if len(t.Locations) > 0 {
			c.Location = *t.Locations[0]
			return nil
		}
	}
	return usage("the following arguments are required: --location/-l")
}

func resourceCommands() []command {
	return []command{{path: "resource list", short: "List resources of all types", shape: output.Named, takes: "resource-group name location resource-type tag",
		table: "[].{Name:name, ResourceGroup:resourceGroup, Location:location, Type:type, Status:' '}", run: listResources}}
}

func listResources(ctx context.Context, c *call) (any, error) {
	const expand = "createdTime,changedTime,provisioningState"
	var all []*armresources.GenericResourceExpanded
	var err error
	if c.Group != "" {
		all, err = collect(ctx, c.resources.NewClient().NewListByResourceGroupPager(c.Group, &armresources.ClientListByResourceGroupOptions{Expand: new(expand)}),
			func(p armresources.ClientListByResourceGroupResponse) []*armresources.GenericResourceExpanded {
				return p.Value
			})
	} else {
		all, err = collect(ctx, c.resources.NewClient().NewListPager(&armresources.ClientListOptions{Expand: new(expand)}),
			func(p armresources.ClientListResponse) []*armresources.GenericResourceExpanded { return p.Value })
	}
	kept := []*armresources.GenericResourceExpanded{}
	for _, r := range all {
		if is(c.Name, r.Name) && is(c.Location, r.Location) && is(c.Type, r.Type) && c.hasTag(r.Tags) {
			kept = append(kept, r)
		}
	}
	return kept, err
}

func is(wanted string, have *string) bool {
	return wanted == "" || have != nil && strings.EqualFold(wanted, *have)
}
