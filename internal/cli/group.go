package cli

import (
	"context"
	"errors"

	"net/http"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/resources/armresources"

	"github.com/muster-vm/muster/internal/cli/output"
)

func (c *call) groups() *armresources.ResourceGroupsClient {
	return c.resources.NewResourceGroupsClient()
}

func groupCommands() []command {
	return []command{
		{path: "group create", short: "Create a resource group", shape: output.Named, takes: "group-name! location! tags", run: createGroup},
		{path: "group show", short: "Show a resource group", shape: output.Named, takes: "group-name!", run: func(ctx context.Context, c *call) (any, error) {
			res, err := c.groups().Get(ctx, c.Group, nil)
			return res.ResourceGroup, err
		}},
		{path: "group list", short: "List resource groups", shape: output.Named, takes: "tag",
			table: "[].{Name:name, Location:location, Status:properties.provisioningState}", run: listGroups},
		{path: "group exists", short: "Tell whether a resource group exists", shape: output.AsIs, takes: "group-name!", run: func(ctx context.Context, c *call) (any, error) {
			res, err := c.groups().CheckExistence(ctx, c.Group, nil)
			return res.Success, err
		}},
		{path: "group update", short: "Change a resource group", shape: output.Named, takes: "group-name! set tags", run: updateGroup},
		{path: "group delete", short: "Delete a resource group and everything in it", takes: "group-name! yes no-wait", confirm: true, run: func(ctx context.Context, c *call) (any, error) {
			p, err := c.groups().BeginDelete(ctx, c.Group, nil)
			return begin(p, err, nil)
		}},
		{path: "group wait", short: "Wait until a resource group is in a state", takes: "group-name! created updated deleted exists custom interval timeout",
			run: func(ctx context.Context, c *call) (any, error) {
				return nil, c.wait(ctx, output.Named, func(ctx context.Context) (any, error) {
					res, err := c.groups().Get(ctx, c.Group, nil)
					return res.ResourceGroup, err
				})
			}},
	}
}

func createGroup(ctx context.Context, c *call) (any, error) {
	group := armresources.ResourceGroup{Location: &c.Location}
	group.Tags, _ = c.tagged()
	res, err := c.groups().CreateOrUpdate(ctx, c.Group, group, nil)
	return res.ResourceGroup, err
}

func listGroups(ctx context.Context, c *call) (any, error) {
	all, err := collect(ctx, c.groups().NewListPager(nil), func(p armresources.ResourceGroupsClientListResponse) []*armresources.ResourceGroup { return p.Value })
	kept := []*armresources.ResourceGroup{}
	for _, g := range all {
		if c.hasTag(g.Tags) {
			kept = append(kept, g)
		}
	}
	return kept, err
}

// locateInGroup takes the resource group's location for want of one, as az does.
func (c *call) locateInGroup(ctx context.Context) error {
	if c.Location != "" {
		return nil
	}
	group, err := c.groups().Get(ctx, c.Group, nil)
	if err == nil {
		c.Location = *group.Location
	}
	return err
}

// hasTag tells whether tags match --tag.
func (o *options) hasTag(tags map[string]*string) bool {
	if o.Tag == "" {
		return true
	}
	key, value, exact := strings.Cut(o.Tag, "=")
	have, ok := tags[key]
	return ok && (!exact || *have == value)
}

func updateGroup(ctx context.Context, c *call) (any, error) {
	old, err := c.groups().Get(ctx, c.Group, nil)
	if err != nil {
		return nil, err
	}
	group, err := output.Assign(old.ResourceGroup, c.Set)
	if err != nil {
		return nil, err
	}
	if tags, ok := c.tagged(); ok {
		group.Tags = tags
	}
	res, err := c.groups().CreateOrUpdate(ctx, c.Group, group, nil)
	return res.ResourceGroup, err
}

// notFound tells whether an error says that what was asked for is not there.
func notFound(err error) bool {
	answer, ok := errors.AsType[*azcore.ResponseError](err)
	return ok && answer.StatusCode == http.StatusNotFound
}
