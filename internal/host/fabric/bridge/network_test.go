package bridge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/nftables"
	"github.com/miekg/dns"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/muster-vm/muster/internal/host/fabric"
	"github.com/muster-vm/muster/internal/host/fabric/bridge/tables"
	"github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/resource"
)

const (
	red  network.UID = "aaaaaaaa-0000-4000-8000-000000000001"
	blue network.UID = "bbbbbbbb-0000-4000-8000-000000000002"
)

// plan is a network 10.1.0.0/16 with two subnets, and cards that anything may reach:
// the addresses are given by the names of their ports.
func plan(uid network.UID, cards map[string]string) network.Program {
	p := network.Program{
		Network: uid, Name: "net-" + string(uid[:1]), Prefixes: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")},
		Subnets: []network.SubnetProgram{
			{Name: "front", Prefix: netip.MustParsePrefix("10.1.1.0/24")},
			{Name: "back", Prefix: netip.MustParsePrefix("10.1.2.0/24")},
		},
	}
	for _, name := range slices.Sorted(maps.Keys(cards)) {
		c := network.Card{Port: network.Port{
			Name: name, MAC: testPort(name).MAC, Host: "host-" + name, Address: netip.MustParseAddr(cards[name]), Subnet: "front", Primary: true,
		}}
		if p.Subnets[1].Prefix.Contains(c.Address) {
			c.Subnet = "back"
		}
		p.Cards = append(p.Cards, c)
		p.Egress = append(p.Egress, network.Egress{From: c.Address})
	}
	return p
}

func apply(t *testing.T, f *Fabric, p network.Program) {
	t.Helper()
	if err := f.Apply(t.Context(), p); err != nil {
		t.Fatal(err)
	}
}

// cardPort is the port of a card of the program.
func cardPort(p network.Program, name string) fabric.Port {
	port := testPort(name)
	port.Network = p.Network
	for _, c := range p.Cards {
		if c.Name == name {
			port.Address = c.Address
		}
	}
	return port
}

// bootNetwork applies a program and boots a guest for each card.
func bootNetwork(t *testing.T, f *Fabric, p network.Program) map[string]*guest {
	t.Helper()
	apply(t, f, p)
	guests := map[string]*guest{}
	for _, c := range p.Cards {
		guests[c.Name] = bootGuest(t, f, cardPort(p, c.Name))
	}
	return guests
}

// say connects from a guest to a port of an address.
func (g *guest) say(ctx context.Context, ip, port string) error {
	return inside(g.ns, func() error { return greet(ctx, net.JoinHostPort(ip, port)) })
}

func (g *guest) ip() string { return g.lease.Address.Addr().String() }

func (g *guest) ask(name string, kind uint16) *dns.Msg {
	g.Helper()
	var r *dns.Msg
	g.inside(func() (err error) {
		r, _, err = (&dns.Client{Timeout: patience}).Exchange(new(dns.Msg).SetQuestion(name, kind), net.JoinHostPort(network.HostAddress.String(), "53"))
		return err
	})
	return r
}

func TestCardsGetTheirAddressAndDomain(t *testing.T) {
	f := openFabric(t, Options{Name: "a", DNS: []netip.Addr{netip.MustParseAddr("192.0.2.53")}})
	p := plan(red, map[string]string{"p0": "10.1.1.7", "p1": "10.1.2.9"})
	p.Cards[1].DNS = []netip.Addr{netip.MustParseAddr("10.1.1.7")}
	apply(t, f, p)
	for name, want := range map[string]string{
		"p0": "10.1.1.7 ffffff00 [10.1.1.1] host-p0 [168.63.129.16] aaaaaaaa0000.internal.muster [aaaaaaaa0000.internal.muster]",
		"p1": "10.1.2.9 ffffff00 [10.1.2.1] host-p1 [10.1.1.7] aaaaaaaa0000.internal.muster [aaaaaaaa0000.internal.muster]",
	} {
		ack := startGuest(t, f, cardPort(p, name)).dhcp()
		got := fmt.Sprint(ack.YourIPAddr, " ", ack.SubnetMask(), " ", ack.Router(), " ", ack.HostName(), " ", ack.DNS(), " ", ack.DomainName(), " ", ack.DomainSearch().Labels)
		if got != want {
			t.Errorf("got %s\nwant %s", got, want)
		}
	}
}

