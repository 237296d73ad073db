package probe

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/muster-vm/muster/internal/network"
)

var midnight = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// answers draws answers, one a second.
func answers(t *rapid.T) []Answer {
	all := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Answer {
		return Answer{Reason: rapid.SampledFrom([]string{"", "", "connection refused", "status 503, wanted 200"}).Draw(t, "reason")}
	}), 1, 40).Draw(t, "answers")
	for i := range all {
		all[i].At = midnight.Add(time.Duration(i) * time.Second)
	}
	return all
}

// wellAfter says the same as next, by looking at all answers from the start.
func wellAfter(all []Answer, threshold int) (well bool, since time.Time) {
	well, since = all[0].Well(), all[0].At
	from := 1 // of the answers since the last change
	for i := 1; i < len(all); i++ {
		against := 0
		for j := i; j >= from && all[j].Well() != well; j-- {
			against++
		}
		if against >= threshold {
			well, since, from = !well, all[i].At, i+1
		}
	}
	return well, since
}

func TestTheFirstAnswerDecidesAndThresholdInARowChange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := answers(t)
		p := network.Probe{Threshold: rapid.IntRange(0, 5).Draw(t, "threshold")}
		var s State
		for i, a := range all {
			s = next(s, p, a)
			well, since := wellAfter(all[:i+1], max(1, p.Threshold))
			if !s.Known || s.Well != well || !s.Since.Equal(since) || s.Reason != a.Reason {
				t.Fatalf("after answer %d of %v: %+v, want well %v since %s", i, all, s, well, since)
			}
		}
	})
}

func TestHistoryIsTheLastAnswersInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := answers(t)
		var s State
		for _, a := range all {
			s = next(s, network.Probe{Threshold: 2}, a)
		}
		if diff := cmp.Diff(all[max(0, len(all)-kept):], s.History()); diff != "" {
			t.Errorf("(-given +kept):\n%s", diff)
		}
	})
	if got := (State{}).History(); len(got) > 0 {
		t.Errorf("a target that was not asked has answered %v", got)
	}
}

func TestNextLeavesTheStateBeforeAlone(t *testing.T) {
	before := next(State{}, network.Probe{Threshold: 1}, Answer{At: midnight})
	copied := before
	next(before, network.Probe{Threshold: 1}, Answer{At: midnight, Reason: "connection refused"})
	if diff := cmp.Diff(copied, before, cmp.AllowUnexported(State{})); diff != "" {
		t.Errorf("(-before +after):\n%s", diff)
	}
}
