package fleettest_test

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/resources/armresources"

	"github.com/muster-vm/muster/internal/fleettest"
)

// TestNetworksAreResourcesOfTheirGroup makes a security group by the client for
// resources of any type, lists it and tags it.
func TestNetworksAreResourcesOfTheirGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		f := fleettest.Boot(t, fleettest.Options{})
		c, err := armresources.NewClient(f.Subscription(), f, f.ClientOptions())
		if err != nil {
			t.Fatal(err)
		}
		tags, err := armresources.NewTagsClient(f.Subscription(), f, f.ClientOptions())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Client(t).Groups.CreateOrUpdate(ctx, "lab", armresources.ResourceGroup{Location: new(fleettest.Location)}, nil); err != nil {
			t.Fatal(err)
		}
		id := "/subscriptions/" + f.Subscription() + "/resourceGroups/lab/providers/Microsoft.Network/networkSecurityGroups/web"
		if _, err := c.BeginCreateOrUpdateByID(ctx, id, "2025-05-01", armresources.GenericResource{Location: new(fleettest.Location)}, nil); err != nil {
			t.Fatal(err)
		}
		patch := armresources.TagsPatchResource{Operation: new(armresources.TagsPatchOperationMerge), Properties: &armresources.Tags{Tags: map[string]*string{"a": new("b")}}}
		if _, err := tags.UpdateAtScope(ctx, id, patch, nil); err != nil {
			t.Fatal(err)
		}
		var found []*armresources.GenericResourceExpanded
		for pages := c.NewListByResourceGroupPager("lab", nil); pages.More(); {
			page, err := pages.NextPage(ctx)
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, page.Value...)
		}
		if len(found) != 1 || !strings.EqualFold(*found[0].ID, id) || *found[0].Type != "Microsoft.Network/networkSecurityGroups" || *found[0].Tags["a"] != "b" {
			t.Errorf("the group holds %+v", found)
		}
	})
}
