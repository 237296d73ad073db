package dns

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// What guests can make a server do at once.
const (
	mostForwarded   = 64              // questions that wait for the host's resolvers
	mostConnections = 128             // over TCP
	tryLimit        = 2 * time.Second // for one resolver
	closeLimit      = time.Second     // for answers that are under way
)

// Options say what a server answers from.
type Options struct {
	Zone     func() *Zone     // called for each question
	Upstream []netip.AddrPort // asked in turn about everything else; with none it is refused
	Log      *slog.Logger
}

// Server is a running resolver.
type Server struct {
	opts    Options
	slots   chan struct{}
	servers []*dns.Server
	end     func() // shuts them down
	running sync.WaitGroup
}

// Serve answers on both sockets, which it closes in the end, until Close. ctx gives
// values for logs only.
func Serve(ctx context.Context, udp net.PacketConn, tcp net.Listener, opts Options) *Server {
	last := context.WithoutCancel(ctx)
	ctx, cancel := context.WithCancel(last)
	s := &Server{opts: opts, slots: make(chan struct{}, mostForwarded)}
	s.end = func() {
		cancel()
		last, cancel := context.WithTimeout(last, closeLimit)
		defer cancel()
		for _, one := range s.servers {
			one.ShutdownContext(last) //nolint:errcheck // it has stopped, or answers nobody waits for are left
		}
	}
	answer := dns.HandlerFunc(func(w dns.ResponseWriter, m *dns.Msg) {
		if r := s.answer(ctx, m, w.LocalAddr().Network()); r != nil {
			w.WriteMsg(r) //nolint:errcheck // a lost answer is asked for again
		}
	})
	s.servers = []*dns.Server{
		{PacketConn: udp, Handler: answer},
		{Listener: bound(tcp, mostConnections), Handler: answer},
	}
	for _, one := range s.servers {
		started := make(chan struct{})
		one.NotifyStartedFunc = sync.OnceFunc(func() { close(started) })
		s.running.Go(func() {
			defer one.NotifyStartedFunc()
			if err := one.ActivateAndServe(); err != nil && !errors.Is(err, net.ErrClosed) {
				s.opts.Log.ErrorContext(ctx, "resolver of a virtual network stopped", "err", err)
			}
		})
		<-started
	}
	return s
}

// Close ends the server. It waits a moment for answers that are under way.
func (s *Server) Close() {
	s.end()
	s.running.Wait()
}

// answer computes the answer to a message that came over udp or tcp.
func (s *Server) answer(ctx context.Context, m *dns.Msg, proto string) *dns.Msg {
	if len(m.Question) != 1 {
		return new(dns.Msg).SetRcodeFormatError(m)
	}
	zone := s.opts.Zone()
	rcode, answers, own := zone.answer(m.Question[0])
	if !own {
		return s.forward(ctx, m, proto)
	}
	r := new(dns.Msg).SetRcode(m, rcode)
	r.Authoritative, r.RecursionAvailable, r.Answer = true, len(s.opts.Upstream) > 0, answers
	if len(answers) == 0 {
		r.Ns = []dns.RR{zone.authority()}
	}
	return fit(r, m, proto)
}

// forward asks the host's resolvers, by the protocol that the guest chose: an answer
// that is too long for UDP makes it ask again.
func (s *Server) forward(ctx context.Context, m *dns.Msg, proto string) *dns.Msg {
	if len(s.opts.Upstream) == 0 {
		return new(dns.Msg).SetRcode(m, dns.RcodeRefused)
	}
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	default:
		return new(dns.Msg).SetRcode(m, dns.RcodeServerFailure)
	}
	question := m.Copy()
	for _, up := range s.opts.Upstream {
		question.Id = dns.Id()
		client := &dns.Client{Net: proto, Timeout: tryLimit, UDPSize: dns.DefaultMsgSize}
		r, _, err := client.ExchangeContext(ctx, question, up.String())
		if err != nil || len(r.Question) != 1 || r.Question[0] != m.Question[0] {
			s.opts.Log.DebugContext(ctx, "a resolver gave no answer", "resolver", up, "err", err)
			continue
		}
		r.Id = m.Id
		return fit(r, m, proto)
	}
	return new(dns.Msg).SetRcode(m, dns.RcodeServerFailure)
}

// fit cuts an answer to what the asker can take.
func fit(r, m *dns.Msg, proto string) *dns.Msg {
	if proto != "udp" {
		return r
	}
	size := dns.MinMsgSize
	if o := m.IsEdns0(); o != nil {
		size = max(size, int(o.UDPSize()))
	}
	r.Truncate(size)
	return r
}

// bounded is a listener whose connections are at most so many at once; others wait.
type bounded struct {
	net.Listener
	slots  chan struct{}
	closed chan struct{}
	once   sync.Once
}

// bound bounds a listener.
func bound(l net.Listener, most int) *bounded {
	return &bounded{Listener: l, slots: make(chan struct{}, most), closed: make(chan struct{})}
}

// Accept implements net.Listener.
func (b *bounded) Accept() (net.Conn, error) {
	select {
	case b.slots <- struct{}{}:
	case <-b.closed:
		return nil, net.ErrClosed
	}
	c, err := b.Listener.Accept()
	if err != nil {
		<-b.slots
		return nil, err
	}
	return &counted{Conn: c, leave: sync.OnceFunc(func() { <-b.slots })}, nil
}

// Close implements net.Listener.
func (b *bounded) Close() error {
	b.once.Do(func() { close(b.closed) })
	return b.Listener.Close()
}

// counted is a connection that has a slot.
type counted struct {
	net.Conn
	leave func()
}

// Close implements net.Conn.
func (c *counted) Close() error {
	c.leave()
	return c.Conn.Close()
}
