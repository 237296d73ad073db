package probe

import (
	"container/heap"
	"context"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/muster-vm/muster/internal/network"
)

const (
	// flights is how many questions may be open at once.
	flights = 512
	// pause is how long changes are gathered after some were told.
	pause = 50 * time.Millisecond
	// silence is how often it is logged that questions wait.
	silence = time.Minute
)

// Options is what a Prober needs. All members are needed.
type Options struct {
	// Dial connects to a member from the platform's address in its network. It ends
	// with its context.
	Dial func(ctx context.Context, uid network.UID, to netip.AddrPort) (net.Conn, error)
	// Changed hears of a network in which the state of a target changed. Changes
	// that come close together are told once.
	Changed func(network.UID)
	Log     *slog.Logger
}

// Prober asks targets. Make it with New; its methods are safe for concurrent use.
// It asks nothing before Run and after it.
type Prober struct {
	Options
	most int           // questions open at once
	wake chan struct{} // the queue has to be looked at again
	tell chan struct{} // there is something in changed

	mu       sync.Mutex
	networks map[network.UID]map[network.Target]*target
	waiting  queue
	sleep    time.Time // when the queue is looked at again by itself; zero for never
	changed  map[network.UID]struct{}
	tally    Tally
	full     time.Time // when a question last had to wait for others to end
	said     int64     // of tally.Waited, what the log has heard of
	silent   time.Time // since when there is something to say; zero if there is nothing
}

// target is one that is asked, or was until it was replaced.
type target struct {
	network.Target
	place place
	state State
	due   time.Time
	index int                // in the queue; nowhere while it is asked
	stop  context.CancelFunc // ends the open question; nil if there is none
	asked bool               // there was an answer, or nobody to ask
	gone  bool
}

const nowhere = -1

// Tally counts what a Prober does.
type Tally struct {
	Targets int           // that are asked
	Open    int           // questions, now
	Asked   int64         // questions, ever
	Waited  int64         // of them, those that came late because too many were open
	Late    time.Duration // the most that one ever came late
}

// New returns a prober that asks nothing yet.
func New(o Options) *Prober {
	return &Prober{
		Options: o, most: flights, wake: make(chan struct{}, 1), tell: make(chan struct{}, 1),
		networks: map[network.UID]map[network.Target]*target{}, changed: map[network.UID]struct{}{},
	}
}

// key is how a target is found: what only the name of the probe tells apart is
// asked once.
func key(t network.Target) network.Target {
	t.Probe.Name = ""
	return t
}

// question is what targets have in common that are asked the same, at other times.
func question(t network.Target) network.Target {
	t.Probe.Interval, t.Probe.Threshold = 0, 0
	return t
}

// Watch says what to ask in a network, instead of what was said before; nothing
// removes the network. Targets that stay keep their state; one that differs in
// interval or threshold only from one that goes takes that one's over.
func (p *Prober) Watch(uid network.UID, targets []network.Target) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.networks[uid]
	after := make(map[network.Target]*target, len(targets))
	var added []*target
	for _, t := range targets {
		t.Network = uid
		k := key(t)
		switch {
		case after[k] != nil:
		case before[k] != nil:
			after[k] = before[k]
		default:
			at := placeOf(k)
			after[k] = &target{Target: k, place: at, due: now.Add(at.delay)}
			added = append(added, after[k])
		}
	}
	left := map[network.Target]State{}
	for k, t := range before {
		if after[k] == nil {
			left[question(k)] = t.state
			p.drop(t)
		}
	}
	for _, t := range added {
		t.state = left[question(t.Target)]
		t.state.against, t.asked = 0, t.state.Known
		heap.Push(&p.waiting, t)
	}
	p.tally.Targets += len(after) - len(before)
	p.networks[uid] = after
	if len(after) == 0 {
		delete(p.networks, uid)
		delete(p.changed, uid)
	}
	p.look()
}

// drop lets go of a target. What is answered to an open question does not count.
func (p *Prober) drop(t *target) {
	t.gone = true
	if t.index != nowhere {
		heap.Remove(&p.waiting, t.index)
	}
	if t.stop != nil {
		t.stop()
	}
}

// look has the queue looked at if its first target is due before that happens by
// itself.
func (p *Prober) look() {
	if len(p.waiting) > 0 && (p.sleep.IsZero() || p.waiting[0].due.Before(p.sleep)) {
		poke(p.wake)
	}
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Healthy is what a target's state says: whether it is well, and whether it was
// asked at all.
func (p *Prober) Healthy(t network.Target) (well, known bool) {
	s, _ := p.State(t)
	return s.Well, s.Known
}

// State returns a target's state; false if it is not asked.
func (p *Prober) State(t network.Target) (State, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	found := p.networks[t.Network][key(t)]
	if found == nil {
		return State{}, false
	}
	return found.state, true
}

// Known reports whether every target of the network was asked at least once; true
// if there is none. Whoever waits for it hears of it by Changed.
func (p *Prober) Known(uid network.UID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range p.networks[uid] {
		if !t.asked {
			return false
		}
	}
	return true
}

// Tally returns what was done so far.
func (p *Prober) Tally() Tally {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.tally
}
