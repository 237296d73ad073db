package bridge

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/muster-vm/muster/internal/host/fabric"
)

// patience ends a test that hangs; nothing passes by waiting it out.
const patience = time.Minute

// openFabric opens a fabric that is destroyed at the end of the test.
func openFabric(t *testing.T, opts Options) *Fabric {
	t.Helper()
	if noHost != "" {
		t.Skip(noHost)
	}
	if opts.Dir == "" {
		opts.Dir = t.TempDir()
	}
	opts.Log = slog.New(slog.DiscardHandler)
	f, err := Open(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Destroy(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return f
}

// reopen closes the fabric and opens it again, as a server that restarts.
func reopen(t *testing.T, f *Fabric) *Fabric {
	t.Helper()
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return openFabric(t, f.opts)
}

func testPort(name string) fabric.Port {
	return fabric.Port{Name: name, MAC: macOf("guest " + name).String(), HostName: "host-" + name}
}

// guest is a namespace that plays a virtual machine: its eth0 is plugged into
// the bridge where the tap of its port would be.
type guest struct {
	*testing.T
	ns    netns.NsHandle
	lease fabric.Lease
}

// startGuest attaches a port and plugs in a guest that has no address yet.
func startGuest(t *testing.T, f *Fabric, p fabric.Port) *guest {
	t.Helper()
	lease, err := f.Attach(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	g := &guest{T: t, lease: lease}
	g.check(aside(func() (err error) { g.ns, err = netns.New(); return err }))
	t.Cleanup(func() { g.ns.Close() })
	mac, err := net.ParseMAC(p.MAC)
	g.check(err)
	ns, to := f.ns, f.outlet()
	if p.Network != "" {
		v := f.networks[p.Network]
		ns, to = v.ns, v.outlet(v.known.Load().cards[p.Name].Subnet)
	}
	g.check(inside(ns, func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = tapOf(p.Name)
		pair := &netlink.Veth{LinkAttrs: attrs, PeerName: "eth0", PeerHardwareAddr: mac, PeerNamespace: netlink.NsFd(g.ns)}
		return errors.Join(netlink.LinkAdd(pair), plug(tapOf(p.Name), to))
	}))
	g.inside(func() error { return linkUp("eth0") })
	return g
}

// bootGuest is startGuest with the address taken from DHCP.
func bootGuest(t *testing.T, f *Fabric, p fabric.Port) *guest {
	t.Helper()
	g := startGuest(t, f, p)
	g.dhcp()
	return g
}

func (g *guest) check(err error) {
	g.Helper()
	if err != nil {
		g.Fatal(err)
	}
}

func (g *guest) inside(f func() error) {
	g.Helper()
	g.check(inside(g.ns, f))
}

// dhcp gets a lease as a guest's client does, and configures eth0 from it.
func (g *guest) dhcp() *dhcpv4.DHCPv4 {
	g.Helper()
	var client *nclient4.Client
	g.inside(func() (err error) { // the first question may be lost while the link comes up
		client, err = nclient4.New("eth0", nclient4.WithTimeout(patience/600), nclient4.WithRetry(600))
		return err
	})
	defer client.Close()
	ctx, cancel := context.WithTimeout(g.Context(), patience)
	defer cancel()
	lease, err := client.Request(ctx)
	g.check(err)
	ack := lease.ACK
	addr, _ := netip.AddrFromSlice(ack.YourIPAddr.To4())
	bits, _ := ack.SubnetMask().Size()
	gateway, _ := netip.AddrFromSlice(ack.Router()[0].To4())
	g.inside(func() error { return configure("eth0", netip.PrefixFrom(addr, bits), gateway) })
	return ack
}

// listen serves a greeting on a TCP port of the namespace, and returns its
// address and a channel that yields who came.
func listen(t *testing.T, ns netns.NsHandle, ip string) (at net.Addr, visitors <-chan netip.Addr) {
	t.Helper()
	var l net.Listener
	start := func() (err error) { l, err = net.Listen("tcp4", net.JoinHostPort(ip, "0")); return err }
	err := start
	if ns.IsOpen() {
		err = func() error { return inside(ns, start) }
	}
	if err := err(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	came := make(chan netip.Addr, 100)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			came <- c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr()
			io.WriteString(c, "hello") //nolint:errcheck // the client checks
			c.Close()
		}
	}()
	return l.Addr(), came
}

// greet connects and reads the greeting.
func greet(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp4", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetReadDeadline(time.Now().Add(patience)) //nolint:errcheck // ends a test that hangs
	b, err := io.ReadAll(c)
	if err == nil && string(b) != "hello" {
		return errors.New("no greeting but " + string(b))
	}
	return err
}

func portOf(a net.Addr) string {
	_, p, _ := net.SplitHostPort(a.String())
	return p
}

// drops returns how many packets the drop rules of a chain have counted.
func drops(t *testing.T, ns netns.NsHandle, table nftables.Table, chain string) (n uint64) {
	t.Helper()
	count := func() error {
		c, err := nftables.New()
		if err != nil {
			return err
		}
		rules, err := c.GetRules(&table, &nftables.Chain{Name: chain, Table: &table})
		if err != nil {
			return err
		}
		for _, r := range rules {
			for _, e := range r.Exprs {
				if c, ok := e.(*expr.Counter); ok {
					n += c.Packets
				}
			}
		}
		return nil
	}
	run := count
	if ns.IsOpen() {
		run = func() error { return inside(ns, count) }
	}
	if err := run(); err != nil {
		t.Fatal(err)
	}
	return n
}

// refuses starts try, waits until a rule of the chain has dropped a packet, and
// ends try, which must not have succeeded.
func refuses(t *testing.T, counted func() uint64, try func(ctx context.Context) error) {
	t.Helper()
	before := counted()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- try(ctx) }()
	for counted() == before && ctx.Err() == nil {
		select {
		case err := <-done:
			t.Fatalf("ended without a packet being dropped: %v", err)
		case <-time.After(5 * time.Millisecond):
		}
	}
	if ctx.Err() != nil {
		t.Error("no packet was dropped")
	}
	cancel()
	if err := <-done; err == nil {
		t.Error("succeeded, want it dropped")
	}
}
