package bridge

import (
	"context"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/vishvananda/netns"

	"github.com/muster-vm/muster/internal/host/fabric"
	"github.com/muster-vm/muster/internal/host/fabric/bridge/dhcp"
	"github.com/muster-vm/muster/internal/host/fabric/bridge/dns"
	"github.com/muster-vm/muster/internal/host/fabric/bridge/ruleset"
	"github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/resource"
)

// virtual is one virtual network on this host.
type virtual struct {
	uid  network.UID
	file string

	mu sync.Mutex // held by whoever changes the network or uses its namespace
	space
	gone   bool // it was removed or closed: look it up again
	block  atomic.Pointer[transit]
	stored []byte                // content of its file; nil if there is none
	dhcp   map[string]dhcpServer // by bridge
	dns    *dns.Server
	known  atomic.Pointer[knowledge] // nil until a program was applied
}

// dhcpServer answers on one bridge.
type dhcpServer struct {
	link int // index of the bridge
	conn net.PacketConn
	over chan struct{} // closed when it has ended
}

func (d dhcpServer) stop() {
	d.conn.Close() //nolint:errcheck // nothing was written
	<-d.over
}

func (d dhcpServer) running() bool {
	select {
	case <-d.over:
		return false
	default:
		return true
	}
}

func newVirtual(opts Options, uid network.UID) *virtual {
	key := keyOf(uid)
	return &virtual{
		uid: uid, file: recordFile(opts.Dir, key), dhcp: map[string]dhcpServer{},
		space: space{names: namesOfNetwork(opts.Name, key), ns: netns.None()},
	}
}

// called is what rules call the network's links and addresses.
func (v *virtual) called() ruleset.Names {
	t := *v.block.Load()
	return ruleset.Names{Uplink: uplinkLink, Bridge: bridgeOf, Tap: tapOf, Transit: t.inner()}
}

// stop ends what serves guests, and lets go of the namespace.
func (v *virtual) stop() {
	for name, d := range v.dhcp {
		d.stop()
		delete(v.dhcp, name)
	}
	if v.dns != nil {
		v.dns.Close()
		v.dns = nil
	}
	v.leave()
}

// knowledge is what a program means to those who serve guests. It does not change.
type knowledge struct {
	program network.Program
	cards   map[string]network.Card // primary ones by port
	offers  map[string]map[string]dhcp.Offer
	holders map[holding]string // MACs
	zone    *dns.Zone
}

// holding is an address behind a bridge.
type holding struct {
	bridge string
	addr   netip.Addr
}

// learn reads a program. Offers are by bridge, then by MAC.
func learn(p network.Program, mtu int) *knowledge {
	k := &knowledge{
		program: p, cards: map[string]network.Card{}, offers: map[string]map[string]dhcp.Offer{},
		holders: map[holding]string{}, zone: dns.NewZone(p),
	}
	prefixes := map[string]netip.Prefix{}
	for _, s := range p.Subnets {
		prefixes[s.Name] = s.Prefix
		k.offers[bridgeOf(s.Name)] = map[string]dhcp.Offer{}
	}
	for _, c := range p.Cards {
		prefix, ok := prefixes[c.Subnet]
		mac, err := net.ParseMAC(c.MAC)
		if !ok || err != nil {
			continue
		}
		br := bridgeOf(c.Subnet)
		k.holders[holding{br, c.Address}] = mac.String()
		if !c.Primary {
			continue
		}
		k.cards[c.Name] = c
		k.offers[br][mac.String()] = dhcp.Offer{
			Address: netip.PrefixFrom(c.Address, prefix.Bits()), Gateway: network.Gateway(prefix), HostName: c.Host,
			DNS: resolversOf(c, p), Domain: network.Domain(p.Network), MTU: mtu,
		}
	}
	return k
}

// resolversOf returns whom a card's guest asks about names.
func resolversOf(c network.Card, p network.Program) []netip.Addr {
	switch {
	case len(c.DNS) > 0:
		return c.DNS
	case len(p.DNS) > 0:
		return p.DNS
	}
	return []netip.Addr{network.HostAddress}
}

// lease returns what a port has in the network, and false if the program does not
// know of it, or knows another card by its name.
func (k *knowledge) lease(p fabric.Port) (fabric.Lease, bool) {
	if k == nil {
		return fabric.Lease{}, false
	}
	mac, err := net.ParseMAC(p.MAC)
	if err != nil {
		return fabric.Lease{}, false
	}
	c, ok := k.cards[p.Name]
	if !ok || c.Address != p.Address {
		return fabric.Lease{}, false
	}
	o, ok := k.offers[bridgeOf(c.Subnet)][mac.String()]
	if !ok || o.Address.Addr() != p.Address {
		return fabric.Lease{}, false
	}
	return fabric.Lease{Address: o.Address, Gateway: o.Gateway}, true
}