func TestNamesAreOfTheirNetworkOnly(t *testing.T) {
	f := openFabric(t, Options{Name: "a"})
	reds := bootNetwork(t, f, plan(red, map[string]string{"p0": "10.1.1.4"}))
	blues := bootNetwork(t, f, plan(blue, map[string]string{"p1": "10.1.1.5"}))
	for _, tt := range []struct {
		g    *guest
		name string
		kind uint16
		want string
	}{
		{reds["p0"], "host-p0.", dns.TypeA, "NOERROR 10.1.1.4"},
		{reds["p0"], "host-p0.aaaaaaaa0000.internal.muster.", dns.TypeA, "NOERROR 10.1.1.4"},
		{reds["p0"], "4.1.1.10.in-addr.arpa.", dns.TypePTR, "NOERROR host-p0.aaaaaaaa0000.internal.muster."},
		{reds["p0"], "host-p1.aaaaaaaa0000.internal.muster.", dns.TypeA, "NXDOMAIN"},
		{reds["p0"], "host-p1.bbbbbbbb0000.internal.muster.", dns.TypeA, "REFUSED"},
		{reds["p0"], "5.1.1.10.in-addr.arpa.", dns.TypePTR, "NXDOMAIN"},
		{blues["p1"], "host-p1.", dns.TypeA, "NOERROR 10.1.1.5"},
		{blues["p1"], "host-p0.", dns.TypeA, "REFUSED"},
	} {
		r := tt.g.ask(tt.name, tt.kind)
		got := dns.RcodeToString[r.Rcode]
		for _, rr := range r.Answer {
			got += " " + strings.TrimPrefix(rr.String(), rr.Header().String())
		}
		if got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
}

// TestOtherNamesAreAskedInTheHostsNetwork has a resolver on the host's loopback.
func TestOtherNamesAreAskedInTheHostsNetwork(t *testing.T) {
	resolver := netip.MustParseAddr("127.0.0.53")
	f := openFabric(t, Options{Name: "a", Resolvers: []netip.Addr{resolver}})
	l, err := net.ListenPacket("udp4", net.JoinHostPort(resolver.String(), "53"))
	if err != nil {
		t.Fatal(err)
	}
	started, done := make(chan struct{}), make(chan struct{})
	s := &dns.Server{PacketConn: l, NotifyStartedFunc: func() { close(started) }, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, m *dns.Msg) {
		w.WriteMsg(new(dns.Msg).SetRcode(m, dns.RcodeNotAuth)) //nolint:errcheck // the asker checks
	})}
	go func() { defer close(done); s.ActivateAndServe() }() //nolint:errcheck // likewise
	<-started
	defer func() { s.Shutdown(); <-done }() //nolint:errcheck // likewise
	g := bootNetwork(t, f, plan(red, map[string]string{"p0": "10.1.1.4"}))
	if r := g["p0"].ask("elsewhere.example.", dns.TypeA); r.Rcode != dns.RcodeNotAuth {
		t.Errorf("got %v, want the answer of the host's resolver", r)
	}
}

func TestGuestsOfANetworkReachEachOther(t *testing.T) {
	f := openFabric(t, Options{Name: "a"})
	g := bootNetwork(t, f, plan(red, map[string]string{"p0": "10.1.1.4", "p1": "10.1.1.5", "p2": "10.1.2.4"}))
	at, visitors := listen(t, g["p0"].ns, "0.0.0.0")
	for _, from := range []string{"p1", "p2"} { // of the same subnet, and of another
		if err := g[from].say(t.Context(), g["p0"].ip(), portOf(at)); err != nil {
			t.Fatalf("%s: %v", from, err)
		}
		if who := <-visitors; who.String() != g[from].ip() {
			t.Errorf("%s was seen as %s", from, who)
		}
	}
}

