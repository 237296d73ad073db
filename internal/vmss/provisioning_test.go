package vmss_test

import (
	"testing"
	"time"

	"github.com/muster-vm/muster/internal/vmss"
)

func TestASetsStateFollowsFromItsOperations(t *testing.T) {
	put, create := vmss.Operation{Kind: vmss.OpPut}, vmss.Operation{Kind: vmss.OpPut, CreatesSet: true}
	failed := &vmss.Outcome{Status: vmss.OperationFailed, Finished: time.Unix(1, 0), Error: &vmss.OperationError{Code: "AllocationFailed", Message: "No room."}}
	for _, c := range []struct {
		name string
		set  vmss.ScaleSet
		open []vmss.Operation
		last *vmss.Outcome
		want vmss.ProvisioningState
	}{
		{"nothing ever happened", vmss.ScaleSet{}, nil, nil, vmss.Succeeded},
		{"its creation runs", vmss.ScaleSet{}, []vmss.Operation{create}, nil, vmss.Creating},
		{"an update came while it was being created", vmss.ScaleSet{}, []vmss.Operation{create, put}, nil, vmss.Creating},
		{"an update runs", vmss.ScaleSet{}, []vmss.Operation{put}, &vmss.Outcome{Status: vmss.OperationSucceeded}, vmss.Updating},
		{"an action runs", vmss.ScaleSet{}, []vmss.Operation{{Kind: vmss.OpRestart}}, nil, vmss.Updating},
		{"an update runs after a failed one", vmss.ScaleSet{}, []vmss.Operation{put}, failed, vmss.Updating},
		{"the last update succeeded", vmss.ScaleSet{}, nil, &vmss.Outcome{Status: vmss.OperationSucceeded}, vmss.Succeeded},
		{"the last update failed", vmss.ScaleSet{}, nil, failed, vmss.Failed},
		{"the last update was preempted", vmss.ScaleSet{}, nil, &vmss.Outcome{Status: vmss.OperationCanceled}, vmss.Succeeded},
		{"it is being deleted", vmss.ScaleSet{Deleting: true}, []vmss.Operation{create, {Kind: vmss.OpDelete}}, failed, vmss.Deleting},
	} {
		if got := vmss.SetProvisioning(c.set, c.open, c.last); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
		f := vmss.FailureOfSet(c.last)
		if (f != nil) != (c.last == failed) || f != nil && (f.Code != "AllocationFailed" || f.Message != "No room." || !f.Since.Equal(failed.Finished)) {
			t.Errorf("%s: got failure %+v", c.name, f)
		}
	}
}
