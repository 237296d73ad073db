package probe

import (
	"time"

	"github.com/muster-vm/muster/internal/network"
)

// kept is how many answers a State remembers.
const kept = 8

// State is what the answers of a target say. The zero State is that of a target
// which was not asked yet.
type State struct {
	Well   bool
	Known  bool      // it was asked at least once
	Since  time.Time // since when it is as Well says
	Reason string    // what was wrong with the last answer; empty if nothing was

	against int // answers in a row, up to the last one, that disagree with Well
	answers [kept]Answer
	asked   int // how many answers there ever were
}

// Answer is what came of one question.
type Answer struct {
	At     time.Time // when it was known
	Took   time.Duration
	Reason string // what was wrong; empty for the answer of a target that is well
}

// Well reports whether it is the answer of a target that is well.
func (a Answer) Well() bool { return a.Reason == "" }

// History returns the last answers, at most eight, the oldest first.
func (s State) History() []Answer {
	n := min(s.asked, kept)
	all := make([]Answer, 0, n)
	for i := s.asked - n; i < s.asked; i++ {
		all = append(all, s.answers[i%kept])
	}
	return all
}

// Probed tells what is known of a target.
func (p *Prober) Probed(t network.Target) network.Probed {
	s, _ := p.State(t)
	out := network.Probed{Well: s.Well, Known: s.Known, Since: s.Since, Reason: s.Reason}
	for _, a := range s.History() {
		out.Answers = append(out.Answers, network.Answer(a))
	}
	return out
}

// next is the state after an answer. The first one decides; afterwards it takes as
// many in a row as the probe's threshold says to change it.
//
// Source: https://learn.microsoft.com/azure/load-balancer/load-balancer-custom-probe-overview
func next(s State, p network.Probe, a Answer) State {
	s.answers[s.asked%kept] = a
	s.asked++
	s.Reason = a.Reason
	s.against++
	if a.Well() == s.Well && s.Known {
		s.against = 0
	}
	if !s.Known || s.against >= max(1, p.Threshold) {
		s.Known, s.Well, s.Since, s.against = true, a.Well(), a.At, 0
	}
	return s
}