// TestNetworksWithOnePrefixAreApart has guests with equal addresses.
func TestNetworksWithOnePrefixAreApart(t *testing.T) {
	f := openFabric(t, Options{Name: "a"})
	reds := bootNetwork(t, f, plan(red, map[string]string{"p0": "10.1.1.4", "p1": "10.1.1.5"}))
	blues := bootNetwork(t, f, plan(blue, map[string]string{"p2": "10.1.1.4", "p3": "10.1.1.5", "p4": "10.1.2.77"}))
	atRed, redVisitors := listen(t, reds["p0"].ns, "0.0.0.0")
	atBlue, blueVisitors := listen(t, blues["p2"].ns, "0.0.0.0")
	for _, tt := range []struct {
		g        *guest
		at       net.Addr
		visitors <-chan netip.Addr
	}{{reds["p1"], atRed, redVisitors}, {blues["p3"], atBlue, blueVisitors}} {
		if err := tt.g.say(t.Context(), "10.1.1.4", portOf(tt.at)); err != nil {
			t.Error(err)
		}
		<-tt.visitors
	}
	atHost, hostVisitors := listen(t, netns.None(), "0.0.0.0")
	atOther, otherVisitors := listen(t, blues["p4"].ns, "0.0.0.0")
	atDefault := bootGuest(t, f, testPort("d0"))
	atD, defaultVisitors := listen(t, atDefault.ns, "0.0.0.0")
	redNet, blueNet := f.networks[red], f.networks[blue]
	inner := func(chain string) func() uint64 {
		return func() uint64 {
			return drops(t, redNet.ns, nftables.Table{Name: tables.Inner, Family: nftables.TableFamilyINet}, chain)
		}
	}
	outer := func(table, chain string) func() uint64 {
		return func() uint64 {
			return drops(t, netns.None(), nftables.Table{Name: table, Family: nftables.TableFamilyINet}, chain)
		}
	}
	for _, tt := range []struct {
		name, ip string
		at       net.Addr
		counted  func() uint64
	}{
		{"the host's address outside", hostEth.String(), atHost, outer(redNet.names.table, "input")},
		{"the host's end", redNet.block.Load().host().String(), atHost, inner("forward")},
		{"the other network's host end", blueNet.block.Load().host().String(), atHost, inner("forward")},
		{"the other network's own end", blueNet.block.Load().inner().String(), atOther, inner("forward")},
		{"an address that only the other network has", "10.1.2.77", atOther, inner("arrive")},
		{"a guest of the default network", atDefault.ip(), atD, outer(f.names.table, "forward")},
		{"a metadata service beyond", "169.254.169.254", atHost, inner("forward")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			refuses(t, tt.counted, func(ctx context.Context) error { return reds["p1"].say(ctx, tt.ip, portOf(tt.at)) })
		})
	}
	if len(hostVisitors)+len(otherVisitors)+len(defaultVisitors) > 0 {
		t.Error("somebody came through")
	}
}

func TestGuestsOfANetworkGetOutBehindTheHost(t *testing.T) {
	f := openFabric(t, Options{Name: "a"})
	g := bootNetwork(t, f, plan(red, map[string]string{"p0": "10.1.1.4"}))
	at, visitors := listen(t, outsideNS, outside.String())
	if err := g["p0"].say(t.Context(), outside.String(), portOf(at)); err != nil {
		t.Fatal(err)
	}
	if who := <-visitors; who != hostEth {
		t.Errorf("the outside saw %s, want the host's %s", who, hostEth)
	}
}

// public is an address that is routed into a network.
var public = netip.MustParseAddr("203.0.113.9")

// withPublic gives a card of the program a public address.
func withPublic(p network.Program, card string, address netip.Addr) network.Program {
	private := cardPort(p, card).Address
	p.Publics = append(p.Publics, network.PublicCard{Public: address, Address: private, SKU: network.Basic})
	p.Routed = append(p.Routed, address)
	for i, e := range p.Egress {
		if e.From == private {
			p.Egress[i].To = address
		}
	}
	return p
}

// routeOutside makes the outside send everything to the host.
func routeOutside(t *testing.T) {
	t.Helper()
	err := inside(outsideNS, func() error { return configure("eth0", netip.PrefixFrom(outside, 24), hostEth) })
	if err != nil {
		t.Fatal(err)
	}
}

func TestPublicAddressesAreReachedAndPrivateOnesAreNot(t *testing.T) {
	f := openFabric(t, Options{Name: "a"})
	routeOutside(t)
	reds := bootNetwork(t, f, withPublic(plan(red, map[string]string{"p0": "10.1.1.4"}), "p0", public))
	blues := bootNetwork(t, f, plan(blue, map[string]string{"p1": "10.1.1.5"}))
	def := bootGuest(t, f, testPort("d0"))
	at, visitors := listen(t, reds["p0"].ns, "0.0.0.0")
	transitOf := func(uid network.UID) transit { return *f.networks[uid].block.Load() }
	for _, tt := range []struct {
		name string
		from func(ip string) error
		seen netip.Addr
	}{
		{"host", func(ip string) error { return greet(t.Context(), net.JoinHostPort(ip, portOf(at))) }, transitOf(red).host()},
		{"outside", func(ip string) error {
			return inside(outsideNS, func() error { return greet(t.Context(), net.JoinHostPort(ip, portOf(at))) })
		}, outside},
		{"another network", func(ip string) error { return blues["p1"].say(t.Context(), ip, portOf(at)) }, transitOf(blue).inner()},
		{"the default network", func(ip string) error { return def.say(t.Context(), ip, portOf(at)) }, transitOf(red).host()},
	} {
		if err := tt.from(public.String()); err != nil {
			t.Errorf("from %s: %v", tt.name, err)
			continue
		}
		if who := <-visitors; who != tt.seen {
			t.Errorf("from %s: seen as %s, want %s", tt.name, who, tt.seen)
		}
	}
	// Somebody outside who sends packets for private addresses to the host.
	if err := netlink.RouteReplace(&netlink.Route{Dst: toIPNet(netip.MustParsePrefix("10.1.0.0/16")), Gw: transitOf(red).inner().AsSlice()}); err != nil {
		t.Fatal(err)
	}
	table := nftables.Table{Name: f.networks[red].names.table, Family: nftables.TableFamilyINet}
	refuses(t, func() uint64 { return drops(t, netns.None(), table, "forward") }, func(ctx context.Context) error {
		return inside(outsideNS, func() error { return greet(ctx, net.JoinHostPort("10.1.1.4", portOf(at))) })
	})
	if len(visitors) > 0 {
		t.Error("somebody came through")
	}
}

