package fleet_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/muster-vm/muster/internal/access"
	"github.com/muster-vm/muster/internal/api/fleet"
	"github.com/muster-vm/muster/internal/arm"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/vmss"
)

// doors leads into guests that tests play: what is dialled comes out of calls.
type doors struct {
	mu    sync.Mutex
	asked []string
	calls chan net.Conn
	err   error
}

func (d *doors) open(what string) (net.Conn, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.asked = append(d.asked, what); d.err != nil {
		return nil, d.err
	}
	mine, theirs, err := pair()
	if err == nil {
		d.calls <- mine
	}
	return theirs, err
}

// Console implements fleet.Guests.
func (d *doors) Console(_ context.Context, set vmss.UID, row vmss.Instance) (io.ReadWriteCloser, error) {
	return d.open(fmt.Sprintf("console of %s %s", set, row.ID))
}

// Dial implements fleet.Guests.
func (d *doors) Dial(_ context.Context, set vmss.UID, row vmss.Instance, port uint16) (net.Conn, error) {
	return d.open(fmt.Sprintf("port %d of %s %s", port, set, row.ID))
}

// pair returns both ends of a TCP connection.
func pair() (a, b net.Conn, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	defer l.Close()
	if a, err = net.Dial("tcp", l.Addr().String()); err != nil {
		return nil, nil, err
	}
	b, err = l.Accept()
	return a, b, err
}

// people knows a principal for each token, with the role of that name.
type people struct{}

func (people) Authenticate(token string) (access.Principal, error) {
	if token == "forged" {
		return access.Principal{}, resource.Errorf(resource.Unauthenticated, "InvalidAuthenticationToken", "The access token is invalid.")
	}
	return access.Principal{ObjectID: token}, nil
}

func (people) Authorize(p access.Principal, action, scope string) error {
	role, _, _ := strings.Cut(p.ObjectID, "-")
	return access.Check(p, []access.Assignment{{ObjectID: p.ObjectID, Role: role, Scope: "/subscriptions/0000"}}, action, scope)
}

// house is a world with a server that listens, and instances that run.
type house struct {
	*world
	doors *doors
	ways  *fleet.Streams
	url   string
	log   lines
}

// lines is a log that tests read.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

// String returns what was logged.
func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{world: newWorld(t), doors: &doors{calls: make(chan net.Conn, 100)}}
	log := slog.New(slog.NewTextHandler(&h.log, nil))
	h.ways = fleet.NewStreams(h.doors, log)
	api := &fleet.API{Store: h.store, Streams: h.ways, Set: func(context.Context, *arm.Request) (store.Entry[vmss.ScaleSet], error) {
		e, _ := store.Get(h.store, store.ScaleSets, vmss.NewKey("0000", "rg", "web"))
		return e, nil
	}}
	handler, err := arm.NewServer(api.Routes(), people{}, people{}, log)
	if err != nil {
		t.Fatal(err)
	}
	for id, power := range map[vmss.InstanceID]vmss.PowerState{0: vmss.PowerRunning, 1: vmss.PowerDeallocated} {
		h.commit(store.Put(store.Observations, vmss.InstanceKey{Set: uid, ID: id}, vmss.Observation{Power: power, Address: "10.0.0.4"}))
	}
	web := httptest.NewServer(handler)
	t.Cleanup(func() { h.ways.Close(); web.Close() })
	h.url = web.URL + "/subscriptions/0000/resourceGroups/rg/providers/Microsoft.Compute/virtualMachineScaleSets/web/virtualMachines/"
	return h
}

// dial opens a stream as somebody. A refusal is the status and the start of the
// body.
func (h *house) dial(who, path string, header ...string) (*websocket.Conn, string) {
	h.Helper()
	head := http.Header{"Authorization": {"Bearer " + who}}
	for i := 0; i < len(header); i += 2 {
		head.Set(header[i], header[i+1])
	}
	separator := "?"
	if strings.Contains(path, "?") {
		separator = "&"
	}
	c, res, err := websocket.Dial(h.Context(), h.url+path+separator+"api-version=2026-11-01", &websocket.DialOptions{HTTPHeader: head})
	if err != nil {
		if res == nil {
			h.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		return nil, fmt.Sprintf("%d %s", res.StatusCode, body)
	}
	h.Cleanup(func() { _ = c.CloseNow() })
	return c, "101"
}

const (
	console = "0/providers/Muster.Fleet/console"
	tunnel  = "0/providers/Muster.Fleet/tunnel?port=22"
)

func (h *house) open(path string) (*websocket.Conn, net.Conn) {
	h.Helper()
	c, refusal := h.dial("Owner", path)
	if c == nil {
		h.Fatal(refusal)
	}
	guest := <-h.doors.calls
	h.Cleanup(func() { guest.Close() })
	return c, guest
}

// hear reads messages up to and including the one that ends the direction.
func hear(ctx context.Context, c *websocket.Conn) (all []byte, err error) {
	for {
		kind, b, err := c.Read(ctx)
		if err != nil || len(b) == 0 {
			return all, err
		}
		if kind != websocket.MessageBinary {
			return all, errors.New("a message is not binary")
		}
		all = append(all, b...)
	}
}

// eventually waits for what the server does by itself.
func (h *house) eventually(what string, holds func() bool) {
	h.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			h.Fatalf("never: %s\n%s", what, h.log.String())
		}
	}
}

