package bridge

import (
	"context"
	"io"
	"strconv"
	"testing"

	"github.com/muster-vm/muster/internal/resource"
)

// TestOnlyGuestsAreDialled names ports of the fabric, and things that are none.
func TestOnlyGuestsAreDialled(t *testing.T) {
	f := openFabric(t, Options{Name: "a"})
	g, other := bootGuest(t, f, testPort("p0")), bootGuest(t, f, testPort("p1"))
	at, visitors := listen(t, g.ns, "0.0.0.0")
	port, err := strconv.ParseUint(portOf(at), 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	c, err := f.Dial(t.Context(), "p0", uint16(port))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if said, err := io.ReadAll(c); err != nil || len(said) == 0 {
		t.Errorf("the guest said %q: %v", said, err)
	}
	if who := <-visitors; who != g.lease.Gateway {
		t.Errorf("the guest saw %s, want its gateway %s", who, g.lease.Gateway)
	}
	if _, err := f.Dial(t.Context(), "p1", uint16(port)); !resource.Is(err, resource.Unavailable) {
		t.Errorf("a guest on which nothing listens: %v", err)
	}
	for _, name := range []string{"", "p2", "localhost", "127.0.0.1", g.lease.Address.Addr().String(), g.lease.Gateway.String(), "../p0"} {
		if _, err := f.Dial(t.Context(), name, uint16(port)); !resource.Is(err, resource.NotFound) {
			t.Errorf("%q is dialled: %v", name, err)
		}
	}
	if err := f.Detach(t.Context(), "p1"); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Dial(t.Context(), "p1", uint16(port)); !resource.Is(err, resource.NotFound) {
		t.Errorf("a guest that has gone (%s) is dialled: %v", other.lease.Address, err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Dial(gone, "p0", uint16(port)); !resource.Is(err, resource.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}
