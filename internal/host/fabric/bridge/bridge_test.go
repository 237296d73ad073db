package bridge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/nftables"
	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/muster-vm/muster/internal/host/fabric/bridge/dhcp"
	"github.com/muster-vm/muster/internal/host/fabric/bridge/tables"
	"github.com/muster-vm/muster/internal/resource"
)

func TestGuestLearnsItsNetworkByDHCP(t *testing.T) {
	f := openFabric(t, Options{Name: "a", DNS: []netip.Addr{netip.MustParseAddr("192.0.2.53")}})
	g := startGuest(t, f, testPort("p0"))
	ack := g.dhcp()
	mtu, _ := dhcpv4.GetUint16(dhcpv4.OptionInterfaceMTU, ack.Options)
	got := fmt.Sprintln(ack.YourIPAddr, ack.SubnetMask(), ack.Router(), ack.HostName(), mtu, ack.DNS())
	want := "10.240.0.4 ffff0000 [10.240.0.1] host-p0 1400 [192.0.2.53]\n"
	if got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if ack.IPAddressLeaseTime(0) != dhcp.Forever {
		t.Errorf("lease time is %s, want for ever", ack.IPAddressLeaseTime(0))
	}
	if _, known := f.offer("02:00:00:00:00:99"); known {
		t.Error("a stranger is offered an address")
	}
}

func TestHostReachesGuestsAsTheirGateway(t *testing.T) {
	f := openFabric(t, Options{Name: "a"})
	g := bootGuest(t, f, testPort("p0"))
	at, visitors := listen(t, g.ns, "0.0.0.0")
	if err := greet(t.Context(), net.JoinHostPort(g.lease.Address.Addr().String(), portOf(at))); err != nil {
		t.Fatal(err)
	}
	if who := <-visitors; who != g.lease.Gateway {
		t.Errorf("the guest saw %s, want its gateway %s", who, g.lease.Gateway)
	}
}

func TestGuestsReachEachOther(t *testing.T) {
	f := openFabric(t, Options{Name: "a"})
	a, b := bootGuest(t, f, testPort("p0")), bootGuest(t, f, testPort("p1"))
	at, visitors := listen(t, a.ns, "0.0.0.0")
	b.inside(func() error {
		return greet(t.Context(), net.JoinHostPort(a.lease.Address.Addr().String(), portOf(at)))
	})
	if who := <-visitors; who != b.lease.Address.Addr() {
		t.Errorf("the guest saw %s, want %s", who, b.lease.Address)
	}
}

func TestGuestsGetOutBehindTheHost(t *testing.T) {
	f := openFabric(t, Options{Name: "a"})
	g := bootGuest(t, f, testPort("p0"))
	at, visitors := listen(t, outsideNS, outside.String())
	g.inside(func() error { return greet(t.Context(), at.String()) })
	if who := <-visitors; who != hostEth {
		t.Errorf("the outside saw %s, want the host's %s", who, hostEth)
	}
}

func TestNobodyOutsideReachesGuests(t *testing.T) {
	f := openFabric(t, Options{Name: "a"})
	g := bootGuest(t, f, testPort("p0"))
	at, visitors := listen(t, g.ns, "0.0.0.0")
	err := inside(outsideNS, func() error { return configure("eth0", netip.PrefixFrom(outside, 24), hostEth) })
	if err != nil {
		t.Fatal(err)
	}
	hostTable := nftables.Table{Name: f.names.table, Family: nftables.TableFamilyINet}
	refuses(t, func() uint64 { return drops(t, netns.None(), hostTable, "forward") }, func(ctx context.Context) error {
		return inside(outsideNS, func() error {
			return greet(ctx, net.JoinHostPort(g.lease.Address.Addr().String(), portOf(at)))
		})
	})
	if len(visitors) > 0 {
		t.Error("somebody came through")
	}
}

