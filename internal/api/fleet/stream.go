package fleet

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/muster-vm/muster/internal/access"
	"github.com/muster-vm/muster/internal/arm"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/vmss"
)

// Guests is the way into instances. Errors are *resource.Error, for users.
type Guests interface {
	// Console opens the serial console of the row's machine.
	Console(ctx context.Context, set vmss.UID, row vmss.Instance) (io.ReadWriteCloser, error)
	// Dial connects to a TCP port of the row's machine, and of nothing else.
	Dial(ctx context.Context, set vmss.UID, row vmss.Instance, port uint16) (net.Conn, error)
}

// Limits of streams that are open at once.
const (
	StreamsPerInstance  = 16
	StreamsPerPrincipal = 64
)

// Streams are the consoles and tunnels that are open. Make it with NewStreams.
type Streams struct {
	guests Guests
	log    *slog.Logger

	mu     sync.Mutex
	open   map[*stream]struct{}
	closed bool
	idle   chan struct{} // closed once closed is set and nothing is open
}

// NewStreams returns streams that nobody has opened yet.
func NewStreams(guests Guests, log *slog.Logger) *Streams {
	return &Streams{guests: guests, log: log, open: map[*stream]struct{}{}, idle: make(chan struct{})}
}

// drainLimit is how long clients may take to say goodbye.
const drainLimit = 3 * time.Second

// Close ends all streams, tells their clients that the server stops, and returns
// when they are gone or have had long enough for it. No more are opened.
func (s *Streams) Close() {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		if len(s.open) == 0 {
			close(s.idle)
		}
	}
	for one := range s.open {
		one.end(serverStops)
	}
	s.mu.Unlock()
	select {
	case <-s.idle:
	case <-time.After(drainLimit + time.Second):
	}
}

// admit counts a stream, unless there are too many.
func (s *Streams) admit(one *stream) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return resource.Errorf(resource.Unavailable, "ServerStopping", "The server is stopping. Try again when it is back.")
	}
	ofInstance, ofPrincipal := 0, 0
	for o := range s.open {
		if o.key == one.key {
			ofInstance++
		}
		if o.principal.ObjectID == one.principal.ObjectID {
			ofPrincipal++
		}
	}
	if ofInstance >= StreamsPerInstance {
		return resource.Errorf(resource.Throttled, "TooManyStreams", "%d consoles and tunnels of instance %s are open. Close one of them first.", ofInstance, one.key.ID)
	}
	if ofPrincipal >= StreamsPerPrincipal {
		return resource.Errorf(resource.Throttled, "TooManyStreams", "You have %d consoles and tunnels open. Close one of them first.", ofPrincipal)
	}
	s.open[one] = struct{}{}
	return nil
}

// drop forgets a stream that has ended.
func (s *Streams) drop(one *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, one)
	if s.closed && len(s.open) == 0 {
		close(s.idle)
	}
}

// streamRoutes lists the ways into an instance. Their actions are no reads, so
// that a reader has none of them.
func (a *API) streamRoutes() []arm.Route {
	if a.Streams == nil {
		return nil
	}
	const below = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Compute/virtualMachineScaleSets/{set}/virtualMachines/{instance}/providers/" + Namespace
	return []arm.Route{
		{Method: "GET", Path: below + "/console", Action: Namespace + "/console/action", Handler: a.openConsole, Versions: Versions},
		{Method: "GET", Path: below + "/tunnel", Action: Namespace + "/tunnel/action", Handler: a.openTunnel, Versions: Versions},
	}
}

func (a *API) openConsole(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	return a.openStream(ctx, r, &stream{kind: "console"})
}

func (a *API) openTunnel(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	port, err := strconv.ParseUint(r.Query("port"), 10, 16)
	if err != nil || port == 0 {
		return nil, resource.Errorf(resource.Invalid, "InvalidParameter", "The query parameter 'port' is '%.64s'; it must be a TCP port from 1 to 65535.", r.Query("port")).At("port")
	}
	return a.openStream(ctx, r, &stream{kind: "tunnel", port: uint16(port)})
}

// openLimit is how long a guest may take to answer.
const openLimit = 10 * time.Second

