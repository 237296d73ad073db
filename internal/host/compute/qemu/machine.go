package qemu

import (
	"context"
	"sync"
	"time"

	"github.com/muster-vm/muster/internal/host/compute"
	"github.com/muster-vm/muster/internal/resource"
)

// machine is one virtual machine at run time: its record, its process, and the
// worker that brings the two together.
type machine struct {
	d    *Driver
	id   compute.VMID
	turn chan struct{} // holds one token: who has it may work on the machine and change the fields below
	poke chan struct{} // wakes the worker
	gone bool          // out of the driver's map

	readers []*reader       // of the disks of a machine that does not run
	copies  map[string]bool // jobs that a process has for us

	mu      sync.Mutex // held for moments, to read and to change the fields below
	rec     record     // Phase is empty while there is no such machine
	proc    process    // nil if none runs
	session *session   // the connections to proc
	asked   bool       // the guest of proc was asked to shut down
	cutting bool       // proc is ended by us
	working bool       // the worker has been started
}

func newMachine(d *Driver, rec record) *machine {
	return &machine{d: d, id: rec.Spec.ID, rec: rec, turn: make(chan struct{}, 1), poke: make(chan struct{}, 1)}
}

// take waits for the machine's turn.
func (m *machine) take(ctx context.Context) error {
	select {
	case m.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return canceled(ctx.Err())
	}
}

// letGo gives the turn back. A machine of which there is nothing leaves the
// driver.
func (m *machine) letGo() {
	if m.rec.Phase == "" {
		m.gone = true
		m.d.mu.Lock()
		delete(m.d.machines, instanceOf(m.id))
		m.d.mu.Unlock()
	}
	m.wakeUp()
	<-m.turn
}

func (m *machine) wakeUp() {
	select {
	case m.poke <- struct{}{}:
	default:
	}
}

// adopt takes over a process that an earlier driver started. The machine is
// not in use yet.
func (m *machine) adopt(p process) {
	if p == nil {
		m.miss()
		return
	}
	m.proc = p
	m.rec.Ran = max(m.rec.Ran, p.Run())
	m.rec.Run = max(m.rec.Run, p.Run())
}

// miss takes note of a process that ended while no driver watched. Why is not
// known; most often the host was restarted, so it is not taken for the guest's
// wish. The machine is not in use yet.
func (m *machine) miss() {
	r := &m.rec
	if ran := r.State == compute.Starting || r.State == compute.Running; ran && r.Power == compute.Running && r.Ran == r.Run {
		r.Fault = "QEMU ended while Muster was not running, as in a restart of the host."
	}
	r.Ready, r.Agent = 0, ""
	if s := stateOf(*r, 0); s != r.State {
		r.State, r.Since = s, now()
	}
}

// begin starts the worker, once, if the machine has been made.
func (m *machine) begin() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.working || m.rec.Phase != made {
		return
	}
	m.working = true
	if m.proc != nil {
		m.connect(m.proc)
	}
	m.d.work.Go(m.worker)
}

// worker carries out what the record asks for whenever something changes,
// until the machine or the driver is gone.
func (m *machine) worker() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		var ended <-chan struct{}
		m.mu.Lock()
		if m.proc != nil {
			ended = m.proc.Done()
		}
		m.mu.Unlock()
		select {
		case <-m.d.ctx.Done():
			return
		case <-m.poke:
		case <-ended:
		case <-timer.C:
		}
		if m.take(m.d.ctx) != nil {
			return
		}
		wake, err := m.settle(m.d.ctx)
		gone := m.gone || m.rec.Phase != made
		if gone {
			m.working = false
		}
		<-m.turn
		if err != nil {
			m.d.opts.Log.ErrorContext(m.d.ctx, "machine does not settle", "vm", m.id.String(), "err", err)
		}
		if gone {
			return
		}
		if !wake.IsZero() {
			timer.Reset(time.Until(wake))
		}
	}
}