func TestGuestsReachNothingOfTheHost(t *testing.T) {
	f := openFabric(t, Options{Name: "a"})
	g := bootGuest(t, f, testPort("p0"))
	at, visitors := listen(t, netns.None(), "0.0.0.0")
	inner, _ := listen(t, f.ns, "0.0.0.0")
	link, err := netlink.LinkByName(f.names.veth)
	if err != nil {
		t.Fatal(err)
	}
	addrs, err := netlink.AddrList(link, netlink.FAMILY_V4)
	if err != nil {
		t.Fatal(err)
	}
	innerINet := nftables.Table{Name: tables.Inner, Family: nftables.TableFamilyINet}
	hostTable := nftables.Table{Name: f.names.table, Family: nftables.TableFamilyINet}
	for _, tt := range []struct {
		name, addr string
		ns         netns.NsHandle
		table      nftables.Table
		chain      string
	}{
		{"its address outside", net.JoinHostPort(hostEth.String(), portOf(at)), netns.None(), hostTable, "input"},
		{"its transit address", net.JoinHostPort(addrs[0].IP.String(), portOf(at)), f.ns, innerINet, "forward"},
		{"the gateway", net.JoinHostPort(g.lease.Gateway.String(), portOf(inner)), f.ns, innerINet, "input"},
		{"a metadata service beyond it", "169.254.169.254:80", f.ns, innerINet, "forward"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			refuses(t, func() uint64 { return drops(t, tt.ns, tt.table, tt.chain) }, func(ctx context.Context) error {
				return inside(g.ns, func() error { return greet(ctx, tt.addr) })
			})
		})
	}
	if len(visitors) > 0 {
		t.Error("a guest came through to the host")
	}
}

func TestGuestsSendFromTheirOwnAddressOnly(t *testing.T) {
	f := openFabric(t, Options{Name: "a"})
	a, b := bootGuest(t, f, testPort("p0")), bootGuest(t, f, testPort("p1"))
	at, visitors := listen(t, a.ns, "0.0.0.0")
	guard := nftables.Table{Name: tables.Inner, Family: nftables.TableFamilyBridge}
	for name, change := range map[string]func() error{
		"address": func() error {
			return configure("eth0", netip.PrefixFrom(netip.MustParseAddr("10.240.0.77"), 16), b.lease.Gateway)
		},
		"MAC": func() error {
			link, err := netlink.LinkByName("eth0")
			return errors.Join(err, netlink.LinkSetHardwareAddr(link, macOf("somebody else")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			b.inside(change)
			refuses(t, func() uint64 { return drops(t, f.ns, guard, "prerouting") }, func(ctx context.Context) error {
				return inside(b.ns, func() error {
					return greet(ctx, net.JoinHostPort(a.lease.Address.Addr().String(), portOf(at)))
				})
			})
		})
	}
	if len(visitors) > 0 {
		t.Error("a spoofed packet came through")
	}
}

func TestServerRestartLeavesGuestsConnected(t *testing.T) {
	f := openFabric(t, Options{Name: "a"})
	g := bootGuest(t, f, testPort("p0"))
	second, err := f.Attach(t.Context(), testPort("p1"))
	if err != nil {
		t.Fatal(err)
	}
	at, _ := listen(t, g.ns, "0.0.0.0")
	addr := net.JoinHostPort(g.lease.Address.Addr().String(), portOf(at))
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := greet(t.Context(), addr); err != nil {
		t.Errorf("while no server runs: %v", err)
	}
	f = reopen(t, f)
	if err := greet(t.Context(), addr); err != nil {
		t.Errorf("after the restart: %v", err)
	}
	if got, err := f.Attach(t.Context(), testPort("p1")); err != nil || got != second {
		t.Errorf("the port had %v and has %v, %v", second, got, err)
	}
	if got := g.dhcp().YourIPAddr.String(); got != g.lease.Address.Addr().String() {
		t.Errorf("DHCP gives %s, want %s", got, g.lease.Address)
	}
}

func TestOpenRepairsWhatIsBroken(t *testing.T) {
	f := openFabric(t, Options{Name: "a"})
	g := bootGuest(t, f, testPort("p0"))
	at, _ := listen(t, g.ns, "0.0.0.0")
	for name, harm := range map[string]func() error{
		"veth gone":        func() error { return deleteLink(f.names.veth) },
		"veth gone inside": func() error { return inside(f.ns, func() error { return deleteLink(uplinkLink) }) },
		"route gone": func() error {
			return netlink.RouteDel(&netlink.Route{Dst: toIPNet(DefaultPrefix)})
		},
		"rules gone": func() error {
			return inside(f.ns, func() error {
				c, err := nftables.New()
				if err != nil {
					return err
				}
				c.FlushRuleset()
				return c.Flush()
			})
		},
		"bridge down": func() error {
			return inside(f.ns, func() error {
				link, err := netlink.LinkByName(bridgeLink)
				return errors.Join(err, netlink.LinkSetDown(link))
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			if err := harm(); err != nil {
				t.Fatal(err)
			}
			again, err := Open(t.Context(), f.opts)
			if err != nil {
				t.Fatal(err)
			}
			defer again.Close()
			if err := greet(t.Context(), net.JoinHostPort(g.lease.Address.Addr().String(), portOf(at))); err != nil {
				t.Error(err)
			}
		})
	}
}

// landscape lists everything of the host that a fabric may leave behind.
func landscape(t *testing.T) (lines []string) {
	t.Helper()
	links, err := netlink.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		lines = append(lines, "link "+l.Attrs().Name)
	}
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{}, netlink.RT_FILTER_TABLE)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range routes {
		lines = append(lines, "route "+r.String())
	}
	c, err := nftables.New()
	if err != nil {
		t.Fatal(err)
	}
	all, err := c.ListTables()
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range all {
		lines = append(lines, fmt.Sprintf("table %d %s", table.Family, table.Name))
	}
	entries, err := os.ReadDir(namespaces)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		lines = append(lines, "namespace "+e.Name())
	}
	slices.Sort(lines)
	return lines
}