func TestPublicAddressesLeaveAsTheOutsideRoutesThem(t *testing.T) {
	for _, routed := range []bool{false, true} {
		t.Run(fmt.Sprint(routed), func(t *testing.T) {
			f := openFabric(t, Options{Name: "a", PublicRouted: routed})
			routeOutside(t)
			g := bootNetwork(t, f, withPublic(plan(red, map[string]string{"p0": "10.1.1.4"}), "p0", public))
			at, visitors := listen(t, outsideNS, outside.String())
			if err := g["p0"].say(t.Context(), outside.String(), portOf(at)); err != nil {
				t.Fatal(err)
			}
			want := hostEth
			if routed {
				want = public
			}
			if who := <-visitors; who != want {
				t.Errorf("the outside saw %s, want %s", who, want)
			}
			other := bootNetwork(t, f, withPublic(plan(blue, map[string]string{"p1": "10.1.1.4"}), "p1", public.Next()))["p1"]
			at, visitors = listen(t, other.ns, "0.0.0.0")
			if err := g["p0"].say(t.Context(), public.Next().String(), portOf(at)); err != nil {
				t.Fatal(err)
			}
			if who := <-visitors; who != public {
				t.Errorf("another network saw %s, want %s", who, public)
			}
		})
	}
}

func TestAPublicAddressGoesWhereItWasAppliedLast(t *testing.T) {
	f := openFabric(t, Options{Name: "a"})
	reds, blues := plan(red, map[string]string{"p0": "10.1.1.4"}), plan(blue, map[string]string{"p1": "10.1.1.4"})
	owner := func() (veths []string) {
		routes, err := netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Dst: toIPNet(netip.PrefixFrom(public, 32))}, netlink.RT_FILTER_DST)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range routes {
			link, err := netlink.LinkByIndex(r.LinkIndex)
			if err != nil {
				t.Fatal(err)
			}
			veths = append(veths, link.Attrs().Name)
		}
		return veths
	}
	redVeth, blueVeth := namesOfNetwork("a", keyOf(red)).veth, namesOfNetwork("a", keyOf(blue)).veth
	for _, step := range []struct {
		name string
		p    network.Program
		want []string
	}{
		{"red has it", withPublic(plan(red, map[string]string{"p0": "10.1.1.4"}), "p0", public), []string{redVeth}},
		{"blue has it", withPublic(plan(blue, map[string]string{"p1": "10.1.1.4"}), "p1", public), []string{blueVeth}},
		{"red has it no more", reds, []string{blueVeth}},
		{"nobody has it", blues, nil},
	} {
		apply(t, f, step.p)
		if got := owner(); !cmp.Equal(got, step.want) {
			t.Errorf("%s: routed to %v, want %v", step.name, got, step.want)
		}
	}
}

func TestGuestsOfANetworkSendFromTheirOwnAddressOnly(t *testing.T) {
	f := openFabric(t, Options{Name: "a"})
	g := bootNetwork(t, f, plan(red, map[string]string{"p0": "10.1.1.4", "p1": "10.1.1.5"}))
	at, visitors := listen(t, g["p0"].ns, "0.0.0.0")
	guard := nftables.Table{Name: tables.Inner, Family: nftables.TableFamilyBridge}
	g["p1"].inside(func() error {
		return configure("eth0", netip.MustParsePrefix("10.1.1.77/24"), g["p1"].lease.Gateway)
	})
	refuses(t, func() uint64 { return drops(t, f.networks[red].ns, guard, "prerouting") }, func(ctx context.Context) error {
		return g["p1"].say(ctx, g["p0"].ip(), portOf(at))
	})
	if len(visitors) > 0 {
		t.Error("a spoofed packet came through")
	}
}

