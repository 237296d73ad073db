package compute

import (
	_ "embed" // the ledgers

	"github.com/muster-vm/muster/internal/arm/wire"
)

//go:embed ledger/scaleset.txt
var scaleSetLedger string

//go:embed ledger/instance.txt
var instanceLedger string

//go:embed ledger/instanceids.txt
var instanceIDsLedger string

//go:embed ledger/reimage.txt
var reimageLedger string

// The schemas of the bodies.
var (
	ScaleSet    = wire.MustParseLedger(scaleSetLedger)
	Instance    = wire.MustParseLedger(instanceLedger)
	InstanceIDs = wire.MustParseLedger(instanceIDsLedger)
	Reimage     = wire.MustParseLedger(reimageLedger)
)

// profile is the node of the virtualMachineProfile.
var profile = ScaleSet.Node("properties.virtualMachineProfile")