func TestDestroyLeavesNothing(t *testing.T) {
	if noHost != "" {
		t.Skip(noHost)
	}
	for name, harm := range map[string]func(n names) error{
		"whole":             func(names) error { return nil },
		"without veth":      func(n names) error { return deleteLink(n.veth) },
		"without namespace": func(n names) error { return removeNamespace(n.namespace) },
		"without table": func(n names) error {
			return tables.Remove(n.table)
		},
	} {
		t.Run(name, func(t *testing.T) {
			before := landscape(t)
			f := openFabric(t, Options{Name: "gone"})
			if _, err := f.Attach(t.Context(), testPort("p0")); err != nil {
				t.Fatal(err)
			}
			if cmp.Equal(before, landscape(t)) {
				t.Fatal("the landscape does not show the fabric")
			}
			if err := errors.Join(f.Close(), harm(f.names)); err != nil {
				t.Fatal(err)
			}
			if err := Destroy(t.Context(), f.opts); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(before, landscape(t)); diff != "" {
				t.Errorf("the host (-before +after):\n%s", diff)
			}
			if left, _ := filepath.Glob(filepath.Join(f.opts.Dir, "*")); len(left) > 0 {
				t.Errorf("files left: %v", left)
			}
		})
	}
}

func TestFabricsCoexist(t *testing.T) {
	a := openFabric(t, Options{Name: "a"})
	b := openFabric(t, Options{Name: "b", Prefix: netip.MustParsePrefix("10.241.0.0/24")})
	var guests []*guest
	for _, f := range []*Fabric{a, b} {
		g := bootGuest(t, f, testPort("p0")) // the same name and MAC in both
		at, _ := listen(t, g.ns, "0.0.0.0")
		if err := greet(t.Context(), net.JoinHostPort(g.lease.Address.Addr().String(), portOf(at))); err != nil {
			t.Error(err)
		}
		guests = append(guests, g)
	}
	at, _ := listen(t, guests[1].ns, "0.0.0.0")
	tableB := nftables.Table{Name: b.names.table, Family: nftables.TableFamilyINet}
	refuses(t, func() uint64 { return drops(t, netns.None(), tableB, "forward") }, func(ctx context.Context) error {
		return inside(guests[0].ns, func() error {
			return greet(ctx, net.JoinHostPort(guests[1].lease.Address.Addr().String(), portOf(at)))
		})
	})
	_, err := Open(t.Context(), Options{Name: "c", Dir: t.TempDir()})
	if !resource.Is(err, resource.Unavailable) {
		t.Errorf("a second fabric with the same prefix: got error %v, want Unavailable", err)
	}
}

