package ruleset

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/muster-vm/muster/internal/network"
)

// patience ends a test that hangs; nothing passes by waiting it out.
const patience = time.Minute

var (
	transit = netip.MustParseAddr("169.254.64.2")
	hostEnd = netip.MustParseAddr("169.254.64.1")
	// client and otherClient are machines in the outside world.
	client      = netip.MustParseAddr("198.51.100.1")
	otherClient = netip.MustParseAddr("198.51.100.2")
)

// rig is a virtual network in a namespace of its own, with guests in theirs and an
// outside world. The kernel removes all of it with the last handle.
type rig struct {
	testing.TB
	net, outside netns.NsHandle
	guests       map[netip.Addr]netns.NsHandle
	nft          *nftables.Conn
	chains       []*nftables.Chain // that may drop
}

var names = Names{
	Uplink:  "up",
	Bridge:  func(subnet string) string { return "br-" + subnet },
	Tap:     func(port string) string { return "t-" + port },
	Transit: transit,
}

// newRig builds the subnets and cards of a program, and loads its tables.
func newRig(t testing.TB, p network.Program) *rig {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("network namespaces need root")
	}
	r := &rig{TB: t, guests: map[netip.Addr]netns.NsHandle{}}
	r.net, r.outside = r.namespace(), r.namespace()
	var err error
	r.nft, err = nftables.New(nftables.WithNetNSFd(int(r.net)), nftables.AsLasting())
	r.check(err)
	t.Cleanup(func() { r.nft.CloseLasting() })
	r.inside(r.net, func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = names.Uplink
		return errors.Join(
			netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "eth0", PeerNamespace: netlink.NsFd(r.outside)}),
			configure(names.Uplink, netip.PrefixFrom(transit, 30), hostEnd),
			configure("lo", netip.PrefixFrom(network.HostAddress, 32), netip.Addr{}),
			setting("ipv4/ip_forward", "1"), setting("ipv4/conf/all/send_redirects", "0"),
			setting("bridge/bridge-nf-call-iptables", "0"),
		)
	})
	r.inside(r.outside, func() error {
		return errors.Join(
			configure("eth0", netip.PrefixFrom(hostEnd, 30), netip.Addr{}),
			configure("lo", netip.PrefixFrom(client, 32), netip.Addr{}),
			configure("lo", netip.PrefixFrom(otherClient, 32), netip.Addr{}),
		)
	})
	for _, s := range p.Subnets {
		r.subnet(s)
	}
	for _, c := range p.Cards {
		r.guest(c, p)
	}
	r.load(p)
	return r
}

func (r *rig) namespace() (ns netns.NsHandle) {
	r.Helper()
	r.check(aside(func() (err error) {
		if ns, err = netns.New(); err != nil {
			return err
		}
		lo, err := netlink.LinkByName("lo")
		return errors.Join(err, setting("ipv6/conf/all/disable_ipv6", "1"), setting("ipv6/conf/default/disable_ipv6", "1"),
			setting("ipv4/icmp_ratelimit", "0"), setting("ipv4/icmp_msgs_per_sec", "1000000"), netlink.LinkSetUp(lo))
	}))
	r.Cleanup(func() { ns.Close() })
	return ns
}

func (r *rig) subnet(s network.SubnetProgram) {
	r.Helper()
	r.inside(r.net, func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = names.Bridge(s.Name)
		return errors.Join(
			netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}),
			configure(attrs.Name, netip.PrefixFrom(network.Gateway(s.Prefix), s.Prefix.Bits()), netip.Addr{}),
			setting("ipv4/conf/"+attrs.Name+"/proxy_arp_pvlan", "1"), setting("ipv4/conf/"+attrs.Name+"/send_redirects", "0"),
			setting("ipv4/neigh/"+attrs.Name+"/proxy_delay", "0"),
		)
	})
}

// guest makes the namespace that plays a virtual machine, with its card.
func (r *rig) guest(c network.Card, p network.Program) {
	r.Helper()
	ns := r.namespace()
	r.guests[c.Address] = ns
	mac, err := net.ParseMAC(c.MAC)
	r.check(err)
	r.inside(r.net, func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = names.Tap(c.Name)
		pair := &netlink.Veth{LinkAttrs: attrs, PeerName: "eth0", PeerHardwareAddr: mac, PeerNamespace: netlink.NsFd(ns)}
		if err := netlink.LinkAdd(pair); err != nil {
			return err
		}
		link, err := netlink.LinkByName(attrs.Name)
		if err != nil {
			return err
		}
		bridge, err := netlink.LinkByName(names.Bridge(c.Subnet))
		if err != nil {
			return err
		}
		return errors.Join(netlink.LinkSetMaster(link, bridge), netlink.LinkSetIsolated(link, true), netlink.LinkSetUp(link))
	})
	for _, s := range p.Subnets {
		if s.Name == c.Subnet {
			r.inside(ns, func() error {
				return configure("eth0", netip.PrefixFrom(c.Address, s.Prefix.Bits()), network.Gateway(s.Prefix))
			})
		}
	}
}

// load loads the tables of a program, and routes its public addresses to it.
func (r *rig) load(p network.Program) {
	r.Helper()
	tables, err := Tables(p, names)
	r.check(err)
	r.inside(r.net, func() error { return Load(tables) })
	all, err := r.nft.ListChainsOfTableFamily(nftables.TableFamilyINet)
	r.check(err)
	r.chains = slices.DeleteFunc(all, func(ch *nftables.Chain) bool {
		return ch.Name == "sources" // the library cannot read directions of connections back
	})
	r.inside(r.outside, func() error {
		link, err := netlink.LinkByName("eth0")
		for _, a := range append(publics(p), network.HostAddress) {
			err = errors.Join(err, netlink.RouteReplace(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(netip.PrefixFrom(a, 32)), Gw: transit.AsSlice()}))
		}
		for _, prefix := range p.Prefixes {
			err = errors.Join(err, netlink.RouteReplace(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(prefix), Gw: transit.AsSlice()}))
		}
		return err
	})
}

