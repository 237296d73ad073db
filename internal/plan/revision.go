package plan

import (
	"maps"
	"slices"

	"github.com/muster-vm/muster/internal/vmss"
)

// dropRevisions names the model revisions that nobody needs any more: all but
// the newest vmss.KeepRevisions and those that a row points at.
func (d *draft) dropRevisions() {
	numbers := slices.Sorted(maps.Keys(d.in.Revisions))
	if len(numbers) <= vmss.KeepRevisions {
		return
	}
	used := map[vmss.RevisionNumber]bool{d.in.Set.Revision: true}
	for _, e := range d.rows {
		used[e.Row.Revision], used[e.was.Revision], used[e.Seen.Revision] = true, true, true
	}
	for _, n := range numbers[:len(numbers)-vmss.KeepRevisions] {
		if !used[n] {
			d.plan.Drop = append(d.plan.Drop, n)
		}
	}
}
