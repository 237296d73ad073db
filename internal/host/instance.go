package host

import (
	"cmp"
	"context"
	"time"

	"github.com/muster-vm/muster/internal/host/compute"
	"github.com/muster-vm/muster/internal/plan"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/vmss"
)

// scene is everything about one instance at the moment of a reconcile.
type scene struct {
	key  vmss.InstanceKey
	set  vmss.ScaleSet
	row  vmss.Instance
	rev  vmss.Revision
	seen vmss.Observation
	spec compute.Spec
	vm   *compute.VM // nil if there is none
}

// Reconcile brings one instance a step closer to its row.
func (h *Host) Reconcile(ctx context.Context, key vmss.InstanceKey) (time.Time, error) {
	row, ok := store.Get(h.Store, store.Instances, key)
	if !ok {
		return time.Time{}, h.sweep(ctx, key)
	}
	if row.Value.Host != h.Name {
		return time.Time{}, nil
	}
	var step plan.Step
	s, err := h.look(ctx, key, *row.Value)
	if err == nil {
		step = h.decide(ctx, &s)
		err = h.do(ctx, &s, step)
		if err == nil && step.Settled && s.vm != nil && s.row.Power == vmss.PowerRunning && isNetworked(s.rev.Model) {
			err = h.catchUp(ctx, &s)
		}
	}
	if ctx.Err() != nil {
		return time.Time{}, nil //nolint:nilerr // shutting down: nothing that was cut short counts as a failure
	}
	return h.record(s, step, err), nil
}

// look gathers the scene.
func (h *Host) look(ctx context.Context, key vmss.InstanceKey, row vmss.Instance) (scene, error) {
	s := scene{key: key, row: row}
	if seen, ok := h.journal.get(key); ok {
		s.seen = seen
	} else if e, ok := store.Get(h.Store, store.Observations, key); ok {
		s.seen = *e.Value
	}
	set, ok := h.Store.SetByUID(key.Set)
	if !ok {
		return s, resource.Errorf(resource.Internal, "", "instance %s of %s has no scale set", key.ID, key.Set)
	}
	s.set = *set.Value
	vm, err := h.driver.Get(ctx, vmid(key.Set, row))
	if err == nil {
		s.vm = &vm
	} else if !resource.Is(err, resource.NotFound) {
		return s, err
	}
	rev, ok := store.Get(h.Store, store.Revisions, vmss.RevisionKey{Set: key.Set, Number: row.Revision})
	if !ok {
		if row.Deleting {
			return s, nil // what goes needs no model
		}
		return s, vmss.ErrNoRevision(row.Revision)
	}
	s.rev = *rev.Value
	s.spec, err = h.spec(s.set, row, s.rev)
	if row.Deleting {
		return s, nil
	}
	if err == nil && s.vm != nil && s.seen.Address == "" && (s.hasItsCards() || !isNetworked(s.rev.Model)) {
		err = h.attach(ctx, &s) // it was made, and a crash came before anybody wrote down its address
	}
	return s, err
}

// hasItsCards reports whether the machine has the cards that row and model ask for.
// One that has not is made again before it gets addresses.
func (s *scene) hasItsCards() bool { return s.vm.Hash == s.spec.Hash() }

// machine shows the planner what the driver has.
func (s *scene) machine() *plan.Machine {
	if s.vm == nil {
		return nil
	}
	return &plan.Machine{Disks: s.vm.ID.Disks, Boots: s.vm.Boots, State: plan.MachineState(s.vm.State), Since: s.vm.Since,
		Matches: s.vm.Hash == s.spec.Hash(), Fits: s.vm.Fit == s.spec.Fit(), Fault: s.vm.Fault}
}

// do makes the one driver call that the step names, and looks again.
func (h *Host) do(ctx context.Context, s *scene, step plan.Step) error {
	if step.Do == plan.Nothing {
		return nil
	}
	h.Log.InfoContext(ctx, string(step.Do)+" instance", "scale_set", s.set.ID.Name(), "instance", s.row.ID.String(), "host", h.Name, "reason", step.Why) //nolint:sloglint // actions are a closed set of constants
	fence := compute.Fence{Lease: h.Lease.Revision, Generation: s.row.Generation}
	var err error
	switch step.Do {
	case plan.Make:
		err = h.make(ctx, fence, s)
	case plan.Unmake:
		err = h.Driver.Delete(ctx, fence, s.vm.ID, disposals[step.Keep])
	case plan.Forget:
		err = h.forget(ctx, fence, s)
	case plan.Refit:
		err = h.Driver.Refit(ctx, fence, s.spec)
	case plan.SetPower:
		err = h.power(ctx, fence, s, step)
	}
	return cmp.Or(err, h.lookAgain(ctx, s)) // a call that failed may have done half, or nothing
}

