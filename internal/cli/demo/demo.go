// Package demo shows a first scale set on a running server.
package demo

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/compute/armcompute/v8"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/resources/armresources"
	"github.com/spf13/cobra"

	"github.com/muster-vm/muster/internal/cli"
)

// demo is one run of the demonstration: a resource group and a scale set of
// tiny guests, watched until they answer.
type demo struct {
	conn      *cli.Connection
	out       io.Writer
	group     string
	set       string
	instances int64
	sets      *armcompute.VirtualMachineScaleSetsClient
	vms       *armcompute.VirtualMachineScaleSetVMsClient
}

// Command returns `muster demo`, which shows a first scale set on a running
// server.
func Command() *cobra.Command {
	var state, endpoint string
	d := demo{group: "demo", set: "web"}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Create a scale set of three tiny guests on a running server and watch them come up",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			d.out = cmd.OutOrStdout()
			if d.conn, err = cli.Connect(state, endpoint); err != nil {
				return err
			}
			return d.run(cmd.Context(), state)
		},
	}
	cmd.Flags().StringVar(&state, "state", "", "state directory of the server")
	cmd.Flags().StringVar(&endpoint, "endpoint", "https://localhost:8443", "where the server listens")
	cmd.Flags().Int64Var(&d.instances, "instances", 3, "how many guests")
	_ = cmd.MarkFlagRequired("state")
	return cmd
}

func (d *demo) run(ctx context.Context, state string) (err error) {
	groups, err := armresources.NewResourceGroupsClient(d.conn.Subscription, d.conn.Credential(), d.conn.Options())
	if err != nil {
		return err
	}
	if d.sets, err = armcompute.NewVirtualMachineScaleSetsClient(d.conn.Subscription, d.conn.Credential(), d.conn.Options()); err != nil {
		return err
	}
	if d.vms, err = armcompute.NewVirtualMachineScaleSetVMsClient(d.conn.Subscription, d.conn.Credential(), d.conn.Options()); err != nil {
		return err
	}
	locations, err := d.location(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(d.out, "creating resource group %s and scale set %s of %d tiny guests...\n", d.group, d.set, d.instances)
	if _, err := groups.CreateOrUpdate(ctx, d.group, armresources.ResourceGroup{Location: &locations}, nil); err != nil {
		return err
	}
	begin := time.Now()
	poller, err := d.sets.BeginCreateOrUpdate(ctx, d.group, d.set, d.model(locations), nil)
	if err != nil {
		return err
	}
	for !poller.Done() {
		d.progress(ctx, begin)
		if _, err := poller.Poll(ctx); err != nil {
			return err
		}
		if err := cli.Pause(ctx, time.Second); err != nil {
			return err
		}
	}
	d.progress(ctx, begin)
	fmt.Fprintln(d.out)
	if _, err := poller.Result(ctx); err != nil {
		return err
	}
	return d.summary(ctx, state)
}

// location asks the server where it is.
func (d *demo) location(ctx context.Context) (string, error) {
	client, err := armresources.NewProvidersClient(d.conn.Subscription, d.conn.Credential(), d.conn.Options())
	if err != nil {
		return "", err
	}
	p, err := client.Get(ctx, "Microsoft.Compute", nil)
	if err != nil {
		return "", err
	}
	for _, t := range p.ResourceTypes {
		if strings.EqualFold(*t.ResourceType, "virtualMachineScaleSets") && len(t.Locations) > 0 {
			return *t.Locations[0], nil
		}
	}
	return "", fmt.Errorf("the server names no location for scale sets")
}

func (d *demo) model(location string) armcompute.VirtualMachineScaleSet {
	nic := &armcompute.VirtualMachineScaleSetNetworkConfiguration{Name: new("nic"), Properties: &armcompute.VirtualMachineScaleSetNetworkConfigurationProperties{
		Primary: new(true), IPConfigurations: []*armcompute.VirtualMachineScaleSetIPConfiguration{{Name: new("ip")}}}}
	return armcompute.VirtualMachineScaleSet{
		Location: &location,
		SKU:      &armcompute.SKU{Name: new("Muster_T1"), Capacity: &d.instances},
		Properties: &armcompute.VirtualMachineScaleSetProperties{
			OrchestrationMode: new(armcompute.OrchestrationModeUniform),
			UpgradePolicy:     &armcompute.UpgradePolicy{Mode: new(armcompute.UpgradeModeManual)},
			VirtualMachineProfile: &armcompute.VirtualMachineScaleSetVMProfile{
				OSProfile: &armcompute.VirtualMachineScaleSetOSProfile{ComputerNamePrefix: &d.set, AdminUsername: new("muster")},
				StorageProfile: &armcompute.VirtualMachineScaleSetStorageProfile{ImageReference: &armcompute.ImageReference{
					Publisher: new("muster"), Offer: new("tiny"), SKU: new("debian"), Version: new("latest")}},
				NetworkProfile: &armcompute.VirtualMachineScaleSetNetworkProfile{NetworkInterfaceConfigurations: []*armcompute.VirtualMachineScaleSetNetworkConfiguration{nic}},
			},
		},
	}
}

// progress rewrites one line with the state of every instance.
func (d *demo) progress(ctx context.Context, begin time.Time) {
	all, err := d.list(ctx)
	if err != nil {
		return // the poller tells what matters
	}
	var b strings.Builder
	for _, vm := range all {
		fmt.Fprintf(&b, "  %s %s", *vm.Name, cli.PowerOf(vm))
	}
	fmt.Fprintf(d.out, "\r\033[K%3.0f s%s", time.Since(begin).Seconds(), b.String())
}

func (d *demo) list(ctx context.Context) (all []*armcompute.VirtualMachineScaleSetVM, err error) {
	pages := d.vms.NewListPager(d.group, d.set, &armcompute.VirtualMachineScaleSetVMsClientListOptions{Expand: new("instanceView")})
	for pages.More() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, page.Value...)
	}
	return all, nil
}

