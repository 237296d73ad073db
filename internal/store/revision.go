package store

import (
	"time"

	"github.com/muster-vm/muster/internal/vmss"
)

// storedRevision is a vmss.Revision as it is stored, secrets included.
type storedRevision struct {
	Number  vmss.RevisionNumber `json:"number"`
	Created time.Time           `json:"created"`
	Model   vmss.Model          `json:"model"`
}

var revisionCodec = stored(
	func(r vmss.Revision) storedRevision { return storedRevision(r) },
	func(s storedRevision) vmss.Revision { return vmss.Revision(s) })
