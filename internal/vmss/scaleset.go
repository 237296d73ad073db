package vmss

import (
	"strings"
	"time"

	"github.com/muster-vm/muster/internal/resource"
)

// ResourceType is the ARM type of a scale set.
const ResourceType = "Microsoft.Compute/virtualMachineScaleSets"

// Key finds a scale set by name. All parts are in lower case; make it with
// KeyOf or NewKey.
type Key struct{ Subscription, Group, Name string }

// NewKey returns the key of the scale set with these names, in any case.
func NewKey(subscription, group, name string) Key {
	return Key{strings.ToLower(subscription), strings.ToLower(group), strings.ToLower(name)}
}

// KeyOf returns the key of the scale set that id names.
func KeyOf(id resource.ID) Key {
	name := ""
	if len(id.Names) > 0 {
		name = id.Names[0]
	}
	return NewKey(id.Subscription, id.Group, name)
}

// UID is the GUID that a scale set gets at creation (uniqueId). A set that is
// deleted and made again under the same name has another one, so nothing keyed
// by UID can be mistaken.
type UID string

// ScaleSet is the user's document of a scale set and the reading of it. It is
// written by the API alone, but for Deleting, which the reconciler of groups sets
// when a user deletes the set's group. Its store revision is the ETag.
type ScaleSet struct {
	ID       resource.ID // as first given
	UID      UID
	Location string
	Created  time.Time
	Tags     map[string]string

	SKU                  SKU
	Zones                []string // empty for a regional set
	ZoneBalance          bool     // strict: refuse to scale rather than unbalance
	FaultDomains         int      // platformFaultDomainCount; 1 is max spreading
	SinglePlacementGroup bool
	Overprovision        bool // echoed; the surplus is 0 unless the server's config says otherwise
	Upgrade              UpgradePolicy
	ScaleIn              ScaleInPolicy

	Revision RevisionNumber // of the current model
	Document []byte         // the user's document as canonical JSON: no secrets, no virtualMachineProfile, no sku.capacity

	Deleting    bool // a delete was accepted
	ForceDelete bool // without guest shutdown
}

// Key returns the set's key.
func (s ScaleSet) Key() Key { return KeyOf(s.ID) }

// SKU is the size and number of instances.
type SKU struct {
	Name     string // VM size
	Tier     string // "Standard" or "Basic"
	Capacity int    // wanted number of instances
}

// UpgradeMode says how existing instances follow a new model.
type UpgradeMode string

// The upgrade modes.
const (
	UpgradeManual    UpgradeMode = "Manual"    // only when asked (manualupgrade)
	UpgradeAutomatic UpgradeMode = "Automatic" // all at once, in no order
	UpgradeRolling   UpgradeMode = "Rolling"   // in batches
)

// UpgradePolicy is how existing instances follow a new model.
type UpgradePolicy struct{ Mode UpgradeMode }

// ScaleInRule orders the candidates for removal.
type ScaleInRule string

// The scale-in rules.
const (
	ScaleInDefault  ScaleInRule = "Default"  // balance zones, then fault domains, then highest id
	ScaleInNewestVM ScaleInRule = "NewestVM" // balance zones, then newest
	ScaleInOldestVM ScaleInRule = "OldestVM" // balance zones, then oldest
)

// ScaleInPolicy is which instances go first.
type ScaleInPolicy struct {
	Rule                  ScaleInRule
	ForceDeletion         bool // without guest shutdown
	PrioritizeUnhealthyVM bool
}

// State is what the set planner remembers about a set. Its executor alone
// writes it.
type State struct {
	NextID  InstanceID // the next instance gets this id; ids are never used twice
	Breaker Breaker
}

// Breaker stops creates that keep failing. The zero Breaker is closed.
type Breaker struct {
	Trips     int       // how often it opened in a row; sets the pause
	OpenUntil time.Time // no creates before; zero when closed
	Reason    string    // why it opened, for users
}
