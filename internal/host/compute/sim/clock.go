package sim

import (
	"container/heap"
	"time"

	"github.com/muster-vm/muster/internal/host/compute"
)

// alarms orders the machines that wait for time by deadline, then by id, so
// that a run in virtual time is the same each time.
type alarms []*machine

// Len implements heap.Interface.
func (a alarms) Len() int { return len(a) }

// Less implements heap.Interface.
func (a alarms) Less(i, j int) bool {
	if a[i].deadline != a[j].deadline {
		return a[i].deadline < a[j].deadline
	}
	if a[i].set != a[j].set {
		return a[i].set < a[j].set
	}
	return a[i].instance < a[j].instance
}

// Swap implements heap.Interface.
func (a alarms) Swap(i, j int) {
	a[i], a[j] = a[j], a[i]
	a[i].alarmIndex, a[j].alarmIndex = i, j
}

// Push implements heap.Interface.
func (a *alarms) Push(x any) {
	m := x.(*machine)
	m.alarmIndex = len(*a)
	*a = append(*a, m)
}

// Pop implements heap.Interface.
func (a *alarms) Pop() any {
	last := len(*a) - 1
	m := (*a)[last]
	(*a)[last] = nil
	*a = (*a)[:last]
	m.alarmIndex = -1
	return m
}

func (a *alarms) cancel(m *machine) {
	m.deadline = 0
	if m.alarmIndex >= 0 {
		heap.Remove(a, m.alarmIndex)
	}
}

// wake has due called for the machine after a while.
func (d *Driver) wake(m *machine, after time.Duration) {
	d.alarms.cancel(m)
	m.deadline = time.Now().Add(after).UnixNano()
	heap.Push(&d.alarms, m)
	if m.alarmIndex == 0 {
		d.arm(after)
	}
}

// tell queues a notification for the next tick.
func (d *Driver) tell(id compute.VMID) {
	d.told = append(d.told, id)
	if len(d.told) == 1 && !d.telling {
		d.arm(0)
	}
}

// arm sets the driver's one timer. Ringing too early does no harm. It never is
// due at once: in a synctest bubble such a timer runs its function inside Reset,
// on the system stack, which the race detector of Go 1.26 does not survive.
func (d *Driver) arm(after time.Duration) {
	if d.closed {
		return
	}
	after = max(after, 1)
	if d.timer == nil {
		d.timer = time.AfterFunc(after, d.tick)
		return
	}
	if len(d.told) > 0 && !d.telling {
		after = 1
	}
	d.timer.Reset(after)
}

// tick carries out what is due and tells the listeners what changed.
func (d *Driver) tick() {
	d.mu.Lock()
	now := time.Now().UnixNano()
	for len(d.alarms) > 0 && d.alarms[0].deadline <= now {
		m := d.alarms[0]
		d.alarms.cancel(m)
		d.due(m)
	}
	d.callListeners()
	if len(d.alarms) > 0 {
		d.arm(time.Until(time.Unix(0, d.alarms[0].deadline)))
	}
	d.mu.Unlock()
}

// callListeners tells the listeners what changed, with the mutex released. A
// tick that comes meanwhile leaves its news to this one.
func (d *Driver) callListeners() {
	if d.telling {
		return
	}
	d.telling = true
	for len(d.told) > 0 {
		told, listeners := d.told, d.listeners
		d.told = nil
		d.mu.Unlock()
		for _, id := range told {
			for _, f := range listeners {
				f(id)
			}
		}
		d.mu.Lock()
	}
	d.telling = false
}

// Close stops the driver's clock: nothing changes by itself any more and nobody
// is told. For a host that went down for good.
func (d *Driver) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed, d.listeners = true, nil
	for len(d.alarms) > 0 {
		d.alarms.cancel(d.alarms[0])
	}
	if d.timer != nil {
		d.timer.Stop()
	}
}
