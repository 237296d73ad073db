package host

import (
	"context"

	"github.com/muster-vm/muster/internal/host/compute"
	"github.com/muster-vm/muster/internal/resource"
)

// inspector tells of the one machine of an instance, whatever its disk
// generation.
type inspector interface {
	Get(ctx context.Context, id compute.VMID) (compute.VM, error)
}

// inspect asks the driver itself if it can tell, and else searches its list.
func inspect(d compute.Driver) inspector {
	if g, ok := d.(compute.Getter); ok {
		return g
	}
	return searcher{d}
}

type searcher struct{ driver compute.Driver }

// Get searches the driver's list.
func (s searcher) Get(ctx context.Context, id compute.VMID) (compute.VM, error) {
	for vm, err := range s.driver.List(ctx) {
		if err != nil {
			return compute.VM{}, err
		}
		if vm.ID.Set == id.Set && vm.ID.Instance == id.Instance {
			return vm, nil
		}
	}
	return compute.VM{}, resource.Errorf(resource.NotFound, "", "There is no virtual machine %s.", id)
}
