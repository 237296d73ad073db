package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/muster-vm/muster/internal/host/compute/qemu/block"
	"github.com/muster-vm/muster/internal/host/compute/qemu/qmp"
	"github.com/muster-vm/muster/internal/host/compute/qemu/serial"
	"github.com/muster-vm/muster/internal/host/guest"
)

const (
	firstRetry = 20 * time.Millisecond
	lastRetry  = 2 * time.Second
	// liveness is how often a guest that has reported ready is looked at.
	liveness = time.Minute
	// askAgain is when a guest that was asked to shut down and has not is asked
	// once more: it may have been too early in its boot to hear.
	askAgain = 10 * time.Second
)

// session is the driver's connections to one process, for as long as it runs.
type session struct {
	m      *machine
	proc   process
	ctx    context.Context //nolint:containedctx // of everything that is heard of the process
	cancel context.CancelFunc
	agent  *guest.Agent
	reset  chan struct{} // the guest began to boot again
	over   chan struct{} // closed when no more is heard of the process
	online chan struct{} // closed when the control connection is there for the first time

	unplugged chan struct{} // the guest let go of a disk, or refused to
	fitted    atomic.Bool   // the worker has looked whether the process has what it shall have

	port  *serial.Port
	block block.Command // over qmp

	mu      sync.Mutex
	qmp     *qmp.Client // nil while not connected
	cause   string      // why QEMU said it ends
	tally   block.Tally // of what went through the disks
	noAgent time.Time   // until when the agent is not asked for figures
}

// connect opens a session with the machine's process. The caller holds m.mu.
func (m *machine) connect(p process) {
	s := &session{m: m, proc: p, reset: make(chan struct{}, 1), over: make(chan struct{}),
		online: make(chan struct{}), unplugged: make(chan struct{}, 1)}
	s.ctx, s.cancel = context.WithCancel(m.d.ctx)
	s.port, s.block = s.newPort(), s.command
	s.agent = guest.NewAgent(func(ctx context.Context) (net.Conn, error) { return s.dial(ctx, agentSocket) })
	m.session = s
	agentless := m.rec.Agentless
	m.d.work.Go(s.control)
	m.d.work.Go(func() { s.attend(agentless) })
	m.d.work.Go(s.keepSerial)
}

func (s *session) dial(ctx context.Context, socket string) (net.Conn, error) {
	return s.m.d.world.dial(ctx, s.m.d.root.vm(s.m.id), socket)
}

// close ends the session. It does not wait.
func (s *session) close() {
	s.cancel()
	s.port.HangUp()
	s.m.d.work.Go(s.agent.Close)
}

// guestAgent returns the agent of the machine's process, or nil without one.
func (m *machine) guestAgent() *guest.Agent {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.session == nil || m.rec.Agentless {
		return nil
	}
	return m.session.agent
}

// pause waits, and returns false when the session is over.
func (s *session) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-s.ctx.Done():
		return false
	case <-s.proc.Done():
		return false
	case <-s.reset:
	case <-t.C:
	}
	return true
}

// control keeps a control connection and takes note of what it tells.
func (s *session) control() {
	defer close(s.over)
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		if conn, err := s.dial(s.ctx, qmpSocket(s.proc.Run())); err == nil {
			if client, err := qmp.New(s.ctx, conn); err == nil {
				wait = firstRetry
				s.listen(client)
			}
		}
		t := time.NewTimer(wait)
		select {
		case <-s.ctx.Done():
			t.Stop()
			return
		case <-s.proc.Done():
			t.Stop()
			return
		case <-t.C:
		}
	}
}

func (s *session) listen(client *qmp.Client) {
	s.setClient(client)
	defer s.setClient(nil)
	defer client.Close() //nolint:errcheck // it always is nil
	for {
		select {
		case <-s.ctx.Done():
			return
		case e, ok := <-client.Events():
			if !ok {
				return
			}
			s.heard(e)
		}
	}
}

func (s *session) setClient(c *qmp.Client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.qmp = c
	select {
	case <-s.online:
	default:
		close(s.online)
		s.m.wakeUp() // there may be limits to set
	}
}

