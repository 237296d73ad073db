package qemu

import (
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
	config := m.config(image)
	files, err := m.plug(ctx, config.Cards)
	defer closeAll(files)
	if err != nil {
		return err
	}
	run := m.rec.Run
	return m.d.perform(ctx,
		effect{"start", func() error {
			p, err := m.d.world.start(m.d.root.vm(m.id), run, args.Build(config), files)
			if err == nil {
				m.setProcess(p)
			}
			return err
		}},
		effect{"started", func() error {
			return m.commit(func(r *record) { r.Ran, r.Booted, r.Fault = run, r.Boots, "" })
		}},
	)
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
func (m *machine) config(image Image) args.Config {
	s := m.rec.Spec
	c := args.Config{
		Name: s.Name, Tags: tags(s.Tags), UUID: systemID(m.id),
		Accel: translation(m.d.opts.Accel, s.MemoryMB), VCPUs: s.VCPUs, MemoryMB: s.MemoryMB,
		QMP: qmpSocket(m.rec.Run), Agent: agentSocket, Serial: serialFile, PIDFile: pidFile,
		Disks: []args.Disk{{ID: "os", Path: m.d.root.osDisk(m.id), Format: "qcow2", Serial: "os"}},
	}
	if image.Kernel != "" {
		c.Kernel = &args.Kernel{Image: image.Kernel, Initrd: image.Initrd, CommandLine: image.CommandLine}
	}
	for _, nic := range s.NICs {
		c.Cards = append(c.Cards, args.Card{MAC: nic.MAC})
	}
	for _, d := range s.DataDisks {
		lun := "lun" + strconv.Itoa(d.LUN)
		c.Disks = append(c.Disks, args.Disk{ID: lun, Path: m.d.root.dataDisk(m.id, d), Format: "qcow2", Serial: lun})
	}
	c.Disks = append(c.Disks, args.Disk{ID: "seed", Path: seedFile, Format: "raw", Serial: "seed", ReadOnly: true})
	return c
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
