//go:build e2e

package qemu

import (
	"context"

	"github.com/muster-vm/muster/internal/host/compute"
)

// Limits returns what QEMU says it bounds each disk of a machine by: bytes, and
// operations a second.
func (d *Driver) Limits(ctx context.Context, id compute.VMID) (map[string][2]int64, error) {
	drives, err := d.find(id).session.block.Drives(ctx)
	all := map[string][2]int64{}
	for _, v := range drives {
		all[v.Node] = [2]int64{v.Limit.Bytes, v.Limit.Operations}
	}
	return all, err
}
