package plan_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"pgregory.net/rapid"

	"github.com/muster-vm/muster/internal/disk"
	"github.com/muster-vm/muster/internal/plan"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/vmss"
)

// TestDiskScenarios plays a disk whose steps succeed or fail as the scenario says.
func TestDiskScenarios(t *testing.T) {
	datadriven.Walk(t, "testdata/disk", func(t *testing.T, path string) {
		w := newDiskWorld(disk.Managed)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			var s string
			switch d.Cmd {
			case "disk": // a new one
				w = newDiskWorld(disk.Managed)
				d.MaybeScanArgs(t, "size", &w.in.Disk.SizeGB)
				w.operate(vmss.OpPutDisk)
				return ""
			case "put":
				d.MaybeScanArgs(t, "size", &w.in.Disk.SizeGB)
				w.operate(vmss.OpPutDisk)
				return ""
			case "delete":
				w.in.Disk.Deleting = true
				w.operate(vmss.OpDeleteDisk)
				return ""
			case "lose":
				w.in.Present = false
				return ""
			case "find":
				w.in.Present = true
				return ""
			case "attach":
				w.in.Attachment, w.in.Holder = &disk.Attachment{Set: "web", Instance: 3}, plan.DiskHolder{Exists: true, Settled: true}
				return ""
			case "holder":
				w.in.Holder = plan.DiskHolder{Exists: !d.HasArg("gone"), Wanted: d.HasArg("wanted"), Listed: d.HasArg("listed"), Settled: d.HasArg("settled")}
				return ""
			case "wait":
				d.ScanArgs(t, "for", &s)
				after, err := time.ParseDuration(s)
				if err != nil {
					t.Fatal(err)
				}
				w.in.Now = w.in.Now.Add(after)
				return ""
			case "step":
				var err error
				if d.MaybeScanArgs(t, "fails", &s) {
					err = failures[s]
				}
				return w.step(err)
			}
			t.Fatalf("unknown command %q", d.Cmd)
			return ""
		})
	})
}

var failures = map[string]error{
	"checksum":    resource.Errorf(resource.Invalid, "ChecksumMismatch", "Another SHA-256."),
	"unavailable": resource.Errorf(resource.Unavailable, "FileUnavailable", "The server answers 503."),
	"full":        resource.Errorf(resource.Exhausted, "HostDiskFull", "No space."),
	"defect":      errors.New("secret"),
}

// diskWorld is a disk and whoever carries its plans out.
type diskWorld struct {
	in    plan.DiskInput
	gone  bool
	makes int
}

func newDiskWorld(kind disk.Kind) *diskWorld {
	return &diskWorld{in: plan.DiskInput{Now: epoch, Disk: disk.Disk{Kind: kind, SizeGB: 4}}}
}

func (w *diskWorld) operate(kind vmss.OperationKind) {
	w.in.Operations = append(w.in.Operations, vmss.Operation{Kind: kind, Sequence: int64(len(w.in.Operations) + 1)})
}

// step plans once, carries it out and says what happened.
func (w *diskWorld) step(err error) string {
	var out strings.Builder
	step := plan.Disk(w.in)
	fmt.Fprintf(&out, "%s: %s\n", orRest(step.Do), step.Why)
	switch step.Do {
	case plan.DiskRest:
	case plan.DiskRelease:
		w.in.Attachment = nil
		return out.String()
	default:
		made := disk.Made{}
		if err == nil && step.Do == plan.DiskMake {
			w.makes++
			made = disk.Made{SizeGB: w.in.Disk.SizeGB, Bytes: int64(w.in.Disk.SizeGB) << 30}
			w.in.Present = true
		}
		step = w.in.Done(step.Do, made, err)
	}
	w.in.State, w.gone = step.State, step.Gone
	if f := step.State.Failure; f != nil {
		fmt.Fprintf(&out, "failure %s, attempt %d: %s\n", f.Code, f.Attempts, f.Message)
	}
	for _, e := range step.Outcomes {
		fmt.Fprintf(&out, "%s ended: %s", e.Operation.Kind, e.Outcome.Status)
		if e.Outcome.Error != nil {
			fmt.Fprintf(&out, " (%s)", e.Outcome.Error.Code)
		}
		out.WriteByte('\n')
	}
	if len(step.Outcomes) > 0 {
		w.in.Operations = nil
	}
	if !step.WakeAt.IsZero() {
		fmt.Fprintf(&out, "wake after %v\n", step.WakeAt.Sub(w.in.Now))
	}
	fmt.Fprintf(&out, "ready=%t size=%d gone=%t\n", step.State.Ready, step.State.SizeGB, step.Gone)
	return out.String()
}