func TestThePlatformAndTheHostDialCards(t *testing.T) {
	f := openFabric(t, Options{Name: "a"})
	p := plan(red, map[string]string{"p0": "10.1.1.4", "p1": "10.1.2.4"})
	g := bootNetwork(t, f, p)
	at, visitors := listen(t, g["p1"].ns, "0.0.0.0")
	number, err := strconv.ParseUint(portOf(at), 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	to := netip.AddrPortFrom(netip.MustParseAddr(g["p1"].ip()), uint16(number))
	for name, tt := range map[string]struct {
		dial func() (net.Conn, error)
		seen netip.Addr
	}{
		"platform": {func() (net.Conn, error) { return f.DialInside(t.Context(), red, to) }, network.HostAddress},
		"host":     {func() (net.Conn, error) { return f.Dial(t.Context(), "p1", to.Port()) }, g["p1"].lease.Gateway},
	} {
		c, err := tt.dial()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if said, err := io.ReadAll(c); err != nil || string(said) != "hello" {
			t.Errorf("%s: the guest said %q: %v", name, said, err)
		}
		c.Close()
		if who := <-visitors; who != tt.seen {
			t.Errorf("%s: seen as %s, want %s", name, who, tt.seen)
		}
	}
	for name, tt := range map[string]struct {
		uid  network.UID
		to   string
		want resource.Kind
	}{
		"nothing listens":       {red, "10.1.1.4:1", resource.Unavailable},
		"no such card":          {red, "10.1.1.9:80", resource.NotFound},
		"the gateway":           {red, "10.1.1.1:53", resource.NotFound},
		"no such network":       {blue, "10.1.1.4:80", resource.NotFound},
		"an address far beyond": {red, "192.0.2.1:80", resource.NotFound},
	} {
		if c, err := f.DialInside(t.Context(), tt.uid, netip.MustParseAddrPort(tt.to)); !resource.Is(err, tt.want) {
			t.Errorf("%s: got %v, %v, want %v", name, c, err, tt.want)
		}
	}
}

func TestDialInsideEndsWithItsContext(t *testing.T) {
	f := openFabric(t, Options{Name: "a"})
	p := plan(red, map[string]string{"p0": "10.1.1.4"})
	p.Chains = []network.Chain{{Name: "none", Direction: network.Inbound, Rules: []network.Resolved{{
		Access: network.Deny, Protocol: network.AnyProtocol, Source: network.Range{Not: true}, Dest: network.Range{Not: true},
	}}}}
	p.Cards[0].In = []string{"none"}
	bootNetwork(t, f, p)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := f.DialInside(ctx, red, netip.MustParseAddrPort("10.1.1.4:80"))
		done <- err
	}()
	time.AfterFunc(50*time.Millisecond, cancel)
	if err := <-done; !resource.Is(err, resource.Unavailable) && !resource.Is(err, resource.Canceled) {
		t.Errorf("got error %v", err)
	}
	brief, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := f.DialInside(brief, red, netip.MustParseAddrPort("10.1.1.4:80")); !resource.Is(err, resource.Unavailable) {
		t.Errorf("got error %v, want Unavailable", err)
	}
}

// TestARestartLosesNoConnection keeps one open all the way.
func TestARestartLosesNoConnection(t *testing.T) {
	f := openFabric(t, Options{Name: "a"})
	p := plan(red, map[string]string{"p0": "10.1.1.4", "p1": "10.1.1.5"})
	g := bootNetwork(t, f, p)
	var l net.Listener
	g["p0"].inside(func() (err error) { l, err = net.Listen("tcp4", "0.0.0.0:0"); return err })
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		io.Copy(c, c) //nolint:errcheck // the client checks
	}()
	var c net.Conn
	g["p1"].inside(func() (err error) {
		c, err = net.Dial("tcp4", net.JoinHostPort(g["p0"].ip(), portOf(l.Addr())))
		return err
	})
	defer c.Close()
	check := func(when string) {
		t.Helper()
		c.SetDeadline(time.Now().Add(patience)) //nolint:errcheck // ends a test that hangs
		word := make([]byte, 4)
		if _, err := io.WriteString(c, "ping"); err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		if _, err := io.ReadFull(c, word); err != nil || string(word) != "ping" {
			t.Fatalf("%s: %q, %v", when, word, err)
		}
	}
	check("at first")
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	check("while no server runs")
	f = openFabric(t, f.opts)
	check("after the restart")
	if all, err := f.Networks(t.Context()); err != nil || !cmp.Equal(all, []network.UID{red}) {
		t.Errorf("there is %v, %v", all, err)
	}
	if r := g["p1"].ask("host-p0.", dns.TypeA); len(r.Answer) != 1 {
		t.Errorf("before Apply, a name is not known: %v", r)
	}
	apply(t, f, p)
	check("after Apply")
	if got := g["p1"].dhcp().YourIPAddr.String(); got != g["p1"].ip() {
		t.Errorf("DHCP gives %s, want %s", got, g["p1"].ip())
	}
}

