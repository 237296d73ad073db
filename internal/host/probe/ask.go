package probe

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/resource"
)

const (
	maxAnswer = 64 << 10               // bytes of an HTTP answer that are read
	courtesy  = 250 * time.Millisecond // that the body of an answer is given
	agent     = "Load Balancer Agent"
)

// dialer connects to a member.
type dialer func(ctx context.Context, uid network.UID, to netip.AddrPort) (net.Conn, error)

// ask asks a target once and returns what is wrong with its answer; nothing is if
// it is well. The answer counts until ctx is done.
func ask(ctx context.Context, dial dialer, t network.Target) error {
	conn, err := dial(ctx, t.Network, netip.AddrPortFrom(t.Address, t.Probe.Port))
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	switch t.Probe.Protocol {
	case network.ProbeTCP:
		return nil
	case network.ProbeHTTP:
		return get(conn, t)
	case network.ProbeHTTPS:
		secure := tls.Client(conn, &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true}) //nolint:gosec // Azure does not check the certificates of members
		if err := secure.HandshakeContext(ctx); err != nil {
			return err
		}
		return get(secure, t)
	}
	return fmt.Errorf("the protocol %q is not known", t.Probe.Protocol)
}

// get asks for the probe's path and wants status 200.
func get(conn net.Conn, t network.Target) error {
	where, err := url.ParseRequestURI("/" + strings.TrimPrefix(t.Probe.Path, "/"))
	if err != nil {
		return fmt.Errorf("the path %.64q is not valid", t.Probe.Path)
	}
	r := &http.Request{Method: http.MethodGet, URL: where, Host: t.Address.String(), Header: http.Header{"User-Agent": {agent}, "Accept": {"*/*"}}, Close: true}
	if err := r.Write(conn); err != nil {
		return err
	}
	in := bufio.NewReaderSize(io.LimitReader(conn, maxAnswer), 4<<10)
	answer, err := http.ReadResponse(in, r)
	for err == nil && answer.StatusCode < http.StatusOK && answer.StatusCode != http.StatusSwitchingProtocols { // the real one follows
		answer, err = http.ReadResponse(in, r)
	}
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d, wanted %d", answer.StatusCode, http.StatusOK)
	}
	// The status decides. Whoever sends a short body shall not find the connection reset.
	if err := conn.SetReadDeadline(time.Now().Add(courtesy)); err == nil {
		_, _ = io.Copy(io.Discard, answer.Body)
	}
	return nil
}

// maxReason bounds a Reason; members write a part of it.
const maxReason = 160

// reason words an error of ask for a user. limit is how long it had, if that is
// over.
func reason(err error, limit time.Duration, over bool) string {
	switch {
	case err == nil:
		return ""
	case over, errors.Is(err, context.DeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT):
		return fmt.Sprintf("no answer within %s", limit)
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "connection reset"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "no route to the address"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.ErrClosedPipe):
		return "the connection was closed before the answer was whole"
	}
	if e, ok := errors.AsType[*resource.Error](err); ok {
		return e.Msg
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		err = op.Err
	}
	return strings.ToValidUTF8(fmt.Sprintf("%.*s", maxReason, err.Error()), "?")
}
