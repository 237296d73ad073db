package qemu

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/muster-vm/muster/internal/host/compute"
	"github.com/muster-vm/muster/internal/host/compute/qemu/block"
	"github.com/muster-vm/muster/internal/host/compute/qemu/qmp"
	"github.com/muster-vm/muster/internal/resource"
)

// CopyDisk implements compute.DiskCopier. The process of a machine that runs makes
// the copy; that of one that does not is made beside it, and given up with
// Unavailable when the machine is started meanwhile.
func (d *Driver) CopyDisk(ctx context.Context, id compute.VMID, disk compute.DiskRef, file string, progress func(done, total int64)) error {
	if progress == nil {
		progress = func(int64, int64) {}
	}
	m, err := d.hold(ctx, id)
	if err != nil {
		return err
	}
	node, path, err := m.diskAt(ctx, id, disk)
	if err != nil {
		m.letGo()
		return err
	}
	if m.proc == nil {
		return m.copyOffline(ctx, path, file, progress)
	}
	return m.copyLive(ctx, node, file, progress)
}

// diskAt returns the node and the file of one of the machine's disks.
func (m *machine) diskAt(ctx context.Context, id compute.VMID, ref compute.DiskRef) (node, path string, err error) {
	if m.id != id || m.rec.Phase == "" {
		return "", "", errNotFound(id)
	}
	if m.rec.Phase != made {
		return "", "", errConflict(m.id, "is incomplete. Create or delete it first")
	}
	if err := m.reap(); err != nil {
		return "", "", err
	}
	if ref.OS {
		return "os", m.d.root.osDisk(m.id), nil
	}
	disks := m.rec.Spec.DataDisks
	i := slices.IndexFunc(disks, func(d compute.Disk) bool { return d.LUN == ref.LUN })
	if i < 0 {
		return "", "", errNoDisk(m.id, ref.LUN)
	}
	path, err = m.content(ctx, disks[i])
	return lunID(ref.LUN), path, err
}

func errNoDisk(id compute.VMID, lun int) error {
	return resource.Errorf(resource.NotFound, "DiskNotFound", "The virtual machine %s has no data disk at LUN %d.", id, lun)
}

// reader is a program that reads a disk of a machine that does not run.
type reader struct {
	stop context.CancelFunc
	done chan struct{}
}

// stopReaders ends the programs that read disks which are about to be written to or
// removed. The caller has the turn.
func (m *machine) stopReaders() {
	for _, r := range m.readers {
		r.stop()
		<-r.done
	}
	m.readers = nil
}

