package probe

import (
	"bytes"
	"context"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/resource"
)

// members are what a prober of a test dials: each is well unless something else is
// said of its address.
type members struct {
	mu     sync.Mutex
	fail   map[netip.Addr]error
	slow   time.Duration // until a connection is there
	dialed map[netip.Addr][]time.Time
	open   int
	most   int // that were open at once
	told   []network.UID
}

func (m *members) dial(ctx context.Context, _ network.UID, to netip.AddrPort) (net.Conn, error) {
	m.mu.Lock()
	m.dialed[to.Addr()] = append(m.dialed[to.Addr()], time.Now())
	m.open++
	m.most = max(m.most, m.open)
	err, slow := m.fail[to.Addr()], m.slow
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		m.open--
		m.mu.Unlock()
	}()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(slow):
	}
	if err != nil {
		return nil, err
	}
	near, far := net.Pipe()
	far.Close()
	return near, nil
}

// answer says how a member answers from now on; nil is well.
func (m *members) answer(i int, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail[member("", i).Address] = err
}

func (m *members) times(i int) []time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.dialed[member("", i).Address])
}

func (m *members) slowly(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.slow = d
}

// heard returns which networks changed since it was last called.
func (m *members) heard() []network.UID {
	m.mu.Lock()
	defer m.mu.Unlock()
	told := m.told
	m.told = nil
	return told
}

// probing runs a test with a running prober, in a bubble.
func probing(t *testing.T, test func(t *testing.T, p *Prober, m *members, log *bytes.Buffer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m := &members{fail: map[netip.Addr]error{}, dialed: map[netip.Addr][]time.Time{}}
		log := &bytes.Buffer{}
		p := New(Options{Dial: m.dial, Log: slog.New(slog.NewTextHandler(log, nil)), Changed: func(uid network.UID) {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.told = append(m.told, uid)
		}})
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { p.Run(ctx) })
		test(t, p, m, log)
		cancel()
		running.Wait()
	})
}

func (p *Prober) queued() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.waiting)
}

// pass lets time pass, and what happens in it come to an end.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func first(uid network.UID, n int) (all []network.Target) {
	for i := range n {
		all = append(all, member(uid, i))
	}
	return all
}

func TestEachTargetIsAskedAtOnceAndEveryInterval(t *testing.T) {
	probing(t, func(t *testing.T, p *Prober, m *members, _ *bytes.Buffer) {
		begin := time.Now()
		p.Watch("net", first("net", 200))
		if p.Known("net") {
			t.Error("targets that were not asked are known")
		}
		pass(spread)
		if !p.Known("net") || p.Tally().Asked < 200 {
			t.Errorf("not all were asked within %s", spread)
		}
		pass(time.Minute)
		for i := range 200 {
			times := m.times(i)
			if n := len(times); n < 13 || n > 14 {
				t.Errorf("member %d was asked %d times in 61 s", i, n)
			}
			if d := times[0].Sub(begin); d != placeOf(member("net", i)).delay {
				t.Errorf("member %d was asked after %s", i, d)
			}
			for j := range times[2:] {
				if d := times[j+2].Sub(times[j+1]); d != 5*time.Second {
					t.Errorf("member %d was asked again after %s", i, d)
				}
			}
			if well, known := p.Healthy(member("net", i)); !well || !known {
				t.Errorf("member %d: well %v, known %v", i, well, known)
			}
		}
		if got := p.Tally(); got.Targets != 200 || got.Open != 0 || got.Waited != 0 || got.Late != 0 {
			t.Errorf("tally %+v", got)
		}
	})
}

func TestAChangeIsToldOnceAfterTheThreshold(t *testing.T) {
	probing(t, func(t *testing.T, p *Prober, m *members, _ *bytes.Buffer) {
		p.Watch("a", first("a", 100))
		p.Watch("b", []network.Target{member("b", 200)})
		pass(10 * time.Second)
		if told := m.heard(); len(told) > 2*int(spread/pause)+2 || !slices.Contains(told, "a") || !slices.Contains(told, "b") {
			t.Errorf("101 first answers were told %d times", len(told))
		}
		m.answer(7, syscall.ECONNREFUSED)
		pass(5 * time.Second)
		if well, _ := p.Healthy(member("a", 7)); !well || len(m.heard()) > 0 {
			t.Error("one failure changed a state that takes two")
		}
		pass(5 * time.Second)
		s, ok := p.State(member("a", 7))
		if !ok || s.Well || s.Reason != "connection refused" || !s.Since.Equal(m.times(7)[len(m.times(7))-1]) {
			t.Errorf("after two failures: %+v", s)
		}
		if told := m.heard(); !slices.Equal(told, []network.UID{"a"}) {
			t.Errorf("told %v", told)
		}
		pass(time.Minute)
		if told := m.heard(); len(told) > 0 {
			t.Errorf("nothing changed, and told %v", told)
		}
	})
}

