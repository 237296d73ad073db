package bridge

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"net"
	"net/netip"
	"path/filepath"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/muster-vm/muster/internal/host/fabric/bridge/dhcp"
	"github.com/muster-vm/muster/internal/host/fabric/bridge/dns"
	"github.com/muster-vm/muster/internal/host/fabric/bridge/ruleset"
	"github.com/muster-vm/muster/internal/host/fabric/bridge/tables"
	"github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/resource"
)

// Apply implements fabric.Networks. What is there already and has the right shape is
// not touched, so that it can be called again after whatever ended it midway.
func (f *Fabric) Apply(ctx context.Context, p network.Program) error {
	if p.Network == "" {
		return resource.Errorf(resource.Invalid, "InvalidParameter", "The program names no virtual network.")
	}
	v, err := f.holdBy(ctx, func() (*virtual, error) {
		if f.networks[p.Network] == nil {
			f.networks[p.Network] = newVirtual(f.opts, p.Network)
		}
		return f.networks[p.Network], nil
	})
	if err != nil {
		return err
	}
	defer v.mu.Unlock()
	err = f.apply(ctx, v, p)
	if err != nil && v.stored == nil {
		f.drop(v)
	}
	return err
}

// drop makes the fabric know a network no more. The caller holds its mutex.
func (f *Fabric) drop(v *virtual) {
	v.gone = true
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.networks, v.uid)
}

// apply makes what is missing: first what says what is there, then the rules, then
// what packets pass, so that none goes unjudged.
func (f *Fabric) apply(ctx context.Context, v *virtual, p network.Program) error {
	host, err := surveyHost(v.names.veth)
	if err != nil {
		return explain(err, "read the host's routes")
	}
	v.mtu = host.mtu
	t, err := f.settle(v, host.used)
	if err != nil {
		return err
	}
	if err := v.store(t, p); err != nil {
		return err
	}
	if err := v.reenter(); err != nil {
		return err
	}
	if err := explainRules(tables.Load(v.table(t, p, f.opts).Host()), "of the host"); err != nil {
		return err
	}
	if err := v.load(p); err != nil {
		return err
	}
	if err := v.tether(); err != nil {
		return explain(err, "tie the virtual network to the host")
	}
	before := v.known.Load()
	if err := v.inside(func() error { return v.setUp(t, p) }); err != nil {
		return explain(err, "set up the virtual network")
	}
	var routed []netip.Prefix
	for _, a := range p.Routed {
		routed = append(routed, netip.PrefixFrom(a, 32))
	}
	if err := setUpHostEnd(v.names.veth, t, routed); err != nil {
		return explain(err, "set up "+v.names.veth)
	}
	if host.outward = host.outward || len(routed) > 0; host.outward {
		if err := f.letOut(ctx, host); err != nil {
			return err
		}
	}
	now := learn(p, v.mtu)
	v.known.Store(now)
	return v.follow(ctx, f.opts, before, now)
}

// table is what the host has to know of the network to judge its packets.
func (v *virtual) table(t transit, p network.Program, opts Options) tables.Virtual {
	return tables.Virtual{
		Table: v.names.table, Veth: v.names.veth, Local: vethPrefix, Transit: t.inner(), Public: p.Routed, KeepPublic: opts.PublicRouted,
	}
}

// settle returns the network's transit block: the one that it has, or one that no
// other network has, nor the host.
func (f *Fabric) settle(v *virtual, used []usedPrefix) (transit, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, other := range f.networks {
		if t := other.block.Load(); t != nil && other != v {
			used = append(used, usedPrefix{netip.Prefix(*t), true})
		}
	}
	if t := v.block.Load(); t != nil && !touches(netip.Prefix(*t), used) {
		return *t, nil
	}
	t, err := chooseTransit(f.opts.Name+"-"+keyOf(v.uid), used)
	if err == nil {
		v.block.Store(&t)
	}
	return t, err
}

// store writes the network's file, if it says something else.
func (v *virtual) store(t transit, p network.Program) error {
	content, err := encodeRecord(t, p)
	if err != nil {
		return err
	}
	if bytes.Equal(content, v.stored) {
		return nil
	}
	if err := writeRecord(v.file, content); err != nil {
		return err
	}
	v.stored = content
	return nil
}