// publics lists the addresses of a program that are not in its space.
func publics(p network.Program) (all []netip.Addr) {
	for _, s := range p.Services {
		all = append(all, s.Address)
	}
	for _, f := range p.Forwards {
		all = append(all, f.Address)
	}
	for _, c := range p.Publics {
		all = append(all, c.Public)
	}
	return append(all, p.Routed...)
}

// at returns the namespace that has an address.
func (r *rig) at(a netip.Addr) netns.NsHandle {
	r.Helper()
	switch {
	case a == client || a == otherClient:
		return r.outside
	case a == network.HostAddress:
		return r.net
	case !r.guests[a].IsOpen():
		r.Fatalf("nobody has %s", a)
	}
	return r.guests[a]
}

func (r *rig) check(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *rig) inside(ns netns.NsHandle, f func() error) {
	r.Helper()
	r.check(inside(ns, f))
}

func inside(ns netns.NsHandle, f func() error) error {
	return aside(func() error {
		if err := netns.Set(ns); err != nil {
			return err
		}
		return f()
	})
}

// aside runs f on a thread of its own, which ends with it.
func aside(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		done <- f()
	}()
	return <-done
}

func setting(name, value string) error {
	err := os.WriteFile("/proc/sys/net/"+name, []byte(value), 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func configure(name string, addr netip.Prefix, gateway netip.Addr) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	if err := errors.Join(netlink.AddrReplace(link, &netlink.Addr{IPNet: ipNet(addr)}), netlink.LinkSetUp(link)); err != nil || !gateway.IsValid() {
		return err
	}
	return netlink.RouteReplace(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(netip.PrefixFrom(netip.IPv4Unspecified(), 0)), Gw: gateway.AsSlice()})
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), 32)}
}

// dropped returns how many packets the rules of the main table have dropped.
func (r *rig) dropped() (n uint64) {
	r.Helper()
	for _, ch := range r.chains {
		rules, err := r.nft.GetRules(ch.Table, ch)
		r.check(err)
		for _, rule := range rules {
			for _, e := range rule.Exprs {
				if counter, ok := e.(*expr.Counter); ok {
					n += counter.Packets
				}
			}
		}
	}
	return n
}

// begin tries to begin a flow. It reports whether its first packet arrived: an
// answer came, be it that nobody listens, before a rule dropped something.
func (r *rig) begin(f network.Flow) bool {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	before := r.dropped()
	done := make(chan error, 1)
	go func() {
		done <- inside(r.at(f.From.Addr()), func() error { return knock(ctx, f) })
	}()
	for {
		select {
		case err := <-done:
			if errors.Is(err, syscall.EPERM) {
				return false // the sender's own namespace dropped it
			}
			if err != nil && !errors.Is(err, syscall.ECONNREFUSED) {
				r.Errorf("%v: %v", f, err)
			}
			return true
		case <-time.After(2 * time.Millisecond):
		}
		if r.dropped() > before {
			cancel()
			err := <-done // what was dropped may have been something else
			return err == nil || errors.Is(err, syscall.ECONNREFUSED)
		}
		if ctx.Err() != nil {
			r.Fatalf("%v: no answer came and nothing was dropped", f)
		}
	}
}

// knock sends the first packet of a flow and waits for an answer.
func knock(ctx context.Context, f network.Flow) error {
	c, err := dial(ctx, f)
	if err != nil {
		return err
	}
	defer c.Close()
	if f.Protocol == network.TCP {
		return nil
	}
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) }) //nolint:errcheck // ends a read
	defer stop()
	question := []byte("hello")
	if f.Protocol == network.ICMP {
		question = []byte{8, 0, 0xf7, 0xff, 0, 0, 0, 0}
	}
	if _, err := c.Write(question); err != nil {
		return err
	}
	_, err = c.Read(make([]byte, 100))
	return err
}

func dial(ctx context.Context, f network.Flow) (net.Conn, error) {
	d := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) (err error) {
		c := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) })
		return errors.Join(err, c)
	}}
	switch f.Protocol {
	case network.TCP:
		d.LocalAddr = net.TCPAddrFromAddrPort(f.From)
		return d.DialContext(ctx, "tcp4", f.To.String())
	case network.UDP:
		d.LocalAddr = net.UDPAddrFromAddrPort(f.From)
		return d.DialContext(ctx, "udp4", f.To.String())
	}
	d = net.Dialer{LocalAddr: &net.IPAddr{IP: f.From.Addr().AsSlice()}}
	return d.DialContext(ctx, "ip4:icmp", f.To.Addr().String())
}

// flow is a flow from any port.
func flow(protocol network.Protocol, from netip.Addr, to string) network.Flow {
	f := network.Flow{Protocol: protocol, From: netip.AddrPortFrom(from, 0)}
	if protocol == network.ICMP {
		f.To = netip.AddrPortFrom(netip.MustParseAddr(to), 0)
		return f
	}
	f.To = netip.MustParseAddrPort(to)
	return f
}

func macOf(n int) string { return fmt.Sprintf("02:00:00:00:%02x:%02x", n>>8, n&255) }
