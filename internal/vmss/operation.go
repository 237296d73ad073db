package vmss

import (
	"slices"
	"time"

	"github.com/muster-vm/muster/internal/resource"
)

// OperationKind is what an operation does.
type OperationKind string

// The kinds of operations.
const (
	OpPut           OperationKind = "put"           // create, update, patch, scale
	OpDelete        OperationKind = "delete"        // the whole set
	OpDeleteSome    OperationKind = "deleteSome"    // instances; capacity was lowered with it
	OpStart         OperationKind = "start"         //
	OpPowerOff      OperationKind = "powerOff"      //
	OpDeallocate    OperationKind = "deallocate"    //
	OpRestart       OperationKind = "restart"       //
	OpRedeploy      OperationKind = "redeploy"      //
	OpReapply       OperationKind = "reapply"       //
	OpReimage       OperationKind = "reimage"       // a new OS disk
	OpReimageAll    OperationKind = "reimageAll"    // new OS and data disks
	OpManualUpgrade OperationKind = "manualUpgrade" // to the current model
	OpCustomize     OperationKind = "customize"     // instance-level PUT
	OpDeleteGroup   OperationKind = "deleteGroup"   // a resource group with its contents
	OpPutDisk       OperationKind = "putDisk"       // create or change a managed disk, snapshot or image
	OpDeleteDisk    OperationKind = "deleteDisk"    // a managed disk, snapshot or image
	OpPutNetwork    OperationKind = "putNetwork"    // create or change a resource of Microsoft.Network, or a child of one
	OpDeleteNetwork OperationKind = "deleteNetwork" // likewise
)

// OperationKey finds an operation. Operations that belong to no scale set have
// an empty Set.
type OperationKey struct {
	Set      UID
	Sequence int64
}

// Operation is a request that takes time. It is written once, by the API; what
// came of it is its Outcome.
type Operation struct {
	ID        string // GUID, in the operation's URL
	Sequence  int64  // grows within a set: later operations are newer
	Kind      OperationKind
	Target    resource.ID // the resource it was asked of
	Set       UID         // empty for operations on groups; of a disk or network, its own UID
	Location  string
	Created   time.Time
	Principal string // object id of who asked

	Instances    []InstanceID // in order; nil means every instance there was: those below Below
	Below        InstanceID   // with Instances nil: the set's next id when it was asked
	AtInstance   bool         // asked of the instance itself: protection from scale-set actions does not hold
	SkipShutdown bool         // power off without asking the guest
	Force        bool         // delete without guest shutdown
	CreatesSet   bool         // the PUT that made the set
	WaitUpgrade  bool         // done only when every instance has the model (upgrade mode Automatic)
}

// Key returns the operation's key.
func (o Operation) Key() OperationKey { return OperationKey{o.Set, o.Sequence} }

// Covers reports whether the operation is about the instance: named by it, or
// there when it was asked of all. The planner asks it of every row, and an
// operation may name as many, so it relies on the order of Instances.
func (o Operation) Covers(id InstanceID) bool {
	if o.Instances == nil {
		return id < o.Below
	}
	_, named := slices.BinarySearch(o.Instances, id)
	return named
}

// OperationStatus is where an operation stands.
type OperationStatus string

// The statuses. All but InProgress are final.
const (
	InProgress         OperationStatus = "InProgress"
	OperationSucceeded OperationStatus = "Succeeded"
	OperationFailed    OperationStatus = "Failed"
	OperationCanceled  OperationStatus = "Canceled"
)

// Outcome is how an operation ended. It is written once, by the reconciler that
// carried the operation out; while there is none the operation is in progress.
type Outcome struct {
	Status   OperationStatus
	Finished time.Time
	Error    *OperationError // nil if it succeeded
}

// OperationError is why an operation did not succeed.
type OperationError struct {
	Code    string
	Message string
	Details []OperationError
	Target  string
}
