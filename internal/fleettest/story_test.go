package fleettest_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/compute/armcompute/v8"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/resources/armresources"

	"github.com/muster-vm/muster/internal/fleettest"
	"github.com/muster-vm/muster/internal/server"
)

// powers counts the instances by power state.
func powers(all []*armcompute.VirtualMachineScaleSetVM) map[string]int {
	count := map[string]int{}
	for _, vm := range all {
		state := *vm.Properties.ProvisioningState
		for _, s := range vm.Properties.InstanceView.Statuses {
			if power, ok := strings.CutPrefix(*s.Code, "PowerState/"); ok {
				state += " " + power
			}
		}
		count[state]++
	}
	return count
}

func ids(n int) (all []*string) {
	for i := range n {
		all = append(all, new(fmt.Sprint(i)))
	}
	return all
}

// TestTheSDKRunsAFleetInVirtualTime is a day of a fleet, asked for by the real
// Azure SDK client: create 100, scale to 150 and 20, restart, reimage, delete.
func TestTheSDKRunsAFleetInVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, begin := t.Context(), time.Now()
		f := fleettest.Boot(t, fleettest.Options{Config: func(c *server.Config) { c.Host.CPUOvercommit = 8 }})
		c := f.Client(t)
		expect := func(step string, machines int, want map[string]int) []*armcompute.VirtualMachineScaleSetVM {
			t.Helper()
			all, err := c.Instances(ctx, "lab", "web")
			if err != nil {
				t.Fatalf("%s: %v", step, err)
			}
			if got := powers(all); !maps.Equal(got, want) || f.Machines() != machines {
				t.Fatalf("%s: instances %v and %d machines, want %v and %d", step, got, f.Machines(), want, machines)
			}
			return all
		}
		if _, err := c.Groups.CreateOrUpdate(ctx, "lab", armresources.ResourceGroup{Location: new(fleettest.Location)}, nil); err != nil {
			t.Fatal(err)
		}
		put := func(step string, set armcompute.VirtualMachineScaleSet) {
			t.Helper()
			p, err := c.Sets.BeginCreateOrUpdate(ctx, "lab", "web", set, nil)
			res, err := fleettest.Wait(ctx, p, err)
			if err != nil {
				t.Fatalf("%s: %v", step, err)
			}
			if got := *res.Properties.ProvisioningState; got != "Succeeded" {
				t.Fatalf("%s: the set is %s", step, got)
			}
		}
		put("create", fleettest.Model(100))
		expect("create", 100, map[string]int{"Succeeded running": 100})
		put("scale out", fleettest.Capacity(150))
		expect("scale out", 150, map[string]int{"Succeeded running": 150})
		put("scale in", fleettest.Capacity(20))
		expect("scale in", 20, map[string]int{"Succeeded running": 20})

		some := &armcompute.VirtualMachineScaleSetVMInstanceIDs{InstanceIDs: ids(3)}
		restart, err := c.Sets.BeginRestart(ctx, "lab", "web", &armcompute.VirtualMachineScaleSetsClientBeginRestartOptions{VMInstanceIDs: some})
		if _, err := fleettest.Wait(ctx, restart, err); err != nil {
			t.Fatal("restart:", err)
		}
		boots := slices.Collect(maps.Values(f.Boots(ctx)))
		if slices.Sort(boots); !slices.Equal(boots, append(slices.Repeat([]int{1}, 17), 2, 2, 2)) {
			t.Fatalf("after a restart of three, machines have booted %v times", boots)
		}
		reimage, err := c.Sets.BeginReimage(ctx, "lab", "web", &armcompute.VirtualMachineScaleSetsClientBeginReimageOptions{
			VMScaleSetReimageInput: &armcompute.VirtualMachineScaleSetReimageParameters{InstanceIDs: ids(2)}})
		if _, err := fleettest.Wait(ctx, reimage, err); err != nil {
			t.Fatal("reimage:", err)
		}
		expect("reimage", 20, map[string]int{"Succeeded running": 20})
		off, err := c.Sets.BeginDeallocate(ctx, "lab", "web", &armcompute.VirtualMachineScaleSetsClientBeginDeallocateOptions{VMInstanceIDs: some})
		if _, err := fleettest.Wait(ctx, off, err); err != nil {
			t.Fatal("deallocate:", err)
		}
		expect("deallocate", 20, map[string]int{"Succeeded running": 17, "Succeeded deallocated": 3})

		gone, err := c.Groups.BeginDelete(ctx, "lab", nil)
		if _, err := fleettest.Wait(ctx, gone, err); err != nil {
			t.Fatal("delete:", err)
		}
		if left, err := f.Records(ctx); err != nil || len(left) > 0 || f.Machines() > 0 {
			t.Fatalf("deleted, and still there: %d machines, %v (%v)", f.Machines(), left, err)
		}
		if v := f.Ledger.Violations(); len(v) > 0 {
			t.Fatal(v)
		}
		t.Logf("%s of the fleet's time", time.Since(begin).Round(time.Second))
	})
}

// TestAStoppedControlPlaneLeavesMachinesAloneAndFindsThemAgain stops between two
// requests, and in the middle of one.
func TestAStoppedControlPlaneLeavesMachinesAloneAndFindsThemAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		f := fleettest.Boot(t, fleettest.Options{})
		c := f.Client(t)
		create(ctx, t, c, 5)
		f.Stop()
		if err := f.Start(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Sets.BeginCreateOrUpdate(ctx, "lab", "web", fleettest.Capacity(9), nil); err != nil {
			t.Fatal(err)
		}
		f.Stop() // before any machine was made, or in the middle of it
		time.Sleep(time.Hour)
		if err := f.Start(ctx); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		all, err := c.Instances(ctx, "lab", "web")
		if got := powers(all); err != nil || got["Succeeded running"] != 9 || f.Machines() != 9 {
			t.Fatalf("instances %v and %d machines, want 9 running (%v)", got, f.Machines(), err)
		}
		for id, n := range f.Boots(ctx) {
			if n != 1 {
				t.Errorf("machine %s booted %d times", id, n)
			}
		}
	})
}

// create makes the group and a set, and waits.
func create(ctx context.Context, t testing.TB, c *fleettest.Client, n int64) {
	t.Helper()
	if _, err := c.Groups.CreateOrUpdate(ctx, "lab", armresources.ResourceGroup{Location: new(fleettest.Location)}, nil); err != nil {
		t.Fatal(err)
	}
	p, err := c.Sets.BeginCreateOrUpdate(ctx, "lab", "web", fleettest.Model(n), nil)
	if _, err := fleettest.Wait(ctx, p, err); err != nil {
		t.Fatal(err)
	}
}
