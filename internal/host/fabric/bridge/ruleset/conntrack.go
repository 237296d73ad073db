package ruleset

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/muster-vm/muster/internal/network"
)

// connection is an entry of connection tracking that a load balancer's frontend
// began.
type connection struct {
	raw      []byte // as the kernel describes it
	protocol byte
	called   netip.AddrPort // by the client
	member   netip.Addr     // that it was sent to
	live     bool           // established, or answered and in use
}

// Parts of an entry: enum ctattr_type of linux/netfilter/nfnetlink_conntrack.h.
const (
	attrMarkMask = 21
	typeMask     = 0x3fff // of an attribute's type, without its flags
)

// Bits of an entry's status: enum ip_conntrack_status of nf_conntrack_common.h.
const statusAssured = 1 << 2

// tcpEstablished is the state of linux/netfilter/nf_conntrack_tcp.h.
const tcpEstablished = 3

// Flows counts the connections that came to a card by a load balancer and are
// established: those of TCP, and those of UDP that have carried several packets
// both ways. It looks at the thread's namespace.
func Flows(card netip.Addr) (int, error) {
	all, err := connections()
	n := 0
	for _, c := range all {
		if c.member == card && c.live {
			n++
		}
	}
	return n, err
}

// Cut forgets all connections that came to a card by a load balancer, in the
// thread's namespace. The next packet of either end is answered by a reset, or
// dropped where it is not TCP.
func Cut(card netip.Addr) error {
	return forget(func(c connection) bool { return c.member == card })
}

// Move forgets the UDP flows to services of the program whose member is not
// among those that take new flows, in the thread's namespace: the next packet finds
// another.
func Move(p network.Program) error {
	members := map[string]map[netip.Addr]bool{}
	known := func(key []byte) map[netip.Addr]bool {
		if members[string(key)] == nil {
			members[string(key)] = map[netip.Addr]bool{}
		}
		return members[string(key)]
	}
	for _, s := range p.Services {
		key := frontendOf(s.Address, unix.IPPROTO_UDP, s.Port)
		if allPorts(s) {
			key = s.Address.AsSlice()
		} else if !slices.Contains(numbers(s.Protocol), unix.IPPROTO_UDP) {
			continue
		}
		for _, m := range s.Members {
			known(key)[m.Addr()] = true
		}
		known(key)
	}
	return forget(func(c connection) bool {
		if c.protocol != unix.IPPROTO_UDP {
			return false
		}
		taken, ok := members[string(frontendOf(c.called.Addr(), c.protocol, c.called.Port()))]
		if !ok {
			taken, ok = members[string(c.called.Addr().AsSlice())]
		}
		return ok && !taken[c.member]
	})
}

// forget deletes the entries that match. One that ends meanwhile is no error.
func forget(match func(connection) bool) error {
	all, err := connections()
	if err != nil {
		return err
	}
	var failed []error
	for _, c := range all {
		if !match(c) {
			continue
		}
		req := request(nl.IPCTNL_MSG_CT_DELETE, unix.NLM_F_ACK)
		req.AddRawData(c.raw)
		if _, err := req.Execute(unix.NETLINK_NETFILTER, 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

// connections lists what came by load balancers: the kernel sends only entries
// with their mark.
func connections() ([]connection, error) {
	req := request(nl.IPCTNL_MSG_CT_GET, unix.NLM_F_DUMP)
	bits := binary.BigEndian.AppendUint32(nil, markBalanced)
	req.AddData(nl.NewRtAttr(nl.CTA_MARK, bits))
	req.AddData(nl.NewRtAttr(attrMarkMask, bits))
	messages, err := req.Execute(unix.NETLINK_NETFILTER, 0)
	if err != nil && !errors.Is(err, nl.ErrDumpInterrupted) { // connections come and go; those that stay are listed
		return nil, err
	}
	var all []connection
	for _, m := range messages {
		c, err := parseConnection(m[nl.SizeofNfgenmsg:])
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

func request(operation, flags int) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_CTNETLINK<<8|operation, flags)
	req.AddData(&nl.Nfgenmsg{NfgenFamily: unix.AF_INET, Version: nl.NFNETLINK_V0})
	return req
}

// parseConnection reads the attributes of an entry.
func parseConnection(raw []byte) (connection, error) {
	c := connection{raw: raw}
	entry, err := attributes(raw)
	if err != nil {
		return c, err
	}
	var status uint32
	if s := entry[nl.CTA_STATUS]; len(s) == 4 {
		status = binary.BigEndian.Uint32(s)
	}
	begin, err := parseTuple(entry[nl.CTA_TUPLE_ORIG])
	if err != nil {
		return c, err
	}
	answer, err := parseTuple(entry[nl.CTA_TUPLE_REPLY])
	if err != nil {
		return c, err
	}
	c.protocol, c.called, c.member = begin.protocol, begin.to, answer.from.Addr()
	if c.protocol != unix.IPPROTO_TCP {
		c.live = status&statusAssured != 0
		return c, nil
	}
	info, err := attributes(entry[nl.CTA_PROTOINFO])
	if err != nil {
		return c, err
	}
	tcp, err := attributes(info[nl.CTA_PROTOINFO_TCP])
	c.live = len(tcp[nl.CTA_PROTOINFO_TCP_STATE]) == 1 && tcp[nl.CTA_PROTOINFO_TCP_STATE][0] == tcpEstablished
	return c, err
}

// tuple is one direction of an entry: who sends to whom.
type tuple struct {
	protocol byte
	from, to netip.AddrPort
}

func parseTuple(raw []byte) (t tuple, err error) {
	parts, err := attributes(raw)
	if err != nil {
		return t, err
	}
	ip, err := attributes(parts[nl.CTA_TUPLE_IP])
	if err != nil {
		return t, err
	}
	ports, err := attributes(parts[nl.CTA_TUPLE_PROTO])
	if err != nil {
		return t, err
	}
	if n := ports[nl.CTA_PROTO_NUM]; len(n) == 1 {
		t.protocol = n[0]
	}
	at := func(address, port uint16) netip.AddrPort {
		a, _ := netip.AddrFromSlice(ip[address])
		var number uint16
		if raw := ports[port]; len(raw) == 2 {
			number = binary.BigEndian.Uint16(raw)
		}
		return netip.AddrPortFrom(a, number)
	}
	t.from, t.to = at(nl.CTA_IP_V4_SRC, nl.CTA_PROTO_SRC_PORT), at(nl.CTA_IP_V4_DST, nl.CTA_PROTO_DST_PORT)
	return t, nil
}

// attributes reads a list of attributes by their types.
func attributes(raw []byte) (map[uint16][]byte, error) {
	list, err := nl.ParseRouteAttr(raw)
	if err != nil {
		return nil, err
	}
	all := map[uint16][]byte{}
	for _, a := range list {
		all[a.Attr.Type&typeMask] = a.Value
	}
	return all, nil
}