// reenter opens the namespace, unless it is open and still has its name.
func (v *virtual) reenter() error {
	if v.ns.IsOpen() && isNamespace(filepath.Join(namespaces, v.names.namespace)) {
		return nil
	}
	v.stop()
	return v.enter()
}

// load programs the namespace.
func (v *virtual) load(p network.Program) error {
	rules, err := ruleset.Tables(p, v.called())
	if err != nil {
		return err
	}
	err = v.inside(func() error {
		if err := set(networkSettings()); err != nil {
			return err
		}
		return ruleset.Load(rules)
	})
	return explainRules(err, "of virtual network "+p.Name)
}

// networkSettings are those of a virtual network's namespace. Frames that a bridge
// forwards are nobody's but its guard's; packets are judged where they are routed.
func networkSettings() []setting {
	return []setting{
		{"ipv6/conf/all/disable_ipv6", "1"}, {"ipv6/conf/default/disable_ipv6", "1"},
		{"ipv4/conf/all/send_redirects", "0"}, {"ipv4/conf/default/send_redirects", "0"},
		{"ipv4/conf/all/rp_filter", "0"}, {"ipv4/conf/default/rp_filter", "0"}, // the guard knows senders better
		{"bridge/bridge-nf-call-iptables", "0"}, {"bridge/bridge-nf-call-ip6tables", "0"}, {"bridge/bridge-nf-call-arptables", "0"},
	}
}

// bridgeSettings make the gateway answer for all neighbours at once, so that guests
// of one subnet reach each other by it and are not told of a shorter way.
func bridgeSettings(bridge string) []setting {
	return []setting{
		{"ipv4/conf/" + bridge + "/proxy_arp_pvlan", "1"}, {"ipv4/neigh/" + bridge + "/proxy_delay", "0"},
		{"ipv4/conf/" + bridge + "/send_redirects", "0"}, {"ipv4/conf/" + bridge + "/rp_filter", "0"},
	}
}

// setUp brings up the links, addresses and routes of the thread's namespace.
func (v *virtual) setUp(t transit, p network.Program) error {
	if err := setUpNamespace(); err != nil {
		return err
	}
	if err := setUpPlatform(); err != nil {
		return err
	}
	wanted := map[string]bool{}
	for _, s := range p.Subnets {
		br := bridgeOf(s.Name)
		wanted[br] = true
		gateway := netip.PrefixFrom(network.Gateway(s.Prefix), s.Prefix.Bits())
		if err := setUpBridge(br, macOf("gateway of "+string(v.uid)+"/"+s.Name), gateway, v.mtu); err != nil {
			return err
		}
		if err := set(bridgeSettings(br)); err != nil {
			return err
		}
	}
	if err := v.arrange(p, wanted); err != nil {
		return err
	}
	return setUpUplink(t)
}

// setUpPlatform gives the thread's namespace the platform's address.
func setUpPlatform() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	addrs, err := addrsOf(lo)
	if err != nil {
		return err
	}
	platform := netip.PrefixFrom(network.HostAddress, 32)
	if slices.ContainsFunc(addrs, func(a netlink.Addr) bool { return toPrefix(a.IPNet) == platform }) {
		return nil
	}
	return netlink.AddrAdd(lo, &netlink.Addr{IPNet: toIPNet(platform)})
}

// arrange removes the bridges of the thread's namespace that no subnet wants, and
// plugs the taps that are in the wrong one into theirs.
func (v *virtual) arrange(p network.Program, wanted map[string]bool) error {
	links, err := whole(netlink.LinkList)
	if err != nil {
		return err
	}
	byName := map[string]netlink.Link{}
	for _, l := range links {
		if _, ok := l.(*netlink.Bridge); ok && !wanted[l.Attrs().Name] {
			if err := netlink.LinkDel(l); err != nil {
				return err
			}
			continue
		}
		byName[l.Attrs().Name] = l
	}
	for _, c := range p.Cards {
		tap, br := byName[tapOf(c.Name)], byName[bridgeOf(c.Subnet)]
		if tap == nil || br == nil || tap.Attrs().MasterIndex == br.Attrs().Index {
			continue
		}
		if err := plug(tap.Attrs().Name, v.outlet(c.Subnet)); err != nil && !isGone(err) {
			return err
		}
	}
	return nil
}

