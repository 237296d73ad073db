package qemu

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/muster-vm/muster/internal/host/compute"
	"github.com/muster-vm/muster/internal/host/compute/qemu/qmp"
	"github.com/muster-vm/muster/internal/resource"
)

const (
	// jobPrefix begins the ids of our jobs, which are the names of the nodes that they
	// write to, too.
	jobPrefix = "copy-"
	// jobPoll is how often a job is asked how far it is.
	jobPoll = 200 * time.Millisecond
)

// jobID names the job that copies into a file.
func jobID(file string) string {
	h := sha256.Sum256([]byte(file))
	return jobPrefix + hex.EncodeToString(h[:8])
}

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
	s, id := m.session, jobID(file)
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
	id := jobID(file)
	if err := m.dropJobs(ctx, s); err != nil {
		return err
	}
	drives, err := s.drives(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(drives, func(d drive) bool { return d.node == node })
	if i < 0 {
		return resource.Errorf(resource.NotFound, "DiskNotFound", "The virtual machine %s does not have the disk %s yet.", m.id, node)
	}
	if m.copies == nil {
		m.copies = map[string]bool{}
	}
	m.copies[id] = true
	return m.d.perform(ctx,
		effect{"copy's file", func() error { return m.d.world.makeDisk(ctx, newDisk{path: file, bytes: drives[i].bytes}) }},
		effect{"open copy", func() error {
			return s.command(ctx, "blockdev-add", map[string]any{"driver": "qcow2", "node-name": id, "discard": "unmap", "detect-zeroes": "unmap",
				"file": map[string]any{"driver": "file", "filename": file}}, nil)
		}},
		effect{"begin copy", func() error {
			return s.command(ctx, "blockdev-backup", map[string]any{"job-id": id, "device": node, "target": id, "sync": "full", "auto-dismiss": false}, nil)
		}},
	)
}

// clearCopy is dropJob over a connection that may have been lost.
func (s *session) clearCopy(ctx context.Context, id string) error {
	for {
		err := s.dropJob(ctx, id)
		if !errors.Is(err, qmp.ErrClosed) || closed(s.proc.done()) {
			return err
		}
		t := time.NewTimer(jobPoll)
		select {
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		case <-s.proc.done():
		case <-t.C:
		}
		t.Stop()
	}
}

// job is what QEMU does beside its guest.
type job struct {
	ID     string
	Status string
	Done   int64  `json:"current-progress"`
	Total  int64  `json:"total-progress"`
	Fault  string `json:"error"`
}

func (s *session) jobs(ctx context.Context) (all []job, err error) {
	err = s.command(ctx, "query-jobs", nil, &all)
	return all, err
}

// awaitCopy waits until a job has come to its end, and returns what went wrong.
func (s *session) awaitCopy(ctx context.Context, file string, progress func(done, total int64)) error {
	id := jobID(file)
	tick := time.NewTicker(jobPoll)
	defer tick.Stop()
	for {
		all, err := s.jobs(context.WithoutCancel(ctx)) // a command that is cut short ends the connection
		if err != nil {
			return err
		}
		i := slices.IndexFunc(all, func(j job) bool { return j.ID == id })
		if i < 0 {
			return resource.Errorf(resource.Unavailable, "CopyInterrupted", "The copy of a disk of %s was given up. It is made again.", s.m.id)
		}
		j := all[i]
		progress(j.Done, j.Total)
		switch {
		case j.Status == "concluded" && j.Fault == "":
			return nil
		case j.Status == "concluded":
			return errDisk(file, errors.New(j.Fault), j.Fault)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.proc.done():
			return qmp.ErrClosed
		case <-tick.C:
		}
	}
}

// dropJobs clears away the copies that a driver began which has died since. The
// caller has the turn.
func (m *machine) dropJobs(ctx context.Context, s *session) error {
	all, err := s.jobs(ctx)
	if err != nil {
		return err
	}
	nodes, err := s.nodes(ctx)
	if err != nil {
		return err
	}
	for _, j := range all {
		nodes = append(nodes, j.ID)
	}
	slices.Sort(nodes)
	for _, id := range slices.Compact(nodes) {
		if !strings.HasPrefix(id, jobPrefix) || m.copies[id] {
			continue
		}
		if err := m.d.perform(ctx, effect{"drop " + id, func() error { return s.dropJob(ctx, id) }}); err != nil {
			return err
		}
	}
	return nil
}

// dropJob ends a job, if there is one, and closes the file that it wrote to.
func (s *session) dropJob(ctx context.Context, id string) error {
	for cancelled := false; ; {
		all, err := s.jobs(ctx)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(all, func(j job) bool { return j.ID == id })
		if i < 0 {
			break
		}
		switch {
		case all[i].Status == "concluded":
			if err := s.command(ctx, "job-dismiss", map[string]any{"id": id}, nil); err != nil {
				return err
			}
			continue
		case !cancelled:
			cancelled = true
			if err := s.command(ctx, "job-cancel", map[string]any{"id": id}, nil); err != nil {
				return err
			}
		}
		t := time.NewTimer(jobPoll)
		select {
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		case <-t.C:
		}
	}
	nodes, err := s.nodes(ctx)
	if err != nil || !slices.Contains(nodes, id) {
		return err
	}
	return s.command(ctx, "blockdev-del", map[string]any{"node-name": id}, nil)
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
	drives, err := s.drives(ctx)
	if err != nil {
		return m.explain(err)
	}
	for _, have := range drives {
		if have.node == lunID(lun) {
			return m.explain(m.grow(ctx, s, have, sizeGB))
		}
	}
	return errNoDisk(id, lun)
}
