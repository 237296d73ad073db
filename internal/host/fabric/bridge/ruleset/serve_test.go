package ruleset

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/muster-vm/muster/internal/network"
)

// seen is what a server saw of a flow: its own address, and who called.
type seen struct{ at, by netip.Addr }

// serve answers on a port of a guest, or of the outside world, until the test ends:
// each line, or datagram, is answered by who serves and who called.
func (r *rig) serve(a netip.Addr, port uint16) {
	r.Helper()
	at := netip.AddrPortFrom(a, port)
	r.inside(r.at(a), func() error {
		l, err := net.Listen("tcp4", at.String())
		if err != nil {
			return err
		}
		u, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(at))
		if err != nil {
			return err
		}
		r.Cleanup(func() { l.Close(); u.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go answer(c, a)
			}
		}()
		go func() {
			b := make([]byte, 100)
			for {
				_, from, err := u.ReadFromUDPAddrPort(b)
				if err != nil {
					return
				}
				u.WriteToUDPAddrPort(fmt.Appendf(nil, "%s %s\n", a, from.Addr()), from) //nolint:errcheck // the client asks again
			}
		}()
		return nil
	})
}

func answer(c net.Conn, a netip.Addr) {
	defer c.Close()
	lines := bufio.NewScanner(c)
	for lines.Scan() {
		if _, err := fmt.Fprintf(c, "%s %s\n", a, c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr()); err != nil {
			return
		}
	}
}

// open begins a flow, which is closed at the end of the test.
func (r *rig) open(f network.Flow) (c net.Conn) {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	r.inside(r.at(f.From.Addr()), func() (err error) {
		c, err = dial(ctx, f)
		return err
	})
	r.Cleanup(func() { c.Close() })
	return c
}

// ask asks over a flow who serves, and who seems to call. A datagram is sent again
// until it is answered.
func (r *rig) ask(c net.Conn) seen {
	r.Helper()
	_, datagrams := c.(*net.UDPConn)
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if s, err := exchange(c, datagrams); err == nil {
			return s
		} else if !datagrams {
			r.Fatalf("%s -> %s: %v", c.LocalAddr(), c.RemoteAddr(), err)
		}
	}
	r.Fatalf("%s -> %s: no answer", c.LocalAddr(), c.RemoteAddr())
	return seen{}
}

func exchange(c net.Conn, datagrams bool) (s seen, err error) {
	wait := patience
	if datagrams {
		wait = 200 * time.Millisecond
	}
	if err := c.SetDeadline(time.Now().Add(wait)); err != nil {
		return s, err
	}
	if _, err := io.WriteString(c, "who?\n"); err != nil {
		return s, err
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		return s, err
	}
	at, by, _ := strings.Cut(strings.TrimSpace(line), " ")
	if s.at, err = netip.ParseAddr(at); err == nil {
		s.by, err = netip.ParseAddr(by)
	}
	return s, err
}

// who begins a flow, asks, and ends it.
func (r *rig) who(f network.Flow) seen {
	r.Helper()
	c := r.open(f)
	defer c.Close()
	return r.ask(c)
}
