package compute

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/muster-vm/muster/internal/vmss"
)

// RenderInstanceView writes the answer of {instance}/instanceView.
func (r *InstanceRenderer) RenderInstanceView(in InstanceInput) []byte {
	return r.appendView(nil, in)
}

func (r *InstanceRenderer) appendView(b []byte, in InstanceInput) []byte {
	row, seen := in.Row, in.Seen
	state := vmss.Provisioning(row, seen)
	b = append(b, '{')
	b = appendText(b, `"placementGroupId":`, vmss.PlacementGroupID(r.set, row.ID))
	b = appendInt(append(b, `,"platformUpdateDomain":`...), vmss.UpdateDomain(row.ID))
	if r.set.FaultDomains > 1 {
		b = appendInt(append(b, `,"platformFaultDomain":`...), row.FaultDomain)
	}
	if seen.Power != vmss.PowerDeallocated { // nothing is there that has a name
		b = appendText(b, `,"computerName":`, vmss.ComputerName(r.model.OS.ComputerNamePrefix, row.ID))
	}
	b = appendTextIf(b, `,"osName":`, seen.OSName)
	b = appendTextIf(b, `,"osVersion":`, seen.OSVersion)
	b = appendAgent(b, seen)
	b = append(b, `,"disks":[`...)
	b = r.appendDiskStatuses(b, in)
	b = append(b, `],"hyperVGeneration":"V1"`...) // hosts boot guests by BIOS
	b = append(b, `,"statuses":[`...)
	b = provisioningStatus(state, vmss.FailureOf(row, seen), provisioned(row, seen)).append(b)
	if power, ok := powerStatus(seen.Power); ok {
		b = power.append(append(b, ','))
	}
	return append(b, ']', '}')
}

func appendAgent(b []byte, seen vmss.Observation) []byte {
	s, ok := agentStatus(seen)
	if !ok {
		return b
	}
	version := seen.Agent
	if version == "" {
		version = "Unknown"
	}
	b = appendText(b, `,"vmAgent":{"vmAgentVersion":`, version)
	b = s.append(append(b, `,"statuses":[`...))
	return append(b, `],"extensionHandlers":[]}`...)
}

func (r *InstanceRenderer) appendDiskStatuses(b []byte, in InstanceInput) []byte {
	row, seen := in.Row, in.Seen
	ready := provisioningStatus(vmss.Succeeded, nil, row.Created)
	if seen.Generation == 0 {
		ready = provisioningStatus(vmss.Creating, nil, time.Time{})
	}
	one := func(b []byte, name string) []byte {
		b = append(appendText(b, `{"name":`, name), `,"statuses":[`...)
		return append(ready.append(b), ']', '}')
	}
	b = one(b, r.osDisk(row))
	for disk := range r.dataDisks(in.Custom) {
		b = one(append(b, ','), r.dataDisk(row, disk))
	}
	return b
}

// SetStatus is where a set stands.
type SetStatus struct {
	Provisioning vmss.ProvisioningState
	Failure      *vmss.Failure // why the state is Failed
	Since        time.Time     // when it came to that
	Blocked      []Blocked
}

// Blocked is a change that is wanted for a set and not done, and why.
type Blocked struct {
	Kind      string
	Reason    string // a sentence
	Instances []vmss.InstanceID
}

// RenderSetInstanceView writes the answer of {set}/instanceView: how many
// instances have each status, the set's own, and after it one for each change
// that is wanted and not done. Those have codes of our own, Muster/blocked/kind.
func RenderSetInstanceView(instances iter.Seq2[vmss.Instance, vmss.Observation], set SetStatus) []byte {
	counts := map[string]int{}
	for row, seen := range instances {
		s := vmss.Provisioning(row, seen)
		counts[provisioningStatus(s, vmss.FailureOf(row, seen), time.Time{}).code]++
		if power, ok := powerStatus(seen.Power); ok {
			counts[power.code]++
		}
	}
	b := []byte(`{"virtualMachine":{"statusesSummary":[`)
	for i, code := range slices.Sorted(maps.Keys(counts)) {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendText(b, `{"code":`, code)
		b = append(appendInt(append(b, `,"count":`...), counts[code]), '}')
	}
	b = append(b, `]},"statuses":[`...)
	b = provisioningStatus(set.Provisioning, set.Failure, set.Since).append(b)
	for _, blocked := range set.Blocked {
		b = blocked.status().append(append(b, ','))
	}
	return append(b, ']', '}')
}

// status is a warning, but where instances just wait to be upgraded by hand.
func (b Blocked) status() status {
	level, display := "Warning", "Waiting: "+b.Kind
	if b.Kind == "upgrade" {
		level = "Info"
	}
	return status{code: "Muster/blocked/" + b.Kind, level: level, display: display, message: b.Reason + namedInstances(b.Instances)}
}

// maxNamed bounds how many instances a message names.
const maxNamed = 20

func namedInstances(ids []vmss.InstanceID) string {
	if len(ids) == 0 {
		return ""
	}
	var names []string
	for _, id := range ids[:min(len(ids), maxNamed)] {
		names = append(names, id.String())
	}
	more := ""
	if rest := len(ids) - maxNamed; rest > 0 {
		more = fmt.Sprintf(" and %d more", rest)
	}
	return " Instances: " + strings.Join(names, ", ") + more + "."
}