// openStream checks that the instance can be reached, reaches it, and answers by
// upgrading the connection.
func (a *API) openStream(ctx context.Context, r *arm.Request, s *stream) (*arm.Response, error) {
	if err := upgradable(r.HTTP); err != nil {
		return nil, err
	}
	set, err := a.Set(ctx, r)
	if err != nil {
		return nil, err
	}
	id, err := vmss.ParseInstanceID(r.Var("instance"))
	if err != nil {
		return nil, err
	}
	s.streams, s.store, s.key = a.Streams, a.Store, vmss.InstanceKey{Set: set.Value.UID, ID: id}
	s.principal, s.instance, s.request = r.Principal, vmss.InstanceName(set.Value.ID.Name(), id), r.RequestID
	s.scope = fmt.Sprintf("%s/virtualMachines/%s", set.Value.ID, id)
	s.may = func() error { return r.May(Namespace+"/"+s.kind+"/action", s.scope) }
	s.ended = make(chan struct{})
	row, err := s.row()
	if err != nil {
		return nil, err
	}
	s.disks = row.Disks
	if err := a.Streams.admit(s); err != nil {
		return nil, err
	}
	opening, cancel := context.WithTimeout(ctx, openLimit)
	defer cancel()
	if s.kind == "console" {
		s.guest, err = a.Streams.guests.Console(opening, s.key.Set, row)
	} else {
		s.guest, err = a.Streams.guests.Dial(opening, s.key.Set, row, s.port)
	}
	if err != nil {
		a.Streams.drop(s)
		return nil, err
	}
	return &arm.Response{Upgrade: s.serve}, nil
}

// row returns the row of an instance that can be reached now.
func (s *stream) row() (vmss.Instance, error) {
	rec := s.store.Instance(s.key.Set, s.key.ID)
	if rec == nil || rec.Row.Value == nil {
		return vmss.Instance{}, resource.Errorf(resource.NotFound, "InstanceNotFound", "There is no instance %s.", s.instance)
	}
	var seen vmss.Observation
	if rec.Seen != nil {
		seen = *rec.Seen
	}
	switch seen.Power {
	case vmss.PowerStopped, vmss.PowerDeallocated, vmss.PowerDeallocating:
		return vmss.Instance{}, resource.Errorf(resource.Conflict, "OperationNotAllowed", "Instance %s is %s. Start it first.", s.instance, seen.Power)
	case vmss.PowerUnknown:
		return vmss.Instance{}, resource.Errorf(resource.Conflict, "OperationNotAllowed", "Instance %s does not run yet. Try again when it does.", s.instance)
	}
	return *rec.Row.Value, nil
}

// upgradable refuses what is no WebSocket handshake, and what a web page of
// another origin sends: browsers let pages open WebSockets to anywhere.
func upgradable(r *http.Request) error {
	if r.ProtoMajor != 1 || !has(r.Header, "Connection", "upgrade") || !has(r.Header, "Upgrade", "websocket") {
		return resource.Errorf(resource.Invalid, "WebSocketRequired", "This is a stream: ask for it with a WebSocket handshake over HTTP/1.1.")
	}
	origin := r.Header.Get("Origin")
	if u, err := url.Parse(origin); origin != "" && (err != nil || !strings.EqualFold(u.Host, r.Host)) {
		return resource.Errorf(resource.Forbidden, "OriginNotAllowed", "Web pages of '%.256s' may not reach instances of this server.", origin)
	}
	return nil
}

// has reports whether a header has a word in its list.
func has(h http.Header, name, word string) bool {
	for _, line := range h.Values(name) {
		for part := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(part), word) {
				return true
			}
		}
	}
	return false
}

// stream is one console or tunnel.
type stream struct {
	streams   *Streams
	store     *store.Store
	kind      string // console or tunnel
	key       vmss.InstanceKey
	port      uint16
	disks     int64 // which OS disk the machine has
	principal access.Principal
	instance  string
	scope     string
	request   string
	may       func() error // whether the principal still may
	guest     io.ReadWriteCloser

	once  sync.Once
	why   ending
	ended chan struct{} // closed once why is set

	traffic
}
