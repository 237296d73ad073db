package cli

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/compute/armcompute/v8"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/resources/armresources"
	"github.com/spf13/cobra"
)

// patience is how long somebody who pressed Tab waits for names.
const patience = 2 * time.Second

// completeNames has the shell complete the values of options that name something
// on the server.
func (c *call) completeNames(cmd *cobra.Command, row command) {
	takes := strings.Fields(strings.ReplaceAll(row.takes, "!", ""))
	set := c.setNames
	if !strings.HasPrefix(row.path, "vmss ") {
		set = nil
	}
	for _, o := range []struct {
		takes, flag string
		names       func(context.Context) ([]string, error)
	}{
		{"resource-group", "resource-group", c.groupNames},
		{"group-name", "name", c.groupNames},
		{"name", "name", set},
		{"vmss-name", "vmss-name", c.setNames},
		{"instance-id", "instance-id", c.instanceNames},
		{"instance-ids", "instance-ids", c.instanceNames},
		{"location", "location", c.locationNames},
	} {
		if o.names == nil || row.path == "group create" && o.takes == "group-name" || row.path == "vmss create" && o.takes == "name" || !slices.Contains(takes, o.takes) {
			continue
		}
		_ = cmd.RegisterFlagCompletionFunc(o.flag, c.complete(o.names))
	}
	if slices.Contains(takes, "upgrade-mode") {
		_ = cmd.RegisterFlagCompletionFunc("upgrade-policy-mode", cobra.FixedCompletions([]string{"Automatic", "Manual", "Rolling"}, cobra.ShellCompDirectiveNoFileComp))
	}
}

// complete asks the server for names. Where it does not answer there are none:
// whoever presses Tab does not want to read errors.
func (c *call) complete(names func(context.Context) ([]string, error)) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(cmd.Context(), patience)
		defer cancel()
		var err error
		if c.accounts, err = openAccounts(); err != nil || c.connect() != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		all, err := names(ctx)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		fitting := slices.DeleteFunc(all, func(name string) bool {
			return len(name) < len(begun) || !strings.EqualFold(name[:len(begun)], begun)
		})
		return fitting, cobra.ShellCompDirectiveNoFileComp
	}
}

func (c *call) groupNames(ctx context.Context) ([]string, error) {
	all, err := collect(ctx, c.groups().NewListPager(nil), func(p armresources.ResourceGroupsClientListResponse) []*armresources.ResourceGroup { return p.Value })
	return namesOf(all, func(g *armresources.ResourceGroup) string { return *g.Name }), err
}

// setNames are the scale sets of the group that the line has, or of all.
func (c *call) setNames(ctx context.Context) ([]string, error) {
	sets, err := allSets(ctx, c)
	return namesOf(sets, func(s *armcompute.VirtualMachineScaleSet) string { return *s.Name }), err
}

// instanceNames are ids, each with the instance's name beside it.
func (c *call) instanceNames(ctx context.Context) ([]string, error) {
	if c.Group == "" || c.Name == "" {
		return nil, nil
	}
	all, err := c.instances(ctx, "")
	return namesOf(all, func(vm *armcompute.VirtualMachineScaleSetVM) string { return *vm.InstanceID + "\t" + *vm.Name }), err
}

func (c *call) locationNames(ctx context.Context) ([]string, error) {
	err := c.locate(ctx)
	return []string{c.Location}, err
}

func namesOf[T any](all []T, name func(T) string) (names []string) {
	for _, one := range all {
		names = append(names, name(one))
	}
	return names
}
