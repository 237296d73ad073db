package cli

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/compute/armcompute/v8"

	"github.com/muster-vm/muster/internal/cli/card"
	"github.com/muster-vm/muster/internal/cli/output"
	"github.com/muster-vm/muster/internal/cli/progress"
)

// setTable is the query that az makes its tables of scale sets with.
const setTable = "{Name:name, ResourceGroup:resourceGroup, Location:location, Zones: (!zones && ' ') || join(' ', zones), " +
	"Capacity:sku.capacity, Overprovision:overprovision, UpgradePolicy:upgradePolicy.mode}"

func (c *call) sets() *armcompute.VirtualMachineScaleSetsClient {
	return c.compute.NewVirtualMachineScaleSetsClient()
}

func setCommands() []command {
	return []command{
		{path: "vmss create", short: "Create a scale set, by a direct PUT of its model", table: setTable, takes: "resource-group! name! image! location instance-count vm-sku " +
			"admin-username admin-password ssh-key-values custom-data computer-prefix upgrade-mode zones tags no-wait vnet-name subnet lb backend-pool nat-pool nsg asgs public-ip-per-vm",
			aliases: map[string]string{"load-balancer": "lb", "lb-nat-pool-name": "nat-pool-name"}, run: createSet},
		{path: "vmss list", short: "List scale sets", table: "[]." + setTable, takes: "resource-group", run: func(ctx context.Context, c *call) (any, error) { return allSets(ctx, c) }},
		{path: "vmss show", short: "Show a scale set, or an instance", table: setTable, takes: "resource-group! name! instance-id", run: func(ctx context.Context, c *call) (any, error) {
			if len(c.InstanceID) > 0 {
				res, err := c.vms().Get(ctx, c.Group, c.Name, c.InstanceID[0], nil)
				return res.VirtualMachineScaleSetVM, err
			}
			return c.set(ctx)
		}},
		{path: "vmss scale", short: "Change how many instances a scale set has", table: setTable, takes: "resource-group! name! new-capacity! no-wait", run: scaleSet},
		{path: "vmss update", short: "Change members of a scale set", table: setTable, takes: "resource-group! name! set no-wait", run: updateSet},
		{path: "vmss delete", goal: progress.Gone, short: "Delete a scale set and its instances", takes: "resource-group! name! no-wait", run: func(ctx context.Context, c *call) (any, error) {
			p, err := c.sets().BeginDelete(ctx, c.Group, c.Name, nil)
			return begin(p, err, nil)
		}},
		{path: "vmss list-skus", short: "List the sizes that a scale set can have", takes: "resource-group! name!", run: func(ctx context.Context, c *call) (any, error) {
			return collect(ctx, c.sets().NewListSKUsPager(c.Group, c.Name, nil),
				func(p armcompute.VirtualMachineScaleSetsClientListSKUsResponse) []*armcompute.VirtualMachineScaleSetSKU {
					return p.Value
				})
		}},
		{path: "vmss wait", short: "Wait until a scale set is in a state", takes: "resource-group! name! created updated deleted exists custom interval timeout",
			run: func(ctx context.Context, c *call) (any, error) {
				return nil, c.wait(ctx, output.Flat, func(ctx context.Context) (any, error) { return c.set(ctx) })
			}},
		{path: "vmss costs", short: "Say what a scale set costs by the server's price file", takes: "resource-group! name!", shape: output.Wired,
			table: "[{When:'now', Instances:now.instanceCount, PerHour:now.perHour, PerMonth:now.perMonth, Currency:currency}, {When:'allocated', Instances:allocated.instanceCount, PerHour:allocated.perHour, " +
				"PerMonth:allocated.perMonth, Currency:currency}, {When:'at capacity', Instances:atCapacity.instanceCount, PerHour:atCapacity.perHour, PerMonth:atCapacity.perMonth, Currency:currency}]",
			run: func(ctx context.Context, c *call) (any, error) {
				var costs any
				err := c.conn.Get(ctx, c.setURL()+"/providers/Muster.Fleet/costs?api-version=2026-11-01", &costs)
				return costs, err
			}},
		{path: "vmss explain", short: "Say what is wanted for a scale set and not done, and why", takes: "resource-group! name!",
			table: "[].{Wanted:name, Instances:instanceCount, Ids:join(' ', instanceIds || `[]`), Code:code, RetryAt:retryAt, Reason:reason}", run: explainSet},
	}
}

func (c *call) set(ctx context.Context) (armcompute.VirtualMachineScaleSet, error) {
	res, err := c.sets().Get(ctx, c.Group, c.Name, nil)
	return res.VirtualMachineScaleSet, err
}

func allSets(ctx context.Context, c *call) ([]*armcompute.VirtualMachineScaleSet, error) {
	if c.Group == "" {
		return collect(ctx, c.sets().NewListAllPager(nil), func(p armcompute.VirtualMachineScaleSetsClientListAllResponse) []*armcompute.VirtualMachineScaleSet {
			return p.Value
		})
	}
	return collect(ctx, c.sets().NewListPager(c.Group, nil), func(p armcompute.VirtualMachineScaleSetsClientListResponse) []*armcompute.VirtualMachineScaleSet {
		return p.Value
	})
}

// putSet writes a scale set; unless it has changed since it was read, where the
// ETag tells.
func (c *call) putSet(ctx context.Context, set armcompute.VirtualMachineScaleSet, etag *string) (any, error) {
	p, err := c.sets().BeginCreateOrUpdate(ctx, c.Group, c.Name, set, &armcompute.VirtualMachineScaleSetsClientBeginCreateOrUpdateOptions{IfMatch: etag})
	return begin(p, err, func(r armcompute.VirtualMachineScaleSetsClientCreateOrUpdateResponse) any {
		return r.VirtualMachineScaleSet
	})
}