func TestATunnelCarriesEverythingBothWaysAndEachWayEndsByItself(t *testing.T) {
	h := newHouse(t)
	c, guest := h.open(tunnel)
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	go func() {
		for b := sent; len(b) > 0; b = b[min(len(b), 60000):] {
			if c.Write(h.Context(), websocket.MessageBinary, b[:min(len(b), 60000)]) != nil {
				return
			}
		}
		_ = c.Write(h.Context(), websocket.MessageBinary, nil)
	}()
	got, err := io.ReadAll(guest) // ends, although the client listens on
	if err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("the guest got %d bytes of %d: %v", len(got), len(sent), err)
	}
	go func() {
		_, _ = guest.Write(sent)
		guest.Close()
	}()
	if back, err := hear(t.Context(), c); err != nil || !bytes.Equal(back, sent) {
		t.Fatalf("the client got %d bytes of %d: %v", len(back), len(sent), err)
	}
	if _, _, err := c.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusNormalClosure {
		t.Errorf("after both ways ended: %v", err)
	}
	h.eventually("the end is logged", func() bool { return strings.Contains(h.log.String(), "status=101") })
	log := h.log.String()
	for _, want := range []string{"msg=\"stream opened\" kind=tunnel instance=/subscriptions/0000/resourceGroups/rg/providers/Microsoft.Compute/virtualMachineScaleSets/web/virtualMachines/0 port=22 principal=Owner",
		"bytes_in=1048576 bytes_out=1048576", `reason="both sides ended"`} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %s:\n%s", want, log)
		}
	}
	if got := fmt.Sprint(h.doors.asked); got != "[port 22 of "+string(uid)+" 0]" {
		t.Errorf("asked for %s", got)
	}
}

func TestAConsoleEndsWithTheMachine(t *testing.T) {
	h := newHouse(t)
	c, guest := h.open(console)
	_, _ = guest.Write([]byte("login: "))
	guest.Close()
	got, err := hear(t.Context(), c)
	if string(got) != "login: " || websocket.CloseStatus(err) != websocket.StatusNormalClosure {
		t.Errorf("%q, then %v", got, err)
	}
}

func TestTheGuestSeesThatTheClientLeft(t *testing.T) {
	for _, leave := range []func(*websocket.Conn) error{(*websocket.Conn).CloseNow, func(c *websocket.Conn) error { return c.Close(websocket.StatusNormalClosure, "") }} {
		h := newHouse(t)
		c, guest := h.open(tunnel)
		if err := leave(c); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(guest); err != nil {
			t.Error(err)
		}
		h.eventually("the end is logged", func() bool { return strings.Contains(h.log.String(), `reason="the client left"`) })
	}
}

func TestWhoMayReachIntoInstances(t *testing.T) {
	h := newHouse(t)
	for _, tt := range []struct {
		who, path, want string
		header          []string
	}{
		{who: "Owner", path: console, want: "101"},
		{who: "Contributor", path: tunnel, want: "101"},
		{who: "Owner", path: tunnel, want: "101", header: []string{"Origin", strings.Replace(h.url[:strings.Index(h.url[8:], "/")+8], "http:", "https:", 1)}},
		{who: "Reader", path: console, want: `403 {"error":{"code":"AuthorizationFailed"`},
		{who: "Reader", path: tunnel, want: `403 {"error":{"code":"AuthorizationFailed"`},
		{who: "forged", path: tunnel, want: `401 {"error":{"code":"InvalidAuthenticationToken"`},
		{who: "Owner", path: tunnel, want: `401 {"error":{"code":"AuthenticationFailed"`, header: []string{"Authorization", ""}},
		{who: "Owner", path: tunnel, want: `403 {"error":{"code":"OriginNotAllowed"`, header: []string{"Origin", "https://evil.example"}},
		{who: "Owner", path: tunnel, want: `403 {"error":{"code":"OriginNotAllowed"`, header: []string{"Origin", "null"}},
		{who: "Owner", path: strings.TrimSuffix(tunnel, "22") + "0", want: `400 {"error":{"code":"InvalidParameter"`},
		{who: "Owner", path: strings.TrimSuffix(tunnel, "22") + "65536", want: `400 {"error":{"code":"InvalidParameter"`},
		{who: "Owner", path: strings.TrimSuffix(tunnel, "22") + "-1", want: `400 {"error":{"code":"InvalidParameter"`},
		{who: "Owner", path: strings.TrimSuffix(tunnel, "22") + "22@10.0.0.1:22", want: `400 {"error":{"code":"InvalidParameter"`},
		{who: "Owner", path: strings.TrimSuffix(tunnel, "?port=22"), want: `400 {"error":{"code":"InvalidParameter"`},
		{who: "Owner", path: "1" + tunnel[1:], want: `409 {"error":{"code":"OperationNotAllowed","message":"Instance web_1 is deallocated. Start it first."`},
		{who: "Owner", path: "2" + console[1:], want: `409 {"error":{"code":"OperationNotAllowed","message":"Instance web_2 does not run yet.`},
		{who: "Owner", path: "7" + console[1:], want: `404 {"error":{"code":"InstanceNotFound"`},
		{who: "Owner", path: "10.0.0.1" + console[1:], want: `400 {"error":{"code":"InvalidParameter"`},
	} {
		if _, got := h.dial(tt.who, tt.path, tt.header...); !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s, %s %q: %s, want %s", tt.who, tt.path, tt.header, got, tt.want)
		}
	}
	if len(h.doors.asked) != 3 {
		t.Errorf("guests were reached: %q", h.doors.asked)
	}
}