func TestRemoveLeavesNothing(t *testing.T) {
	f := openFabric(t, Options{Name: "a"})
	before := landscape(t)
	p := withPublic(plan(red, map[string]string{"p0": "10.1.1.4"}), "p0", public)
	for name, harm := range map[string]func(n names) error{
		"whole":             func(names) error { return nil },
		"without veth":      func(n names) error { return deleteLink(n.veth) },
		"without namespace": func(n names) error { return removeNamespace(n.namespace) },
		"without table": func(n names) error {
			return tables.Remove(n.table)
		},
	} {
		t.Run(name, func(t *testing.T) {
			apply(t, f, p)
			if _, err := f.Attach(t.Context(), cardPort(p, "p0")); err != nil {
				t.Fatal(err)
			}
			file, err := f.Open(t.Context(), "p0")
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			if cmp.Equal(before, landscape(t)) {
				t.Fatal("the landscape does not show the network")
			}
			if err := harm(f.networks[red].names); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := f.Remove(t.Context(), red); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(before, landscape(t)); diff != "" {
				t.Errorf("the host (-before +after):\n%s", diff)
			}
			if left, _ := filepath.Glob(filepath.Join(f.opts.Dir, recordPrefix+"*")); len(left) > 0 {
				t.Errorf("files left: %v", left)
			}
			if all, err := f.Networks(t.Context()); err != nil || len(all) > 0 {
				t.Errorf("there is %v, %v", all, err)
			}
			if _, err := f.Attach(t.Context(), cardPort(p, "p0")); !resource.Is(err, resource.NotFound) {
				t.Errorf("got error %v, want NotFound", err)
			}
		})
	}
}

func TestDestroyRemovesVirtualNetworks(t *testing.T) {
	if noHost != "" {
		t.Skip(noHost)
	}
	before := landscape(t)
	f := openFabric(t, Options{Name: "gone"})
	apply(t, f, plan(red, map[string]string{"p0": "10.1.1.4"}))
	apply(t, f, plan(blue, map[string]string{"p1": "10.1.1.4"}))
	if err := os.Remove(f.networks[blue].file); err != nil { // something is there all the same
		t.Fatal(err)
	}
	if err := errors.Join(f.Close(), Destroy(t.Context(), f.opts)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, landscape(t)); diff != "" {
		t.Errorf("the host (-before +after):\n%s", diff)
	}
	if left, _ := filepath.Glob(filepath.Join(f.opts.Dir, "*")); len(left) > 0 {
		t.Errorf("files left: %v", left)
	}
}

func TestANetworkThatNothingIsWrittenOfGoes(t *testing.T) {
	f := openFabric(t, Options{Name: "a"})
	before := landscape(t)
	apply(t, f, plan(red, map[string]string{"p0": "10.1.1.4"}))
	if err := os.Remove(f.networks[red].file); err != nil {
		t.Fatal(err)
	}
	reopen(t, f)
	if diff := cmp.Diff(before, landscape(t)); diff != "" {
		t.Errorf("the host (-before +after):\n%s", diff)
	}
}

// TestApplyRepairsWhatIsBroken also stands for a server that ended midway.
func TestApplyRepairsWhatIsBroken(t *testing.T) {
	f := openFabric(t, Options{Name: "a"})
	p := withPublic(plan(red, map[string]string{"p0": "10.1.1.4", "p1": "10.1.1.5"}), "p0", public)
	g := bootNetwork(t, f, p)
	at, _ := listen(t, g["p0"].ns, "0.0.0.0")
	v := f.networks[red]
	within := func(do func() error) func() error { return func() error { return inside(v.ns, do) } }
	for name, harm := range map[string]func() error{
		"nothing":    func() error { return nil },
		"veth gone":  func() error { return deleteLink(v.names.veth) },
		"table gone": func() error { return tables.Remove(v.names.table) },
		"route gone": func() error {
			return netlink.RouteDel(&netlink.Route{Dst: toIPNet(netip.PrefixFrom(public, 32))})
		},
		"uplink gone": within(func() error { return deleteLink(uplinkLink) }),
		"bridge gone": within(func() error { return deleteLink(bridgeOf("front")) }),
		"bridge down": within(func() error {
			link, err := netlink.LinkByName(bridgeOf("front"))
			return errors.Join(err, netlink.LinkSetDown(link))
		}),
		"settings gone": within(func() error {
			return set([]setting{{"ipv4/conf/" + bridgeOf("front") + "/proxy_arp_pvlan", "0"}, {"ipv4/ip_forward", "0"}})
		}),
		"rules gone": within(func() error {
			c, err := nftables.New()
			if err != nil {
				return err
			}
			c.FlushRuleset()
			return c.Flush()
		}),
		"platform gone": within(func() error {
			link, err := netlink.LinkByName("lo")
			return errors.Join(err, setOnlyAddress(link, netip.MustParsePrefix("127.0.0.1/8")))
		}),
	} {
		t.Run(name, func(t *testing.T) {
			if err := harm(); err != nil {
				t.Fatal(err)
			}
			apply(t, f, p)
			if err := greet(t.Context(), net.JoinHostPort(public.String(), portOf(at))); err != nil {
				t.Errorf("from the host: %v", err)
			}
			if err := g["p1"].say(t.Context(), g["p0"].ip(), portOf(at)); err != nil {
				t.Errorf("from a neighbour: %v", err)
			}
			if got := g["p1"].dhcp().YourIPAddr.String(); got != g["p1"].ip() {
				t.Errorf("DHCP gives %s, want %s", got, g["p1"].ip())
			}
			if r := g["p1"].ask("host-p0.", dns.TypeA); len(r.Answer) != 1 {
				t.Errorf("a name is not known: %v", r)
			}
		})
	}
}