// summary prints the instances and how to go on.
func (d *demo) summary(ctx context.Context, state string) error {
	all, err := d.list(ctx)
	if err != nil {
		return err
	}
	t := tabwriter.NewWriter(d.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tNAME\tCOMPUTER\tSTATE\tADDRESS")
	address := ""
	for _, vm := range all {
		ip, err := d.address(ctx, *vm.InstanceID)
		if err != nil {
			return err
		}
		if address == "" {
			address = ip
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", *vm.InstanceID, *vm.Name, *vm.Properties.OSProfile.ComputerName, cli.PowerOf(vm), ip)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(d.out, `
Reach one:      curl http://%[1]s/cgi-bin/id
Point az at it: export REQUESTS_CA_BUNDLE=%[2]s/ca.pem AZURE_CONFIG_DIR=%[2]s/az
                az cloud register -n muster --endpoint-resource-manager %[3]s --endpoint-vm-image-alias-doc %[3]s/aliases.json && az cloud set -n muster
                az login --service-principal --tenant %[4]s -u %[5]s -p "$(sed -n 's/.*"clientSecret": "\(.*\)".*/\1/p' %[2]s/admin.json)"
Then:           az vmss list-instances -g %[6]s -n %[7]s -o table
                az vmss scale -g %[6]s -n %[7]s --new-capacity 1
`, address, state, d.conn.Endpoint, d.conn.Tenant, d.conn.ClientID(), d.group, d.set)
	return nil
}

// address asks the instance's network interface for its address.
func (d *demo) address(ctx context.Context, id string) (string, error) {
	url := fmt.Sprintf("%s/subscriptions/%s/resourceGroups/%s/providers/Microsoft.Compute/virtualMachineScaleSets/%s/virtualMachines/%s/networkInterfaces?api-version=2018-10-01",
		d.conn.Endpoint, d.conn.Subscription, d.group, d.set, id)
	var nics struct {
		Value []struct {
			Properties struct {
				IPConfigurations []struct {
					Properties struct{ PrivateIPAddress string }
				}
			}
		}
	}
	if err := d.conn.Get(ctx, url, &nics); err != nil {
		return "", err
	}
	for _, n := range nics.Value {
		for _, c := range n.Properties.IPConfigurations {
			if c.Properties.PrivateIPAddress != "" {
				return c.Properties.PrivateIPAddress, nil
			}
		}
	}
	return "", nil
}