var disposals = map[plan.Keep]compute.Disposal{plan.KeepNothing: compute.All, plan.KeepData: compute.KeepData, plan.KeepDisks: compute.KeepDisks}

func (h *Host) make(ctx context.Context, fence compute.Fence, s *scene) error {
	if err := h.room.admit(s.key, claim{s.spec.VCPUs, s.spec.MemoryMB}); err != nil {
		return err
	}
	if err := h.attach(ctx, s); err != nil {
		return err
	}
	return h.Driver.Create(ctx, fence, s.spec)
}

// maxNICs is how many network cards an instance has at most.
const maxNICs = 8

// forget removes what may be left of an instance without a machine.
func (h *Host) forget(ctx context.Context, fence compute.Fence, s *scene) error {
	id := vmid(s.key.Set, s.row)
	if err := h.Driver.Delete(ctx, fence, id, compute.All); err != nil {
		return err
	}
	if err := h.detach(ctx, s.key); err != nil {
		return err
	}
	if err := h.giveBack(ctx, s.key); err != nil {
		return err
	}
	h.room.release(s.key)
	h.drains.Delete(s.key)
	return nil
}

func (h *Host) power(ctx context.Context, fence compute.Fence, s *scene, step plan.Step) error {
	want := map[vmss.PowerState]compute.State{vmss.PowerRunning: compute.Running, vmss.PowerStopped: compute.Stopped,
		vmss.PowerDeallocated: compute.Deallocated}[step.Power]
	if want == compute.Running {
		if err := h.room.admit(s.key, claim{s.spec.VCPUs, s.spec.MemoryMB}); err != nil {
			return err
		}
	}
	return h.Driver.Power(ctx, fence, s.vm.ID, compute.Power{Want: want, Boots: s.row.Boots, Graceful: step.Graces, Grace: h.Grace})
}

// lookAgain refreshes the machine after a call, so that the observation says
// what is, and not what was.
func (h *Host) lookAgain(ctx context.Context, s *scene) error {
	vm, err := h.driver.Get(ctx, vmid(s.key.Set, s.row))
	switch {
	case resource.Is(err, resource.NotFound):
		s.vm = nil
	case err != nil:
		return err
	default:
		s.vm = &vm
	}
	if s.vm == nil || s.vm.State == compute.Deallocated {
		h.room.release(s.key)
	}
	return nil
}

// record writes down what was observed, if that is news, and returns when to
// look again.
func (h *Host) record(s scene, step plan.Step, err error) time.Time {
	now := time.Now()
	before, known := h.journal.get(s.key)
	if !known {
		if e, ok := store.Get(h.Store, store.Observations, s.key); ok {
			before = *e.Value
		}
	}
	after := observe(s, step, err, now)
	if after != before {
		h.journal.put(s.key, after)
	}
	switch {
	case after.Failure != nil && err != nil:
		return after.Failure.RetryAt
	case step.Do != plan.Nothing:
		return now // one call at a time: see at once what comes next
	}
	return step.WakeAt
}

// sweep removes a machine or a port without a row: a virtual machine exists
// only for a row.
func (h *Host) sweep(ctx context.Context, key vmss.InstanceKey) error {
	s := scene{key: key, row: vmss.Instance{ID: key.ID, Disks: 1}}
	vm, err := h.driver.Get(ctx, vmid(key.Set, s.row))
	switch {
	case err == nil:
		h.Log.WarnContext(ctx, "remove orphan", "instance", vm.ID.String(), "host", h.Name, "reason", "it has no row")
		if err := h.Driver.Delete(ctx, compute.Fence{Lease: h.Lease.Revision}, vm.ID, compute.All); err != nil {
			return err
		}
	case !resource.Is(err, resource.NotFound):
		return err
	}
	return h.forget(ctx, compute.Fence{Lease: h.Lease.Revision}, &s)
}
