package sim

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/muster-vm/muster/internal/host/compute"
)

// Effect is something that a driver did to a machine.
type Effect struct {
	At   time.Time
	Host string
	Op   string // "create", "delete", "boot" or "crash"
	ID   compute.VMID
}

// Count is how often things happened to one machine id.
type Count struct{ Creates, Deletes, Boots int }

// Ledger records the effects of all drivers that share it, and notices at once
// when an instance has two machines, be it on two hosts. Tests read it. Its
// methods are safe for concurrent use, and recording on a nil ledger does
// nothing.
type Ledger struct {
	mu         sync.Mutex
	log        []Effect
	counts     map[compute.VMID]Count
	alive      map[place][]resident
	violations []string
}

// resident is a machine and where it lives.
type resident struct {
	host string
	id   compute.VMID
}

// Log returns all effects in the order in which they happened.
func (l *Ledger) Log() []Effect {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.log)
}

// Count returns what happened to one machine.
func (l *Ledger) Count(id compute.VMID) Count {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counts[id]
}

// Alive returns the number of machines that exist, halves included.
func (l *Ledger) Alive() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, rs := range l.alive {
		n += len(rs)
	}
	return n
}

// Violations returns a sentence for each moment at which an instance got a
// second machine.
func (l *Ledger) Violations() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.violations)
}

func (l *Ledger) add(e Effect) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.record(e)
}

func (l *Ledger) record(e Effect) {
	if l.counts == nil {
		l.counts, l.alive = map[compute.VMID]Count{}, map[place][]resident{}
	}
	e.At = time.Now()
	l.log = append(l.log, e)
	c := l.counts[e.ID]
	switch e.Op {
	case "create":
		c.Creates++
	case "delete":
		c.Deletes++
	case "boot":
		c.Boots++
	}
	l.counts[e.ID] = c
}

func (l *Ledger) created(host string, id compute.VMID) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	at, who := place{id.Set, id.Instance}, resident{host, id}
	if slices.Contains(l.alive[at], who) {
		return // completes a half
	}
	l.record(Effect{Host: host, Op: "create", ID: id})
	l.alive[at] = append(l.alive[at], who)
	if others := l.alive[at]; len(others) > 1 {
		l.violations = append(l.violations, fmt.Sprintf("instance %d of set %s has %d machines: %v", id.Instance, id.Set, len(others), others))
	}
}

func (l *Ledger) deleted(host string, id compute.VMID) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.record(Effect{Host: host, Op: "delete", ID: id})
	at := place{id.Set, id.Instance}
	l.alive[at] = slices.DeleteFunc(l.alive[at], func(r resident) bool { return r == resident{host, id} })
	if len(l.alive[at]) == 0 {
		delete(l.alive, at)
	}
}
