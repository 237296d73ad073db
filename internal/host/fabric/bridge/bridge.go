package bridge

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/muster-vm/muster/internal/host/fabric"
	"github.com/muster-vm/muster/internal/resource"
)

// Fabric is an open network. It implements fabric.Fabric and fabric.Plug. It is
// one network: a port's Subnet is not looked at.
type Fabric struct {
	opts  Options
	names names
	mtu   int
	ns    netns.NsHandle
	conn  net.PacketConn // of DHCP
	serve sync.WaitGroup

	mu       sync.Mutex
	leases   *leases
	admitted map[string]lease // ports as the guard's rules know them
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
	f := &Fabric{opts: opts, names: namesOf(opts.Name), leases: table, admitted: map[string]lease{}, ns: netns.None()}
	if err := f.build(ctx); err != nil {
		f.closeNamespace()
		return nil, err
	}
	f.serve.Go(func() {
		if err := serveDHCP(f.conn, f.offer); err != nil && !errors.Is(err, net.ErrClosed) {
			f.opts.Log.ErrorContext(ctx, "DHCP server stopped", "err", err)
		}
	})
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
	if f.ns, err = openNamespace(f.names.namespace); err != nil {
		return explain(err, "make network namespace "+f.names.namespace)
	}
	if err := explainRules(program(hostRules(f.names, prefix)), "of the host"); err != nil {
		return err
	}
	if err := f.buildInside(t); err != nil {
		return err
	}
	if err := setUpHostEnd(f.names.veth, t, prefix); err != nil {
		return explain(err, "set up "+f.names.veth)
	}
	return f.letOut(ctx, host)
}

// buildInside programs the namespace's rules, ties it to the host and brings up
// its links.
func (f *Fabric) buildInside(t transit) error {
	pool := f.leases.pool
	var members []member
	for _, l := range f.leases.sorted() {
		members = append(members, l.member())
		f.admitted[l.Port] = l
	}
	err := inside(f.ns, func() error { return program(innerRules(pool.Prefix(), pool.Gateway()), guardRules(members)) })
	if err != nil {
		return explainRules(err, "of the namespace")
	}
	if err := f.tether(); err != nil {
		return explain(err, "tie the namespace to the host")
	}
	err = inside(f.ns, func() (err error) {
		gateway := netip.PrefixFrom(pool.Gateway(), pool.Prefix().Bits())
		if err := setUpInside(f.opts.Name, gateway, t, f.mtu); err != nil {
			return err
		}
		f.conn, err = listenDHCP()
		return err
	})
	return explain(err, "set up the namespace")
}

// tether makes the veth pair, unless it is there and whole.
func (f *Fabric) tether() error {
	if link, err := netlink.LinkByName(f.names.veth); err == nil {
		host, peer := link.Attrs().Index, link.Attrs().ParentIndex
		whole := false
		if err := inside(f.ns, func() error { whole = paired(host, peer); return nil }); err != nil {
			return err
		}
		if whole {
			return nil
		}
		if err := netlink.LinkDel(link); err != nil {
			return err
		}
	}
	if err := inside(f.ns, func() error { return deleteLink(uplinkLink) }); err != nil {
		return err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = f.names.veth, f.mtu
	return netlink.LinkAdd(&netlink.Veth{
		LinkAttrs: attrs, PeerName: uplinkLink, PeerNamespace: netlink.NsFd(f.ns), PeerMTU: uint32(f.mtu),
	})
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
func (f *Fabric) offer(mac string) (offer, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	l, ok := f.leases.ports[f.leases.macs[mac]]
	return offer{lease: l, network: f.leases.pool.Prefix(), gateway: f.leases.pool.Gateway(), dns: f.opts.DNS, mtu: f.mtu}, ok
}

// Attach implements fabric.Fabric. The lease is on disk when it returns.
// Conflict if another port has the MAC.
func (f *Fabric) Attach(ctx context.Context, port fabric.Port) (fabric.Lease, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.ready(ctx); err != nil {
		return fabric.Lease{}, err
	}
	l, err := f.leases.attach(port)
	if err != nil {
		return fabric.Lease{}, err
	}
	before, ok := f.admitted[port.Name]
	if !ok || before != l {
		err := inside(f.ns, func() error {
			if ok && before.MAC != l.MAC {
				if err := expel(before.member()); err != nil {
					return err
				}
			}
			return admit(l.member())
		})
		if err != nil {
			return fabric.Lease{}, explainRules(err, "for port "+port.Name)
		}
		f.admitted[port.Name] = l
	}
	return f.leases.pool.Lease(l.Address), nil
}

// Detach implements fabric.Fabric.
func (f *Fabric) Detach(ctx context.Context, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.ready(ctx); err != nil {
		return err
	}
	if l, ok := f.admitted[name]; ok {
		err := inside(f.ns, func() error { return errors.Join(expel(l.member()), forget(l.Address)) })
		if err != nil {
			return explainRules(err, "for port "+name)
		}
		delete(f.admitted, name)
	}
	return f.leases.detach(name)
}

// Ports implements fabric.Fabric; the names are sorted.
func (f *Fabric) Ports(context.Context) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []string
	for _, l := range f.leases.sorted() {
		all = append(all, l.Port)
	}
	return all, nil
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
		return nil, resource.Errorf(resource.NotFound, "", "The port %s is not attached.", name)
	}
	err = inside(f.ns, func() (err error) {
		file, err = openTap(tapOf(name), f.mtu)
		return err
	})
	return file, err
}

func (f *Fabric) ready(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return resource.Errorf(resource.Canceled, "", "The request was canceled.").Because(err)
	}
	if f.closed {
		return resource.Errorf(resource.Unavailable, "", "The network is being shut down.")
	}
	return nil
}

// Close stops serving DHCP and lets go of the network, which stays as it is with
// all its guests; they keep their addresses. Closing again does nothing.
func (f *Fabric) Close() error {
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		return nil
	}
	f.closed = true
	f.mu.Unlock()
	err := f.conn.Close()
	f.serve.Wait()
	f.closeNamespace()
	return err
}

func (f *Fabric) closeNamespace() {
	if f.ns.IsOpen() {
		f.ns.Close() //nolint:errcheck // a handle that was only read
	}
}

// Destroy closes the fabric and removes the network; see the function Destroy.
func (f *Fabric) Destroy(ctx context.Context) error {
	return errors.Join(f.Close(), Destroy(ctx, f.opts))
}

// Destroy removes the namespace with its bridge and rules, the veth pair with
// its routes, the host's table and the leases of a network that nobody has open,
// also if only a part of it is there. net.ipv4.ip_forward stays: others may have
// come to rely on it.
func Destroy(_ context.Context, opts Options) error {
	opts, err := opts.check()
	if err != nil {
		return err
	}
	n := namesOf(opts.Name)
	err = errors.Join(
		explain(deleteLink(n.veth), "remove "+n.veth),
		explain(removeNamespace(n.namespace), "remove network namespace "+n.namespace),
		explainRules(unprogram(&nftables.Table{Family: nftables.TableFamilyINet, Name: n.table}), "of the host"),
	)
	if err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(opts.Dir, leasesFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return explain(err, "remove the leases")
	}
	return nil
}