// settle takes steps until there is nothing to do now, and returns when time
// alone could change that.
func (m *machine) settle(ctx context.Context) (wake time.Time, err error) {
	for {
		if err := m.reap(); err != nil {
			return time.Time{}, err
		}
		do, wake := next(m.rec, m.alive(), m.asked, time.Now())
		switch do {
		case rest:
			m.refitIfUnsure(ctx)
			if settled(m.rec, m.alive()) && m.rec.Booted != m.rec.Boots {
				return wake, m.commit(func(r *record) { r.Booted = r.Boots })
			}
			return wake, nil
		case ask:
			m.ask()
		case cut:
			err = m.d.perform(ctx, effect{"cut", func() error { return m.cut(ctx) }})
		case start:
			err = m.start(ctx)
		}
		if err != nil {
			return time.Time{}, err
		}
	}
}

// alive returns the run of the process, and 0 without one.
func (m *machine) alive() int64 {
	if m.proc == nil {
		return 0
	}
	return m.proc.Run()
}

// commit changes the record, on disk first. The caller has the turn.
func (m *machine) commit(change func(*record)) error {
	r := m.rec
	change(&r)
	if s := stateOf(r, m.alive()); s != r.State {
		r.State, r.Since = s, now()
	}
	if err := m.d.survive("write"); err != nil {
		return err
	}
	if err := m.d.root.save(r); err != nil {
		return errDisk(m.d.root.vm(m.id), err, "")
	}
	m.setRecord(r)
	m.d.tell(m.id)
	return nil
}

func (m *machine) setRecord(r record) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rec = r
}

// setProcess changes which process is the machine's.
func (m *machine) setProcess(p process) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.session != nil {
		m.session.close()
		m.session = nil
	}
	m.proc, m.asked, m.cutting = p, false, false
	if p != nil {
		m.connect(p)
	}
}

// reap takes note of a process that has ended.
func (m *machine) reap() error {
	if m.proc == nil {
		return nil
	}
	select {
	case <-m.proc.Done():
	default:
		return nil
	}
	byItself := !m.cutting && m.rec.Power == compute.Running && m.proc.Run() == m.rec.Run
	fault := ""
	if byItself {
		fault = m.session.whyEnded(m.proc)
	}
	m.setProcess(nil)
	return m.commit(func(r *record) {
		if byItself {
			r.Fault = fault
		}
		r.Ready, r.Agent = 0, ""
	})
}

// cut ends the process and waits until it has.
func (m *machine) cut(ctx context.Context) error {
	if m.proc == nil {
		return nil
	}
	m.cutting = true
	if err := m.proc.Kill(); err != nil {
		return resource.Errorf(resource.Internal, "", "The process of %s could not be ended.", m.id).Because(err)
	}
	select {
	case <-m.proc.Done():
		return nil
	case <-ctx.Done():
		return canceled(ctx.Err())
	}
}

// power takes in a power request. The caller has the turn.
func (m *machine) power(ctx context.Context, want compute.Power) error {
	if m.rec.Phase != made {
		return errConflict(m.id, "is incomplete. Create or delete it first")
	}
	if err := m.reap(); err != nil {
		return err
	}
	if g := powered(m.rec, m.alive(), want, now()); g != m.rec.goal {
		if err := m.commit(func(r *record) { r.goal = g }); err != nil {
			return err
		}
	}
	if do, _ := next(m.rec, m.alive(), m.asked, time.Now()); do == start {
		return m.start(ctx)
	}
	return nil // the worker does the rest
}

// snapshot returns the machine as its driver's users see it, and false if
// there is no such machine.
func (m *machine) snapshot() (compute.VM, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.rec.Phase == "" {
		return compute.VM{}, false
	}
	return compute.VM{
		ID: m.id, Hash: m.rec.Hash, Fit: m.rec.Fit, State: stateOf(m.rec, m.alive()), Boots: m.rec.Booted, Since: m.rec.Since,
		VCPUs: m.rec.Spec.VCPUs, MemoryMB: m.rec.Spec.MemoryMB,
		Agent: m.rec.Agent, OSName: m.rec.OSName, OSVersion: m.rec.OSVersion, Fault: m.rec.Fault,
	}, true
}

// now is the time as it reads back from a record.
func now() time.Time { return time.Now().UTC().Round(0) }

// release cuts the connections and leaves the process alone.
func (m *machine) release() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.session != nil {
		m.session.close()
	}
	if m.proc != nil {
		m.proc.Release()
	}
}
