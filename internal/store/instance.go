package store

import (
	"time"

	"github.com/muster-vm/muster/internal/vmss"
)

// storedInstance is a vmss.Instance as it is stored. There may be a hundred
// thousand of them: names are short, and they must not change.
type storedInstance struct {
	ID       vmss.InstanceID     `json:"id"`
	Revision vmss.RevisionNumber `json:"rev"`
	Created  time.Time           `json:"created"`

	Host        string `json:"host,omitempty"`
	Zone        string `json:"zone,omitempty"`
	FaultDomain int    `json:"fd,omitempty"`

	Power      vmss.PowerState `json:"power"`
	Graceful   bool            `json:"graceful,omitempty"`
	Boots      int64           `json:"boots"`
	Disks      int64           `json:"disks"`
	DataDisks  int64           `json:"dataDisks"`
	Attached   []vmss.Disk     `json:"attached,omitempty"`
	Generation int64           `json:"gen"`

	Operation int64 `json:"op,omitempty"`

	Deleting     bool   `json:"deleting,omitempty"`
	DeleteReason string `json:"deleteReason,omitempty"`
	Force        bool   `json:"force,omitempty"`

	Unplaced string `json:"unplaced,omitempty"`
}

var instanceCodec = stored(
	func(i vmss.Instance) storedInstance { return storedInstance(i) },
	func(s storedInstance) vmss.Instance {
		s.Host, s.Zone, s.Power = shared(s.Host), shared(s.Zone), vmss.PowerState(shared(string(s.Power)))
		s.DeleteReason, s.Unplaced = shared(s.DeleteReason), shared(s.Unplaced)
		return vmss.Instance(s)
	})

// storedObservation is a vmss.Observation as it is stored.
type storedObservation struct {
	Generation  int64               `json:"gen,omitempty"`
	Power       vmss.PowerState     `json:"power,omitempty"`
	PowerSince  time.Time           `json:"since,omitzero"`
	Boots       int64               `json:"boots,omitempty"`
	Disks       int64               `json:"disks,omitempty"`
	DataDisks   int64               `json:"dataDisks,omitempty"`
	Provisioned time.Time           `json:"provisioned,omitzero"`
	Revision    vmss.RevisionNumber `json:"rev,omitempty"`
	Address     string              `json:"ip,omitempty"`
	MAC         string              `json:"mac,omitempty"`
	Agent       string              `json:"agent,omitempty"`
	OSName      string              `json:"os,omitempty"`
	OSVersion   string              `json:"osVersion,omitempty"`
	Failure     *vmss.Failure       `json:"failure,omitempty"`
	Gone        bool                `json:"gone,omitempty"`
	DrainUntil  time.Time           `json:"drain,omitzero"`
}

var observationCodec = stored(
	func(o vmss.Observation) storedObservation { return storedObservation(o) },
	func(s storedObservation) vmss.Observation {
		s.Power, s.Agent = vmss.PowerState(shared(string(s.Power))), shared(s.Agent)
		s.OSName, s.OSVersion = shared(s.OSName), shared(s.OSVersion)
		return vmss.Observation(s)
	})

// storedCustomization is a vmss.Customization as it is stored.
type storedCustomization struct {
	Protection vmss.Protection   `json:"protection"`
	Tags       map[string]string `json:"tags,omitempty"`
	Attached   []vmss.Disk       `json:"attached,omitempty"`
	Document   []byte            `json:"document,omitempty"`
	Sequence   int64             `json:"sequence"`
}

var customizationCodec = stored(
	func(c vmss.Customization) storedCustomization { return storedCustomization(c) },
	func(s storedCustomization) vmss.Customization { return vmss.Customization(s) })
