package qemu

import (
	"time"

	"github.com/muster-vm/muster/internal/host/compute"
)

// phase is how far the making or unmaking of a machine is.
type phase string

const (
	creating phase = "creating" // Create has begun: to made, deleting
	made     phase = "made"     // to deleting
	deleting phase = "deleting" // Delete has begun: to nothing
)

// record is what is known of a machine across restarts, and its file's
// content.
type record struct {
	Spec      compute.Spec
	Hash      string
	Fit       string // of the spec whose disks and limits it has; another than the Spec's while they change
	Phase     phase
	Disposal  compute.Disposal `json:",omitempty"` // with phase deleting
	Agentless bool             `json:",omitempty"` // the image has no guest agent

	goal
	Ran    int64 // the last run that was started
	Booted int64 // the boot number that was carried out

	Ready     int64  `json:",omitempty"` // the run in which the guest reported ready
	Agent     string `json:",omitempty"`
	OSName    string `json:",omitempty"`
	OSVersion string `json:",omitempty"`

	State compute.State // as last seen, since when
	Since time.Time
	Fault string `json:",omitempty"`
}

// goal is what was asked for. QEMU processes of a machine are counted, so that
// a restart is the wish for the next one.
type goal struct {
	Power    compute.State // Running, Stopped or Deallocated
	Run      int64         // the process that shall be, with Running
	Boots    int64         // the boot number
	Graceful bool          `json:",omitempty"` // ask the guest to go before Deadline
	Deadline time.Time
}

// step is the next thing to do with a machine that is made.
type step int

const (
	rest  step = iota // nothing now
	ask               // ask the guest to shut down
	cut               // end the process
	start             // start the process of number Run
)

// next decides what a machine needs. alive is the number of the run whose
// process exists, 0 for none; asked says whether that guest was asked to shut
// down. wake is when time alone could change the answer.
func next(r record, alive int64, asked bool, now time.Time) (do step, wake time.Time) {
	running := r.Power == compute.Running
	switch {
	case r.Phase != made:
		return rest, time.Time{}
	case alive == 0 && running && r.Ran < r.Run:
		return start, time.Time{}
	case alive == 0 || running && alive == r.Run:
		return rest, time.Time{}
	case !r.Graceful || !now.Before(r.Deadline):
		return cut, time.Time{}
	case !asked:
		return ask, r.Deadline
	}
	return rest, r.Deadline
}

// settled reports whether what was asked for is carried out. A process that
// ended by itself was carried out, too.
func settled(r record, alive int64) bool {
	if r.Power == compute.Running {
		return r.Ran == r.Run && (alive == 0 || alive == r.Run)
	}
	return alive == 0
}

// stateOf tells what a machine is doing.
func stateOf(r record, alive int64) compute.State {
	switch {
	case r.Phase != made:
		return compute.Incomplete
	case r.Power != compute.Running && alive == 0:
		return r.Power
	case r.Power != compute.Running, alive != 0 && alive != r.Run:
		return compute.Stopping
	case alive != 0 && (r.Agentless || r.Ready == r.Run):
		return compute.Running
	case alive != 0:
		return compute.Starting
	case r.Ran == r.Run:
		return compute.Stopped
	case r.Fault == "":
		return compute.Starting
	case r.Ran == 0:
		return compute.Incomplete // it could not be started even once
	}
	return compute.Stopped
}

// powered returns the goal after a power request. A request is taken in once:
// asking again for the same changes nothing but lets a hurry through.
func powered(r record, alive int64, want compute.Power, now time.Time) goal {
	g := r.goal
	g.Power = want.Want
	g.Boots = max(r.Boots, want.Boots)
	if want.Want == compute.Running {
		stopping := r.Power != compute.Running && alive != 0
		ended := alive == 0 && r.Ran == r.Run
		if stopping || ended || want.Boots > r.Boots {
			g.Run = max(r.Run, r.Ran) + 1
		}
	}
	asStops := (want.Want == compute.Running) == (r.Power == compute.Running)
	if g.Run == r.Run && asStops {
		g.Graceful = r.Graceful && want.Graceful
		return g
	}
	g.Graceful, g.Deadline = want.Graceful, now.Add(want.Grace)
	return g
}