func orRest(a plan.DiskAction) string {
	if a == plan.DiskRest {
		return "rest"
	}
	return string(a)
}

// TestDisksKeepTheirLaws plays users, instances and accidents at random.
func TestDisksKeepTheirLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newDiskWorld(rapid.SampledFrom(disk.Kinds()).Draw(t, "kind"))
		w.operate(vmss.OpPutDisk)
		lost := false
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			switch rapid.IntRange(0, 12).Draw(t, "what") {
			case 0:
				w.operate(vmss.OpPutDisk)
			case 1:
				w.in.Disk.SizeGB += rapid.IntRange(0, 3).Draw(t, "more")
			case 2:
				if w.in.Attachment == nil { // the API refuses it otherwise
					w.in.Disk.Deleting = true
					w.operate(vmss.OpDeleteDisk)
				}
			case 3:
				w.in.Present, lost = false, lost || w.in.State.Bytes > 0
			case 4:
				w.in.Attachment, w.in.Holder = &disk.Attachment{}, plan.DiskHolder{Exists: true, Wanted: true}
			case 5:
				w.in.Holder = plan.DiskHolder{Exists: rapid.Bool().Draw(t, "exists"), Wanted: rapid.Bool().Draw(t, "wanted"),
					Listed: rapid.Bool().Draw(t, "listed"), Settled: rapid.Bool().Draw(t, "settled")}
			default:
				w.in.Now = w.in.Now.Add(time.Duration(rapid.IntRange(0, 400).Draw(t, "seconds")) * time.Second)
				w.lawfulStep(t, lost)
			}
			if w.gone {
				return
			}
		}
	})
}

func (w *diskWorld) lawfulStep(t *rapid.T, lost bool) {
	before := w.in
	step := plan.Disk(before)
	h := before.Holder
	switch {
	case step.Do == plan.DiskRemove && (!before.Disk.Deleting || before.Attachment != nil):
		t.Fatalf("%+v is removed", before)
	case step.Do == plan.DiskMake && (before.State.Ready || before.State.Bytes > 0):
		t.Fatalf("%+v is made again", before)
	case step.Do == plan.DiskRelease && h.Exists && (h.Wanted || h.Listed || !h.Settled):
		t.Fatalf("the attachment of %+v is released", h)
	case step.Do != plan.DiskRest && len(step.Outcomes) > 0:
		t.Fatalf("operations end before %s is done", step.Do)
	case step.Do == plan.DiskGrow && before.Disk.Kind != disk.Managed:
		t.Fatalf("a %s grows", before.Disk.Kind)
	}
	w.step(rapid.SampledFrom([]error{nil, nil, failures["checksum"], failures["unavailable"], failures["full"], failures["defect"]}).Draw(t, "fails"))
	if w.makes > 1 {
		t.Fatalf("it was made %d times", w.makes)
	}
	f := w.in.State.Failure
	if f != nil && !f.RetryAt.IsZero() && (f.RetryAt.Sub(w.in.Now) > 5*time.Minute || f.Code == "ChecksumMismatch" && !w.in.Disk.Deleting && before.State.Failure != f) {
		t.Fatalf("%+v is tried again at %v, now is %v", f, f.RetryAt, w.in.Now)
	}
	if f != nil && strings.Contains(f.Message, "secret") {
		t.Fatal("the text of a defect is shown")
	}
}

func TestBackOffGrowsAndIsCapped(t *testing.T) {
	w := newDiskWorld(disk.Managed)
	w.in.Disk.Deleting = true
	var last time.Duration
	for range 20 {
		done := w.in.Done(plan.DiskRemove, disk.Made{}, failures["unavailable"])
		wait := done.WakeAt.Sub(w.in.Now)
		if wait < last || wait > 5*time.Minute {
			t.Errorf("waits %v after %v", wait, last)
		}
		last, w.in.State, w.in.Now = wait, done.State, done.WakeAt
	}
	if last != 5*time.Minute {
		t.Errorf("the longest wait is %v", last)
	}
}
