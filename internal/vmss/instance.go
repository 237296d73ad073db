package vmss

import (
	"cmp"
	"strconv"
	"time"

	"github.com/muster-vm/muster/internal/resource"
)

// InstanceID numbers the instances of a set from 0. Ids are never used twice.
type InstanceID int64

// String returns the id as Azure writes it, in decimal.
func (id InstanceID) String() string { return strconv.FormatInt(int64(id), 10) }

// ParseInstanceID parses a decimal id without sign or leading zeros.
func ParseInstanceID(s string) (InstanceID, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || strconv.FormatInt(n, 10) != s {
		return 0, resource.Errorf(resource.Invalid, "InvalidParameter", "The instance id %q is not a number from 0.", s).At("instanceId")
	}
	return InstanceID(n), nil
}

// InstanceKey finds an instance row, its observation and its customization.
type InstanceKey struct {
	Set UID
	ID  InstanceID
}

// Instance is the intent row of an instance: what its host shall make of it.
// The set planner's executor alone writes it. Rows in any state count toward
// the set's budget.
type Instance struct {
	ID       InstanceID
	Revision RevisionNumber // the model it shall have
	Created  time.Time

	Host        string // the host that owns it; empty while no host has room
	Zone        string // empty in a regional set
	FaultDomain int

	Power      PowerState // Running, Stopped or Deallocated
	Graceful   bool       // the guest is asked to shut down before power goes
	Boots      int64      // a higher number than the host has carried out asks for a restart
	Disks      int64      // a higher number asks for a new OS disk (reimage)
	DataDisks  int64      // a higher number asks for new data disks too (reimageall)
	Attached   []Disk     // data disks beyond the model's
	Generation int64      // grows by one with every edit of the row

	Operation int64 // sequence number of the newest operation that this row has taken in

	Deleting     bool
	DeleteReason string
	Force        bool // delete without guest shutdown

	Unplaced string // why no host was found, when Host is empty
}

// attachedDisks is above every number of data disk generations that reimages
// reach, so that a disk that is attached never takes over one of the model's.
const attachedDisks = 1 << 32

// DiskGeneration returns which disk it is that the instance has for a data disk:
// the model's are made anew by reimageall, those that are attached to the instance
// alone stay until they are detached.
func (i Instance) DiskGeneration(d Disk) int64 {
	if d.Attached > 0 {
		return attachedDisks + d.Attached
	}
	return i.DataDisks
}

// PowerState is the power state of an instance.
type PowerState string

// The power states. Intents use the three steady ones.
const (
	PowerUnknown      PowerState = ""             // nothing is known: the host has not looked yet
	PowerStarting     PowerState = "starting"     // to running
	PowerRunning      PowerState = "running"      // to stopping, deallocating
	PowerStopping     PowerState = "stopping"     // to stopped
	PowerStopped      PowerState = "stopped"      // keeps its place on the host; to starting, deallocating
	PowerDeallocating PowerState = "deallocating" // to deallocated
	PowerDeallocated  PowerState = "deallocated"  // holds no host resources but its disks; to starting
)

// Observation is what an instance's host has seen and done. The host alone
// writes it.
type Observation struct {
	Generation  int64 // of the row that is fully carried out; 0 before the first
	Power       PowerState
	PowerSince  time.Time
	Boots       int64     // row.Boots that is carried out
	Disks       int64     // row.Disks that is carried out
	DataDisks   int64     // row.DataDisks that is carried out
	Provisioned time.Time // when the guest first reported ready on this OS disk; zero before
	Revision    RevisionNumber
	Address     string // of the primary NIC
	MAC         string
	Agent       string // version of the guest agent; empty while it does not answer
	OSName      string
	OSVersion   string
	Failure     *Failure  // the last try failed; nil when all is well
	Gone        bool      // nothing of the instance is left on the host: the row may go
	DrainUntil  time.Time // it is about to go down and waits for its connections, until then at most; zero: it does not
}

// Failure is why an instance is not what its row asks for.
type Failure struct {
	Code     string // ARM code, such as AllocationFailed
	Message  string // a sentence for users
	Since    time.Time
	Attempts int
	RetryAt  time.Time
	// Generation is the row's when it failed: a newer row is tried at once.
	Generation int64
	// Final says that trying again will not help soon (a bad spec, a missing
	// image, no room), so that an operation that waits for the instance fails
	// now instead of after several attempts.
	Final bool
}

// patience is how many attempts that may be bad luck are made before an
// instance counts as failed.
const patience = 3

// Counts reports whether the failure makes the instance count as failed, and
// not merely as late.
func (f *Failure) Counts() bool { return f != nil && (f.Final || f.Attempts >= patience) }

// ProvisioningState of an instance or a set.
type ProvisioningState string

// The provisioning states.
const (
	Creating  ProvisioningState = "Creating"
	Updating  ProvisioningState = "Updating"
	Succeeded ProvisioningState = "Succeeded"
	Failed    ProvisioningState = "Failed"
	Deleting  ProvisioningState = "Deleting"
	Canceled  ProvisioningState = "Canceled"
)

// Provisioning derives the provisioning state from the row and what its host
// observed.
func Provisioning(row Instance, seen Observation) ProvisioningState {
	switch {
	case row.Deleting:
		return Deleting
	case FailureOf(row, seen).Counts():
		return Failed
	case seen.Generation == row.Generation:
		return Succeeded
	case seen.Generation == 0:
		return Creating
	}
	return Updating
}

// FailureOf returns why the instance is not well, or nil.
func FailureOf(row Instance, seen Observation) *Failure {
	if row.Unplaced != "" {
		return &Failure{Code: "AllocationFailed", Message: row.Unplaced, Since: row.Created, Attempts: 1, Final: true}
	}
	return seen.Failure
}

// Protection is an instance's protection policy. It is not part of the model:
// a replaced instance loses it.
type Protection struct {
	FromScaleIn         bool
	FromScaleSetActions bool // includes FromScaleIn
}

// ScaleIn reports whether scale-in must leave the instance alone.
func (p Protection) ScaleIn() bool { return p.FromScaleIn || p.FromScaleSetActions }

// Customization is the user's document of one instance: what an instance-level
// PUT said. It is written by the API alone and exists only for instances that
// were customised.
type Customization struct {
	Protection Protection
	Tags       map[string]string
	Attached   []Disk // data disks attached to this instance alone
	Document   []byte // canonical JSON of what else the PUT carried
	Sequence   int64  // of the operation that brought it
}

// By sets the operation that brings the customization, for the document and for
// the disks that are new in it.
func (c *Customization) By(sequence int64) {
	c.Sequence = sequence
	for i := range c.Attached {
		c.Attached[i].Attached = cmp.Or(c.Attached[i].Attached, sequence)
	}
}
