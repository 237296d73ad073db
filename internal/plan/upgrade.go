package plan

import (
	"slices"

	"github.com/muster-vm/muster/internal/vmss"
)

// upgrade brings instances to the current model where the upgrade policy says
// that they follow by themselves.
func (d *draft) upgrade() {
	var stale, protected []vmss.InstanceID
	for _, e := range d.live() {
		switch {
		case e.Row.Revision == d.in.Set.Revision || e.created:
		case d.in.Set.Upgrade.Mode != vmss.UpgradeAutomatic:
			stale = append(stale, e.Row.ID)
		case e.Protection.FromScaleSetActions:
			protected = append(protected, e.Row.ID)
		default:
			d.toModel(e)
		}
	}
	if len(stale) > 0 {
		d.block("upgrade", "Until manualupgrade is called, an older model stays on "+count(len(stale))+": the upgrade policy is "+string(d.in.Set.Upgrade.Mode)+".", stale...)
	}
	if len(protected) > 0 {
		d.block("upgrade", "Protection from scale-set actions keeps "+count(len(protected))+" on an older model.", protected...)
	}
}

// toModel points the row at the current model. A model with another image, or
// with other first-boot settings, needs a new OS disk; other changes need a
// restart at most, which the host finds out by comparing hardware.
func (d *draft) toModel(e *entry) {
	if e.Row.Revision == d.in.Set.Revision || d.in.Model == nil {
		return
	}
	old := d.in.Revisions[e.Row.Revision]
	if old == nil || old.Model.Image.Digest != d.in.Model.Model.Image.Digest {
		e.Row.Disks++
	}
	if old == nil || !slices.Equal(old.Model.DataDisks, d.in.Model.Model.DataDisks) || old.Model.Size != d.in.Model.Model.Size {
		e.Row.Graceful = true
	}
	e.Row.Revision = d.in.Set.Revision
	e.Row.Generation++
	e.because("upgrade to the current model")
}