// has reports whether a port's card is in the network.
func (k *knowledge) has(port string) bool {
	if k == nil {
		return false
	}
	_, ok := k.cards[port]
	return ok
}

// holds reports whether a card of the network has the address.
func (k *knowledge) holds(a netip.Addr) bool {
	return k != nil && slices.ContainsFunc(k.program.Cards, func(c network.Card) bool { return c.Address == a })
}

// attachNetwork is Attach for a port of a virtual network. The control plane has
// reserved its address, and the program admits it, so nothing is left to do.
func (f *Fabric) attachNetwork(port fabric.Port) (fabric.Lease, error) {
	v := f.networks[port.Network]
	if v == nil {
		return fabric.Lease{}, errNoNetwork(port.Network)
	}
	l, ok := v.known.Load().lease(port)
	if !ok {
		return l, resource.Errorf(resource.NotFound, "", "The card %s with the address %s has not been applied to the virtual network %s yet.", port.Name, port.Address, port.Network)
	}
	f.homes[port.Name] = port.Network
	return l, nil
}

func errNoNetwork(uid network.UID) error {
	return resource.Errorf(resource.NotFound, "", "The virtual network %s is not on this host yet.", uid)
}

// find returns the virtual network that a port is in, the one where it was attached
// if there are several; nil for none. The caller holds the fabric's mutex.
func (f *Fabric) find(port string) *virtual {
	if v := f.networks[f.homes[port]]; v != nil && v.known.Load().has(port) {
		return v
	}
	for _, v := range f.networks {
		if v.known.Load().has(port) {
			return v
		}
	}
	return nil
}

// hold returns a virtual network that nobody else changes or removes until its
// mutex is unlocked. NotFound if there is none.
func (f *Fabric) hold(ctx context.Context, uid network.UID) (*virtual, error) {
	return f.holdBy(ctx, func() (*virtual, error) {
		if v := f.networks[uid]; v != nil {
			return v, nil
		}
		return nil, errNoNetwork(uid)
	})
}

// holdBy is hold for the network that find returns, which is called with the
// fabric's mutex held.
func (f *Fabric) holdBy(ctx context.Context, find func() (*virtual, error)) (*virtual, error) {
	for {
		f.mu.Lock()
		err := f.ready(ctx)
		var v *virtual
		if err == nil {
			v, err = find()
		}
		f.mu.Unlock()
		if err != nil {
			return nil, err
		}
		v.mu.Lock()
		if !v.gone {
			return v, nil
		}
		v.mu.Unlock()
	}
}

// openNetwork is Open for a port of a virtual network.
func (f *Fabric) openNetwork(ctx context.Context, name string) (file *os.File, err error) {
	v, err := f.holdBy(ctx, func() (*virtual, error) {
		if v := f.find(name); v != nil {
			return v, nil
		}
		return nil, errNotAttached(name)
	})
	if err != nil {
		return nil, err
	}
	defer v.mu.Unlock()
	c, ok := v.known.Load().cards[name]
	if !ok {
		return nil, errNotAttached(name)
	}
	err = v.inside(func() (err error) {
		file, err = openTap(tapOf(name), v.outlet(c.Subnet))
		return err
	})
	return file, err
}

// outlet is where the ports of a subnet are plugged in. What they say to each other
// goes by the namespace, which judges it.
func (v *virtual) outlet(subnet string) outlet {
	return outlet{bridge: bridgeOf(subnet), isolated: true, mtu: v.mtu}
}

// forgetPort drops what a virtual network remembers of where a port's addresses
// are.
func (f *Fabric) forgetPort(ctx context.Context, name string) error {
	v, err := f.holdBy(ctx, func() (*virtual, error) {
		if v := f.find(name); v != nil {
			return v, nil
		}
		return nil, errNotAttached(name)
	})
	if resource.Is(err, resource.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer v.mu.Unlock()
	return explain(v.inside(func() error {
		for _, c := range v.known.Load().program.Cards {
			if c.Name != name {
				continue
			}
			if err := forget(bridgeOf(c.Subnet), c.Address); err != nil {
				return err
			}
		}
		return nil
	}), "forget port "+name)
}
