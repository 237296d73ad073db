package fleet_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/muster-vm/muster/internal/access"
	"github.com/muster-vm/muster/internal/api/fleet"
	"github.com/muster-vm/muster/internal/arm"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/vmss"
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

// pipes are guests behind pipes.
type pipes chan net.Conn

// Console implements fleet.Guests.
func (p pipes) Console(ctx context.Context, set vmss.UID, row vmss.Instance) (io.ReadWriteCloser, error) {
	return p.Dial(ctx, set, row, 0)
}

// Dial implements fleet.Guests.
func (p pipes) Dial(context.Context, vmss.UID, vmss.Instance, uint16) (net.Conn, error) {
	mine, theirs := net.Pipe()
	p <- mine
	return theirs, nil
}

// owner may do everything until that is withdrawn.
type owner struct{ withdrawn atomic.Bool }

// Authenticate implements arm.Authenticator.
func (*owner) Authenticate(string) (access.Principal, error) { return access.Principal{}, nil }

// Authorize implements arm.Authorizer.
func (o *owner) Authorize(access.Principal, string, string) error {
	if o.withdrawn.Load() {
		return resource.Errorf(resource.Forbidden, "AuthorizationFailed", "No more.")
	}
	return nil
}

// held is a tunnel in virtual time.
type held struct {
	*world
	owner  owner
	client *websocket.Conn
	guest  net.Conn
	log    lines
	began  time.Time
}

func (h *held) observe(power vmss.PowerState) {
	h.commit(store.Put(store.Observations, vmss.InstanceKey{Set: uid, ID: 0}, vmss.Observation{Power: power}))
}

// ends waits until the stream has ended and returns after how long, and why.
func (h *held) ends() (after time.Duration, why string) {
	for !strings.Contains(h.log.String(), "stream closed") {
		if time.Since(h.began) > time.Hour {
			return time.Since(h.began), "nothing: it goes on"
		}
		time.Sleep(time.Second)
	}
	_, why, _ = strings.Cut(h.log.String(), "reason=")
	why, _, _ = strings.Cut(why, "\n")
	return time.Since(h.began), why
}

// TestWhatEndsAStream holds a tunnel until something happens to it.
func TestWhatEndsAStream(t *testing.T) {
	listens := func(h *held) {
		go func() {
			for {
				if _, _, err := h.client.Read(context.Background()); err != nil {
					return
				}
			}
		}()
	}
	for name, tt := range map[string]struct {
		happens func(h *held)
		why     string
		within  time.Duration
	}{
		"access is withdrawn": {func(h *held) { listens(h); h.owner.withdrawn.Store(true) }, `"access was withdrawn"`, 20 * time.Second},
		"the instance is deallocated": {func(h *held) { listens(h); h.observe(vmss.PowerDeallocated) },
			`"the instance does not run any more"`, 20 * time.Second},
		"the instance is deleted": {func(h *held) {
			listens(h)
			h.commit(store.Delete(store.Instances, vmss.InstanceKey{Set: uid, ID: 0}, store.Any))
		}, `"the instance does not run any more"`, 20 * time.Second},
		"the instance is reimaged": {func(h *held) {
			listens(h)
			h.commit(store.Put(store.Instances, vmss.InstanceKey{Set: uid, ID: 0}, vmss.Instance{ID: 0, Revision: 2, Disks: 2}))
		}, `"the instance does not run any more"`, 20 * time.Second},
		"the client takes nothing": {func(h *held) { go h.guest.Write(make([]byte, 1<<20)) }, `"the client does not answer"`, 6 * time.Minute}, //nolint:errcheck // it is cut off
		"the guest takes nothing": {func(h *held) {
			listens(h)
			go h.client.Write(context.Background(), websocket.MessageBinary, make([]byte, 1000)) //nolint:errcheck // it is cut off
		}, `"the instance took nothing for too long"`, 6 * time.Minute},
		"nothing for a day, and then the client leaves": {func(h *held) {
			listens(h)
			h.began = h.began.Add(24 * time.Hour)
			time.Sleep(24 * time.Hour)
			if strings.Contains(h.log.String(), "stream closed") {
				h.Error("it is closed already: " + h.log.String())
			}
			h.client.Close(websocket.StatusNormalClosure, "")
			h.began = time.Now()
		}, `"the client left"`, 20 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &held{world: newWorld(t)}
				h.observe(vmss.PowerRunning)
				guests, callers := make(pipes, 1), make(lobby)
				log := slog.New(slog.NewTextHandler(&h.log, nil))
				api := &fleet.API{Store: h.store, Streams: fleet.NewStreams(guests, log), Set: func(context.Context, *arm.Request) (store.Entry[vmss.ScaleSet], error) {
					e, _ := store.Get(h.store, store.ScaleSets, vmss.NewKey("0000", "rg", "web"))
					return e, nil
				}}
				handler, err := arm.NewServer(api.Routes(), &h.owner, &h.owner, log)
				if err != nil {
					t.Fatal(err)
				}
				web := &http.Server{Handler: handler}
				go web.Serve(callers) //nolint:errcheck // it ends with the listener
				mine, theirs := net.Pipe()
				callers <- theirs
				client := &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return mine, nil }}}
				h.client, _, err = websocket.Dial(t.Context(), strings.Replace(strings.Replace(base, "https:", "http:", 1), "/providers/Muster.Fleet", "/virtualMachines/"+tunnel, 1)+"&api-version=2026-11-01",
					&websocket.DialOptions{HTTPClient: client, HTTPHeader: http.Header{"Authorization": {"Bearer x"}}})
				if err != nil {
					t.Fatal(err)
				}
				h.guest, h.began = <-guests, time.Now()
				tt.happens(h)
				if after, why := h.ends(); why != tt.why || after > tt.within {
					t.Errorf("after %s: %s, want %s within %s", after, why, tt.why, tt.within)
				}
				h.guest.Close()
				h.client.CloseNow()
				api.Streams.Close()
				close(callers)
				web.Close()
			})
		})
	}
}