func (s *session) heard(e qmp.Event) {
	switch e.Name {
	case "RESET":
		s.unready()
	case "DEVICE_DELETED", "DEVICE_UNPLUG_GUEST_ERROR":
		s.fitted.Store(false)
		s.m.wakeUp() // a disk that was asked for again meanwhile must come back
		select {
		case s.unplugged <- struct{}{}:
		default:
		}
	case "SHUTDOWN":
		var data struct{ Reason string }
		if json.Unmarshal(e.Data, &data) == nil {
			s.mu.Lock()
			s.cause = data.Reason
			s.mu.Unlock()
		}
	}
}

// execute runs a command of the control connection.
func (s *session) execute(ctx context.Context, command string) error {
	return s.command(ctx, command, nil, nil)
}

// whyEnded tells people why a process ended that nobody had asked to. Nothing
// is wrong if the guest wished it, so that is told by an empty string.
func (s *session) whyEnded(p process) string {
	if s != nil {
		t := time.NewTimer(time.Second)
		defer t.Stop()
		select { // its last words may still be in the socket
		case <-s.over:
		case <-t.C:
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		switch s.cause {
		case "guest-shutdown":
			return ""
		case "guest-panic":
			return "The guest's kernel panicked."
		}
	}
	why := p.Reason()
	if locked(why) {
		return "A disk of the virtual machine is in use by another program on the host. QEMU asks: " + why
	}
	if why != "" {
		return "QEMU ended unexpectedly: " + why + "."
	}
	return "QEMU ended unexpectedly."
}

// attend waits for the guest to report ready, and looks after it from then on.
// A ping waits in the agent's socket until the agent starts, so there is
// hardly anything to poll.
func (s *session) attend(agentless bool) {
	wait := firstRetry
	for {
		var err error
		if !agentless {
			err = s.agent.Ping(s.ctx)
		}
		switch {
		case s.ctx.Err() != nil:
			return
		case err == nil:
			if !agentless {
				s.ready()
			}
			wait = liveness
		case wait == liveness:
			s.silent()
			wait = firstRetry
		default:
			wait = min(2*wait, lastRetry)
		}
		if !s.pause(wait) {
			return
		}
	}
}

// update changes the machine's record, if the session's process still is its.
func (s *session) update(change func(*record) bool) {
	if s.m.take(s.ctx) != nil {
		return
	}
	defer func() { <-s.m.turn }()
	next := s.m.rec
	if s.m.proc != s.proc || s.m.rec.Phase != made || !change(&next) {
		return
	}
	if err := s.m.commit(func(r *record) { *r = next }); err != nil {
		s.m.d.opts.Log.ErrorContext(s.ctx, "record not written", "vm", s.m.id.String(), "err", err)
	}
}

// ready notes that the guest answered.
func (s *session) ready() {
	s.m.mu.Lock()
	known := s.m.rec.Ready == s.proc.Run() && s.m.rec.Agent != ""
	s.m.mu.Unlock()
	if known {
		return
	}
	version, err := s.agent.Version(s.ctx)
	if err != nil {
		version = "unknown"
	}
	system, _ := s.agent.OSInfo(s.ctx)
	s.update(func(r *record) bool {
		r.Ready, r.Agent = s.proc.Run(), version
		r.OSName, r.OSVersion = system.Name, system.Version
		return true
	})
}

// unready notes that the guest began to boot again.
func (s *session) unready() {
	s.update(func(r *record) bool {
		was := r.Ready == s.proc.Run()
		r.Ready, r.Agent = 0, ""
		return was
	})
	select {
	case s.reset <- struct{}{}:
	default:
	}
}

// silent notes that the agent does not answer any more. The guest may be well.
func (s *session) silent() {
	s.update(func(r *record) bool {
		was := r.Agent != ""
		r.Agent = ""
		return was
	})
}

// ask has the guest asked to shut down until it does or its time is up.
func (m *machine) ask() {
	m.asked = true
	s, ready, deadline := m.session, m.rec.Ready == m.alive(), m.rec.Deadline
	m.d.work.Go(func() { s.shutDown(ready, deadline) })
}

func (s *session) shutDown(ready bool, deadline time.Time) {
	ctx, cancel := context.WithDeadline(s.ctx, deadline)
	defer cancel()
	for ctx.Err() == nil {
		err := errors.ErrUnsupported
		if ready {
			err = s.agent.Shutdown(ctx, guest.PowerDown)
		}
		wait := askAgain
		if err != nil && s.execute(ctx, "system_powerdown") != nil {
			wait = lastRetry
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-s.proc.Done():
			cancel()
		case <-t.C:
		}
		t.Stop()
	}
}
