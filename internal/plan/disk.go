package plan

import (
	"fmt"
	"time"

	"github.com/muster-vm/muster/internal/disk"
	"github.com/muster-vm/muster/internal/vmss"
)

// DiskInput is everything that the disk planner looks at.
type DiskInput struct {
	Now        time.Time
	Disk       disk.Disk
	State      disk.State
	Present    bool             // the content that State speaks of is there
	Attachment *disk.Attachment // nil if no instance has the disk
	Holder     DiskHolder       // the instance of Attachment
	Operations []vmss.Operation // without outcome, in order
}

// DiskHolder is what is known of the instance that has a disk.
type DiskHolder struct {
	Exists  bool // it has a row
	Wanted  bool // its customization lists the disk
	Listed  bool // its row lists the disk
	Settled bool // its host has carried the row out
}

// released reports whether the instance has let go of the disk for good.
func (h DiskHolder) released() bool { return !h.Exists || !h.Wanted && !h.Listed && h.Settled }

// DiskAction is what a DiskStep does.
type DiskAction string

// The actions. At most one call of the vault each.
const (
	DiskRest    DiskAction = ""
	DiskMake    DiskAction = "make"
	DiskGrow    DiskAction = "grow"
	DiskRemove  DiskAction = "remove"  // the content, and then the record
	DiskRelease DiskAction = "release" // the attachment of an instance that has let go
)

// DiskStep is what is done next for one disk: what Do says, or else State and
// Outcomes are written.
type DiskStep struct {
	Do       DiskAction
	Why      string // for the log
	State    disk.State
	Outcomes []Ended
	Gone     bool      // the record goes
	WakeAt   time.Time // when time alone changes the answer; zero if never
}

// LostCode is the code of the failure of a disk whose content was made and is not
// there any more.
const LostCode = "DiskContentMissing"

// Disk plans the next step for one disk.
func Disk(in DiskInput) DiskStep {
	s, f := in.State, in.State.Failure
	switch {
	case in.Attachment != nil && in.Holder.released():
		return DiskStep{Do: DiskRelease, State: s, Why: "its instance has let go of it"}
	case in.Disk.Deleting && in.Attachment != nil:
		return DiskStep{State: s, Why: fmt.Sprintf("instance %d has it attached", in.Attachment.Instance)}
	case f != nil && in.Now.Before(f.RetryAt):
		return DiskStep{State: s, Why: "trying again later after " + f.Code, WakeAt: f.RetryAt}
	case in.Disk.Deleting:
		return DiskStep{Do: DiskRemove, State: s, Why: "its delete was asked for"}
	case s.Bytes > 0 && !in.Present:
		return in.lost()
	case s.Bytes > 0 && !s.Ready:
		s.Ready, s.Failure = true, nil
		return DiskStep{State: s, Why: "its content is there again"}
	case f != nil && f.RetryAt.IsZero() && len(in.Operations) == 0:
		return DiskStep{State: s, Why: "trying again would not help after " + f.Code}
	case !s.Ready:
		return DiskStep{Do: DiskMake, State: s, Why: "it has no content yet"}
	case in.Disk.Kind == disk.Managed && in.Disk.SizeGB > s.SizeGB:
		return DiskStep{Do: DiskGrow, State: s, Why: "a larger size is wanted"}
	}
	s.Failure = nil
	return DiskStep{State: s, Outcomes: in.ended(vmss.OperationSucceeded, nil)}
}

// lost says that a content is missing. It is never made again: what was in it
// would silently be something else.
func (in DiskInput) lost() DiskStep {
	s := in.State
	if s.Ready || s.Failure == nil {
		s.Failure = &disk.Failure{Code: LostCode, Since: in.Now, Attempts: 1,
			Message: "The content was made and is not on this machine any more: somebody removed it, or the records were restored from a backup, " +
				"which has no contents. Put its file back, or delete the resource and create it again."}
	}
	s.Ready = false
	return DiskStep{State: s, Outcomes: in.failed(s.Failure), Why: "its content is missing"}
}

// Done returns what is to be written after the call of a step has ended.
func (in DiskInput) Done(do DiskAction, made disk.Made, err error) DiskStep {
	s := in.State
	switch {
	case err != nil:
		s.Failure = diskFailure(s.Failure, err, do == DiskRemove, in.Now)
		step := DiskStep{State: s, WakeAt: s.Failure.RetryAt}
		if s.Failure.Counts() {
			step.Outcomes = in.failed(s.Failure)
		}
		return step
	case do == DiskRemove:
		return DiskStep{State: s, Gone: true, Outcomes: in.ended(vmss.OperationSucceeded, nil)}
	case do == DiskGrow:
		s.SizeGB, s.Bytes, s.Grown = in.Disk.SizeGB, int64(in.Disk.SizeGB)<<30, in.Now
	case do == DiskMake:
		s.Ready, s.SizeGB, s.Bytes, s.Digest = true, made.SizeGB, made.Bytes, made.Digest
	}
	s.Failure = nil
	return DiskStep{State: s}
}

// failed ends the operations that wait for what does not come about.
func (in DiskInput) failed(f *disk.Failure) []Ended {
	return in.ended(vmss.OperationFailed, &vmss.OperationError{Code: f.Code, Message: f.Message})
}

// ended ends every operation. One that a delete has overtaken is canceled.
func (in DiskInput) ended(status vmss.OperationStatus, err *vmss.OperationError) (all []Ended) {
	for _, op := range in.Operations {
		end := vmss.Outcome{Status: status, Finished: in.Now, Error: err}
		if in.Disk.Deleting && op.Kind != vmss.OpDeleteDisk {
			end.Status = vmss.OperationCanceled
			end.Error = &vmss.OperationError{Code: "OperationPreempted", Message: "The resource was deleted before this was done."}
		}
		all = append(all, Ended{op, end})
	}
	return all
}
