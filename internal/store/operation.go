package store

import (
	"slices"
	"time"

	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/vmss"
)

// storedOperation is a vmss.Operation as it is stored. Names must not change.
type storedOperation struct {
	ID        string             `json:"id"`
	Sequence  int64              `json:"sequence"`
	Kind      vmss.OperationKind `json:"kind"`
	Target    resource.ID        `json:"target"`
	Set       vmss.UID           `json:"set,omitempty"`
	Location  string             `json:"location"`
	Created   time.Time          `json:"created"`
	Principal string             `json:"principal,omitempty"`

	Instances    []vmss.InstanceID `json:"instances"` // null is not the same as none
	Below        vmss.InstanceID   `json:"below,omitempty"`
	AtInstance   bool              `json:"atInstance,omitempty"`
	SkipShutdown bool              `json:"skipShutdown,omitempty"`
	Force        bool              `json:"force,omitempty"`
	CreatesSet   bool              `json:"createsSet,omitempty"`
	WaitUpgrade  bool              `json:"waitUpgrade,omitempty"`
}

var operationCodec = stored(
	func(o vmss.Operation) storedOperation { return storedOperation(o) },
	func(s storedOperation) vmss.Operation {
		slices.Sort(s.Instances) // vmss.Operation.Covers relies on the order, whoever wrote the record
		return vmss.Operation(s)
	})

// storedOutcome is a vmss.Outcome as it is stored.
type storedOutcome struct {
	Status   vmss.OperationStatus `json:"status"`
	Finished time.Time            `json:"finished"`
	Error    *vmss.OperationError `json:"error,omitempty"`
}

var outcomeCodec = stored(
	func(o vmss.Outcome) storedOutcome { return storedOutcome(o) },
	func(s storedOutcome) vmss.Outcome { return vmss.Outcome(s) })

type storedCounter struct {
	N int64 `json:"n"`
}

var counterCodec = stored(
	func(n int64) storedCounter { return storedCounter{n} },
	func(s storedCounter) int64 { return s.N })