func TestASilentMemberFailsAfterTheInterval(t *testing.T) {
	probing(t, func(t *testing.T, p *Prober, m *members, _ *bytes.Buffer) {
		m.slowly(time.Hour)
		p.Watch("net", first("net", 1))
		pass(placeOf(member("net", 0)).delay + 5*time.Second)
		s, _ := p.State(member("net", 0))
		if !s.Known || s.Well || s.Reason != "no answer within 5s" || s.History()[0].Took != 5*time.Second {
			t.Errorf("%+v", s)
		}
		pass(time.Minute)
		if n := len(m.times(0)); n < 12 || n > 14 {
			t.Errorf("asked %d times in a minute", n)
		}
	})
}

func TestTargetsThatStayKeepTheirState(t *testing.T) {
	probing(t, func(t *testing.T, p *Prober, m *members, _ *bytes.Buffer) {
		p.Watch("net", first("net", 3))
		pass(time.Minute)
		before, _ := p.State(member("net", 1))
		m.answer(1, syscall.ECONNREFUSED) // but it is not asked again before this:
		named := member("net", 1)
		named.Probe.Name = "another"
		p.Watch("net", []network.Target{named, member("net", 1), member("net", 9)})
		after, ok := p.State(member("net", 1))
		if !ok || after != before || p.Tally().Targets != 2 {
			t.Errorf("%+v of %+v, tally %+v", after, before, p.Tally())
		}
		if _, ok := p.State(member("net", 0)); ok || p.Known("net") {
			t.Errorf("a target that went has a state (%v), or a new one is known", ok)
		}
		pass(time.Minute)
		if well, known := p.Healthy(member("net", 9)); !well || !known {
			t.Error("the new target was not asked")
		}
		asked := p.Tally().Asked
		p.Watch("net", nil)
		pass(time.Minute)
		if got := p.Tally(); got.Asked != asked || got.Targets != 0 || !p.Known("net") {
			t.Errorf("a network that was removed: %+v after %d", got, asked)
		}
	})
}

func TestAnotherIntervalOrThresholdKeepsTheStateAndAnotherPortDoesNot(t *testing.T) {
	probing(t, func(t *testing.T, p *Prober, m *members, _ *bytes.Buffer) {
		p.Watch("net", first("net", 1))
		pass(10 * time.Second)
		m.slowly(time.Hour)
		m.heard()
		same, other := member("net", 0), member("net", 0)
		same.Probe.Interval, same.Probe.Threshold = time.Minute, 1
		other.Probe.Port = 81
		p.Watch("net", []network.Target{same, other})
		if well, known := p.Healthy(same); !well || !known {
			t.Errorf("another interval: well %v, known %v", well, known)
		}
		if well, known := p.Healthy(other); well || known || p.Known("net") {
			t.Errorf("another port: well %v, known %v", well, known)
		}
		if !slices.Equal(m.heard(), nil) {
			t.Error("the caller of Watch was told of what it did")
		}
	})
}

func TestAnAnswerToWhatWasReplacedDoesNotCount(t *testing.T) {
	probing(t, func(t *testing.T, p *Prober, m *members, _ *bytes.Buffer) {
		m.slowly(4 * time.Second)
		m.answer(0, syscall.ECONNREFUSED)
		p.Watch("net", first("net", 1))
		pass(time.Second)
		if got := p.Tally(); got.Open != 1 {
			t.Fatalf("no question is open: %+v", got)
		}
		p.Watch("net", nil)
		synctest.Wait()
		if got := p.Tally(); got.Open != 0 {
			t.Errorf("the question is still open: %+v", got)
		}
		m.slowly(0)
		m.answer(0, nil)
		p.Watch("net", first("net", 1))
		pass(10 * time.Second)
		if s, _ := p.State(member("net", 0)); !s.Well || len(m.heard()) != 1 || slices.ContainsFunc(s.History(), func(a Answer) bool { return !a.Well() }) {
			t.Errorf("%+v", s)
		}
	})
}

