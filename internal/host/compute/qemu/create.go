package qemu

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/muster-vm/muster/internal/host/compute"
	"github.com/muster-vm/muster/internal/host/guest"
)

// create makes the machine, or finishes making it. The caller has the turn.
func (m *machine) create(ctx context.Context, spec compute.Spec) error {
	hash := spec.Hash()
	switch m.rec.Phase {
	case deleting: // cut short: what is left goes first
		if m.rec.Hash != hash {
			return errConflict(m.id, "is being deleted. Delete it again to finish that")
		}
		if err := m.remove(ctx, m.rec.Disposal); err != nil {
			return err
		}
	case creating, made:
		if m.rec.Hash != hash {
			return errConflict(m.id, "exists with another specification")
		}
	}
	if m.rec.Phase == made {
		return m.restart(ctx)
	}
	image, err := m.d.opts.Images.Image(ctx, spec.Image)
	if err != nil {
		return err
	}
	if err := m.d.perform(ctx, m.creation(ctx, spec, image)...); err != nil {
		return err
	}
	m.begin()
	return m.start(ctx)
}

// restart starts a machine whose first start failed, and nothing else.
func (m *machine) restart(ctx context.Context) error {
	if do, _ := next(m.rec, m.alive(), m.asked, time.Now()); do != start {
		return nil
	}
	return m.start(ctx)
}

// creation lists the effects that make a machine from nothing or from any
// part of it.
func (m *machine) creation(ctx context.Context, spec compute.Spec, image Image) []effect {
	steps := []effect{{"record", func() error { return m.declare(spec, image) }}}
	disks := m.d.root.disks(m.id)
	steps = append(steps, effect{"disk directory", func() error { return errDisk(disks, os.MkdirAll(disks, 0o700), "") }})
	osDisk := newDisk{path: m.d.root.osDisk(m.id), sizeGB: spec.OSDiskGB, digest: spec.Image, image: image}
	steps = append(steps, effect{"OS disk", func() error {
		if err := m.makeDisk(ctx, osDisk); err != nil {
			return err
		}
		return errDisk(disks, removePrefixed(disks, "os-", osDisk.path), "")
	}})
	steps = append(steps, m.dataDisks(ctx, spec)...)
	steps = append(steps, m.detached(spec))
	seed := filepath.Join(m.d.root.vm(m.id), seedFile)
	return append(steps,
		effect{"seed", func() error { return errDisk(seed, guest.Seed(seed, guest.Setup(spec.Guest)), "") }},
		effect{"made", func() error {
			return m.commit(func(r *record) {
				r.Phase, r.Power, r.Run, r.Boots = made, compute.Running, 1, spec.Boots
			})
		}},
	)
}

// declare writes the record, before anything that it stands for.
func (m *machine) declare(spec compute.Spec, image Image) error {
	r := record{Spec: spec, Hash: spec.Hash(), Phase: creating, Agentless: !image.Agent, State: compute.Incomplete}
	if m.rec.Phase == creating {
		return m.commit(func(old *record) { r.Since = old.Since; *old = r })
	}
	r.Since = now()
	if err := m.d.root.add(r); err != nil {
		return errDisk(m.d.root.vm(m.id), err, "")
	}
	m.setRecord(r)
	m.d.tell(m.id)
	return nil
}

// makeDisk makes a disk unless it is there.
func (m *machine) makeDisk(ctx context.Context, d newDisk) error {
	if _, err := os.Stat(d.path); err == nil {
		return nil
	}
	return m.d.world.makeDisk(ctx, d)
}

// dataDisks makes the data disks of the machine's own that are not there yet, and
// enlarges the others.
func (m *machine) dataDisks(ctx context.Context, spec compute.Spec) (steps []effect) {
	for _, d := range spec.DataDisks {
		if d.Volume != "" {
			continue
		}
		data := newDisk{path: m.d.root.dataDisk(m.id, d), sizeGB: d.SizeGB}
		steps = append(steps, effect{"data disk " + strconv.Itoa(d.LUN), func() error {
			if err := m.makeDisk(ctx, data); err != nil || m.proc != nil {
				return err // a process that has it open enlarges it itself
			}
			return m.d.world.growDisk(ctx, data.path, int64(data.sizeGB)<<30)
		}})
	}
	return steps
}

// detached removes the data disks of the machine's own that the spec does not
// have, older generations included. No process may have them in use.
func (m *machine) detached(spec compute.Spec) effect {
	var wanted []string
	for _, d := range spec.DataDisks {
		if d.Volume == "" {
			wanted = append(wanted, m.d.root.dataDisk(m.id, d))
		}
	}
	dir := m.d.root.disks(m.id)
	return effect{"detached data disks", func() error { return errDisk(dir, removePrefixed(dir, "data-", wanted...), "") }}
}

// remove unmakes the machine. The caller has the turn.
func (m *machine) remove(ctx context.Context, disposal compute.Disposal) error {
	if m.rec.Phase == "" { // disks that were kept
		return errDisk(m.d.root.disks(m.id), m.d.root.removeDisks(m.id, disposal), "")
	}
	return m.d.perform(ctx,
		effect{"deleting", func() error {
			return m.commit(func(r *record) { r.Phase, r.Disposal = deleting, disposal })
		}},
		effect{"cut", func() error {
			m.stopReaders()
			if err := m.cut(ctx); err != nil {
				return err
			}
			m.setProcess(nil)
			return nil
		}},
		effect{"disks", func() error {
			return errDisk(m.d.root.disks(m.id), m.d.root.removeDisks(m.id, disposal), "")
		}},
		effect{"directory", func() error {
			if err := m.d.root.remove(m.id); err != nil {
				return errDisk(m.d.root.vm(m.id), err, "")
			}
			m.setRecord(record{Spec: compute.Spec{ID: m.id}})
			m.d.tell(m.id)
			return nil
		}},
	)
}