func TestTapLivesAsLongAsItsFile(t *testing.T) {
	f := openFabric(t, Options{Name: "a"})
	if _, err := f.Open(t.Context(), "p0"); !resource.Is(err, resource.NotFound) {
		t.Errorf("before Attach: got error %v, want NotFound", err)
	}
	if _, err := f.Attach(t.Context(), testPort("p0")); err != nil {
		t.Fatal(err)
	}
	plugged := func() (ok bool) {
		err := inside(f.ns, func() error {
			link, err := netlink.LinkByName(tapOf("p0"))
			if _, none := errors.AsType[netlink.LinkNotFoundError](err); none {
				return nil
			}
			ok = err == nil && link.Type() == "tuntap" && link.Attrs().MasterIndex > 0
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	for range 2 { // the second round finds nothing in its way
		file, err := f.Open(t.Context(), "p0")
		if err != nil {
			t.Fatal(err)
		}
		if !plugged() {
			t.Error("the tap is not plugged in")
		}
		if _, err := f.Open(t.Context(), "p0"); !resource.Is(err, resource.Conflict) {
			t.Errorf("while it is held: got error %v, want Conflict", err)
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
		if plugged() {
			t.Error("the tap outlived its file")
		}
	}
}

// TestTapCarriesFrames asks for the gateway's MAC as a guest would, frame by
// frame, behind the header that the hypervisor and the kernel exchange.
func TestTapCarriesFrames(t *testing.T) {
	f := openFabric(t, Options{Name: "a"})
	p := testPort("p0")
	lease, err := f.Attach(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	file, err := f.Open(t.Context(), p.Name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	const vnetHeader = 10
	mac, err := net.ParseMAC(p.MAC)
	if err != nil {
		t.Fatal(err)
	}
	question := slices.Concat(make([]byte, vnetHeader), net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, mac,
		[]byte{8, 6, 0, 1, 8, 0, 6, 4, 0, 1}, mac, lease.Address.Addr().AsSlice(), make([]byte, 6), lease.Gateway.AsSlice())
	answer := slices.Concat(mac, macOf("gateway of a"), []byte{8, 6, 0, 1, 8, 0, 6, 4, 0, 2}, macOf("gateway of a"), lease.Gateway.AsSlice())
	end := time.Now().Add(patience)
	for frame := make([]byte, 2048); ; {
		if err := file.SetReadDeadline(time.Now().Add(patience / 600)); err != nil {
			t.Fatal(err)
		}
		n, err := file.Read(frame)
		switch {
		case bytes.HasPrefix(frame[min(vnetHeader, n):n], answer):
			return
		case err == nil:
		case !errors.Is(err, os.ErrDeadlineExceeded) || time.Now().After(end):
			t.Fatalf("no answer: %v", err)
		default: // frames are lost while the link comes up
			if _, err := file.Write(question); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestStaleLinkDoesNotBlockATap(t *testing.T) {
	f := openFabric(t, Options{Name: "a"})
	bootGuest(t, f, testPort("p0")) // plugs in a veth of the tap's name
	file, err := f.Open(t.Context(), "p0")
	if err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestFullSubnetIsExhausted(t *testing.T) {
	f := openFabric(t, Options{Name: "a", Prefix: netip.MustParsePrefix("10.241.0.0/29")})
	var got []string
	for i := range 3 {
		lease, err := f.Attach(t.Context(), testPort(fmt.Sprint("p", i)))
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, lease.Address.Addr().String())
	}
	if diff := cmp.Diff([]string{"10.241.0.4", "10.241.0.5", "10.241.0.6"}, got); diff != "" {
		t.Errorf("addresses (-want +got):\n%s", diff)
	}
	_, err := f.Attach(t.Context(), testPort("late"))
	if e, ok := errors.AsType[*resource.Error](err); !ok || e.Kind != resource.Exhausted || e.Code != "SubnetIsFull" {
		t.Errorf("got error %v, want SubnetIsFull", err)
	}
	if err := f.Detach(t.Context(), "p1"); err != nil {
		t.Fatal(err)
	}
	if g := bootGuest(t, f, testPort("late")); g.lease.Address.Addr().String() != "10.241.0.5" {
		t.Errorf("got %s, want the freed address", g.lease.Address)
	}
}
