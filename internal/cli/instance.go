package cli

import (
	"context"
	"fmt"

	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/compute/armcompute/v8"

	"github.com/muster-vm/muster/internal/cli/output"
	"github.com/muster-vm/muster/internal/cli/progress"
)

func (c *call) vms() *armcompute.VirtualMachineScaleSetVMsClient {
	return c.compute.NewVirtualMachineScaleSetVMsClient()
}

func instanceCommands() []command {
	const target = "resource-group! name! "
	return []command{
		{path: "vmss list-instances", short: "List the instances of a scale set", takes: target, run: func(ctx context.Context, c *call) (any, error) { return c.instances(ctx, "") }},
		{path: "vmss get-instance-view", short: "Show the state of a scale set, or of an instance (* for all)", takes: target + "instance-id",
			table: "{ProvisioningState:statuses[0].displayStatus, PowerState:statuses[1].displayStatus}", run: instanceView},
		{path: "vmss nic list", short: "List the network interfaces of all instances", shape: output.Wired, takes: "resource-group! vmss-name!", run: listInterfaces("")},
		{path: "vmss nic list-vm-nics", short: "List the network interfaces of an instance", shape: output.Wired, takes: "resource-group! vmss-name! instance-id!",
			run: listInterfaces("instance")},
		{path: "vmss start", short: "Start instances", takes: target + "instance-ids no-wait", run: func(ctx context.Context, c *call) (any, error) {
			p, err := c.sets().BeginStart(ctx, c.Group, c.Name, &armcompute.VirtualMachineScaleSetsClientBeginStartOptions{VMInstanceIDs: c.some()})
			return begin(p, err, nil)
		}},
		{path: "vmss stop", goal: "stopped", short: "Power instances off; they keep their place on a host", takes: target + "instance-ids skip-shutdown no-wait", run: func(ctx context.Context, c *call) (any, error) {
			p, err := c.sets().BeginPowerOff(ctx, c.Group, c.Name, &armcompute.VirtualMachineScaleSetsClientBeginPowerOffOptions{VMInstanceIDs: c.some(), SkipShutdown: &c.SkipShutdown})
			return begin(p, err, nil)
		}},
		{path: "vmss deallocate", goal: "deallocated", short: "Power instances off and give up their place", takes: target + "instance-ids no-wait", run: func(ctx context.Context, c *call) (any, error) {
			p, err := c.sets().BeginDeallocate(ctx, c.Group, c.Name, &armcompute.VirtualMachineScaleSetsClientBeginDeallocateOptions{VMInstanceIDs: c.some()})
			return begin(p, err, nil)
		}},
		{path: "vmss restart", short: "Restart instances", takes: target + "instance-ids no-wait", run: func(ctx context.Context, c *call) (any, error) {
			p, err := c.sets().BeginRestart(ctx, c.Group, c.Name, &armcompute.VirtualMachineScaleSetsClientBeginRestartOptions{VMInstanceIDs: c.some()})
			return begin(p, err, nil)
		}},
		{path: "vmss reimage", short: "Put instances back to their image", takes: target + "instance-id instance-ids no-wait", run: func(ctx context.Context, c *call) (any, error) {
			p, err := c.sets().BeginReimage(ctx, c.Group, c.Name, &armcompute.VirtualMachineScaleSetsClientBeginReimageOptions{
				VMScaleSetReimageInput: &armcompute.VirtualMachineScaleSetReimageParameters{InstanceIDs: c.some().InstanceIDs}})
			return begin(p, err, nil)
		}},
		{path: "vmss delete-instances", goal: progress.Gone, short: "Delete instances and lower the capacity", takes: target + "instance-ids! no-wait", run: func(ctx context.Context, c *call) (any, error) {
			p, err := c.sets().BeginDeleteInstances(ctx, c.Group, c.Name, armcompute.VirtualMachineScaleSetVMInstanceRequiredIDs{InstanceIDs: c.some().InstanceIDs}, nil)
			return begin(p, err, nil)
		}},
		{path: "vmss update-instances", short: "Bring instances to the current model", takes: target + "instance-ids! no-wait", run: func(ctx context.Context, c *call) (any, error) {
			p, err := c.sets().BeginUpdateInstances(ctx, c.Group, c.Name, armcompute.VirtualMachineScaleSetVMInstanceRequiredIDs{InstanceIDs: c.some().InstanceIDs}, nil)
			return begin(p, err, nil)
		}},
	}
}

// some are the instances that an action is for: those that the command names,
// or else all.
func (c *call) some() *armcompute.VirtualMachineScaleSetVMInstanceIDs {
	ids := c.ids()
	if len(ids) == 0 {
		ids = []string{"*"}
	}
	some := &armcompute.VirtualMachineScaleSetVMInstanceIDs{}
	for i := range ids {
		some.InstanceIDs = append(some.InstanceIDs, &ids[i])
	}
	return some
}

func (c *call) instances(ctx context.Context, expand string) ([]*armcompute.VirtualMachineScaleSetVM, error) {
	options := &armcompute.VirtualMachineScaleSetVMsClientListOptions{}
	if expand != "" {
		options.Expand = &expand
	}
	return collect(ctx, c.vms().NewListPager(c.Group, c.Name, options),
		func(p armcompute.VirtualMachineScaleSetVMsClientListResponse) []*armcompute.VirtualMachineScaleSetVM {
			return p.Value
		})
}

func instanceView(ctx context.Context, c *call) (any, error) {
	switch {
	case len(c.InstanceID) == 0:
		res, err := c.sets().GetInstanceView(ctx, c.Group, c.Name, nil)
		return res.VirtualMachineScaleSetInstanceView, err
	case c.InstanceID[0] != "*":
		res, err := c.vms().GetInstanceView(ctx, c.Group, c.Name, c.InstanceID[0], nil)
		return res.VirtualMachineScaleSetVMInstanceView, err
	}
	all, err := c.instances(ctx, "instanceView")
	views := []any{}
	for _, vm := range all {
		views = append(views, vm.Properties.InstanceView)
	}
	return views, err
}

// listInterfaces reads Microsoft.Network, for which this program has no SDK.
func listInterfaces(of string) func(context.Context, *call) (any, error) {
	return func(ctx context.Context, c *call) (any, error) {
		url := c.setURL()
		if of != "" {
			url += "/virtualMachines/" + c.InstanceID[0]
		}
		return c.conn.list(ctx, fmt.Sprintf("%s/networkInterfaces?api-version=2018-10-01", url))
	}
}
