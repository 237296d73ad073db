package host

import (
	"errors"
	"time"

	"github.com/muster-vm/muster/internal/host/compute"
	"github.com/muster-vm/muster/internal/plan"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/vmss"
)

// observe is what a host writes down after a step: a function of what it saw
// before, what is there now and how the step went.
func observe(s scene, step plan.Step, err error, now time.Time) vmss.Observation {
	seen := s.seen
	power := powerOf(s, seen)
	if power != seen.Power {
		seen.Power, seen.PowerSince = power, now
	}
	if s.vm != nil {
		seen.Agent, seen.OSName, seen.OSVersion = s.vm.Agent, s.vm.OSName, s.vm.OSVersion
		if s.vm.State == compute.Running && (seen.Provisioned.IsZero() || seen.Disks != s.vm.ID.Disks) {
			seen.Provisioned, seen.Disks = now, s.vm.ID.Disks
		}
	}
	if !seen.DrainUntil.Equal(step.Drains) {
		seen.DrainUntil = step.Drains.UTC()
	}
	switch {
	case err != nil:
		seen.Failure = failure(seen.Failure, err, s.row.Generation, now)
		return seen
	case step.Died != "":
		died := resource.Errorf(resource.Unavailable, plan.DiedCode, "%s", step.Died)
		seen.Failure = failure(seen.Failure, died, s.row.Generation, now)
		return seen
	case step.Late != nil:
		seen.Failure = step.Late
		return seen
	case step.Do == plan.Forget:
		seen.Gone = true
	case step.Settled:
		seen.Generation, seen.Revision = s.row.Generation, s.row.Revision
		seen.Boots, seen.Disks, seen.DataDisks = s.row.Boots, s.row.Disks, s.row.DataDisks
	}
	if step.Settled || step.Do != plan.Nothing {
		seen.Failure = nil
	}
	return seen
}

// powerOf derives the power state from the machine and what is wanted of it.
func powerOf(s scene, seen vmss.Observation) vmss.PowerState {
	if s.vm == nil {
		switch {
		case s.row.Deleting:
			return seen.Power
		case s.row.Power == vmss.PowerRunning && seen.Power == vmss.PowerUnknown:
			return vmss.PowerUnknown // not made yet
		case s.row.Power == vmss.PowerRunning:
			return vmss.PowerStarting
		}
		return s.row.Power
	}
	switch s.vm.State {
	case compute.Running:
		return vmss.PowerRunning
	case compute.Stopped:
		return vmss.PowerStopped
	case compute.Deallocated:
		return vmss.PowerDeallocated
	case compute.Stopping:
		if s.row.Power == vmss.PowerDeallocated {
			return vmss.PowerDeallocating
		}
		return vmss.PowerStopping
	}
	return vmss.PowerStarting
}

// Back-off between tries of one instance.
const (
	firstRetry = time.Second
	lastRetry  = 5 * time.Minute
)

// failure counts one more failed try.
func failure(last *vmss.Failure, err error, generation int64, now time.Time) *vmss.Failure {
	f := vmss.Failure{Code: "InternalExecutionError", Message: "The host could not carry this out; its log says why.", Since: now, Generation: generation}
	if e, ok := errors.AsType[*resource.Error](err); ok && e.Kind != resource.Internal {
		f.Message, f.Final = e.Msg, final(e.Kind)
		if e.Code != "" {
			f.Code = e.Code
		}
	}
	if last != nil && last.Generation == generation {
		f.Attempts = last.Attempts
		if last.Code == f.Code {
			f.Since = last.Since
		}
	}
	f.RetryAt = now.Add(min(firstRetry<<min(f.Attempts, 10), lastRetry))
	f.Attempts++
	return &f
}

// final says which kinds of error do not go away by themselves soon.
func final(k resource.Kind) bool {
	return k == resource.Exhausted || k == resource.Invalid || k == resource.NotFound
}
