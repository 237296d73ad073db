package bridge

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netns"

	"github.com/muster-vm/muster/internal/host/fabric"
	"github.com/muster-vm/muster/internal/host/fabric/bridge/dhcp"
	"github.com/muster-vm/muster/internal/host/fabric/bridge/tables"
	"github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/resource"
)

// Fabric is an open network: the default one, and the virtual ones beside it. It
// implements fabric.Fabric, fabric.Networks, fabric.Plug and fabric.Dialer.
type Fabric struct {
	space // of the default network
	opts  Options
	conn  net.PacketConn // of DHCP
	serve sync.WaitGroup

	mu       sync.Mutex // taken after that of a virtual network, never before
	leases   *leases
	admitted map[string]lease // ports as the guard's rules know them
	networks map[network.UID]*virtual
	homes    map[string]network.UID // where ports were attached, of virtual networks
	closed   bool
}

var (
	_ fabric.Fabric = (*Fabric)(nil)
	_ fabric.Plug   = (*Fabric)(nil)
)

// Open makes the network, or adopts the one that an earlier server left, and
// serves DHCP on it until Close. Unavailable, with the remedy, if the host lacks
// a right or a feature, or the prefix is in use on the host; Conflict if leases
// of another prefix exist; Invalid for wrong options.
func Open(ctx context.Context, opts Options) (*Fabric, error) {
	opts, err := opts.check()
	if err != nil {
		return nil, err
	}
	if err := needTun(); err != nil {
		return nil, err
	}
	table, err := readLeases(filepath.Join(opts.Dir, leasesFile), opts.Prefix)
	if err != nil {
		return nil, err
	}
	f := &Fabric{opts: opts, leases: table, admitted: map[string]lease{}, networks: map[network.UID]*virtual{}, homes: map[string]network.UID{}}
	f.space = space{names: namesOf(opts.Name), ns: netns.None()}
	if err := f.build(ctx); err != nil {
		f.leave()
		return nil, err
	}
	f.serve.Go(func() {
		if err := dhcp.Serve(f.conn, f.offer); err != nil && !errors.Is(err, net.ErrClosed) {
			f.opts.Log.ErrorContext(ctx, "DHCP server stopped", "err", err)
		}
	})
	if err := f.adopt(ctx); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

const leasesFile = "leases.json"

// build makes what is missing, the rules first, so that no packet passes before
// there is something to judge it.
func (f *Fabric) build(ctx context.Context) error {
	prefix := f.leases.pool.Prefix()
	host, err := surveyHost(f.names.veth)
	if err != nil {
		return explain(err, "read the host's routes")
	}
	if used, ok := clash(prefix, host.used); ok {
		return resource.Errorf(resource.Unavailable, "", "The network %s is in use on the host (%s); choose another prefix for instances.", prefix, used)
	}
	t := host.adopted
	if t == (transit{}) {
		if t, err = chooseTransit(f.opts.Name, host.used); err != nil {
			return err
		}
	}
	f.mtu = host.mtu
	if err := f.enter(); err != nil {
		return err
	}
	if err := explainRules(tables.Load(defaultRules(f.names, f.leases.pool).Host()), "of the host"); err != nil {
		return err
	}
	if err := f.buildInside(t); err != nil {
		return err
	}
	if err := setUpHostEnd(f.names.veth, t, []netip.Prefix{prefix}); err != nil {
		return explain(err, "set up "+f.names.veth)
	}
	return f.letOut(ctx, host)
}

// buildInside programs the namespace's rules, ties it to the host and brings up
// its links.
func (f *Fabric) buildInside(t transit) error {
	pool := f.leases.pool
	var members []tables.Member
	for _, l := range f.leases.sorted() {
		members = append(members, l.member())
		f.admitted[l.Port] = l
	}
	err := inside(f.ns, func() error { return tables.Load(defaultRules(f.names, pool).Inner(), tables.Guard(members)) })
	if err != nil {
		return explainRules(err, "of the namespace")
	}
	if err := f.tether(); err != nil {
		return explain(err, "tie the namespace to the host")
	}
	err = inside(f.ns, func() (err error) {
		gateway := netip.PrefixFrom(pool.Gateway(), pool.Prefix().Bits())
		if err := setUpNamespace(); err != nil {
			return err
		}
		if err := setUpBridge(bridgeLink, macOf("gateway of "+f.opts.Name), gateway, f.mtu); err != nil {
			return err
		}
		if err := setUpUplink(t); err != nil {
			return err
		}
		f.conn, err = dhcp.Listen(bridgeLink)
		return err
	})
	return explain(err, "set up the namespace")
}

// defaultRules says what the rules of the default network are about.
func defaultRules(n names, pool *fabric.Pool) tables.Default {
	return tables.Default{
		Table: n.table, Veth: n.veth, Bridge: bridgeLink, Uplink: uplinkLink, Prefix: pool.Prefix(), Gateway: pool.Gateway(),
	}
}

// letOut lets the host forward for its guests, if it has somewhere to forward
// to.
func (f *Fabric) letOut(ctx context.Context, host hostNetwork) error {
	if !host.outward {
		f.opts.Log.InfoContext(ctx, "the host has no default route; guests reach the host's network only")
		return nil
	}
	changed, err := turnOn(forwarding)
	if changed && err == nil {
		f.opts.Log.WarnContext(ctx, "turned on net.ipv4.ip_forward so that guests get out; the host now forwards for other networks too unless its firewall forbids it")
	}
	return explain(err, "turn on net.ipv4.ip_forward")
}

// offer returns what DHCP tells the guest with this MAC.
func (f *Fabric) offer(mac string) (dhcp.Offer, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	l, ok := f.leases.ports[f.leases.macs[mac]]
	at := f.leases.pool.Lease(l.Address)
	return dhcp.Offer{Address: at.Address, Gateway: at.Gateway, HostName: l.HostName, DNS: f.opts.DNS, MTU: f.mtu}, ok
}

// Attach implements fabric.Fabric. The lease is on disk when it returns.
// Conflict if another port has the MAC.
func (f *Fabric) Attach(ctx context.Context, port fabric.Port) (fabric.Lease, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.ready(ctx); err != nil {
		return fabric.Lease{}, err
	}
	if port.Network != "" {
		return f.attachNetwork(port)
	}
	l, err := f.leases.attach(port)
	if err != nil {
		return fabric.Lease{}, err
	}
	before, ok := f.admitted[port.Name]
	if !ok || before != l {
		err := inside(f.ns, func() error {
			if ok && before.MAC != l.MAC {
				if err := tables.Expel(before.member()); err != nil {
					return err
				}
			}
			return tables.Admit(l.member())
		})
		if err != nil {
			return fabric.Lease{}, explainRules(err, "for port "+port.Name)
		}
		f.admitted[port.Name] = l
	}
	return f.leases.pool.Lease(l.Address), nil
}

// Detach implements fabric.Fabric. The address of a port of a virtual network is the
// control plane's to free; where it was is forgotten.
func (f *Fabric) Detach(ctx context.Context, name string) error {
	if err := f.forgetPort(ctx, name); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.ready(ctx); err != nil {
		return err
	}
	delete(f.homes, name)
	if l, ok := f.admitted[name]; ok {
		err := inside(f.ns, func() error { return errors.Join(tables.Expel(l.member()), forget(bridgeLink, l.Address)) })
		if err != nil {
			return explainRules(err, "for port "+name)
		}
		delete(f.admitted, name)
	}
	return f.leases.detach(name)
}

// Ports implements fabric.Fabric; the names are sorted. They are of the default
// network: ports of virtual networks hold no address of the fabric's.
func (f *Fabric) Ports(context.Context) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ports(), nil
}

