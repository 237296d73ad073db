package qemu

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/muster-vm/muster/internal/host/compute"
	"github.com/muster-vm/muster/internal/resource"
)

const (
	// maxSerial is the size at which a serial log loses all but its tail.
	maxSerial, serialTail = 8 << 20, 256 << 10
	// serialCheck is how often the size is looked at.
	serialCheck = 10 * time.Second
	// consolePast is how much of what was printed before a console shows.
	consolePast = 64 << 10
	// consolePoll is how often a console looks for more, beside QEMU's own word.
	consolePoll = 100 * time.Millisecond
	// consoleWrite is how long a guest may take to have what is typed read.
	consoleWrite = 10 * time.Second
)

// port is the serial port of a process. QEMU writes what the guest prints to a file,
// and to whoever is connected to a socket, one at a time. Consoles read the file,
// so several see the same, from before they came on, with nothing lost or doubled
// in between. The one connection that they share is for what is typed; what comes
// out of it says that there is more in the file.
type port struct {
	mu   sync.Mutex
	cut  int64 // bytes that were cut off the front of the file while the driver looked on
	conn net.Conn
	uses int           // consoles that share conn
	news chan struct{} // closed when there is more to read; then there is another one
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
	return s.openConsole(ctx)
}

func (s *session) openConsole(ctx context.Context) (*console, error) {
	p := &s.port
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn == nil {
		conn, err := s.dial(ctx, serialSocket)
		if err != nil {
			return nil, errNoConsole(s.m.id, err)
		}
		p.conn, p.news = conn, make(chan struct{})
		s.m.d.work.Go(func() { p.listen(conn) })
	}
	f, err := os.Open(s.serialLog())
	if err != nil {
		p.leave()
		return nil, errDisk(s.serialLog(), err, "")
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		p.leave()
		return nil, errDisk(s.serialLog(), err, "")
	}
	p.uses++
	return &console{s: s, log: f, conn: p.conn, at: p.cut + max(0, info.Size()-consolePast), over: make(chan struct{})}, nil
}

func errNoConsole(id compute.VMID, err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return resource.Errorf(resource.Conflict, "SerialConsoleNotAvailable",
			"The process of %s was started by an earlier version of Muster and has no serial console to connect to. Restart the instance.", id)
	}
	return resource.Errorf(resource.Unavailable, "SerialConsoleNotAvailable", "The serial console of %s cannot be connected to.", id).Because(err)
}

func (s *session) serialLog() string { return filepath.Join(s.m.d.root.vm(s.m.id), serialFile) }

// listen takes what comes out of the connection, so that the guest never waits for
// it, and has the consoles look at the file.
func (p *port) listen(conn net.Conn) {
	b := make([]byte, 4096)
	for {
		_, err := conn.Read(b)
		p.mu.Lock()
		close(p.news)
		p.news = make(chan struct{})
		if err != nil && p.conn == conn {
			conn.Close()
			p.conn = nil // the next console connects anew
		}
		p.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// leave is called when a console goes. The caller holds the mutex.
func (p *port) leave() {
	if p.uses == 0 && p.conn != nil {
		p.conn.Close()
		p.conn = nil
	}
}

// hangUp ends the connection for good.
func (p *port) hangUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn != nil {
		p.conn.Close()
	}
}

// console is one of those who look at a serial port.
type console struct {
	s    *session
	conn net.Conn
	log  *os.File
	at   int64 // of what was printed since the driver looks on, the next to show
	over chan struct{}
	once sync.Once
}

// Read implements io.Reader. It ends when the machine's process does, after all that
// the process had to say.
func (c *console) Read(b []byte) (int, error) {
	ticker := time.NewTicker(consolePoll)
	defer ticker.Stop()
	for {
		ended := closed(c.s.proc.done()) || closed(c.s.ctx.Done()) // before the look: nothing is written after it
		n, news, err := c.look(b)
		switch {
		case closed(c.over):
			return 0, net.ErrClosed
		case n > 0:
			return n, nil
		case err != nil && !errors.Is(err, io.EOF):
			return 0, err
		case ended || len(b) == 0:
			return 0, io.EOF
		}
		select {
		case <-c.over:
		case <-c.s.proc.done():
		case <-c.s.ctx.Done():
		case <-news:
		case <-ticker.C:
		}
	}
}

// look reads what there is.
func (c *console) look(b []byte) (n int, news <-chan struct{}, err error) {
	p := &c.s.port
	p.mu.Lock()
	defer p.mu.Unlock()
	c.at = max(c.at, p.cut) // who is too slow misses what was cut off
	n, err = c.log.ReadAt(b, c.at-p.cut)
	c.at += int64(n)
	return n, p.news, err
}

// Write implements io.Writer: the guest reads it.
func (c *console) Write(b []byte) (int, error) {
	if closed(c.over) {
		return 0, net.ErrClosed
	}
	if err := c.conn.SetWriteDeadline(time.Now().Add(consoleWrite)); err != nil {
		return 0, err
	}
	return c.conn.Write(b)
}

// Close implements io.Closer. A Read that waits ends.
func (c *console) Close() error {
	c.once.Do(func() {
		close(c.over)
		p := &c.s.port
		p.mu.Lock()
		defer p.mu.Unlock()
		c.log.Close()
		p.uses--
		p.leave()
	})
	return nil
}

// keepSerial keeps a guest from filling the host's disk through its serial port.
func (s *session) keepSerial() {
	ticker := time.NewTicker(serialCheck)
	defer ticker.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-s.proc.done():
			return
		case <-ticker.C:
			if err := s.trimSerial(); err != nil {
				s.m.d.opts.Log.WarnContext(s.ctx, "serial log not cut", "vm", s.m.id.String(), "err", err)
			}
		}
	}
}

// trimSerial cuts a log that is too long to its tail. QEMU appends, so it goes on
// after what is left.
func (s *session) trimSerial() error {
	f, err := os.OpenFile(s.serialLog(), os.O_RDWR|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() <= maxSerial {
		return err
	}
	s.port.mu.Lock()
	defer s.port.mu.Unlock()
	from := info.Size() - serialTail
	tail, err := io.ReadAll(io.NewSectionReader(f, from, maxSerial)) // what came meanwhile, too
	if err != nil {
		return err
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	s.port.cut += from
	_, err = f.Write(tail)
	return err
}
