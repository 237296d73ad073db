package compute

import (
	"cmp"
	"strings"
	"time"

	"github.com/muster-vm/muster/internal/arm/wire"
	"github.com/muster-vm/muster/internal/disk"
	"github.com/muster-vm/muster/internal/resource"
)

// DiskView is what the answer of a disk shows beside its document.
type DiskView struct {
	State        disk.State
	Provisioning string      // shown in place of what the state says, if set
	Accepted     bool        // it is to be made: Azure shows what was asked for and nothing of what follows
	At           resource.ID // the instance that has it attached, if any
	Since        time.Time   // it has
	Reserved     bool        // that instance is deallocated
}

// RenderDisk writes a managed disk, a snapshot or an image as Azure answers it. It
// fails only if what is stored is no JSON.
func RenderDisk(d disk.Disk, view DiskView) ([]byte, error) {
	schema := diskSchemas[d.Kind]
	doc, err := schema.Decode(d.Document)
	if err != nil {
		return nil, err
	}
	doc["name"], doc["id"], doc["type"] = d.ID.Name(), d.ID.String(), d.Kind.Type()
	fill(doc, "tags", map[string]any{})
	props := sub(doc, "properties")
	props["provisioningState"] = cmp.Or(view.Provisioning, d.Provisioning(view.State))
	if d.Kind == disk.Image {
		storage := sub(props, "storageProfile")
		showSize(sub(storage, "osDisk"), d, view.State)
		storage["dataDisks"], storage["zoneResilient"] = []any{}, false
		return schema.Encode(doc), nil
	}
	if view.Accepted {
		return schema.Encode(doc), nil
	}
	wire.Set(doc, skuTier(d.SKU), "sku", "tier")
	fill(sub(props, "encryption"), "type", "EncryptionAtRestWithPlatformKey")
	fill(props, "networkAccessPolicy", "AllowAll")
	fill(props, "publicNetworkAccess", "Enabled")
	props["timeCreated"], props["uniqueId"] = stamp(d.Created), string(d.UID)
	fillIf(sub(props, "creationData"), "sourceUniqueId", string(d.Source.Disk))
	showSize(props, d, view.State)
	if view.State.Ready {
		props["diskSizeBytes"] = view.State.Bytes
	}
	props["diskState"] = "Unattached"
	if d.Kind == disk.Snapshot {
		fill(props, "incremental", false)
	}
	if d.Kind == disk.Managed {
		showUse(doc, d, view)
	}
	return schema.Encode(doc), nil
}

// showSize shows a size that is known.
func showSize(doc wire.Document, d disk.Disk, state disk.State) {
	if size := d.Size(state); size > 0 {
		doc[sizeMember] = int64(size)
	}
}

// showUse shows who has a managed disk, and what it may do.
func showUse(doc wire.Document, d disk.Disk, view DiskView) {
	props := sub(doc, "properties")
	if !view.At.IsZero() {
		doc["managedBy"], props["diskState"] = view.At.String(), "Attached"
		doc["managedByExtended"] = []any{view.At.String()}
		props["LastOwnershipUpdateTime"] = stamp(view.Since)
		if view.Reserved {
			props["diskState"] = "Reserved"
		}
	}
	if size := d.Size(view.State); size > 0 {
		limit := d.Effective(size)
		props["diskIOPSReadWrite"], props["diskMBpsReadWrite"] = int64(limit.IOPS), int64(limit.MBps)
		if skuTier(d.SKU) == "Premium" { // no other can be raised to another one
			fillIf(props, "tier", disk.TierOf(d.SKU, size))
		}
	}
}

// skuTier is the tier that Azure shows for a storage type.
func skuTier(sku string) string {
	switch name, _, _ := strings.Cut(sku, "_"); name {
	case "Premium", "PremiumV2":
		return "Premium"
	case "UltraSSD":
		return "Ultra"
	}
	return "Standard"
}
