package fleet

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/muster-vm/muster/internal/resource"
)

// ending is why a stream ended.
type ending struct {
	code   websocket.StatusCode
	reason string // at most 123 bytes
}

var (
	bothEnded   = ending{websocket.StatusNormalClosure, "both sides ended"}
	clientLeft  = ending{websocket.StatusNormalClosure, "the client left"}
	clientLost  = ending{websocket.StatusGoingAway, "the client does not answer"}
	guestEnded  = ending{websocket.StatusNormalClosure, "the instance ended it"}
	guestLost   = ending{websocket.StatusInternalError, "the connection to the instance broke"}
	guestStuck  = ending{websocket.StatusInternalError, "the instance took nothing for too long"}
	notRunning  = ending{websocket.StatusNormalClosure, "the instance does not run any more"}
	accessEnded = ending{websocket.StatusPolicyViolation, "access was withdrawn"}
	onlyBinary  = ending{websocket.StatusUnsupportedData, "messages must be binary"}
	serverStops = ending{websocket.StatusGoingAway, "the server stops"}
)

const (
	// chunk is how much of what the guest sends goes into one message, and
	// largest how large a message of the client's may be.
	chunk, largest = 32 << 10, 64 << 10
	// checkEvery is how often it is seen to that a stream may go on.
	checkEvery = 15 * time.Second
	// pingAfter is how long nothing moves until the client is asked whether it
	// is there.
	pingAfter = 30 * time.Second
	// stall is how long a side may take nothing.
	stall = 5 * time.Minute
)

// traffic is what went through a stream, and when.
type traffic struct {
	fromClient, fromGuest atomic.Int64 // bytes
	moved                 atomic.Int64 // when something last moved, in Unix nanoseconds
	busy                  atomic.Int32 // pumps that wait until somebody takes what they have
	pinging               atomic.Bool
	halves                atomic.Int32 // directions that have ended
}

func (t *traffic) mark() { t.moved.Store(time.Now().UnixNano()) }

// end ends the stream; the first reason counts.
func (s *stream) end(why ending) {
	s.once.Do(func() { s.why = why; close(s.ended) })
}

// grip lets the connection be cut that a WebSocket took over.
type grip struct {
	http.ResponseWriter
	conn net.Conn
}

// Hijack implements http.Hijacker. Deadlines of requests do not apply any more.
func (g *grip) Hijack() (conn net.Conn, rw *bufio.ReadWriter, err error) {
	conn, rw, err = http.NewResponseController(g.ResponseWriter).Hijack()
	if err == nil {
		g.conn, err = conn, conn.SetDeadline(time.Time{})
	}
	return conn, rw, err
}

// serve carries bytes between the client and the guest until the stream ends.
func (s *stream) serve(w http.ResponseWriter, r *http.Request) {
	defer s.streams.drop(s)
	defer s.guest.Close()
	g := &grip{ResponseWriter: w}
	ws, err := websocket.Accept(g, r, nil)
	if err != nil {
		return // the client has been told
	}
	ctx := context.WithoutCancel(r.Context())
	ws.SetReadLimit(largest)
	start := time.Now()
	s.mark()
	s.streams.log.InfoContext(ctx, "stream opened", "kind", s.kind, "instance", s.scope, "port", s.port, "principal", s.principal.ObjectID,
		"client", r.RemoteAddr, "request", s.request)
	s.carry(ctx, ws, g.conn)
	s.streams.log.InfoContext(ctx, "stream closed", "kind", s.kind, "instance", s.scope, "port", s.port, "principal", s.principal.ObjectID,
		"client", r.RemoteAddr, "request", s.request, "bytes_in", s.fromClient.Load(), "bytes_out", s.fromGuest.Load(),
		"duration", time.Since(start), "reason", s.why.reason)
}

// carry returns when the stream has ended and nothing of it is left.
func (s *stream) carry(ctx context.Context, ws *websocket.Conn, conn net.Conn) {
	var wg sync.WaitGroup
	wg.Go(func() { s.upstream(ctx, ws) })
	wg.Go(func() { s.downstream(ctx, ws) })
	wg.Go(func() { s.watch(ctx, ws, &wg) })
	<-s.ended
	s.guest.Close()
	cut := time.AfterFunc(drainLimit, func() { conn.Close() })
	defer cut.Stop()
	_ = ws.Close(s.why.code, s.why.reason) // the client may have gone; there is nobody to tell
	wg.Wait()
}

