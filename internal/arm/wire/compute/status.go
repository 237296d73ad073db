package compute

import (
	"time"

	"github.com/muster-vm/muster/internal/vmss"
)

// status is Azure's status object.
type status struct {
	code, level, display, message string
	at                            time.Time
}

func (s status) append(b []byte) []byte {
	b = appendText(b, `{"code":`, s.code)
	b = appendText(b, `,"level":`, s.level)
	b = appendText(b, `,"displayStatus":`, s.display)
	b = appendTextIf(b, `,"message":`, s.message)
	if !s.at.IsZero() {
		b = appendText(b, `,"time":`, stamp(s.at))
	}
	return append(b, '}')
}

// provisioningStatus is the status of a provisioning state; failure is why the
// state is Failed.
//
// Source: https://learn.microsoft.com/azure/virtual-machines/states-billing
func provisioningStatus(state vmss.ProvisioningState, failure *vmss.Failure, at time.Time) status {
	switch state {
	case vmss.Succeeded:
		return status{"ProvisioningState/succeeded", "Info", "Provisioning succeeded", "", at}
	case vmss.Failed:
		s := status{"ProvisioningState/failed", "Error", "Provisioning failed", "", at}
		if failure != nil {
			s.code, s.message, s.at = s.code+"/"+failure.Code, failure.Message, failure.Since
		}
		return s
	case vmss.Updating:
		return status{code: "ProvisioningState/updating", level: "Info", display: "Updating"}
	case vmss.Deleting:
		return status{code: "ProvisioningState/deleting", level: "Info", display: "Deleting"}
	case vmss.Canceled:
		return status{"ProvisioningState/canceled", "Info", "Provisioning canceled", "", at}
	}
	return status{code: "ProvisioningState/creating", level: "Info", display: "Creating"}
}

// powerStatus is the status of a power state. ok is false for an instance that
// never reached its host, whether it is still to come or has failed.
func powerStatus(power vmss.PowerState) (s status, ok bool) {
	if power == vmss.PowerUnknown {
		return status{}, false
	}
	return status{code: "PowerState/" + string(power), level: "Info", display: "VM " + string(power)}, true
}

// provisioned is when the instance reached the state it is in, as far as is
// known.
func provisioned(row vmss.Instance, seen vmss.Observation) time.Time {
	if seen.Provisioned.IsZero() {
		return row.Created
	}
	return seen.Provisioned
}

// StatusCodes returns the codes of an instance's statuses, as its view shows
// them: the provisioning state and, once it is known, the power state.
func StatusCodes(row vmss.Instance, seen vmss.Observation) []string {
	state := vmss.Provisioning(row, seen)
	codes := []string{provisioningStatus(state, vmss.FailureOf(row, seen), time.Time{}).code}
	if power, ok := powerStatus(seen.Power); ok {
		codes = append(codes, power.code)
	}
	return codes
}

// agentStatus is what the guest agent says; ok is false while no guest runs.
func agentStatus(seen vmss.Observation) (s status, ok bool) {
	if seen.Power != vmss.PowerRunning {
		return status{}, false
	}
	if seen.Agent == "" {
		return status{"ProvisioningState/Unavailable", "Warning", "Not Ready", "The guest agent does not answer.", seen.PowerSince}, true
	}
	at := seen.Provisioned
	if at.IsZero() {
		at = seen.PowerSince
	}
	return status{"ProvisioningState/succeeded", "Info", "Ready", "Guest Agent is running", at}, true
}
