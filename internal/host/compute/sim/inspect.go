package sim

import (
	"fmt"

	"github.com/muster-vm/muster/internal/host/compute"
)

// Disks returns an identity for each disk of the instance by name ("os",
// "data{lun}"), whether a machine has them now or left them behind. A disk that
// was made anew has a new identity; a managed disk's is its name. Nil if nothing is left of the instance.
func (d *Driver) Disks(id compute.VMID) map[string]string {
	d.mu.Lock()
	defer d.mu.Unlock()
	m := d.places[place{id.Set, id.Instance}]
	if m == nil {
		return nil
	}
	disks := map[string]string{}
	if m.os != 0 {
		disks["os"] = fmt.Sprintf("%016x", m.os)
	}
	for _, disk := range m.data {
		name := fmt.Sprintf("data%d", disk.lun)
		disks[name] = fmt.Sprintf("%016x", disk.serial)
		if disk.volume != "" {
			disks[name] = disk.volume
		}
	}
	return disks
}

// BootID returns the number of the guest's boots so far on this machine; 0 if
// it is gone.
func (d *Driver) BootID(id compute.VMID) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if m := d.find(id); m != nil {
		return int(m.booted)
	}
	return 0
}

// Crash makes the machine stop by itself, as a guest that panics does. It
// reports whether the machine was there.
func (d *Driver) Crash(id compute.VMID, fault string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	m := d.find(id)
	if m == nil || m.state == compute.Incomplete {
		return false
	}
	d.opts.Ledger.add(Effect{Host: d.opts.Host, Op: "crash", ID: id})
	d.enterState(m, compute.Stopped)
	m.fault = fault
	return true
}