// upstream carries what the client sends. An empty message says that there is no
// more of it; then it only hears that the client leaves.
func (s *stream) upstream(ctx context.Context, ws *websocket.Conn) {
	b := make([]byte, chunk)
	for over := false; ; {
		kind, message, err := ws.Reader(ctx)
		if err == nil && kind != websocket.MessageBinary {
			s.end(onlyBinary)
			return
		}
		empty := err == nil
		for err == nil {
			var n int
			if n, err = message.Read(b); n > 0 {
				empty = false
				if !over && !s.give(b[:n]) {
					return
				}
			}
		}
		if !errors.Is(err, io.EOF) || message == nil {
			s.end(clientEnd(err))
			return
		}
		if empty && !over {
			over = true
			if c, ok := s.guest.(interface{ CloseWrite() error }); ok {
				_ = c.CloseWrite() // the other direction finds out if it is broken
			}
			s.half()
		}
	}
}

// half counts the directions that have ended.
func (s *stream) half() {
	if s.halves.Add(1) == 2 {
		s.end(bothEnded)
	}
}

// give gives the guest some bytes and reports whether the stream goes on.
func (s *stream) give(b []byte) bool {
	s.busy.Add(1)
	defer s.busy.Add(-1)
	if c, ok := s.guest.(interface{ SetWriteDeadline(t time.Time) error }); ok {
		_ = c.SetWriteDeadline(time.Now().Add(stall)) // a connection that is broken says so when it is written to
	}
	n, err := s.guest.Write(b)
	s.fromClient.Add(int64(n))
	s.mark()
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		s.end(guestStuck)
	} else if err != nil {
		s.end(guestLost)
	}
	return err == nil
}

// downstream carries what the guest sends. It returns when its direction has
// ended.
func (s *stream) downstream(ctx context.Context, ws *websocket.Conn) {
	b := make([]byte, chunk)
	for {
		n, err := s.guest.Read(b)
		if n > 0 && !s.send(ctx, ws, b[:n]) {
			return
		}
		switch {
		case err == nil:
		case !errors.Is(err, io.EOF):
			s.end(guestLost)
			return
		case s.kind == "console":
			s.end(guestEnded) // there is nobody left to type for
			return
		default:
			if s.send(ctx, ws, nil) {
				s.half()
			}
			return
		}
	}
}

// send sends the client a message and reports whether the stream goes on.
func (s *stream) send(ctx context.Context, ws *websocket.Conn, b []byte) bool {
	s.busy.Add(1)
	defer s.busy.Add(-1)
	patient, cancel := context.WithTimeout(ctx, stall)
	defer cancel()
	if err := ws.Write(patient, websocket.MessageBinary, b); err != nil {
		s.end(clientLost)
		return false
	}
	s.fromGuest.Add(int64(len(b)))
	s.mark()
	return true
}

// watch sees to it, again and again, that the stream may go on.
func (s *stream) watch(ctx context.Context, ws *websocket.Conn, wg *sync.WaitGroup) {
	ticker := time.NewTicker(checkEvery)
	defer ticker.Stop()
	for {
		select {
		case <-s.ended:
			return
		case <-ticker.C:
		}
		if row, err := s.row(); err != nil || row.Disks != s.disks {
			s.end(notRunning)
		} else if err := s.may(); resource.Is(err, resource.Forbidden) || resource.Is(err, resource.Unauthenticated) {
			s.end(accessEnded)
		}
		// Who takes what is there, or is waited for, need not answer.
		if time.Since(time.Unix(0, s.moved.Load())) >= pingAfter && s.busy.Load() == 0 && s.pinging.CompareAndSwap(false, true) {
			wg.Go(func() {
				defer s.pinging.Store(false)
				patient, cancel := context.WithTimeout(ctx, stall)
				defer cancel()
				if err := ws.Ping(patient); err != nil && patient.Err() != nil {
					s.end(clientLost)
				}
			})
		}
	}
}

// clientEnd is why nothing can be read from the client any more.
func clientEnd(err error) ending {
	switch websocket.CloseStatus(err) {
	case websocket.StatusNormalClosure, websocket.StatusGoingAway, websocket.StatusNoStatusRcvd:
		return clientLeft
	}
	if errors.Is(err, io.EOF) {
		return clientLeft
	}
	return clientLost // broken, or given up because it took nothing
}
