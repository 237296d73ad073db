package bridge

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
)

// hostNetwork is what the host's own network looks like, this fabric aside.
type hostNetwork struct {
	used    []usedPrefix // destinations of routes and own addresses, default routes excepted
	outward bool         // there is a default route
	mtu     int          // of its link, at most mostMTU
	adopted transit      // addresses that the veth pair has already; zero if none
}

// usedPrefix is a part of the address space that means something to the host.
type usedPrefix struct {
	netip.Prefix
	near bool // on a link of the host, or another fabric's: not merely routed to somewhere
}

// surveyHost reads the network of the thread's namespace.
func surveyHost(veth string) (hostNetwork, error) {
	h := hostNetwork{mtu: mostMTU}
	own := -1
	if link, err := netlink.LinkByName(veth); err == nil {
		own = link.Attrs().Index
	}
	addrs, err := addrsOf(nil)
	if err != nil {
		return h, err
	}
	for _, a := range addrs {
		ip, _ := netip.AddrFromSlice(a.IP.To4())
		switch {
		case a.LinkIndex != own:
			h.used = append(h.used, usedPrefix{netip.PrefixFrom(ip, 32), true})
		case transits.Contains(ip):
			h.adopted = transit(netip.PrefixFrom(ip, transitBits).Masked())
		}
	}
	routes, err := routesOf(nil)
	if err != nil {
		return h, err
	}
	for _, r := range routes {
		h.addRoute(r, own)
	}
	return h, nil
}

func (h *hostNetwork) addRoute(r netlink.Route, own int) {
	if r.LinkIndex == own {
		return
	}
	name, mtu := "", mostMTU
	if link, err := netlink.LinkByIndex(r.LinkIndex); err == nil {
		name, mtu = link.Attrs().Name, link.Attrs().MTU
	}
	if dst := toPrefix(r.Dst); dst.Bits() > 0 {
		near := len(r.Gw) == 0 || strings.HasPrefix(name, vethPrefix)
		h.used = append(h.used, usedPrefix{dst, near})
		return
	}
	h.outward = true
	h.mtu = min(h.mtu, max(mtu, 576))
}

// toPrefix converts a route's destination; that of a default route has 0 bits.
func toPrefix(n *net.IPNet) netip.Prefix {
	if n == nil {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	ip, _ := netip.AddrFromSlice(n.IP.To4())
	ones, _ := n.Mask.Size()
	return netip.PrefixFrom(ip, ones)
}

func toIPNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), 32)}
}

// setUpHostEnd gives the host's end of the veth pair its address, and routes the
// prefixes, and nothing else, to the other end. A prefix that is routed elsewhere
// comes here from now on.
func setUpHostEnd(veth string, t transit, prefixes []netip.Prefix) error {
	link, err := netlink.LinkByName(veth)
	if err != nil {
		return err
	}
	if err := set([]setting{{"ipv6/conf/" + veth + "/disable_ipv6", "1"}}); err != nil {
		return err
	}
	if err := setOnlyAddress(link, netip.PrefixFrom(t.host(), transitBits)); err != nil {
		return err
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return err
	}
	routes, err := routesOf(link)
	if err != nil {
		return err
	}
	for _, r := range routes {
		if dst := toPrefix(r.Dst); dst != netip.Prefix(t) && !slices.Contains(prefixes, dst) {
			if err := netlink.RouteDel(&r); err != nil {
				return err
			}
		}
	}
	for _, p := range prefixes {
		err := netlink.RouteReplace(&netlink.Route{
			LinkIndex: link.Attrs().Index, Dst: toIPNet(p), Gw: t.inner().AsSlice(), Src: t.host().AsSlice(),
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// setOnlyAddress makes p the only IPv4 address of a link.
func setOnlyAddress(link netlink.Link, p netip.Prefix) error {
	addrs, err := addrsOf(link)
	if err != nil {
		return err
	}
	for _, a := range addrs {
		if toPrefix(a.IPNet) != p {
			if err := netlink.AddrDel(link, &a); err != nil {
				return err
			}
		}
	}
	if slices.ContainsFunc(addrs, func(a netlink.Addr) bool { return toPrefix(a.IPNet) == p }) {
		return nil
	}
	return netlink.AddrAdd(link, &netlink.Addr{IPNet: toIPNet(p)})
}

const forwarding = "/proc/sys/net/ipv4/ip_forward"

// setting is a file below /proc/sys/net and what is to be in it.
type setting struct{ file, value string }

// set writes settings of the thread's namespace where they differ. Those that the
// kernel does not have are left out.
func set(settings []setting) error {
	for _, s := range settings {
		file := filepath.Join("/proc/sys/net", s.file)
		b, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) || err == nil && strings.TrimSpace(string(b)) == s.value {
			continue
		}
		if err == nil {
			err = os.WriteFile(file, []byte(s.value), 0)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// turnOn writes 1 to a kernel setting of the thread's namespace, and reports
// whether it was off.
func turnOn(setting string) (changed bool, err error) {
	b, err := os.ReadFile(setting)
	if err != nil {
		return false, err
	}
	if strings.TrimSpace(string(b)) == "1" {
		return false, nil
	}
	return true, os.WriteFile(setting, []byte("1"), 0)
}

// deleteLink removes a link from the thread's namespace. nil if there is none.
func deleteLink(name string) error {
	link, err := netlink.LinkByName(name)
	if _, none := errors.AsType[netlink.LinkNotFoundError](err); none {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find %s: %w", name, err)
	}
	return netlink.LinkDel(link)
}
