package compute

import (
	_ "embed" // the ledgers

	"github.com/muster-vm/muster/internal/arm/wire"
	"github.com/muster-vm/muster/internal/disk"
)

//go:embed ledger/scaleset.txt
var scaleSetLedger string

//go:embed ledger/instance.txt
var instanceLedger string

//go:embed ledger/instanceids.txt
var instanceIDsLedger string

//go:embed ledger/reimage.txt
var reimageLedger string

//go:embed ledger/disk.txt
var diskLedger string

//go:embed ledger/snapshot.txt
var snapshotLedger string

//go:embed ledger/image.txt
var imageLedger string

//go:embed ledger/attachdetach.txt
var attachDetachLedger string

// The schemas of the bodies.
var (
	ScaleSet    = wire.MustParseLedger(scaleSetLedger)
	Instance    = wire.MustParseLedger(instanceLedger)
	InstanceIDs = wire.MustParseLedger(instanceIDsLedger)
	Reimage     = wire.MustParseLedger(reimageLedger)

	Disk         = wire.MustParseLedger(diskLedger)
	Snapshot     = wire.MustParseLedger(snapshotLedger)
	Image        = wire.MustParseLedger(imageLedger)
	AttachDetach = wire.MustParseLedger(attachDetachLedger)
)

// diskSchemas are the schemas of the kinds of disks.
var diskSchemas = map[disk.Kind]*wire.Schema{disk.Managed: Disk, disk.Snapshot: Snapshot, disk.Image: Image}

// profile is the node of the virtualMachineProfile.
var profile = ScaleSet.Node("properties.virtualMachineProfile")
