package store

import (
	"time"

	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/vmss"
)

// storedScaleSet is a vmss.ScaleSet as it is stored. Names must not change, nor
// may those of the members that have types of package vmss.
type storedScaleSet struct {
	ID       resource.ID       `json:"id"`
	UID      vmss.UID          `json:"uid"`
	Location string            `json:"location"`
	Created  time.Time         `json:"created"`
	Tags     map[string]string `json:"tags,omitempty"`

	SKU                  vmss.SKU           `json:"sku"`
	Zones                []string           `json:"zones,omitempty"`
	ZoneBalance          bool               `json:"zoneBalance,omitempty"`
	FaultDomains         int                `json:"faultDomains"`
	SinglePlacementGroup bool               `json:"singlePlacementGroup,omitempty"`
	Overprovision        bool               `json:"overprovision,omitempty"`
	Upgrade              vmss.UpgradePolicy `json:"upgrade"`
	ScaleIn              vmss.ScaleInPolicy `json:"scaleIn"`

	Revision vmss.RevisionNumber `json:"revision"`
	Document []byte              `json:"document"`

	Deleting    bool `json:"deleting,omitempty"`
	ForceDelete bool `json:"forceDelete,omitempty"`
}

var scaleSetCodec = stored(
	func(s vmss.ScaleSet) storedScaleSet { return storedScaleSet(s) },
	func(s storedScaleSet) vmss.ScaleSet { return vmss.ScaleSet(s) })

// storedState is a vmss.State as it is stored.
type storedState struct {
	NextID  vmss.InstanceID `json:"nextId"`
	Breaker vmss.Breaker    `json:"breaker,omitzero"`
}

var stateCodec = stored(
	func(s vmss.State) storedState { return storedState(s) },
	func(s storedState) vmss.State { return vmss.State(s) })
