package fleettest

import (
	"context"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/compute/armcompute/v8"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/network/armnetwork/v9"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/resources/armresources"
)

// Client is the real Azure SDK over a fleet.
type Client struct {
	Groups *armresources.ResourceGroupsClient
	Sets   *armcompute.VirtualMachineScaleSetsClient
	VMs    *armcompute.VirtualMachineScaleSetVMsClient
	Nets   *armnetwork.ClientFactory
}

// Client returns clients that are logged in as the owner.
func (f *Fleet) Client(t testing.TB) *Client {
	t.Helper()
	if _, err := principals(); err != nil {
		t.Fatal(err)
	}
	var c Client
	var err error
	if c.Groups, err = armresources.NewResourceGroupsClient(f.Subscription(), f, f.ClientOptions()); err != nil {
		t.Fatal(err)
	}
	if c.Sets, err = armcompute.NewVirtualMachineScaleSetsClient(f.Subscription(), f, f.ClientOptions()); err != nil {
		t.Fatal(err)
	}
	if c.VMs, err = armcompute.NewVirtualMachineScaleSetVMsClient(f.Subscription(), f, f.ClientOptions()); err != nil {
		t.Fatal(err)
	}
	if c.Nets, err = armnetwork.NewClientFactory(f.Subscription(), f, f.ClientOptions()); err != nil {
		t.Fatal(err)
	}
	return &c
}

// Model returns a scale set of tiny guests.
func Model(capacity int64) armcompute.VirtualMachineScaleSet {
	nic := &armcompute.VirtualMachineScaleSetNetworkConfiguration{Name: new("nic"), Properties: &armcompute.VirtualMachineScaleSetNetworkConfigurationProperties{
		Primary: new(true), IPConfigurations: []*armcompute.VirtualMachineScaleSetIPConfiguration{{Name: new("ip")}}}}
	return armcompute.VirtualMachineScaleSet{
		Location: new(Location),
		SKU:      &armcompute.SKU{Name: new("Muster_T1"), Capacity: &capacity},
		Properties: &armcompute.VirtualMachineScaleSetProperties{
			SinglePlacementGroup: new(false),
			UpgradePolicy:        &armcompute.UpgradePolicy{Mode: new(armcompute.UpgradeModeManual)},
			VirtualMachineProfile: &armcompute.VirtualMachineScaleSetVMProfile{
				OSProfile: &armcompute.VirtualMachineScaleSetOSProfile{ComputerNamePrefix: new("web"), AdminUsername: new("muster")},
				StorageProfile: &armcompute.VirtualMachineScaleSetStorageProfile{ImageReference: &armcompute.ImageReference{
					Publisher: new("muster"), Offer: new("tiny"), SKU: new("debian"), Version: new("latest")}},
				NetworkProfile: &armcompute.VirtualMachineScaleSetNetworkProfile{NetworkInterfaceConfigurations: []*armcompute.VirtualMachineScaleSetNetworkConfiguration{nic}},
			},
		},
	}
}

// Capacity returns what `az vmss scale` puts.
func Capacity(n int64) armcompute.VirtualMachineScaleSet {
	return armcompute.VirtualMachineScaleSet{Location: new(Location), SKU: &armcompute.SKU{Name: new("Muster_T1"), Tier: new("Standard"), Capacity: &n}}
}

// poll is how often the SDK asks where no Retry-After tells.
const poll = time.Second

// Wait polls an operation to its end.
func Wait[T any](ctx context.Context, p *runtime.Poller[T], err error) (T, error) {
	if err != nil {
		var none T
		return none, err
	}
	return p.PollUntilDone(ctx, &runtime.PollUntilDoneOptions{Frequency: poll})
}

// Instances lists all instances of a set with their views.
func (c *Client) Instances(ctx context.Context, group, set string) (all []*armcompute.VirtualMachineScaleSetVM, err error) {
	pages := c.VMs.NewListPager(group, set, &armcompute.VirtualMachineScaleSetVMsClientListOptions{Expand: new("instanceView")})
	for pages.More() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, page.Value...)
	}
	return all, nil
}