// converse opens a connection from the outside to an address, and returns it and a
// function that says something on it and hears it again.
func converse(t *testing.T, at netip.Addr, port string) (net.Conn, func() error) {
	t.Helper()
	var c net.Conn
	err := inside(outsideNS, func() (err error) {
		c, err = (&net.Dialer{Timeout: patience}).Dial("tcp4", net.JoinHostPort(at.String(), port))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, func() error {
		c.SetDeadline(time.Now().Add(patience)) //nolint:errcheck // ends a test that hangs
		word := make([]byte, 4)
		if _, err := io.WriteString(c, "ping"); err != nil {
			return err
		}
		_, err := io.ReadFull(c, word)
		return err
	}
}

// parrot says again what it hears on port 8080.
func (g *guest) parrot() {
	g.Helper()
	var l net.Listener
	g.inside(func() (err error) { l, err = net.Listen("tcp4", ":8080"); return err })
	g.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				io.Copy(c, c) //nolint:errcheck // the client checks
			}()
		}
	}()
}

func TestFlowsOfABalancerAreCountedAndCut(t *testing.T) {
	f := openFabric(t, Options{Name: "a"})
	routeOutside(t)
	p := plan(red, map[string]string{"p0": "10.1.1.4", "p1": "10.1.1.5"})
	p.Routed = []netip.Addr{public}
	p.Services = []network.Service{{
		Balancer: "lb", Rule: "web", Address: public, Public: true, SKU: network.Basic, Protocol: network.TCP, Port: 80, Idle: 4 * time.Minute,
		Members: []netip.AddrPort{netip.MustParseAddrPort("10.1.1.4:8080"), netip.MustParseAddrPort("10.1.1.5:8080")}, Buckets: []uint16{0, 0},
	}}
	g := bootNetwork(t, f, p)
	g["p0"].parrot()
	g["p1"].parrot()
	_, say := converse(t, public, "80")
	if err := say(); err != nil {
		t.Fatal(err)
	}
	flows := func() (counts []int) {
		for _, name := range []string{"p0", "p1"} {
			n, err := f.Flows(t.Context(), red, g[name].lease.Address.Addr())
			if err != nil {
				t.Fatal(err)
			}
			counts = append(counts, n)
		}
		return counts
	}
	if got := flows(); !cmp.Equal(got, []int{1, 0}) {
		t.Errorf("flows: got %v", got)
	}
	p.Services[0].Members, p.Services[0].Leaving = p.Services[0].Members[1:], []netip.Addr{netip.MustParseAddr("10.1.1.4")}
	apply(t, f, p)
	if err := say(); err != nil {
		t.Errorf("after its member began to leave: %v", err)
	}
	if err := f.Cut(t.Context(), red, g["p0"].lease.Address.Addr()); err != nil {
		t.Fatal(err)
	}
	if err := say(); err == nil {
		t.Error("a flow that was cut goes on")
	}
	_, say = converse(t, public, "80")
	if err := say(); err != nil {
		t.Error(err)
	}
	if got := flows(); !cmp.Equal(got, []int{0, 1}) {
		t.Errorf("flows: got %v", got)
	}
	traffic, err := f.Traffic(t.Context(), red)
	if err != nil || len(traffic) != 1 || traffic[0].Balancer != "lb" || traffic[0].SYNs < 2 || traffic[0].Bytes == 0 {
		t.Errorf("traffic: got %+v, %v", traffic, err)
	}
}