func (f *Fabric) ports() (all []string) {
	for _, l := range f.leases.sorted() {
		all = append(all, l.Port)
	}
	return all
}

// A hypervisor that was killed lets go of its tap a moment after it is seen to
// be gone.
const (
	tapTries = 50
	tapPause = 10 * time.Millisecond
)

// Open implements fabric.Plug. NotFound for a port that is not attached;
// Conflict if another process holds the port's tap and does not let go of it
// within half a second.
func (f *Fabric) Open(ctx context.Context, name string) (*os.File, error) {
	for try := 1; ; try++ {
		file, err := f.openPort(ctx, name)
		if resource.Is(err, resource.NotFound) {
			file, err = f.openNetwork(ctx, name)
		}
		if try == tapTries || !resource.Is(err, resource.Conflict) {
			return file, err
		}
		select {
		case <-time.After(tapPause):
		case <-ctx.Done():
			return nil, err
		}
	}
}

func (f *Fabric) openPort(ctx context.Context, name string) (file *os.File, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.ready(ctx); err != nil {
		return nil, err
	}
	if _, ok := f.leases.ports[name]; !ok {
		return nil, errNotAttached(name)
	}
	err = inside(f.ns, func() (err error) {
		file, err = openTap(tapOf(name), f.outlet())
		return err
	})
	return file, err
}

// outlet is where the default network's ports are plugged in.
func (f *Fabric) outlet() outlet { return outlet{bridge: bridgeLink, mtu: f.mtu} }

func (f *Fabric) ready(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return resource.Errorf(resource.Canceled, "", "The request was canceled.").Because(err)
	}
	if f.closed {
		return resource.Errorf(resource.Unavailable, "", "The network is being shut down.")
	}
	return nil
}

// Close stops serving DHCP and DNS and lets go of all networks, which stay as they
// are with all their guests; they keep their addresses. Closing again does nothing.
func (f *Fabric) Close() error {
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		return nil
	}
	f.closed = true
	all := slices.Collect(maps.Values(f.networks))
	f.mu.Unlock()
	var stopping sync.WaitGroup
	for _, v := range all {
		stopping.Go(func() {
			v.mu.Lock()
			defer v.mu.Unlock()
			v.stop()
			v.gone = true
		})
	}
	stopping.Wait()
	err := f.conn.Close()
	f.serve.Wait()
	f.leave()
	return err
}

// Destroy closes the fabric and removes the network; see the function Destroy.
func (f *Fabric) Destroy(ctx context.Context) error {
	return errors.Join(f.Close(), Destroy(ctx, f.opts))
}

// Destroy removes all virtual networks, and of the default one the namespace with
// its bridge and rules, the veth pair with its routes, the host's table and the
// leases. Nobody may have it open. It works also if only a part is there. net.ipv4.ip_forward stays: others may have
// come to rely on it.
func Destroy(_ context.Context, opts Options) error {
	opts, err := opts.check()
	if err != nil {
		return err
	}
	keys, err := traces(opts)
	if err != nil {
		return explain(err, "look for virtual networks")
	}
	for _, key := range keys {
		if err := removeNetwork(opts, key); err != nil {
			return err
		}
	}
	n := namesOf(opts.Name)
	err = errors.Join(
		explain(deleteLink(n.veth), "remove "+n.veth),
		explain(removeNamespace(n.namespace), "remove network namespace "+n.namespace),
		explainRules(tables.Remove(n.table), "of the host"),
	)
	if err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(opts.Dir, leasesFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return explain(err, "remove the leases")
	}
	return nil
}
