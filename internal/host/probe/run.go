package probe

import (
	"container/heap"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/muster-vm/muster/internal/resource"
)

// Run asks until ctx is done, and returns once no question is open any more.
func (p *Prober) Run(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	all.Go(func() { p.announce(ctx) })
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		if d, ok := p.begin(ctx, &all); ok {
			timer.Reset(d)
		} else {
			timer.Stop()
		}
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-p.wake:
		}
	}
}

// begin asks all targets that are due, as far as there is room, and returns how
// long nothing else has to be done; false if that is until it is woken.
func (p *Prober) begin(ctx context.Context, all *sync.WaitGroup) (time.Duration, bool) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.complain(ctx, now)
	p.sleep = time.Time{}
	for len(p.waiting) > 0 {
		t := p.waiting[0]
		if t.due.After(now) {
			p.sleep = t.due
			return t.due.Sub(now), true
		}
		if p.tally.Open >= p.most {
			p.full = now
			break // the end of an open question wakes
		}
		heap.Pop(&p.waiting)
		if !t.due.After(p.full) {
			p.tally.Waited++
		}
		p.tally.Open++
		p.tally.Asked++
		p.tally.Late = max(p.tally.Late, now.Sub(t.due))
		var own context.Context
		own, t.stop = context.WithTimeout(ctx, timeout(t.Probe))
		all.Go(func() { p.ask(own, t) })
	}
	return 0, false
}

// complain has the log say, not too often, that questions wait.
func (p *Prober) complain(ctx context.Context, now time.Time) {
	switch {
	case p.tally.Waited == p.said:
	case p.silent.IsZero():
		p.silent = now
	case now.Sub(p.silent) >= silence:
		p.Log.WarnContext(ctx, "health probes came late because too many were open", "late", p.tally.Waited-p.said, "most", p.most, "targets", p.tally.Targets)
		p.said, p.silent = p.tally.Waited, time.Time{}
	}
}

// ask asks a target once and takes its answer in.
func (p *Prober) ask(ctx context.Context, t *target) {
	begin := time.Now()
	err := ask(ctx, p.Dial, t.Target)
	now, over := time.Now(), errors.Is(ctx.Err(), context.DeadlineExceeded)
	canceled := !over && ctx.Err() != nil
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.look()
	t.stop()
	t.stop = nil
	p.tally.Open--
	if t.gone {
		return
	}
	if !canceled {
		p.answered(t, Answer{At: now, Took: now.Sub(begin), Reason: reason(err, timeout(t.Probe), over)}, resource.Is(err, resource.NotFound))
	}
	t.due = t.place.after(t.due, interval(t.Probe))
	if t.due.Before(now) {
		t.due = now
	}
	heap.Push(&p.waiting, t)
}

// answered takes an answer in. If the network is not there, nobody was asked, and
// what was known stays.
func (p *Prober) answered(t *target, a Answer, nobody bool) {
	before, asked := t.state, t.asked
	t.asked = true
	if nobody {
		t.state.Reason = a.Reason
	} else {
		t.state = next(before, t.Probe, a)
	}
	if !asked || t.state.Known != before.Known || t.state.Well != before.Well {
		p.changed[t.Network] = struct{}{}
		poke(p.tell)
	}
}

// announce tells of changes: of the first one at once, then of what came
// meanwhile.
func (p *Prober) announce(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.tell:
		}
		p.mu.Lock()
		changed := slices.Sorted(maps.Keys(p.changed))
		clear(p.changed)
		p.mu.Unlock()
		for _, uid := range changed {
			p.Changed(uid)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}
