package qemu

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"

	"github.com/muster-vm/muster/internal/host/compute"
	"github.com/muster-vm/muster/internal/host/compute/qemu/args"
	"github.com/muster-vm/muster/internal/resource"
)

// start starts the process of number Run. A failure is kept as the machine's
// fault, too. The caller has the turn.
func (m *machine) start(ctx context.Context) error {
	err := m.launch(ctx)
	if err == nil || m.rec.Phase != made || resource.Is(err, resource.Canceled) {
		return err
	}
	if kept := m.commit(func(r *record) { r.Fault = sentence(err) }); kept != nil {
		return kept
	}
	return err
}

func (m *machine) launch(ctx context.Context) error {
	image, err := m.d.opts.Images.Image(ctx, m.rec.Spec.Image)
	if err != nil {
		return err
	}
	disks, err := m.disks(ctx)
	if err != nil {
		return err
	}
	config := m.config(image, disks)
	files, err := m.plug(ctx, config.Cards)
	defer closeAll(files)
	if err != nil {
		return err
	}
	m.stopReaders()
	run, spec := m.rec.Run, m.rec.Spec
	var before []effect
	if m.rec.Fit != spec.Fit() { // a Refit was cut short, or the guest did not let go of a disk
		before = append(m.dataDisks(ctx, spec), m.detached(spec))
	}
	return m.d.perform(ctx, append(before,
		effect{"start", func() error {
			p, err := m.d.world.start(m.d.root.vm(m.id), run, args.Build(config), files)
			if err == nil {
				m.setProcess(p)
			}
			return err
		}},
		effect{"started", func() error {
			return m.commit(func(r *record) { r.Ran, r.Booted, r.Fit, r.Fault = run, r.Boots, fitAtStart(spec), "" })
		}},
	)...)
}

// plug opens the host's ends of the network cards and puts their numbers into
// cards.
func (m *machine) plug(ctx context.Context, cards []args.Card) ([]*os.File, error) {
	if m.d.opts.Taps == nil {
		return nil, nil
	}
	var files []*os.File
	for i, nic := range m.rec.Spec.NICs {
		f, err := m.d.opts.Taps.Open(ctx, nic.Port)
		if err != nil {
			return files, err
		}
		files = append(files, f)
		cards[i].FD = 2 + len(files)
	}
	return files, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// config describes the machine's process.
func (m *machine) config(image Image, disks []args.Disk) args.Config {
	s := m.rec.Spec
	c := args.Config{
		Name: s.Name, Tags: tags(s.Tags), UUID: systemID(m.id),
		Accel: translation(m.d.opts.Accel, s.MemoryMB), VCPUs: s.VCPUs, MemoryMB: s.MemoryMB,
		QMP: qmpSocket(m.rec.Run), Agent: agentSocket, Serial: serialFile, Console: serialSocket, PIDFile: pidFile,
		Disks: disks,
	}
	if image.Kernel != "" {
		c.Kernel = &args.Kernel{Image: image.Kernel, Initrd: image.Initrd, CommandLine: image.CommandLine}
	}
	for _, nic := range s.NICs {
		c.Cards = append(c.Cards, args.Card{MAC: nic.MAC})
	}
	return c
}

// lunID names the data disk at a LUN, to QEMU and as its serial to the guest.
func lunID(lun int) string { return "lun" + strconv.Itoa(lun) }

// disks lists the disks that the machine shall have. The seed comes before the data
// disks, so that one that is added later comes where it will be after a restart.
func (m *machine) disks(ctx context.Context) ([]args.Disk, error) {
	s := m.rec.Spec
	all := []args.Disk{
		{ID: "os", Path: m.d.root.osDisk(m.id), Format: "qcow2", Serial: "os", Volatile: s.Ephemeral},
		{ID: "seed", Path: seedFile, Format: "raw", Serial: "seed", ReadOnly: true},
	}
	for _, d := range slices.SortedFunc(slices.Values(s.DataDisks), func(a, b compute.Disk) int { return cmp.Compare(a.LUN, b.LUN) }) {
		path, err := m.content(ctx, d)
		if err != nil {
			return nil, err
		}
		all = append(all, args.Disk{ID: lunID(d.LUN), Path: path, Format: "qcow2", Serial: lunID(d.LUN)})
	}
	return all, nil
}

// content returns the file of a data disk.
func (m *machine) content(ctx context.Context, d compute.Disk) (string, error) {
	switch {
	case d.Volume == "":
		return m.d.root.dataDisk(m.id, d), nil
	case m.d.opts.Volumes == nil:
		return "", resource.Errorf(resource.Unavailable, "ManagedDisksNotKept", "The host keeps no managed disks, so %s cannot be attached here.", d.Volume)
	}
	return m.d.opts.Volumes.Volume(ctx, d.Volume)
}

// tags writes a machine's tags in a fixed order.
func tags(all map[string]string) []string {
	var list []string
	for _, key := range slices.Sorted(maps.Keys(all)) {
		list = append(list, key+"="+all[key])
	}
	return list
}

// systemID is the machine's SMBIOS id, a UUID. It stays the same when the OS
// disk is made anew.
func systemID(id compute.VMID) string {
	h := sha256.Sum256(fmt.Appendf(nil, "%s/%d", id.Set, id.Instance))
	h[6], h[8] = h[6]&0x0f|0x80, h[8]&0x3f|0x80 // version 8: of one's own making
	return fmt.Sprintf("%x-%x-%x-%x-%x", h[:4], h[4:6], h[6:8], h[8:10], h[10:16])
}

// sentence returns what users may read of an error.
func sentence(err error) string {
	if e, ok := errors.AsType[*resource.Error](err); ok {
		return e.Msg
	}
	return err.Error()
}
