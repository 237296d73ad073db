package dns_test

import (
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"

	own "github.com/muster-vm/muster/internal/host/fabric/bridge/dns"
	"github.com/muster-vm/muster/internal/network"
)

func program() network.Program {
	card := func(host, addr string, primary bool) network.Card {
		return network.Card{Port: network.Port{Host: host, Address: netip.MustParseAddr(addr), Primary: primary}}
	}
	return network.Program{
		Network:  "6f1f3cf0-3f2b-4c5e-9d0f-000000000001",
		Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16")},
		Cards: []network.Card{
			card("web000000", "10.0.0.4", true), card("web000000", "10.0.0.5", false),
			card("Web000001", "10.0.0.6", true), card("", "10.0.0.7", true),
		},
	}
}

// serve starts a resolver and returns a function that asks it.
func serve(t *testing.T, upstream ...netip.AddrPort) func(proto, name string, kind uint16) *dns.Msg {
	t.Helper()
	udp, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := net.Listen("tcp4", udp.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	zone := own.NewZone(program())
	s := own.Serve(t.Context(), udp, tcp, own.Options{Zone: func() *own.Zone { return zone }, Upstream: upstream, Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(s.Close)
	return func(proto, name string, kind uint16) *dns.Msg {
		t.Helper()
		m := new(dns.Msg).SetQuestion(name, kind)
		r, _, err := (&dns.Client{Net: proto}).ExchangeContext(t.Context(), m, udp.LocalAddr().String())
		if err != nil {
			t.Fatalf("%s over %s: %v", name, proto, err)
		}
		return r
	}
}

// says writes an answer in one line.
func says(r *dns.Msg) string {
	words := []string{dns.RcodeToString[r.Rcode]}
	for _, rr := range r.Answer {
		words = append(words, strings.TrimPrefix(rr.String(), rr.Header().String()))
	}
	return strings.Join(words, " ")
}

func TestCardsHaveNamesInTheirNetwork(t *testing.T) {
	ask := serve(t)
	const domain = ".6f1f3cf03f2b.internal.muster."
	for _, tt := range []struct {
		name string
		kind uint16
		want string
	}{
		{"web000000.", dns.TypeA, "NOERROR 10.0.0.4"},
		{"web000000" + domain, dns.TypeA, "NOERROR 10.0.0.4"},
		{"WEB000001" + domain, dns.TypeA, "NOERROR 10.0.0.6"},
		{"web000000" + domain, dns.TypeAAAA, "NOERROR"},
		{"web000002" + domain, dns.TypeA, "NXDOMAIN"},
		{domain[1:], dns.TypeA, "NOERROR"},
		{"4.0.0.10.in-addr.arpa.", dns.TypePTR, "NOERROR web000000" + domain},
		{"5.0.0.10.in-addr.arpa.", dns.TypePTR, "NOERROR web000000" + domain},
		{"9.0.0.10.in-addr.arpa.", dns.TypePTR, "NXDOMAIN"},
		{"1.2.0.192.in-addr.arpa.", dns.TypePTR, "REFUSED"},
		{"web000000.abcdef012345.internal.muster.", dns.TypeA, "REFUSED"},
		{"example.com.", dns.TypeA, "REFUSED"},
	} {
		for _, proto := range []string{"udp", "tcp"} {
			if got := says(ask(proto, tt.name, tt.kind)); got != tt.want {
				t.Errorf("%s %s over %s: got %s, want %s", dns.TypeToString[tt.kind], tt.name, proto, got, tt.want)
			}
		}
	}
	if r := ask("udp", "web000002"+domain, dns.TypeA); len(r.Ns) != 1 || !r.Authoritative {
		t.Errorf("a negative answer does not say how long it holds: %v", r)
	}
}

// upstream is a resolver that knows one long answer and one short one.
func upstream(t *testing.T) netip.AddrPort {
	t.Helper()
	udp, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := net.Listen("tcp4", udp.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, m *dns.Msg) {
		r := new(dns.Msg).SetReply(m)
		n := 1
		if strings.HasPrefix(m.Question[0].Name, "long.") {
			n = 100
		}
		for i := range n {
			r.Answer = append(r.Answer, &dns.A{Hdr: dns.RR_Header{Name: m.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(192, 0, 2, byte(i))})
		}
		if w.LocalAddr().Network() == "udp" {
			r.Truncate(dns.MinMsgSize)
		}
		w.WriteMsg(r) //nolint:errcheck // the asker checks
	})
	for _, s := range []*dns.Server{{PacketConn: udp, Handler: handler}, {Listener: tcp, Handler: handler}} {
		started, done := make(chan struct{}), make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		go func() { defer close(done); s.ActivateAndServe() }() //nolint:errcheck // the asker checks
		<-started
		t.Cleanup(func() { s.Shutdown(); <-done }) //nolint:errcheck // likewise
	}
	return netip.MustParseAddrPort(udp.LocalAddr().String())
}

func TestOtherNamesAreAskedOfTheHostsResolvers(t *testing.T) {
	silent, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := netip.MustParseAddrPort(silent.LocalAddr().String())
	silent.Close()
	ask := serve(t, closed, upstream(t))
	if got := says(ask("udp", "short.example.", dns.TypeA)); got != "NOERROR 192.0.2.0" {
		t.Errorf("got %s", got)
	}
	if r := ask("udp", "long.example.", dns.TypeA); !r.Truncated {
		t.Error("a long answer is not marked as cut")
	}
	if r := ask("tcp", "long.example.", dns.TypeA); len(r.Answer) != 100 {
		t.Errorf("over TCP there are %d answers, want 100", len(r.Answer))
	}
	if got := says(serve(t, closed)("udp", "short.example.", dns.TypeA)); got != "SERVFAIL" {
		t.Errorf("with no resolver that answers: got %s, want SERVFAIL", got)
	}
}

func TestManyConnectionsDoNotKeepAServerFromClosing(t *testing.T) {
	udp, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	zone := own.NewZone(program())
	s := own.Serve(t.Context(), udp, tcp, own.Options{Zone: func() *own.Zone { return zone }, Log: slog.New(slog.DiscardHandler)})
	for range 200 {
		c, err := net.Dial("tcp4", tcp.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	s.Close()
	if _, err := net.Dial("tcp4", tcp.Addr().String()); err == nil {
		t.Error("it still listens")
	}
}
