package qemu

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/muster-vm/muster/internal/host/compute"
	"github.com/muster-vm/muster/internal/host/compute/qemu/args"
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

// drive is a disk that a process has plugged in, as QEMU tells.
type drive struct {
	path  string // of the device in QEMU's object tree, its backend's suffix included
	node  string // args.Disk.ID
	file  string
	bytes int64
	limit limit
}

// device names what device_del takes.
func (d drive) device() string { return strings.TrimSuffix(d.path, "/virtio-backend") }

// limit is what QEMU bounds a drive by, in bytes and operations a second: always,
// and while it has not used up what it may do beyond that.
type limit struct {
	Bytes           int64 `json:"bps"`
	Operations      int64 `json:"iops"`
	BurstBytes      int64 `json:"bps_max"`
	BurstOperations int64 `json:"iops_max"`
}

// burst is how long a drive may do what it may not always do.
const burst = 30 * time.Minute

func limitOf(l compute.Limit) limit {
	n := limit{Bytes: int64(l.MBps) * 1_000_000, Operations: int64(l.IOPS)}
	if l.MBps > 0 && l.BurstMBps > l.MBps {
		n.BurstBytes = int64(l.BurstMBps) * 1_000_000
	}
	if l.IOPS > 0 && l.BurstIOPS > l.IOPS {
		n.BurstOperations = int64(l.BurstIOPS)
	}
	return n
}

// throttle is what block_set_io_throttle takes.
func (l limit) throttle(path string) map[string]any {
	t := map[string]any{"id": path, "bps": l.Bytes, "bps_rd": 0, "bps_wr": 0, "iops": l.Operations, "iops_rd": 0, "iops_wr": 0}
	if l.BurstBytes > 0 {
		t["bps_max"], t["bps_max_length"] = l.BurstBytes, int64(burst/time.Second)
	}
	if l.BurstOperations > 0 {
		t["iops_max"], t["iops_max_length"] = l.BurstOperations, int64(burst/time.Second)
	}
	return t
}

