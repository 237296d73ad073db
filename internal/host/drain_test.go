package host_test

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/muster-vm/muster/internal/host"
	"github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/vmss"
)

func TestAMemberThatLeavesWaitsForItsConnectionsUntilTheirTimeIsOver(t *testing.T) {
	for what, edit := range map[string]func(*vmss.Instance){
		"delete":     func(r *vmss.Instance) { r.Deleting = true },
		"stop":       func(r *vmss.Instance) { r.Power, r.Graceful = vmss.PowerStopped, true },
		"deallocate": func(r *vmss.Instance) { r.Power, r.Graceful = vmss.PowerDeallocated, true },
		"restart":    func(r *vmss.Instance) { r.Boots, r.Graceful = 2, true },
		"reimage":    func(r *vmss.Instance) { r.Disks++ },
		"upgrade":    func(r *vmss.Instance) { r.Revision = 5 }, // out of the pool
	} {
		inNetwork(t, func(t *testing.T, s *stage, w *wired) {
			s.runModel(0, 7)
			s.calls.take()
			w.connect("10.1.0.4", 2)
			begin := time.Now()
			s.change(0, edit)
			time.Sleep(59 * time.Second) // its pool gives a minute
			s.expect(what + " while it drains")
			if cut, seen := w.cuts(), s.seen(0); len(cut) > 0 || seen.Power != vmss.PowerRunning || seen.Failure != nil || seen.DrainUntil.Sub(begin).Round(time.Second) != time.Minute {
				t.Errorf("%s: while it drains %v is cut and it is seen as %+v", what, cut, seen)
			}
			time.Sleep(3 * time.Second)
			if calls, _ := s.calls.take(); len(calls) == 0 {
				t.Errorf("%s: seconds after its time nothing has been done", what)
			}
			if cut := w.cuts(); !slices.Equal(cut, []string{"10.1.0.4"}) {
				t.Errorf("%s: %v is cut, want what is left, once", what, cut)
			}
			if seen := s.settle(0); !seen.DrainUntil.IsZero() {
				t.Errorf("%s: in the end it is said to drain until %v", what, seen.DrainUntil)
			}
		})
	}
}

func TestAMemberWhoseConnectionsEndGoesSoonAfter(t *testing.T) {
	inNetwork(t, func(_ *testing.T, s *stage, w *wired) {
		s.runModel(0, 7)
		s.calls.take()
		w.connect("10.1.0.4", 2)
		s.change(0, func(r *vmss.Instance) { r.Deleting = true })
		time.Sleep(10 * time.Second)
		w.connect("10.1.0.4", 0)
		time.Sleep(3 * time.Second)
		s.expect("after the last has ended", "power 0.1 stopped boots 1 gracefully")
	})
}

func TestWhoHasNoConnectionsOrIsForcedDoesNotWait(t *testing.T) {
	inNetwork(t, func(_ *testing.T, s *stage, w *wired) {
		s.runModel(0, 7)
		s.runModel(1, 7)
		s.runModel(2, 5) // in no pool
		s.run(3)         // in no network
		s.calls.take()
		w.connect("10.1.0.5", 2)
		w.connect("10.1.1.4", 2)
		for id := range vmss.InstanceID(4) {
			s.change(id, func(r *vmss.Instance) { r.Deleting, r.Force = true, id == 1 })
		}
		time.Sleep(time.Second)
		s.expect("at once", "power 0.1 stopped boots 1 gracefully", "delete 1.1 all", "delete 1.1 all", "power 2.1 stopped boots 1 gracefully", "power 3.1 stopped boots 1 gracefully")
	})
}

func TestAMemberThatStaysAfterAllDrainsAnewWhenItLeaves(t *testing.T) {
	inNetwork(t, func(_ *testing.T, s *stage, w *wired) {
		s.runModel(0, 7)
		s.calls.take()
		w.connect("10.1.0.4", 2)
		for range 3 {
			s.change(0, func(r *vmss.Instance) { r.Power, r.Graceful = vmss.PowerStopped, true })
			time.Sleep(50 * time.Second)
			s.change(0, func(r *vmss.Instance) { r.Power = vmss.PowerRunning })
			s.settle(0)
		}
		s.change(0, func(r *vmss.Instance) { r.Power = vmss.PowerStopped })
		time.Sleep(50 * time.Second)
		s.stop()
		s.start()
		time.Sleep(50 * time.Second)
		s.expect("before a minute of one server is over")
		s.settle(0)
		s.expect("after it", "power 0.1 stopped boots 1 gracefully")
	})
}

func TestTheLogSaysOnceThatAnInstanceDrainsAndOnceThatItHas(t *testing.T) {
	inNetwork(t, func(t *testing.T, s *stage, w *wired) {
		s.stop()
		tune, log := s.tune, &lines{}
		s.tune = func(o *host.Options) { tune(o); o.Log = slog.New(slog.NewTextHandler(log, nil)) }
		s.start()
		s.runModel(0, 7)
		w.connect("10.1.0.4", 2)
		s.change(0, func(r *vmss.Instance) { r.Deleting = true })
		s.settle(0)
		if begun, ended := log.count("drain instance", `reason="2 connections drain until `), log.count("instance has drained", "connections_cut=2"); begun != 1 || ended != 1 {
			t.Errorf("it began %d times and ended %d times:\n%s", begun, ended, log.text.String())
		}
	})
}

// lines is a log.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// count returns how many lines have all the words.
func (l *lines) count(words ...string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.text.String()) {
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
			n++
		}
	}
	return n
}

func TestAMemberIsCountedOnceBalancersKnowThatItLeaves(t *testing.T) {
	inNetwork(t, func(_ *testing.T, s *stage, w *wired) {
		s.stop()
		tune := s.tune
		slow := make(chan struct{})
		s.tune = func(o *host.Options) {
			tune(o)
			o.Settle = func(context.Context, network.UID) error {
				_ = w.Settle(context.Background(), "")
				<-slow
				return nil
			}
		}
		s.start()
		go func() { slow <- struct{}{} }() // for its making
		s.runModel(0, 7)
		s.calls.take()
		s.change(0, func(r *vmss.Instance) { r.Deleting = true })
		time.Sleep(5 * time.Second)
		s.expect("before they know")
		w.connect("10.1.0.4", 1) // the last that they let through
		close(slow)
		time.Sleep(5 * time.Second)
		s.expect("then")
		w.connect("10.1.0.4", 0)
		time.Sleep(3 * time.Second)
		s.expect("at the end", "power 0.1 stopped boots 1 gracefully")
	})
}
