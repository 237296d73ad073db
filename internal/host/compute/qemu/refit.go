package qemu

import (
	"context"

	"github.com/muster-vm/muster/internal/host/compute"
	"github.com/muster-vm/muster/internal/host/compute/qemu/block"
	"github.com/muster-vm/muster/internal/resource"
)

// refit gives the machine the spec's data disks and limits. What it shall have is
// written down first and what it has last, so whatever cuts this short, the next
// Refit, the worker or the next start of the process completes it. The caller has
// the turn.
func (m *machine) refit(ctx context.Context, spec compute.Spec) error {
	switch {
	case m.rec.Phase != made:
		return errConflict(m.id, "is incomplete. Create or delete it first")
	case m.rec.Hash != spec.Hash():
		return errConflict(m.id, "exists with another specification")
	}
	if err := m.reap(); err != nil {
		return err
	}
	if m.rec.Spec.Fit() != spec.Fit() {
		if err := m.commit(func(r *record) {
			r.Spec.DataDisks, r.Spec.OSLimit, r.Fit = spec.DataDisks, spec.OSLimit, ""
		}); err != nil {
			return err
		}
	}
	return m.fit(ctx)
}

// fit brings disks and limits to what the record asks for. The caller has the turn.
func (m *machine) fit(ctx context.Context) error {
	spec := m.rec.Spec
	if m.rec.Fit == spec.Fit() {
		return nil
	}
	if stateOf(m.rec, m.alive()) == compute.Stopping {
		return resource.Errorf(resource.Unavailable, "VMStopping", "The virtual machine %s is shutting down. Its disks change when it has.", m.id)
	}
	m.stopReaders()
	steps := m.dataDisks(ctx, spec)
	if m.proc != nil {
		steps = append(steps, effect{"align", func() error { return m.align(ctx) }})
	}
	return m.d.perform(ctx, append(steps, m.detached(spec), effect{"fitted", func() error {
		return m.commit(func(r *record) { r.Fit = spec.Fit() })
	}})...)
}

// refitIfUnsure looks at a process that has just been started or adopted, or whose
// guest let go of a disk: it sets limits and completes what was cut short. What
// fails is left to the next Refit. The caller has the turn.
func (m *machine) refitIfUnsure(ctx context.Context) {
	s := m.session
	if s == nil || !closed(s.online) || s.fitted.Swap(true) {
		return
	}
	err := m.doubt(ctx, s)
	if err == nil {
		err = m.fit(ctx)
	}
	if err != nil {
		m.d.opts.Log.WarnContext(ctx, "disks and limits are not as they shall be", "vm", m.id.String(), "err", err)
	}
}

// doubt takes back that the process has all its data disks if it does not: a guest
// may let go of a disk late, when it was attached again.
func (m *machine) doubt(ctx context.Context, s *session) error {
	if m.rec.Fit != m.rec.Spec.Fit() {
		return nil
	}
	have, err := s.block.Drives(ctx)
	if err != nil {
		return m.explain(err)
	}
	for _, d := range m.rec.Spec.DataDisks {
		if block.Find(have, lunID(d.LUN)) < 0 {
			return m.commit(func(r *record) { r.Fit = "" })
		}
	}
	return nil
}

// fitAtStart is what a process has of a spec when it has just been started: all,
// but for limits, which it is told then.
func fitAtStart(s compute.Spec) string {
	limited := s.OSLimit != compute.Limit{}
	for _, d := range s.DataDisks {
		limited = limited || d.Limit != compute.Limit{}
	}
	if limited {
		return ""
	}
	return s.Fit()
}