func TestAStreamIsNoOrdinaryRequest(t *testing.T) {
	h := newHouse(t)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, h.url+console+"?api-version=2026-11-01", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer Owner")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusBadRequest || !bytes.Contains(body, []byte("WebSocketRequired")) {
		t.Errorf("%d %s", res.StatusCode, body)
	}
}

func TestWhatTheHostSaysIsTheAnswer(t *testing.T) {
	h := newHouse(t)
	h.doors.err = resource.Errorf(resource.Unavailable, "GuestPortClosed", "Nothing in the guest listens on port 22.")
	for range fleet.StreamsPerInstance + 1 { // what fails is not counted
		if _, got := h.dial("Owner", tunnel); !strings.HasPrefix(got, `503 {"error":{"code":"GuestPortClosed"`) {
			t.Fatal(got)
		}
	}
}

func TestNobodyOpensTooMany(t *testing.T) {
	h := newHouse(t)
	var last *websocket.Conn
	for range fleet.StreamsPerInstance {
		last, _ = h.open(tunnel)
	}
	if _, got := h.dial("Owner-2", console); !strings.HasPrefix(got, `429 {"error":{"code":"TooManyStreams"`) {
		t.Errorf("one more of the instance: %s", got)
	}
	_ = last.Close(websocket.StatusNormalClosure, "")
	h.eventually("there is room again", func() bool { _, got := h.dial("Owner-2", console); return got == "101" })

	h = newHouse(t)
	for id := vmss.InstanceID(10); id < 10+fleet.StreamsPerPrincipal/fleet.StreamsPerInstance; id++ {
		h.commit(store.Put(store.Observations, vmss.InstanceKey{Set: uid, ID: id}, vmss.Observation{Power: vmss.PowerRunning}), h.row(id, 2, nil))
		for range fleet.StreamsPerInstance {
			h.open(id.String() + tunnel[1:])
		}
	}
	if _, got := h.dial("Owner", tunnel); !strings.HasPrefix(got, `429 {"error":{"code":"TooManyStreams"`) {
		t.Errorf("one more of the principal: %s", got)
	}
	if _, got := h.dial("Owner-2", tunnel); got != "101" {
		t.Errorf("somebody else: %s", got)
	}
}

func TestAServerThatStopsEndsStreamsAndOpensNone(t *testing.T) {
	h := newHouse(t)
	c, _ := h.open(tunnel)
	gone, _ := h.open(console) // its client does not listen
	_ = gone
	read := make(chan error)
	go func() {
		_, _, err := c.Read(context.Background())
		read <- err
	}()
	h.ways.Close()
	if err := <-read; websocket.CloseStatus(err) != websocket.StatusGoingAway || !strings.Contains(err.Error(), "the server stops") {
		t.Error(err)
	}
	if _, got := h.dial("Owner", tunnel); !strings.HasPrefix(got, `503 {"error":{"code":"ServerStopping"`) {
		t.Error(got)
	}
	h.ways.Close() // again
}

func TestTextIsRefused(t *testing.T) {
	h := newHouse(t)
	c, guest := h.open(tunnel)
	_ = c.Write(t.Context(), websocket.MessageText, []byte("hello"))
	if _, _, err := c.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusUnsupportedData {
		t.Error(err)
	}
	if got, _ := io.ReadAll(guest); len(got) > 0 {
		t.Errorf("the guest got %q", got)
	}
}

func TestAMessageThatIsTooLargeEndsTheStream(t *testing.T) {
	h := newHouse(t)
	c, guest := h.open(tunnel)
	go io.Copy(io.Discard, guest)                                         //nolint:errcheck // it ends with the stream
	go c.Write(t.Context(), websocket.MessageBinary, make([]byte, 1<<20)) //nolint:errcheck // it is cut off
	if _, _, err := c.Read(t.Context()); err == nil {
		t.Error("it is taken")
	}
}