func TestFlowsEndWithTheirCard(t *testing.T) {
	f := openFabric(t, Options{Name: "a"})
	routeOutside(t)
	p := withPublic(plan(red, map[string]string{"p0": "10.1.1.4"}), "p0", public)
	g := bootNetwork(t, f, p)
	g["p0"].parrot()
	_, say := converse(t, public, "8080")
	if err := say(); err != nil {
		t.Fatal(err)
	}
	remembered := func() (n int) {
		err := inside(f.networks[red].ns, func() error {
			all, err := netlink.ConntrackTableList(netlink.ConntrackTable, netlink.FAMILY_V4)
			for _, flow := range all {
				if flow.Forward.DstIP.Equal(net.IP(public.AsSlice())) {
					n++
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := remembered(); n != 1 {
		t.Fatalf("the network remembers %d flows, want the one", n)
	}
	other := p
	other.Cards = slices.Clone(p.Cards)
	other.Cards[0].MAC = macOf("the next card").String()
	apply(t, f, other)
	if n := remembered(); n != 0 {
		t.Errorf("the network remembers %d flows of a card that has gone", n)
	}
}

func TestSubnetsAndCardsComeAndGo(t *testing.T) {
	f := openFabric(t, Options{Name: "a"})
	p := plan(red, map[string]string{"p0": "10.1.1.4"})
	p.Subnets = p.Subnets[:1]
	g := bootNetwork(t, f, p)
	more := plan(red, map[string]string{"p0": "10.1.1.4", "p1": "10.1.2.4"})
	apply(t, f, more)
	g2 := bootGuest(t, f, cardPort(more, "p1"))
	at, _ := listen(t, g2.ns, "0.0.0.0")
	if err := g["p0"].say(t.Context(), g2.ip(), portOf(at)); err != nil {
		t.Error(err)
	}
	apply(t, f, p)
	if _, err := f.Attach(t.Context(), cardPort(more, "p1")); !resource.Is(err, resource.NotFound) {
		t.Errorf("got error %v, want NotFound", err)
	}
	err := inside(f.networks[red].ns, func() error {
		if _, err := netlink.LinkByName(bridgeOf("back")); !isGone(err) {
			t.Errorf("the bridge of a subnet that has gone: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := f.networks[red].dhcp[bridgeOf("back")]; ok {
		t.Error("DHCP is still served there")
	}
}

func TestPortsOfANetworkNeedIt(t *testing.T) {
	f := openFabric(t, Options{Name: "a"})
	p := plan(red, map[string]string{"p0": "10.1.1.4"})
	missing := func(port fabric.Port) {
		t.Helper()
		if _, err := f.Attach(t.Context(), port); !resource.Is(err, resource.NotFound) {
			t.Errorf("%+v: got error %v, want NotFound", port, err)
		}
	}
	missing(cardPort(p, "p0"))
	if _, err := f.Open(t.Context(), "p0"); !resource.Is(err, resource.NotFound) {
		t.Errorf("got error %v, want NotFound", err)
	}
	apply(t, f, p)
	other, moved := testPort("p1"), cardPort(p, "p0")
	other.Network, other.Address, moved.Address = red, moved.Address, netip.MustParseAddr("10.1.1.5")
	missing(other)
	missing(moved)
	lease, err := f.Attach(t.Context(), cardPort(p, "p0"))
	want := fabric.Lease{Address: netip.MustParsePrefix("10.1.1.4/24"), Gateway: netip.MustParseAddr("10.1.1.1")}
	if err != nil || lease != want {
		t.Errorf("got %v, %v, want %v", lease, err, want)
	}
	if ports, err := f.Ports(t.Context()); err != nil || len(ports) > 0 {
		t.Errorf("Ports lists %v, %v", ports, err)
	}
	file, err := f.Open(t.Context(), "p0")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	err = inside(f.networks[red].ns, func() error {
		link, err := netlink.LinkByName(tapOf("p0"))
		if err != nil {
			return err
		}
		br, err := netlink.LinkByName(bridgeOf("front"))
		if err != nil {
			return err
		}
		info, err := netlink.LinkGetProtinfo(link)
		if link.Type() != "tuntap" || link.Attrs().MasterIndex != br.Attrs().Index || !info.Isolated {
			t.Errorf("the tap %+v has %+v", link.Attrs(), info)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if traffic, err := f.Bytes(t.Context()); err != nil || len(traffic) != 1 {
		t.Errorf("traffic is %v, %v", traffic, err)
	}
	for range 2 {
		if err := f.Detach(t.Context(), "p0"); err != nil {
			t.Error(err)
		}
	}
}

func TestNetworksOfACloseFabricAreUnavailable(t *testing.T) {
	f := openFabric(t, Options{Name: "a"})
	p := plan(red, nil)
	apply(t, f, p)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	_, list := f.Networks(t.Context())
	_, flows := f.Flows(t.Context(), red, netip.Addr{})
	_, traffic := f.Traffic(t.Context(), red)
	_, dial := f.DialInside(t.Context(), red, netip.AddrPort{})
	for name, err := range map[string]error{
		"Apply": f.Apply(t.Context(), p), "Remove": f.Remove(t.Context(), red), "Networks": list, "Flows": flows,
		"Cut": f.Cut(t.Context(), red, netip.Addr{}), "Traffic": traffic, "DialInside": dial,
	} {
		if !resource.Is(err, resource.Unavailable) {
			t.Errorf("%s: got error %v, want Unavailable", name, err)
		}
	}
}