// copyOffline copies a disk without holding the machine's turn, which the caller
// has and this gives back.
func (m *machine) copyOffline(ctx context.Context, from, to string, progress func(done, total int64)) error {
	reading, stop := context.WithCancel(ctx)
	defer stop()
	r := &reader{stop, make(chan struct{})}
	m.readers = append(slices.DeleteFunc(m.readers, func(o *reader) bool { return closed(o.done) }), r)
	m.letGo()
	err := m.d.world.copyDisk(reading, from, to, progress)
	close(r.done)
	if err != nil && reading.Err() != nil && ctx.Err() == nil {
		return resource.Errorf(resource.Unavailable, "DiskInUse",
			"The virtual machine %s or its disks changed while a disk was copied. The copy is made again.", m.id)
	}
	return err
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// copyLive has the process copy a disk. The caller has the turn, which this gives
// back as soon as the copy has begun: what it copies is fixed then.
func (m *machine) copyLive(ctx context.Context, node, file string, progress func(done, total int64)) error {
	s, id := m.session, block.JobID(file)
	if m.copies[id] {
		m.letGo()
		return errConflict(m.id, "is being copied to "+file+" already")
	}
	err := m.beginCopy(ctx, s, node, file)
	m.letGo()
	if err == nil {
		err = s.awaitCopy(ctx, file, progress)
	}
	end, cancel := context.WithTimeout(m.d.ctx, controlLimit) // it must be cleared away though ctx is over
	defer cancel()
	if cleared := s.clearCopy(end, id); err == nil {
		err = cleared
	}
	if taken := m.take(m.d.ctx); taken == nil {
		delete(m.copies, id)
		m.letGo()
	}
	if ctx.Err() != nil {
		return canceled(ctx.Err())
	}
	return m.explain(err)
}

func (m *machine) beginCopy(ctx context.Context, s *session, node, file string) error {
	if err := s.connected(ctx); err != nil {
		return err
	}
	id := block.JobID(file)
	if err := m.dropCopies(ctx, s); err != nil {
		return err
	}
	drives, err := s.block.Drives(ctx)
	if err != nil {
		return err
	}
	i := block.Find(drives, node)
	if i < 0 {
		return resource.Errorf(resource.NotFound, "DiskNotFound", "The virtual machine %s does not have the disk %s yet.", m.id, node)
	}
	if m.copies == nil {
		m.copies = map[string]bool{}
	}
	m.copies[id] = true
	return m.d.perform(ctx,
		effect{"copy's file", func() error { return m.d.world.makeDisk(ctx, newDisk{path: file, bytes: drives[i].Bytes}) }},
		effect{"open copy", func() error { return s.block.OpenTarget(ctx, file) }},
		effect{"begin copy", func() error { return s.block.Copy(ctx, node, file) }},
	)
}

// clearCopy drops a copy over a connection that may have been lost.
func (s *session) clearCopy(ctx context.Context, id string) error {
	for {
		err := s.block.Drop(ctx, id)
		if !errors.Is(err, qmp.ErrClosed) || closed(s.proc.Done()) {
			return err
		}
		t := time.NewTimer(block.JobPoll)
		select {
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		case <-s.proc.Done():
		case <-t.C:
		}
		t.Stop()
	}
}

// awaitCopy waits until a job has come to its end, and returns what went wrong.
func (s *session) awaitCopy(ctx context.Context, file string, progress func(done, total int64)) error {
	id := block.JobID(file)
	tick := time.NewTicker(block.JobPoll)
	defer tick.Stop()
	for {
		j, there, err := s.block.Job(context.WithoutCancel(ctx), id) // a command that is cut short ends the connection
		if err != nil {
			return err
		}
		if !there {
			return resource.Errorf(resource.Unavailable, "CopyInterrupted", "The copy of a disk of %s was given up. It is made again.", s.m.id)
		}
		progress(j.Done, j.Total)
		switch {
		case j.Ended() && j.Fault == "":
			return nil
		case j.Ended():
			return errDisk(file, errors.New(j.Fault), j.Fault)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.proc.Done():
			return qmp.ErrClosed
		case <-tick.C:
		}
	}
}

// dropCopies clears away the copies that a driver began which has died since. The
// caller has the turn.
func (m *machine) dropCopies(ctx context.Context, s *session) error {
	all, err := s.block.Copies(ctx)
	if err != nil {
		return err
	}
	for _, id := range all {
		if m.copies[id] {
			continue
		}
		if err := m.d.perform(ctx, effect{"drop " + id, func() error { return s.block.Drop(ctx, id) }}); err != nil {
			return err
		}
	}
	return nil
}

// GrowDisk implements compute.DiskCopier.
func (d *Driver) GrowDisk(ctx context.Context, id compute.VMID, lun, sizeGB int) error {
	m, err := d.hold(ctx, id)
	if err != nil {
		return err
	}
	defer m.letGo()
	if _, _, err := m.diskAt(ctx, id, compute.DiskRef{LUN: lun}); err != nil {
		return err
	}
	s := m.session
	if m.proc == nil {
		return resource.Errorf(resource.NotFound, "VMNotRunning", "The virtual machine %s does not run.", id)
	}
	if err := s.connected(ctx); err != nil {
		return m.explain(err)
	}
	drives, err := s.block.Drives(ctx)
	if err != nil {
		return m.explain(err)
	}
	if i := block.Find(drives, lunID(lun)); i >= 0 {
		return m.explain(m.grow(ctx, s, drives[i], sizeGB))
	}
	return errNoDisk(id, lun)
}
