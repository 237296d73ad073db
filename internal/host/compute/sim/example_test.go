package sim_test

import (
	"context"
	"fmt"

	"github.com/muster-vm/muster/internal/host/compute"
	"github.com/muster-vm/muster/internal/host/compute/sim"
	"github.com/muster-vm/muster/internal/population"
	"github.com/muster-vm/muster/internal/resource"
)

// A host that is out of room once.
func Example() {
	d := sim.New(sim.Options{Host: "rack-1", Faults: []population.Fault{{
		Op: population.Create, Match: "web_*", Count: 1,
		Kind: resource.Exhausted, Code: "AllocationFailed", Message: "No room.",
	}}})
	defer d.Close()
	ctx := context.Background()
	s := compute.Spec{
		ID: compute.VMID{Set: "0c1d", Instance: 7, Disks: 1}, Name: "web_7",
		VCPUs: 2, MemoryMB: 1024, Image: "sha256:0f", Boots: 1,
	}
	for range 2 {
		fmt.Println(d.Create(ctx, compute.Fence{}, s))
	}
	vm, err := d.Get(ctx, s.ID)
	fmt.Println(vm.ID, vm.State, vm.Boots, err)
	// Output:
	// AllocationFailed: No room.
	// <nil>
	// 0c1d-7-1 running 1 <nil>
}
