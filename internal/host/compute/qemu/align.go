package qemu

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/muster-vm/muster/internal/host/compute/qemu/args"
	"github.com/muster-vm/muster/internal/host/compute/qemu/block"
	"github.com/muster-vm/muster/internal/host/compute/qemu/qmp"
	"github.com/muster-vm/muster/internal/resource"
)

const (
	// controlLimit is how long QEMU may take for anything that is asked of it while
	// the disks change, its start included.
	controlLimit = 20 * time.Second
	// unplugLimit is how long a guest may take to let go of a disk.
	unplugLimit = 15 * time.Second
	// unplugPoll is how often to look whether it has, beside QEMU's own word.
	unplugPoll = 250 * time.Millisecond
)

// limits returns the limit of each of the record's disks by its node.
func (r record) limits() map[string]block.Limit {
	all := map[string]block.Limit{"os": block.LimitOf(r.Spec.OSLimit)}
	for _, d := range r.Spec.DataDisks {
		all[lunID(d.LUN)] = block.LimitOf(d.Limit)
	}
	return all
}

// align makes the process have the disks and limits that the record asks for. It
// compares with what the process has, so it completes what was cut short, and does
// nothing to a process that has them. The caller has the turn.
func (m *machine) align(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, controlLimit+unplugLimit)
	defer cancel()
	return m.explain(m.alignWith(ctx, m.session))
}

// explain makes an error of the control connection one for the driver's callers.
func (m *machine) explain(err error) error {
	if errors.Is(err, context.Canceled) {
		return canceled(err)
	}
	if _, known := errors.AsType[*resource.Error](err); err == nil || known {
		return err
	}
	if refused := qmp.Refusal(err); refused != nil {
		return errRefused(m.id, refused)
	}
	return resource.Errorf(resource.Unavailable, "QemuNotReachable",
		"The process of the virtual machine %s does not answer. If it goes on, restart the instance.", m.id).Because(err)
}

func (m *machine) alignWith(ctx context.Context, s *session) error {
	if err := s.connected(ctx); err != nil {
		return err
	}
	wanted, err := m.disks(ctx)
	if err != nil {
		return err
	}
	if err := m.dropCopies(ctx, s); err != nil {
		return err
	}
	have, err := s.block.Drives(ctx)
	if err != nil {
		return err
	}
	for _, d := range have {
		if isData(d.Node) && !slices.ContainsFunc(wanted, func(w args.Disk) bool { return w.ID == d.Node && w.Path == d.File }) {
			if err := m.unplug(ctx, s, d); err != nil {
				return err
			}
		}
	}
	if err := m.closeLeftovers(ctx, s); err != nil {
		return err
	}
	for _, w := range wanted {
		if isData(w.ID) && !slices.ContainsFunc(have, func(d block.Drive) bool { return w.ID == d.Node && w.Path == d.File }) {
			if err := m.plugDisk(ctx, s, w); err != nil {
				return err
			}
		}
	}
	return m.tune(ctx, s)
}

// isData reports whether a node is a data disk's.
func isData(node string) bool { return strings.HasPrefix(node, "lun") }

// unplug has the guest let go of a disk.
func (m *machine) unplug(ctx context.Context, s *session, d block.Drive) error {
	if ready := m.rec.Agentless || m.rec.Ready == m.alive(); !ready {
		return resource.Errorf(resource.Unavailable, "GuestNotReady",
			"The guest of %s has not started yet, so it cannot let go of the disk %s. It is asked again later.", m.id, d.Node)
	}
	if err := m.d.perform(ctx, effect{"unplug " + d.Node, func() error { return s.block.Unplug(ctx, d) }}); err != nil {
		return err
	}
	late := time.NewTimer(unplugLimit)
	defer late.Stop()
	tick := time.NewTicker(unplugPoll)
	defer tick.Stop()
	for {
		have, err := s.block.Drives(ctx)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(have, func(o block.Drive) bool { return o.Path == d.Path }) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-late.C:
			return resource.Errorf(resource.Unavailable, "DiskStillInUse",
				"The guest of %s has not let go of the disk %s. Unmount it in the guest; if that does not help, restart the instance.", m.id, d.Node)
		case <-s.unplugged:
		case <-tick.C:
		}
	}
}

// closeLeftovers closes the files of data disks that no device has any more, or none
// has yet. While QEMU has them open nobody else may.
func (m *machine) closeLeftovers(ctx context.Context, s *session) error {
	have, err := s.block.Drives(ctx)
	if err != nil {
		return err
	}
	nodes, err := s.block.Nodes(ctx)
	if err != nil {
		return err
	}
	for _, node := range nodes {
		if !isData(node) || block.Find(have, node) >= 0 {
			continue
		}
		if err := m.d.perform(ctx, effect{"close " + node, func() error { return s.block.Close(ctx, node) }}); err != nil {
			return err
		}
	}
	return nil
}

// plugDisk opens a disk and gives it to the guest.
func (m *machine) plugDisk(ctx context.Context, s *session, d args.Disk) error {
	return m.d.perform(ctx,
		effect{"open " + d.ID, func() error { return s.command(ctx, "blockdev-add", d.Node(), nil) }},
		effect{"plug " + d.ID, func() error { return s.command(ctx, "device_add", d.Plug(), nil) }},
	)
}

// tune gives every disk its limit, and the data disks of the machine's own the size
// that the record asks for.
func (m *machine) tune(ctx context.Context, s *session) error {
	have, err := s.block.Drives(ctx)
	if err != nil {
		return err
	}
	for _, want := range m.rec.Spec.DataDisks {
		if i := block.Find(have, lunID(want.LUN)); i >= 0 && want.Volume == "" {
			if err := m.grow(ctx, s, have[i], want.SizeGB); err != nil {
				return err
			}
		}
	}
	limits := m.rec.limits()
	for _, d := range have {
		if want, known := limits[d.Node]; known && want != d.Limit {
			if err := m.d.perform(ctx, effect{"limit " + d.Node, func() error { return s.block.Bound(ctx, d, want) }}); err != nil {
				return err
			}
		}
	}
	return nil
}

// grow makes a disk larger, never smaller, and its guest see that.
func (m *machine) grow(ctx context.Context, s *session, d block.Drive, sizeGB int) error {
	bytes := int64(sizeGB) << 30
	if d.Bytes >= bytes {
		return nil
	}
	return m.d.perform(ctx, effect{"grow " + d.Node, func() error { return s.block.Resize(ctx, d, bytes) }})
}

// connected waits until the control connection is there.
func (s *session) connected(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, controlLimit)
	defer cancel()
	select {
	case <-s.online:
		return nil
	case <-s.proc.Done():
		return qmp.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// command runs a command of the control connection. QEMU answers at once, or is
// not well.
func (s *session) command(ctx context.Context, name string, arguments, result any) error {
	ctx, cancel := context.WithTimeout(ctx, controlLimit)
	defer cancel()
	s.mu.Lock()
	client := s.qmp
	s.mu.Unlock()
	if client == nil {
		return qmp.ErrClosed
	}
	return client.Execute(ctx, name, arguments, result)
}