func TestANetworkThatIsNotThereAnswersNothing(t *testing.T) {
	probing(t, func(t *testing.T, p *Prober, m *members, _ *bytes.Buffer) {
		m.answer(0, resource.Errorf(resource.NotFound, "", "The network net is not there."))
		p.Watch("net", first("net", 1))
		pass(time.Second)
		s, _ := p.State(member("net", 0))
		if s.Known || s.Reason != "The network net is not there." || !p.Known("net") || len(m.heard()) != 1 {
			t.Errorf("known %v, %+v", p.Known("net"), s)
		}
		m.answer(0, nil)
		pass(5 * time.Second)
		if well, known := p.Healthy(member("net", 0)); !well || !known || len(m.heard()) != 1 {
			t.Errorf("well %v, known %v by the first answer", well, known)
		}
	})
}

func TestTooManyOpenQuestionsWaitAndTheLogSaysSo(t *testing.T) {
	probing(t, func(t *testing.T, p *Prober, m *members, log *bytes.Buffer) {
		p.most = 10
		m.slowly(time.Second)
		p.Watch("net", first("net", 100)) // which takes 10 s
		pass(time.Minute)
		if m.most != 10 {
			t.Errorf("%d questions were open at once", m.most)
		}
		if got := p.Tally(); got.Waited < 100 || got.Asked < 500 || got.Late < 5*time.Second {
			t.Errorf("tally %+v", got)
		}
		pass(9 * time.Minute)
		if n := strings.Count(log.String(), "health probes came late"); n < 9 || n > 10 {
			t.Errorf("the log says it %d times in ten minutes:\n%s", n, log)
		}
		for i := range 100 {
			if n := len(m.times(i)); n < 50 || n > 62 {
				t.Errorf("member %d was asked %d times in ten minutes", i, n)
			}
		}
		m.slowly(0)
		pass(10 * time.Second)
		before := p.Tally().Waited
		pass(time.Minute)
		if got := p.Tally(); got.Waited != before {
			t.Errorf("%d waited with room for all", got.Waited-before)
		}
	})
}

func TestNothingIsLeftOfAProberThatWasStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // which fails if a goroutine stays
		m := &members{fail: map[netip.Addr]error{}, dialed: map[netip.Addr][]time.Time{}, slow: time.Hour}
		p := New(Options{Dial: m.dial, Changed: func(network.UID) { t.Error("stopping is a change") }, Log: slog.New(slog.DiscardHandler)})
		p.Watch("net", first("net", 50))
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			time.Sleep(2 * time.Second)
			cancel()
		}()
		p.Run(ctx)
		if got := p.Tally(); got.Open != 0 || got.Asked != 50 || p.Known("net") {
			t.Errorf("tally %+v, known %v", got, p.Known("net"))
		}
	})
}

// TestWhateverIsWatchedIsAskedAndNothingElse replaces, at random times and while
// questions are open, what is watched.
func TestWhateverIsWatchedIsAskedAndNothingElse(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		seed := rapid.Uint64().Draw(r, "seed")
		probing(t, func(t *testing.T, p *Prober, m *members, _ *bytes.Buffer) {
			random := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // the same for the same seed
			p.most = 1 + random.IntN(5)
			watched := map[network.UID][]network.Target{}
			for range 30 {
				m.slowly(time.Duration(random.IntN(1500)) * time.Millisecond)
				m.answer(random.IntN(10), []error{nil, syscall.ECONNREFUSED}[random.IntN(2)])
				uid := []network.UID{"a", "b"}[random.IntN(2)]
				watched[uid] = nil
				for i := range 10 {
					if random.IntN(2) == 0 {
						watched[uid] = append(watched[uid], member(uid, i))
					}
				}
				p.Watch(uid, watched[uid])
				pass(time.Duration(random.IntN(7000)) * time.Millisecond)
				if got, waiting := p.Tally(), p.queued(); got.Targets != len(watched["a"])+len(watched["b"]) || got.Open > p.most || waiting > got.Targets {
					t.Fatalf("tally %+v, %d wait", got, waiting)
				}
			}
			m.slowly(0)
			pass(20 * time.Second)
			for _, target := range slices.Concat(watched["a"], watched["b"]) {
				well, known := p.Healthy(target)
				if want := m.fail[target.Address] == nil; well != want || !known {
					t.Errorf("%s: well %v, known %v", target.Address, well, known)
				}
			}
		})
	})
}
