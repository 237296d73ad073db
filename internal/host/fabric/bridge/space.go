package bridge

import (
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// space is a network namespace that a veth pair ties to the host: the default
// network, or a virtual one.
type space struct {
	names names
	mtu   int
	ns    netns.NsHandle
}

// enter opens the namespace, and makes it if it is not there.
func (s *space) enter() (err error) {
	s.ns, err = openNamespace(s.names.namespace)
	return explain(err, "make network namespace "+s.names.namespace)
}

func (s *space) inside(f func() error) error { return inside(s.ns, f) }

// leave lets go of the namespace, which stays.
func (s *space) leave() {
	if s.ns.IsOpen() {
		s.ns.Close() //nolint:errcheck // a handle that was only read
	}
}

// tether makes the veth pair, unless it is there and whole.
func (s *space) tether() error {
	if link, err := netlink.LinkByName(s.names.veth); err == nil {
		host, peer := link.Attrs().Index, link.Attrs().ParentIndex
		whole := false
		if err := s.inside(func() error { whole = paired(host, peer); return nil }); err != nil {
			return err
		}
		if whole {
			return nil
		}
		if err := netlink.LinkDel(link); err != nil {
			return err
		}
	}
	if err := s.inside(func() error { return deleteLink(uplinkLink) }); err != nil {
		return err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = s.names.veth, s.mtu
	return netlink.LinkAdd(&netlink.Veth{
		LinkAttrs: attrs, PeerName: uplinkLink, PeerNamespace: netlink.NsFd(s.ns), PeerMTU: uint32(s.mtu),
	})
}
