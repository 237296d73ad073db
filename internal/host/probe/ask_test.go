package probe

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/muster-vm/muster/internal/network"
)

// asked asks a path of a server at the end of a pipe, in a bubble, and returns the
// reason and how long it took.
func asked(t *testing.T, protocol network.ProbeProtocol, server func(net.Conn)) (got string, took time.Duration) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		var served sync.WaitGroup
		defer served.Wait()
		dial := func(context.Context, network.UID, netip.AddrPort) (net.Conn, error) {
			near, far := net.Pipe()
			served.Go(func() {
				defer far.Close()
				server(far)
			})
			return near, nil
		}
		begin := time.Now()
		target := member("net", 4)
		target.Probe.Protocol, target.Probe.Path = protocol, "/health?deep=1"
		err := ask(ctx, dial, target)
		got, took = reason(err, 5*time.Second, ctx.Err() != nil), time.Since(begin)
	})
	return got, took
}

// says answers any request with a text, and then keeps the connection until the
// other side closes it.
func says(text string) func(net.Conn) {
	return func(c net.Conn) {
		in := make([]byte, 4<<10)
		if _, err := c.Read(in); err != nil {
			return
		}
		if _, err := io.WriteString(c, text); err == nil {
			_, _ = c.Read(in)
		}
	}
}

func TestAnHTTPAnswerIsWellByStatus200Alone(t *testing.T) {
	const closed = "the connection was closed before the answer was whole"
	for name, tt := range map[string]struct {
		server func(net.Conn)
		want   string
		took   time.Duration
	}{
		"200":                        {says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), "", 0},
		"200 of HTTP/1.0":            {says("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n"), "", 0},
		"200 in another word":        {says("HTTP/1.1 200 Splendid\r\nContent-Length: 0\r\n\r\n"), "", 0},
		"200 after 103":              {says("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), "", 0},
		"200 with half a body":       {says("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"), "", courtesy},
		"200 with a body for ever":   {says("HTTP/1.1 200 OK\r\n\r\n" + strings.Repeat("more", maxAnswer)), "", 0},
		"204":                        {says("HTTP/1.1 204 No Content\r\n\r\n"), "status 204, wanted 200", 0},
		"a redirect":                 {says("HTTP/1.1 301 Moved\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"), "status 301, wanted 200", 0},
		"401":                        {says("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"), "status 401, wanted 200", 0},
		"503":                        {says("HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy"), "status 503, wanted 200", 0},
		"switched":                   {says("HTTP/1.1 101 Switching Protocols\r\n\r\n"), "status 101, wanted 200", 0},
		"hints for ever":             {says(strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", maxAnswer)), closed, 0},
		"a header without end":       {says("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 2*maxAnswer)), closed, 0},
		"nothing, and closed":        {func(c net.Conn) { _, _ = c.Read(make([]byte, 4<<10)) }, closed, 0},
		"closed before the request":  {func(net.Conn) {}, closed, 0},
		"nothing":                    {says(""), "no answer within 5s", 5 * time.Second},
		"a request that is not read": {func(net.Conn) { time.Sleep(time.Minute) }, "no answer within 5s", 5 * time.Second},
		"half a status line":         {says("HTTP/1.1 20"), "no answer within 5s", 5 * time.Second},
		"another protocol":           {says("SSH-2.0-OpenSSH_9.2\r\n"), `malformed HTTP response "SSH-2.0-OpenSSH_9.2"`, 0},
	} {
		t.Run(name, func(t *testing.T) {
			got, took := asked(t, network.ProbeHTTP, tt.server)
			if got != tt.want || took != tt.took {
				t.Errorf("%q after %s, want %q after %s", got, took, tt.want, tt.took)
			}
		})
	}
}

func TestTheRequestIsAPlainGET(t *testing.T) {
	var request string
	asked(t, network.ProbeHTTP, func(c net.Conn) {
		in := make([]byte, 4<<10)
		n, _ := c.Read(in)
		request = string(in[:n])
	})
	want := "GET /health?deep=1 HTTP/1.1\r\nHost: 10.0.0.4\r\nUser-Agent: Load Balancer Agent\r\nConnection: close\r\nAccept: */*\r\n\r\n"
	if request != want {
		t.Errorf("got\n%s\nwant\n%s", request, want)
	}
}

func TestAPathCannotBecomeAnotherRequest(t *testing.T) {
	for _, path := range []string{"a\r\nX: y", "/a\nb", "/ HTTP/1.0\r\n\r\nGET /", "http://elsewhere/", "//elsewhere/", "", "/%zz", "/ü"} {
		near, far := net.Pipe()
		written := make(chan []byte, 1)
		go func() {
			in := make([]byte, 4<<10)
			n, _ := far.Read(in)
			far.Close()
			written <- in[:n]
		}()
		target := member("net", 4)
		target.Probe.Path = path
		_ = get(near, target)
		near.Close()
		request := string(<-written)
		if strings.Count(request, "\n") != strings.Count(request, "\r\n") || request != "" && (strings.Count(request, "\r\n") != 6 || !strings.Contains(request, "\r\nHost: 10.0.0.4\r\n")) {
			t.Errorf("path %q makes the request %q", path, request)
		}
	}
}

func TestTCPWantsAHandshakeAndSendsNothing(t *testing.T) {
	var sent []byte
	if got, took := asked(t, network.ProbeTCP, func(c net.Conn) { sent, _ = io.ReadAll(c) }); got != "" || took != 0 || len(sent) > 0 {
		t.Errorf("%q after %s, and sent %q", got, took, sent)
	}
	if got, _ := asked(t, "Udp", func(net.Conn) {}); !strings.Contains(got, "Udp") {
		t.Errorf("an unknown protocol: %q", got)
	}
}

// askServer asks a server of this machine by way of a real connection.
func askServer(t *testing.T, protocol network.ProbeProtocol, at net.Addr) string {
	t.Helper()
	dial := func(ctx context.Context, _ network.UID, _ netip.AddrPort) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", at.String())
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	target := member("net", 4)
	target.Probe.Protocol, target.Probe.Path = protocol, "/well"
	return reason(ask(ctx, dial, target), time.Minute, ctx.Err() != nil)
}

func TestServersOfThePlatformAreAsked(t *testing.T) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host != "10.0.0.4" || !r.Close {
			t.Errorf("host %q, close %v", r.Host, r.Close)
		}
		if r.URL.Path != "/well" {
			w.WriteHeader(http.StatusNotFound)
		}
	})
	plain, secure := httptest.NewServer(handler), httptest.NewUnstartedServer(handler)
	defer plain.Close()
	defer secure.Close()
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	for _, tt := range []struct {
		protocol network.ProbeProtocol
		at       net.Addr
		want     string // a part
	}{
		{network.ProbeTCP, plain.Listener.Addr(), ""},
		{network.ProbeHTTP, plain.Listener.Addr(), ""},
		{network.ProbeHTTPS, secure.Listener.Addr(), ""},
		{network.ProbeHTTP, secure.Listener.Addr(), "status 400, wanted 200"},
		{network.ProbeHTTPS, plain.Listener.Addr(), "first record does not look like a TLS handshake"},
	} {
		if got := askServer(t, tt.protocol, tt.at); tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.protocol, got, tt.want)
		}
	}
}

