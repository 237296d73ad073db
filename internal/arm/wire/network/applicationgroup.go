package network

import (
	_ "embed" // the ledger

	"github.com/muster-vm/muster/internal/network"
)

//go:embed ledger/applicationgroup.txt
var applicationGroupLedger string

// applicationGroup has nothing of its own but its name.
var applicationGroup = newKind(applicationGroupLedger, func(*parser, *network.Resource) {}, nil)