func scaleSet(ctx context.Context, c *call) (any, error) {
	set, err := c.set(ctx)
	if err != nil {
		return nil, err
	}
	if set.SKU.Capacity != nil && *set.SKU.Capacity == c.Capacity {
		return nil, nil // as az
	}
	if c.Capacity == 0 {
		c.goal = progress.Gone
	}
	set.SKU.Capacity = &c.Capacity
	return c.putSet(ctx, armcompute.VirtualMachineScaleSet{Location: set.Location, SKU: set.SKU}, nil)
}

func updateSet(ctx context.Context, c *call) (any, error) {
	if len(c.Set) == 0 {
		return nil, usage("nothing to change: give --set path=value")
	}
	set, err := c.set(ctx)
	if err != nil {
		return nil, err
	}
	changed, err := output.Assign(set, c.Set)
	if err != nil {
		return nil, err
	}
	return c.putSet(ctx, changed, set.Etag)
}

func explainSet(ctx context.Context, c *call) (any, error) {
	all, err := c.conn.list(ctx, c.setURL()+"/providers/Muster.Fleet/explanations?api-version=2026-11-01")
	if err == nil && len(all) == 0 {
		c.say("Everything that is wanted for scale set '%s' is done.", c.Name)
	}
	return all, err
}

// setURL is where the scale set is, for what the SDK has no client for.
func (c *call) setURL() string {
	return fmt.Sprintf("%s/subscriptions/%s/resourceGroups/%s/providers/Microsoft.Compute/virtualMachineScaleSets/%s",
		c.conn.Endpoint, c.conn.Subscription, c.Group, c.Name)
}

func createSet(ctx context.Context, c *call) (any, error) {
	image, err := parseImage(c.Image)
	if err != nil {
		return nil, err
	}
	if err := c.locateInGroup(ctx); err != nil {
		return nil, err
	}
	nic := &armcompute.VirtualMachineScaleSetNetworkConfiguration{}
	group := card.Group{Path: "/subscriptions/" + c.conn.Subscription + "/resourceGroups/" + c.Group, Get: func(ctx context.Context, path string, into any) error {
		return c.conn.Get(ctx, c.conn.Endpoint+path, into)
	}}
	if err := c.Card.Configure(ctx, group, nic); err != nil {
		return nil, err
	}
	os, err := c.osProfile()
	if err != nil {
		return nil, err
	}
	set := armcompute.VirtualMachineScaleSet{
		Location: &c.Location,
		SKU:      &armcompute.SKU{Name: &c.Size, Capacity: &c.Instances},
		Properties: &armcompute.VirtualMachineScaleSetProperties{
			OrchestrationMode: new(armcompute.OrchestrationModeUniform),
			UpgradePolicy:     &armcompute.UpgradePolicy{Mode: new(armcompute.UpgradeMode(c.Mode))},
			VirtualMachineProfile: &armcompute.VirtualMachineScaleSetVMProfile{
				OSProfile:      os,
				StorageProfile: &armcompute.VirtualMachineScaleSetStorageProfile{ImageReference: image},
				NetworkProfile: &armcompute.VirtualMachineScaleSetNetworkProfile{NetworkInterfaceConfigurations: []*armcompute.VirtualMachineScaleSetNetworkConfiguration{nic}},
			},
		},
	}
	for i := range c.Zones {
		set.Zones = append(set.Zones, &c.Zones[i])
	}
	set.Tags, _ = c.tagged()
	return c.putSet(ctx, set, nil)
}

// osProfile is who may log in to the instances, and what they run first.
func (c *call) osProfile() (*armcompute.VirtualMachineScaleSetOSProfile, error) {
	p := &armcompute.VirtualMachineScaleSetOSProfile{ComputerNamePrefix: &c.Prefix, AdminUsername: &c.Admin}
	if c.Prefix == "" {
		p.ComputerNamePrefix = &c.Name
	}
	if c.AdminPassword != "" {
		p.AdminPassword = &c.AdminPassword
	}
	if c.CustomData != "" {
		p.CustomData = new(base64.StdEncoding.EncodeToString([]byte(content(c.CustomData))))
	}
	if len(c.Keys) == 0 {
		return p, nil
	}
	p.LinuxConfiguration = &armcompute.LinuxConfiguration{DisablePasswordAuthentication: new(c.AdminPassword == ""), SSH: &armcompute.SSHConfiguration{}}
	for _, word := range c.Keys {
		key := strings.TrimSpace(content(word))
		if !strings.Contains(key, " ") {
			return nil, usage("An RSA or ED25519 key file or key value must be supplied to SSH Key Value. '%s' is neither.", word)
		}
		p.LinuxConfiguration.SSH.PublicKeys = append(p.LinuxConfiguration.SSH.PublicKeys,
			&armcompute.SSHPublicKey{KeyData: &key, Path: new("/home/" + c.Admin + "/.ssh/authorized_keys")})
	}
	return p, nil
}

// parseImage reads a URN or a resource id.
func parseImage(s string) (*armcompute.ImageReference, error) {
	if strings.HasPrefix(s, "/") {
		return &armcompute.ImageReference{ID: &s}, nil
	}
	parts := strings.Split(s, ":")
	if len(parts) != 4 {
		return nil, usage("Invalid image \"%s\". Use publisher:offer:sku:version, or a resource id.\nNext: muster vm image list --all -o table", s)
	}
	return &armcompute.ImageReference{Publisher: &parts[0], Offer: &parts[1], SKU: &parts[2], Version: &parts[3]}, nil
}
