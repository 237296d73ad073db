package probe

import (
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/muster-vm/muster/internal/network"
)

// member is the i-th target of a network, asked every 5 s.
func member(uid network.UID, i int) network.Target {
	return network.Target{Network: uid, Address: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}),
		Probe: network.Probe{Protocol: network.ProbeTCP, Port: 80, Interval: 5 * time.Second, Threshold: 2}}
}

func TestATargetIsAskedAtItsPlaceInEveryInterval(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		target := member("net", rapid.IntRange(0, 1<<16-1).Draw(t, "member"))
		every := time.Duration(rapid.Int64Range(int64(shortest), int64(time.Hour)).Draw(t, "interval"))
		target.Probe.Interval = every
		p, now := placeOf(target), midnight.Add(time.Duration(rapid.Int64Range(0, int64(24*time.Hour)).Draw(t, "now")))
		first := p.after(now, every)
		if d := first.Sub(now); d <= 0 || d > every {
			t.Errorf("asked after %s, interval %s", d, every)
		}
		if d := p.after(first, every).Sub(first); d != every {
			t.Errorf("asked again after %s, interval %s", d, every)
		}
		if p.delay < 0 || p.delay >= min(every, spread) || p.phase < 0 || p.phase >= every {
			t.Errorf("place %+v, interval %s", p, every)
		}
		if again := placeOf(target); again != p {
			t.Errorf("places of one target: %+v, %+v", p, again)
		}
	})
}

func TestManyTargetsAreSpreadEvenly(t *testing.T) {
	const targets, parts = 10_000, 10
	var delays, phases [parts]int
	for i := range targets {
		p := placeOf(member("net", i))
		delays[p.delay*parts/spread]++
		phases[p.phase*parts/(5*time.Second)]++
	}
	for _, counts := range [][parts]int{delays, phases} {
		for i, n := range counts {
			if n < targets/parts*8/10 || n > targets/parts*12/10 {
				t.Errorf("%d targets of %d in part %d of %d: %v", n, targets, i, parts, counts)
			}
		}
	}
}

func TestAnAnswerMayTakeTheIntervalButNotLongerThanHalfAMinute(t *testing.T) {
	for every, want := range map[time.Duration]time.Duration{0: shortest, time.Second: time.Second, 30 * time.Second: longest, time.Hour: longest} {
		if got := timeout(network.Probe{Interval: every}); got != want {
			t.Errorf("interval %s: %s, want %s", every, got, want)
		}
	}
}