// limits returns the limit of each of the record's disks by its node.
func (r record) limits() map[string]limit {
	all := map[string]limit{"os": limitOf(r.Spec.OSLimit)}
	for _, d := range r.Spec.DataDisks {
		all[lunID(d.LUN)] = limitOf(d.Limit)
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
	if refused := (*qmp.Error)(nil); errors.As(err, &refused) {
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
	if err := m.dropJobs(ctx, s); err != nil {
		return err
	}
	have, err := s.drives(ctx)
	if err != nil {
		return err
	}
	for _, d := range have {
		if !isData(d.node) || slices.ContainsFunc(wanted, func(w args.Disk) bool { return w.ID == d.node && w.Path == d.file }) {
			continue
		}
		if err := m.unplug(ctx, s, d); err != nil {
			return err
		}
	}
	if err := m.closeLeftovers(ctx, s); err != nil {
		return err
	}
	for _, w := range wanted {
		if slices.ContainsFunc(have, func(d drive) bool { return w.ID == d.node && (!isData(w.ID) || w.Path == d.file) }) {
			continue
		}
		if err := m.plugDisk(ctx, s, w); err != nil {
			return err
		}
	}
	if err := m.enlarge(ctx, s); err != nil {
		return err
	}
	return m.limit(ctx, s)
}

// isData reports whether a node is a data disk's.
func isData(node string) bool { return strings.HasPrefix(node, "lun") }

// unplug has the guest let go of a disk. It asks once: QEMU remembers.
func (m *machine) unplug(ctx context.Context, s *session, d drive) error {
	if ready := m.rec.Agentless || m.rec.Ready == m.alive(); !ready {
		return resource.Errorf(resource.Unavailable, "GuestNotReady",
			"The guest of %s has not started yet, so it cannot let go of the disk %s. It is asked again later.", m.id, d.node)
	}
	ask := func() error {
		err := s.command(ctx, "device_del", map[string]any{"id": d.device()}, nil)
		if refused := (*qmp.Error)(nil); errors.As(err, &refused) && strings.Contains(refused.Desc, "in the process of unplug") {
			return nil
		}
		return err
	}
	if err := m.d.perform(ctx, effect{"unplug " + d.node, ask}); err != nil {
		return err
	}
	late := time.NewTimer(unplugLimit)
	defer late.Stop()
	tick := time.NewTicker(unplugPoll)
	defer tick.Stop()
	for {
		have, err := s.drives(ctx)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(have, func(o drive) bool { return o.path == d.path }) {
			return nil
		}
		select {
		case <-ctx.Done():
			return canceled(ctx.Err())
		case <-late.C:
			return resource.Errorf(resource.Unavailable, "DiskStillInUse",
				"The guest of %s has not let go of the disk %s. Unmount it in the guest; if that does not help, restart the instance.", m.id, d.node)
		case <-s.unplugged:
		case <-tick.C:
		}
	}
}

// closeLeftovers closes the files of data disks that no device has any more, or none
// has yet. While QEMU has them open nobody else may.
func (m *machine) closeLeftovers(ctx context.Context, s *session) error {
	have, err := s.drives(ctx)
	if err != nil {
		return err
	}
	nodes, err := s.nodes(ctx)
	if err != nil {
		return err
	}
	for _, node := range nodes {
		if !isData(node) || slices.ContainsFunc(have, func(d drive) bool { return d.node == node }) {
			continue
		}
		drop := func() error { return s.command(ctx, "blockdev-del", map[string]any{"node-name": node}, nil) }
		if err := m.d.perform(ctx, effect{"close " + node, drop}); err != nil {
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

// enlarge makes the data disks of the machine's own as large as the record asks for.
func (m *machine) enlarge(ctx context.Context, s *session) error {
	have, err := s.drives(ctx)
	if err != nil {
		return err
	}
	for _, want := range m.rec.Spec.DataDisks {
		i := slices.IndexFunc(have, func(d drive) bool { return d.node == lunID(want.LUN) })
		if want.Volume != "" || i < 0 {
			continue
		}
		if err := m.grow(ctx, s, have[i], want.SizeGB); err != nil {
			return err
		}
	}
	return nil
}

// grow makes a disk larger, never smaller, and its guest see that.
func (m *machine) grow(ctx context.Context, s *session, d drive, sizeGB int) error {
	bytes := int64(sizeGB) << 30
	if d.bytes >= bytes {
		return nil
	}
	return m.d.perform(ctx, effect{"grow " + d.node, func() error {
		return s.command(ctx, "block_resize", map[string]any{"node-name": d.node, "size": bytes}, nil)
	}})
}

// limit bounds every disk as the record asks for.
func (m *machine) limit(ctx context.Context, s *session) error {
	have, err := s.drives(ctx)
	if err != nil {
		return err
	}
	wanted := m.rec.limits()
	for _, d := range have {
		want, known := wanted[d.node]
		if !known || d.limit == want {
			continue
		}
		set := func() error {
			return s.command(ctx, "block_set_io_throttle", want.throttle(d.path), nil)
		}
		if err := m.d.perform(ctx, effect{"limit " + d.node, set}); err != nil {
			return err
		}
	}
	return nil
}

// drives lists what is plugged in.
func (s *session) drives(ctx context.Context) ([]drive, error) {
	var all []struct {
		QDev     string
		Inserted *struct {
			limit
			Node  string `json:"node-name"`
			File  string
			Image struct {
				Bytes int64 `json:"virtual-size"`
			}
		}
	}
	if err := s.command(ctx, "query-block", nil, &all); err != nil {
		return nil, err
	}
	var drives []drive
	for _, b := range all {
		if i := b.Inserted; i != nil && b.QDev != "" {
			drives = append(drives, drive{b.QDev, i.Node, i.File, i.Image.Bytes, i.limit})
		}
	}
	return drives, nil
}

// nodes lists what is open.
func (s *session) nodes(ctx context.Context) ([]string, error) {
	var all []struct {
		Node string `json:"node-name"`
	}
	if err := s.command(ctx, "query-named-block-nodes", map[string]any{"flat": true}, &all); err != nil {
		return nil, err
	}
	names := make([]string, len(all))
	for i, n := range all {
		names[i] = n.Node
	}
	return names, nil
}

// connected waits until the control connection is there.
func (s *session) connected(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, controlLimit)
	defer cancel()
	select {
	case <-s.online:
		return nil
	case <-s.proc.done():
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
