package sim

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"

	"github.com/muster-vm/muster/internal/host/compute"
	"github.com/muster-vm/muster/internal/resource"
)

// Console implements compute.Console. A simulated guest boots, asks who is there,
// and lets nobody in: it prints what is typed and asks again.
func (d *Driver) Console(ctx context.Context, id compute.VMID) (io.ReadWriteCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, canceled(err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	m := d.find(id)
	switch {
	case m == nil:
		return nil, gone(id)
	case !hasConsole(m.state):
		return nil, resource.Errorf(resource.Conflict, "", "The machine %s does not run, so it has no serial console. Start it first.", id)
	}
	c := &console{driver: d, at: m.place, name: m.name, more: make(chan struct{}, 1), over: make(chan struct{})}
	c.print("[    0.000000] Linux version 1-simulated\r\n")
	if m.state == compute.Running {
		c.up()
	}
	if d.consoles == nil {
		d.consoles = map[place][]*console{}
	}
	d.consoles[m.place] = append(d.consoles[m.place], c)
	return c, nil
}

// hasConsole reports whether a machine in this state has somebody to talk to.
func hasConsole(s compute.State) bool {
	return s == compute.Starting || s == compute.Running || s == compute.Stopping
}

// console is one of those who look at a machine's serial port.
type console struct {
	driver *Driver
	at     place
	name   string
	more   chan struct{} // there is something to read
	over   chan struct{} // closed by Close

	mu     sync.Mutex
	out    []byte // printed and not read
	ended  bool   // the machine stopped
	closed bool
	isUp   bool
}

// toConsoles tells the machine's consoles what becomes of it.
func (d *Driver) toConsoles(m *machine) {
	for _, c := range d.consoles[m.place] {
		switch {
		case !hasConsole(m.state):
			c.end()
		case m.state == compute.Running:
			c.up()
		case m.state == compute.Stopping:
			c.print("\r\n[ simulated ] The system is going down.\r\n")
		}
	}
	if !hasConsole(m.state) {
		delete(d.consoles, m.place)
	}
}

func (c *console) print(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out = append(c.out, text...)
	c.wake()
}

// up shows that the guest has booted.
func (c *console) up() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.isUp = true
	c.out = fmt.Appendf(c.out, "\r\nSimulated Linux 1 %s ttyS0\r\n\r\n%[1]s login: ", c.name)
	c.wake()
}

func (c *console) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	c.wake()
}

func (c *console) wake() {
	select {
	case c.more <- struct{}{}:
	default:
	}
}

// Read implements io.Reader. It ends when the machine stops.
func (c *console) Read(b []byte) (int, error) {
	for {
		c.mu.Lock()
		n := copy(b, c.out)
		c.out = c.out[n:]
		closed, ended := c.closed, c.ended
		c.mu.Unlock()
		switch {
		case closed:
			return 0, net.ErrClosed
		case n > 0 || len(b) == 0:
			return n, nil
		case ended:
			return 0, io.EOF
		}
		select {
		case <-c.more:
		case <-c.over:
		}
	}
}

// Write implements io.Writer. A guest that is not up does not listen.
func (c *console) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed || c.ended:
		return 0, net.ErrClosed
	case !c.isUp:
		return len(b), nil
	}
	for _, typed := range b {
		if typed != '\r' && typed != '\n' {
			c.out = append(c.out, typed)
			continue
		}
		c.out = fmt.Appendf(c.out, "\r\nLogin incorrect\r\n%s login: ", c.name)
	}
	c.wake()
	return len(b), nil
}

// Close implements io.Closer. A Read that waits ends.
func (c *console) Close() error {
	c.mu.Lock()
	if !c.closed {
		c.closed = true
		close(c.over)
	}
	c.mu.Unlock()
	d := c.driver
	d.mu.Lock()
	defer d.mu.Unlock()
	rest := slices.DeleteFunc(d.consoles[c.at], func(o *console) bool { return o == c })
	if d.consoles[c.at] = rest; len(rest) == 0 {
		delete(d.consoles, c.at)
	}
	return nil
}
