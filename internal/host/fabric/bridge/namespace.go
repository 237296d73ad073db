package bridge

import (
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// namespaces is where named network namespaces are mounted; `ip netns` looks
// there.
const namespaces = "/run/netns"

// openNamespace returns the named namespace, which it makes if it is not there.
func openNamespace(name string) (netns.NsHandle, error) {
	file := filepath.Join(namespaces, name)
	if isNamespace(file) {
		return netns.GetFromName(name)
	}
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return netns.None(), err // a mount that was cut short, or outlived a reboot
	}
	ns := netns.None()
	err := aside(func() (err error) {
		ns, err = netns.NewNamed(name)
		return err
	})
	if err != nil && !isNamespace(file) {
		os.Remove(file) //nolint:errcheck // best effort
	}
	return ns, err
}

func isNamespace(file string) bool {
	var st unix.Statfs_t
	return unix.Statfs(file, &st) == nil && st.Type == unix.NSFS_MAGIC
}

// removeNamespace unmounts the name. The kernel removes the namespace, and all
// links in it, when nobody holds it any more.
func removeNamespace(name string) error {
	file := filepath.Join(namespaces, name)
	for isNamespace(file) { // it may be mounted over itself
		if err := unix.Unmount(file, unix.MNT_DETACH); err != nil {
			return err
		}
	}
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// paired reports whether the veth pair spans the thread's namespace and the one
// whose link has index host and peer index peer.
func paired(host, peer int) bool {
	link, err := netlink.LinkByName(uplinkLink)
	return err == nil && link.Attrs().Index == peer && link.Attrs().ParentIndex == host
}

// setUpNamespace brings up the loopback link of the thread's namespace, and lets it
// forward IPv4, which is all there is.
func setUpNamespace() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return err
	}
	return set([]setting{{"ipv6/conf/all/disable_ipv6", "1"}, {"ipv4/ip_forward", "1"}})
}

// setUpBridge makes a bridge of the thread's namespace, or adopts it.
func setUpBridge(name string, mac net.HardwareAddr, gateway netip.Prefix, mtu int) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.HardwareAddr = name, mtu, mac
	if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	if err := setOnlyAddress(link, gateway); err != nil {
		return err
	}
	return netlink.LinkSetUp(link)
}

// setUpUplink gives the namespace's end of the veth pair its address, and the
// default route.
func setUpUplink(t transit) error {
	up, err := netlink.LinkByName(uplinkLink)
	if err != nil {
		return err
	}
	if err := setOnlyAddress(up, netip.PrefixFrom(t.inner(), transitBits)); err != nil {
		return err
	}
	if err := netlink.LinkSetUp(up); err != nil {
		return err
	}
	return netlink.RouteReplace(&netlink.Route{
		LinkIndex: up.Attrs().Index, Dst: toIPNet(netip.PrefixFrom(netip.IPv4Unspecified(), 0)), Gw: t.host().AsSlice(),
	})
}

// forget drops what the thread's namespace remembers of an address behind a bridge,
// so that its next holder is found at once.
func forget(bridge string, addr netip.Addr) error {
	link, err := netlink.LinkByName(bridge)
	if _, none := errors.AsType[netlink.LinkNotFoundError](err); none {
		return nil
	}
	if err != nil {
		return err
	}
	err = netlink.NeighDel(&netlink.Neigh{LinkIndex: link.Attrs().Index, IP: addr.AsSlice()})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
