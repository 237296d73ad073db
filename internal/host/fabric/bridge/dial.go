package bridge

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/muster-vm/muster/internal/host/fabric"
	"github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/resource"
)

var _ fabric.Dialer = (*Fabric)(nil)

// Dial implements fabric.Dialer. The guest sees its gateway as the caller.
func (f *Fabric) Dial(ctx context.Context, name string, tcp uint16) (net.Conn, error) {
	l, err := f.leaseOf(ctx, name)
	if resource.Is(err, resource.NotFound) {
		return f.dialNetwork(ctx, name, tcp)
	}
	if err != nil {
		return nil, err
	}
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", netip.AddrPortFrom(l.Address, tcp).String())
	if err != nil {
		return nil, explainDial(err, tcp)
	}
	if now, err := f.leaseOf(ctx, name); err != nil || now.Address != l.Address {
		c.Close()
		return nil, cmp.Or(err, errNotAttached(name)) // another guest may have got the address
	}
	return c, nil
}

func (f *Fabric) leaseOf(ctx context.Context, name string) (lease, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.ready(ctx); err != nil {
		return lease{}, err
	}
	l, ok := f.leases.ports[name]
	if !ok {
		return lease{}, errNotAttached(name)
	}
	return l, nil
}

func errNotAttached(name string) error {
	return resource.Errorf(resource.NotFound, "", "The port %s is not attached.", name)
}

// dialNetwork is Dial for a port of a virtual network.
func (f *Fabric) dialNetwork(ctx context.Context, name string, tcp uint16) (net.Conn, error) {
	v, err := f.holdBy(ctx, func() (*virtual, error) {
		if v := f.find(name); v != nil {
			return v, nil
		}
		return nil, errNotAttached(name)
	})
	if err != nil {
		return nil, err
	}
	c, ok := v.known.Load().cards[name]
	if !ok {
		v.mu.Unlock()
		return nil, errNotAttached(name)
	}
	s, err := v.socket(netip.IPv4Unspecified())
	v.mu.Unlock()
	if err != nil {
		return nil, err
	}
	conn, err := connect(ctx, s, netip.AddrPortFrom(c.Address, tcp))
	if err != nil {
		return nil, err
	}
	if v.known.Load().cards[name].Address != c.Address {
		conn.Close()
		return nil, errNotAttached(name) // another guest may have got the address
	}
	return conn, nil
}

// DialInside implements fabric.Networks. NotFound, too, for an address that no card
// of the network has; Unavailable if nobody answers.
func (f *Fabric) DialInside(ctx context.Context, uid network.UID, to netip.AddrPort) (net.Conn, error) {
	v, err := f.hold(ctx, uid)
	if err != nil {
		return nil, err
	}
	if !v.known.Load().holds(to.Addr()) {
		v.mu.Unlock()
		return nil, resource.Errorf(resource.NotFound, "", "No card of the virtual network %s has the address %s.", uid, to.Addr())
	}
	s, err := v.socket(network.HostAddress)
	v.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return connect(ctx, s, to)
}

// socket opens a TCP socket in the network's namespace, where it stays, bound to an
// address.
func (v *virtual) socket(from netip.Addr) (*os.File, error) {
	var fd int
	err := v.inside(func() (err error) {
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
		return err
	})
	if err != nil {
		return nil, explain(err, "open a socket in the virtual network")
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: from.As4()}); err != nil {
		unix.Close(fd) //nolint:errcheck // nothing was written
		return nil, explain(err, "bind a socket in the virtual network")
	}
	return os.NewFile(uintptr(fd), "tcp"), nil
}

// connect connects a socket, which it closes, and returns the connection. No thread
// waits for the answer.
func connect(ctx context.Context, s *os.File, to netip.AddrPort) (net.Conn, error) {
	defer s.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := s.SetWriteDeadline(deadline); err != nil {
			return nil, explainDial(err, to.Port())
		}
	}
	stop := context.AfterFunc(ctx, func() { s.SetWriteDeadline(time.Unix(1, 0)) }) //nolint:errcheck // the socket has a deadline then
	defer stop()
	raw, err := s.SyscallConn()
	if err != nil {
		return nil, explainDial(err, to.Port())
	}
	begun := false
	var refused error
	err = raw.Write(func(fd uintptr) (done bool) {
		if !begun {
			begun = true
			refused = unix.Connect(int(fd), &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()})
			return !errors.Is(refused, unix.EINPROGRESS)
		}
		code, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		if err != nil || code != 0 {
			refused = cmp.Or(err, error(syscall.Errno(code)))
			return true
		}
		_, err = unix.Getpeername(int(fd))
		refused = err
		return err == nil // a socket seems ready before it is connected, too
	})
	if err = cmp.Or(err, refused); err != nil {
		return nil, explainDial(err, to.Port())
	}
	c, err := net.FileConn(s)
	if err != nil {
		return nil, explainDial(err, to.Port())
	}
	return c, nil
}

// explainDial words why a guest was not reached.
func explainDial(err error, tcp uint16) error {
	if errors.Is(err, syscall.ECONNREFUSED) {
		return resource.Errorf(resource.Unavailable, "GuestPortClosed", "Nothing in the guest listens on port %d. It may not be up yet.", tcp).Because(err)
	}
	return resource.Errorf(resource.Unavailable, "GuestNotReachable", "The guest does not answer on port %d. It may not be up yet, or its firewall drops what comes from the host.", tcp).Because(err)
}
