package qemu

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"path/filepath"
	"time"

	"github.com/muster-vm/muster/internal/host/compute"
	"github.com/muster-vm/muster/internal/host/compute/qemu/serial"
	"github.com/muster-vm/muster/internal/resource"
)

// serialCheck is how often the size of a serial log is looked at.
const serialCheck = 10 * time.Second

// newPort returns the serial port of the session's process.
func (s *session) newPort() *serial.Port {
	return &serial.Port{
		Log:  filepath.Join(s.m.d.root.vm(s.m.id), serialFile),
		Dial: func(ctx context.Context) (net.Conn, error) { return s.dial(ctx, serialSocket) },
		Over: []<-chan struct{}{s.proc.Done(), s.ctx.Done()},
	}
}

// Console implements compute.Console.
func (d *Driver) Console(ctx context.Context, id compute.VMID) (io.ReadWriteCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, canceled(err)
	}
	m := d.find(id)
	if m == nil || m.id != id {
		return nil, errNotFound(id)
	}
	m.mu.Lock()
	s, phase := m.session, m.rec.Phase
	m.mu.Unlock()
	switch {
	case phase == "":
		return nil, errNotFound(id)
	case s == nil:
		return nil, errConflict(id, "does not run, so it has no serial console. Start it first")
	}
	c, listen, err := s.port.Open(ctx)
	if listen != nil {
		d.work.Go(listen)
	}
	if err != nil {
		return nil, errNoConsole(id, err)
	}
	return c, nil
}

func errNoConsole(id compute.VMID, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return resource.Errorf(resource.Conflict, "SerialConsoleNotAvailable",
			"The process of %s was started by an earlier version of Muster and has no serial console to connect to. Restart the instance.", id)
	}
	return resource.Errorf(resource.Unavailable, "SerialConsoleNotAvailable", "The serial console of %s cannot be connected to. Try again.", id).Because(err)
}

// keepSerial keeps a guest from filling the host's disk through its serial port.
func (s *session) keepSerial() {
	ticker := time.NewTicker(serialCheck)
	defer ticker.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-s.proc.Done():
			return
		case <-ticker.C:
			if err := s.port.Trim(); err != nil {
				s.m.d.opts.Log.WarnContext(s.ctx, "serial log not cut", "vm", s.m.id.String(), "err", err)
			}
		}
	}
}
