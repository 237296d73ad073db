// Package serial shares the serial port of a machine's process among those who
// look at it, and keeps its log from growing for ever.
//
// The process writes what the guest prints to a file, and to whoever is connected
// to a socket, one at a time. Consoles read the file, so several see the same, from
// before they came on, with nothing lost or doubled in between. The one connection
// that they share is for what is typed; what comes out of it says that there is
// more in the file.
package serial

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"time"
)

const (
	// Most is the size at which a log loses all but its tail.
	Most, Tail = 8 << 20, 256 << 10
	// Past is how much of what was printed before a console shows.
	Past = 64 << 10
	// Poll is how often a console looks for more, beside what the connection says.
	Poll = 100 * time.Millisecond
	// patience is how long a guest may take to have what is typed read.
	patience = 10 * time.Second
)

// Port is the serial port of a process. Its exported members are set before it is
// used.
type Port struct {
	Log  string                                      // the file
	Dial func(ctx context.Context) (net.Conn, error) // connects to the socket
	Over []<-chan struct{}                           // nothing is printed any more once one of them is closed

	mu   sync.Mutex
	cut  int64 // bytes that were cut off the front of the file since
	conn net.Conn
	uses int           // consoles that share conn
	news chan struct{} // closed when there is more to read; then there is another one
}

// Open returns another console. listen, which the caller must run, ends with the
// connection; it is nil if there is one already. An error of Dial is returned as it
// is.
func (p *Port) Open(ctx context.Context) (c *Console, listen func(), err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f, err := os.Open(p.Log)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && p.conn == nil {
		var conn net.Conn
		if conn, err = p.Dial(ctx); err == nil {
			p.conn, p.news = conn, make(chan struct{})
			listen = func() { p.listen(conn) }
		}
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	p.uses++
	return &Console{port: p, log: f, conn: p.conn, at: p.cut + max(0, info.Size()-Past), over: make(chan struct{})}, listen, nil
}

// listen takes what comes out of the connection, so that the guest never waits for
// it, and has the consoles look at the file.
func (p *Port) listen(conn net.Conn) {
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

// HangUp ends the connection for good.
func (p *Port) HangUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn != nil {
		p.conn.Close()
	}
}

// Trim cuts a log that is too long to its tail. The process appends, so it goes on
// after what is left.
func (p *Port) Trim() error {
	f, err := os.OpenFile(p.Log, os.O_RDWR|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() <= Most {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	from := info.Size() - Tail
	tail, err := io.ReadAll(io.NewSectionReader(f, from, Most)) // what came meanwhile, too
	if err != nil {
		return err
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	p.cut += from
	_, err = f.Write(tail)
	return err
}

// ended reports whether nothing is printed any more.
func (p *Port) ended() bool {
	return slices.ContainsFunc(p.Over, isClosed)
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// Console is one of those who look at a port.
type Console struct {
	port *Port
	conn net.Conn
	log  *os.File
	at   int64 // of what was printed since the port was made, the next to show
	over chan struct{}
	once sync.Once
}

// Read implements io.Reader. It ends when the port does, after all that was printed.
func (c *Console) Read(b []byte) (int, error) {
	ticker := time.NewTicker(Poll)
	defer ticker.Stop()
	for {
		ended := c.port.ended() // before the look: nothing is written after it
		n, news, err := c.look(b)
		switch {
		case isClosed(c.over):
			return 0, net.ErrClosed
		case n > 0 || len(b) == 0:
			return n, nil
		case err != nil && !errors.Is(err, io.EOF):
			return 0, err
		case ended:
			return 0, io.EOF
		}
		select {
		case <-c.over:
		case <-news:
		case <-ticker.C:
		}
	}
}

// look reads what there is.
func (c *Console) look(b []byte) (n int, news <-chan struct{}, err error) {
	p := c.port
	p.mu.Lock()
	defer p.mu.Unlock()
	c.at = max(c.at, p.cut) // who is too slow misses what was cut off
	n, err = c.log.ReadAt(b, c.at-p.cut)
	c.at += int64(n)
	return n, p.news, err
}

// Write implements io.Writer: the guest reads it.
func (c *Console) Write(b []byte) (int, error) {
	if isClosed(c.over) {
		return 0, net.ErrClosed
	}
	if err := c.conn.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return 0, err
	}
	return c.conn.Write(b)
}

// Close implements io.Closer. A Read that waits ends.
func (c *Console) Close() error {
	c.once.Do(func() {
		close(c.over)
		p := c.port
		p.mu.Lock()
		defer p.mu.Unlock()
		c.log.Close()
		if p.uses--; p.uses == 0 && p.conn != nil {
			p.conn.Close()
			p.conn = nil
		}
	})
	return nil
}
