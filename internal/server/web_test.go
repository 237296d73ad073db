package server

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
)

// lobby is a listener whose connections tests make.
type lobby chan net.Conn

// Accept implements net.Listener.
func (l lobby) Accept() (net.Conn, error) {
	c, ok := <-l
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

// Close implements net.Listener.
func (lobby) Close() error { return nil }

// Addr implements net.Listener.
func (lobby) Addr() net.Addr { return &net.TCPAddr{} }

// TestNoCallerHoldsOnToTheServer lets callers send or read nothing more at every
// stage of a request, and wants them cut off.
func TestNoCallerHoldsOnToTheServer(t *testing.T) {
	large := bytes.Repeat([]byte("x"), 1<<20)
	for name, sent := range map[string]string{
		"silent":          "",
		"half a header":   "GET / HTTP/1.1\r\nHost: h\r\nX: ",
		"half a body":     "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n12345",
		"endless chunks":  "PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n",
		"reads no answer": "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
		"large header":    "GET / HTTP/1.1\r\nHost: h\r\nX: " + string(large[:80<<10]),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				web := newWeb(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if _, err := io.Copy(io.Discard, r.Body); err == nil {
						_, _ = w.Write(large)
					}
				}), slog.New(slog.DiscardHandler))
				callers := make(lobby)
				go web.Serve(callers) //nolint:errcheck // it ends with the listener
				mine, theirs := net.Pipe()
				closed := make(chan struct{})
				callers <- watched{theirs, sync.OnceFunc(func() { close(closed) })}
				go mine.Write([]byte(sent)) //nolint:errcheck // it may be cut off
				select {
				case <-closed:
				case <-time.After(5 * time.Minute):
					t.Error("the connection is still there after five minutes")
				}
				mine.Close()
				close(callers)
				web.Close()
			})
		})
	}
}

// watched is a connection that tells when it is closed.
type watched struct {
	net.Conn
	tell func()
}

// Close implements net.Conn.
func (w watched) Close() error {
	w.tell()
	return w.Conn.Close()
}

// TestAStreamOutlivesTheLimitsOfRequests lets a connection that was upgraded rest
// for longer than any request may take, and wants it alive.
func TestAStreamOutlivesTheLimitsOfRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		web := newWeb(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c, err := websocket.Accept(w, r, nil)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.CloseNow()
			for {
				kind, b, err := c.Read(context.WithoutCancel(r.Context()))
				if err != nil || c.Write(context.WithoutCancel(r.Context()), kind, b) != nil {
					return
				}
			}
		}), slog.New(slog.DiscardHandler))
		callers := make(lobby)
		go web.Serve(callers) //nolint:errcheck // it ends with the listener
		mine, theirs := net.Pipe()
		callers <- theirs
		client := &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return mine, nil }}}
		c, _, err := websocket.Dial(t.Context(), "http://h/", &websocket.DialOptions{HTTPClient: client})
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			time.Sleep(time.Hour)
			if err := c.Write(t.Context(), websocket.MessageBinary, []byte("still here")); err != nil {
				t.Fatal(err)
			}
			if _, b, err := c.Read(t.Context()); err != nil || string(b) != "still here" {
				t.Fatalf("%q %v", b, err)
			}
		}
		c.CloseNow()
		close(callers)
		web.Close()
	})
}