func TestAClosedPortRefusesAndAResetIsSaid(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 1))
			_ = c.(*net.TCPConn).SetLinger(0)
			c.Close()
		}
	}()
	if got := askServer(t, network.ProbeHTTP, l.Addr()); got != "connection reset" {
		t.Errorf("a reset: %q", got)
	}
	l.Close()
	if got := askServer(t, network.ProbeTCP, l.Addr()); got != "connection refused" {
		t.Errorf("a closed port: %q", got)
	}
}

func TestReasonsAreShortAndPlain(t *testing.T) {
	for want, err := range map[string]error{
		"":                             nil,
		"no route to the address":      &net.OpError{Op: "dial", Err: syscall.EHOSTUNREACH},
		"no answer within 5s":          &net.OpError{Op: "dial", Err: syscall.ETIMEDOUT},
		"something":                    &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("something")},
		strings.Repeat("x", maxReason): errors.New(strings.Repeat("x", 1000)),
	} {
		if got := reason(err, 5*time.Second, false); got != want {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
}

// FuzzAnswer lets a member answer anything.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
	f.Add([]byte("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 2000 \xff\r\n\r\n"))
	f.Fuzz(func(t *testing.T, answer []byte) {
		near, far := net.Pipe()
		go func() {
			defer far.Close()
			_, _ = far.Read(make([]byte, 4<<10))
			_, _ = far.Write(answer)
		}()
		defer near.Close()
		got := reason(get(near, member("net", 4)), time.Second, false)
		if got == "" && !strings.Contains(string(answer), "200") {
			t.Errorf("well by %q", answer)
		}
		if len(got) > 4*maxReason || !utf8.ValidString(got) {
			t.Errorf("reason %q", got)
		}
	})
}