// isGone reports whether a link was not there any more: its hypervisor ended.
func isGone(err error) bool {
	_, gone := errors.AsType[netlink.LinkNotFoundError](err)
	return gone
}

// follow makes the services and the neighbour table be of the new program.
func (v *virtual) follow(ctx context.Context, opts Options, before, now *knowledge) error {
	err := v.inside(func() error {
		if err := departedSince(before, now).forget(); err != nil {
			return err
		}
		if err := v.serveAddresses(ctx, opts, now); err != nil {
			return err
		}
		return v.serveNames(ctx, opts)
	})
	if err != nil {
		return explain(err, "serve the virtual network")
	}
	return explainRules(v.inside(func() error { return ruleset.Move(now.program) }), "of virtual network "+now.program.Name)
}

// departed is addresses that the cards which had them have no more.
type departed map[netip.Addr]string // bridge

func departedSince(before, now *knowledge) departed {
	d := departed{}
	if before == nil {
		return d
	}
	for at, mac := range before.holders {
		if now.holders[at] != mac {
			d[at.addr] = at.bridge
		}
	}
	return d
}

// forget drops what the thread's namespace remembers of the addresses: where they
// were, and the flows, which are not those of a card that gets one next.
func (d departed) forget() error {
	if len(d) == 0 {
		return nil
	}
	for addr, bridge := range d {
		if err := forget(bridge, addr); err != nil {
			return err
		}
	}
	_, err := whole(func() ([]uint, error) {
		n, err := netlink.ConntrackDeleteFilters(netlink.ConntrackTable, unix.AF_INET, d)
		return []uint{n}, err
	})
	return err
}

// MatchConntrackFlow implements netlink.CustomConntrackFilter.
func (d departed) MatchConntrackFlow(f *netlink.ConntrackFlow) bool {
	for _, ip := range []net.IP{f.Forward.SrcIP, f.Forward.DstIP, f.Reverse.SrcIP, f.Reverse.DstIP} {
		if a, ok := netip.AddrFromSlice(ip); ok && d[a.Unmap()] != "" {
			return true
		}
	}
	return false
}

// serveAddresses answers DHCP on the bridges of the thread's namespace, and on no
// others any more.
func (v *virtual) serveAddresses(ctx context.Context, opts Options, now *knowledge) error {
	for name, d := range v.dhcp {
		link, err := netlink.LinkByName(name)
		if now.offers[name] == nil || err != nil || link.Attrs().Index != d.link || !d.running() {
			d.stop()
			delete(v.dhcp, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(now.offers)) {
		if _, ok := v.dhcp[name]; ok {
			continue
		}
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		conn, err := dhcp.Listen(name)
		if err != nil {
			return err
		}
		d := dhcpServer{link: link.Attrs().Index, conn: conn, over: make(chan struct{})}
		v.dhcp[name] = d
		go func() {
			defer close(d.over)
			err := dhcp.Serve(conn, func(mac string) (dhcp.Offer, bool) {
				o, ok := v.known.Load().offers[name][mac]
				return o, ok
			})
			if err != nil && !errors.Is(err, net.ErrClosed) {
				opts.Log.ErrorContext(ctx, "DHCP server of a virtual network stopped", "network", v.uid, "err", err)
			}
		}()
	}
	return nil
}

// serveNames answers DNS at the platform's address in the thread's namespace.
func (v *virtual) serveNames(ctx context.Context, opts Options) error {
	if v.dns != nil {
		return nil
	}
	const port = "53"
	at := net.JoinHostPort(network.HostAddress.String(), port)
	var listen net.ListenConfig
	udp, err := listen.ListenPacket(ctx, "udp4", at)
	if err != nil {
		return err
	}
	tcp, err := listen.Listen(ctx, "tcp4", at)
	if err != nil {
		udp.Close() //nolint:errcheck // nothing was written
		return err
	}
	var upstream []netip.AddrPort
	for _, a := range opts.Resolvers {
		upstream = append(upstream, netip.AddrPortFrom(a, 53))
	}
	v.dns = dns.Serve(ctx, udp, tcp, dns.Options{
		Zone: func() *dns.Zone { return v.known.Load().zone }, Upstream: upstream, Log: opts.Log,
	})
	return nil
}
