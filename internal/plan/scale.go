package plan

import (
	"fmt"
	"time"

	"github.com/muster-vm/muster/internal/vmss"
)

// scale moves the number of rows toward the capacity.
func (d *draft) scale() {
	live := d.live()
	switch want := d.in.Set.SKU.Capacity - len(live); {
	case want > 0:
		d.scaleOut(want, live)
	case want < 0:
		d.scaleIn(-want, live)
	default:
		d.closeBreaker(live)
	}
}

// scaleOut creates rows up to the capacity. The safety law: rows in any state,
// those being deleted included, never exceed it.
func (d *draft) scaleOut(want int, live []*entry) {
	n := min(want, max(0, d.in.Set.SKU.Capacity-len(d.in.Instances)))
	if n < want {
		d.block("scaleOut", fmt.Sprintf("The creation of %s waits until deleted ones are gone: rows in any state never exceed the capacity of %d.", count(want-n), d.in.Set.SKU.Capacity))
	}
	if n = d.throughBreaker(n, live); n == 0 {
		return
	}
	size, ok := d.in.Size(d.in.Set.SKU.Name)
	if !ok || d.in.Model == nil {
		d.block("scaleOut", "The model or the VM size "+d.in.Set.SKU.Name+" is not known to this server.")
		return
	}
	placer := d.placer()
	newest := d.newest()
	for range n {
		row := vmss.Instance{ID: d.plan.State.NextID, Revision: d.in.Set.Revision, Created: d.in.Now, Power: vmss.PowerRunning,
			Boots: 1, Disks: 1, DataDisks: 1, Generation: 1, Operation: newest}
		d.plan.State.NextID++
		place, why := placer.Next(size)
		row.Host, row.Zone, row.FaultDomain, row.Unplaced = place.Host, place.Zone, place.FaultDomain, why
		e := &entry{Member: Member{Row: row}, created: true, why: []string{"scale out"}}
		d.rows = append(d.rows, e)
	}
}

// scaleIn marks the surplus for deletion, in the order of the policy. Protected
// instances are never taken.
func (d *draft) scaleIn(n int, live []*entry) {
	candidates := make([]vmss.Candidate, len(live))
	byID := make(map[vmss.InstanceID]*entry, len(live))
	var protected []vmss.InstanceID
	for i, e := range live {
		byID[e.Row.ID] = e
		candidates[i] = vmss.Candidate{ID: e.Row.ID, Zone: e.Row.Zone, FaultDomain: e.Row.FaultDomain, Created: e.Row.Created,
			Unhealthy: vmss.FailureOf(e.Row, e.Seen) != nil, Protected: e.Protection.ScaleIn()}
		if e.Protection.ScaleIn() {
			protected = append(protected, e.Row.ID)
		}
	}
	victims := vmss.ScaleInOrder(candidates, d.in.Set.ScaleIn, n)
	for _, id := range victims {
		byID[id].delete("scale in", d.in.Set.ScaleIn.ForceDeletion)
	}
	if short := n - len(victims); short > 0 {
		d.block("scaleIn", "Scale-in protection keeps "+count(short)+" above the capacity; lift the protection or raise the capacity.", protected...)
	}
}

// placer knows the places that the set's rows hold.
func (d *draft) placer() *vmss.Placer {
	taken := make([]vmss.Place, 0, len(d.rows))
	for _, e := range d.rows {
		if !e.removed && !e.Row.Deleting && e.Row.Host != "" {
			taken = append(taken, vmss.Place{Host: e.Row.Host, Zone: e.Row.Zone, FaultDomain: e.Row.FaultDomain})
		}
	}
	return vmss.NewPlacer(d.in.Set, d.in.Hosts, taken)
}

// placeAgain is how long a row without a host waits before it is tried again,
// if nothing changes in the meantime.
const placeAgain = 30 * time.Second

// place looks for hosts for the rows that have none.
func (d *draft) place() {
	var waiting []vmss.InstanceID
	var placer *vmss.Placer
	var reason string
	for _, e := range d.live() {
		if e.Row.Host != "" || e.created {
			if e.created && e.Row.Host == "" {
				waiting, reason = append(waiting, e.Row.ID), e.Row.Unplaced
			}
			continue
		}
		if placer == nil {
			placer = d.placer()
		}
		size, ok := d.in.Size(d.sizeOf(e))
		place, why := placer.Next(size)
		if !ok || why != "" {
			waiting, reason = append(waiting, e.Row.ID), why
			if why != e.Row.Unplaced && ok {
				e.Row.Unplaced = why
				e.because("still no room")
			}
			continue
		}
		e.Row.Host, e.Row.Zone, e.Row.FaultDomain, e.Row.Unplaced = place.Host, place.Zone, place.FaultDomain, ""
		e.Row.Generation++
		e.because("place on host " + place.Host)
	}
	if len(waiting) > 0 {
		d.block("place", reason, waiting...)
		d.wake(d.in.Now.Add(placeAgain))
	}
}

// sizeOf names the VM size that the row's model asks for.
func (d *draft) sizeOf(e *entry) string {
	if rev := d.in.Revisions[e.Row.Revision]; rev != nil {
		return rev.Model.Size
	}
	return d.in.Set.SKU.Name
}
