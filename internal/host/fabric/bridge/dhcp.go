package bridge

import (
	"math"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/server4"
	"github.com/insomniacslk/dhcp/rfc1035label"
)

// forever is the lease time: guests keep their address while no server runs to
// renew it.
const forever = time.Duration(math.MaxUint32) * time.Second

// offer is what DHCP tells one guest.
type offer struct {
	lease   lease
	network netip.Prefix
	gateway netip.Addr
	dns     []netip.Addr
	domain  string // of names; empty for none
	mtu     int
}

// listenDHCP opens the server's socket on a bridge of the thread's namespace.
func listenDHCP(bridge string) (net.PacketConn, error) {
	return server4.NewIPv4UDPConn(bridge, &net.UDPAddr{IP: net.IPv4zero, Port: dhcpv4.ServerPort})
}

// serveDHCP answers on conn until it is closed. find returns what a MAC is
// offered; strangers get no answer.
func serveDHCP(conn net.PacketConn, find func(mac string) (offer, bool)) error {
	answer := func(conn net.PacketConn, peer net.Addr, m *dhcpv4.DHCPv4) {
		o, ok := find(m.ClientHWAddr.String())
		if !ok || m.OpCode != dhcpv4.OpcodeBootRequest {
			return
		}
		if r := o.reply(m); r != nil {
			conn.WriteTo(r.ToBytes(), peer) //nolint:errcheck // a lost answer is asked for again
		}
	}
	server, err := server4.NewServer("", nil, answer, server4.WithConn(conn))
	if err != nil {
		return err
	}
	return server.Serve()
}

// reply computes the answer to a client, or nil for none.
func (o offer) reply(m *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
	kind, ok := o.kind(m)
	if !ok {
		return nil
	}
	r, err := dhcpv4.NewReplyFromRequest(m, dhcpv4.WithMessageType(kind),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(o.gateway.AsSlice())))
	if err != nil || kind == dhcpv4.MessageTypeNak {
		return r
	}
	r.UpdateOption(dhcpv4.OptSubnetMask(net.CIDRMask(o.network.Bits(), 32)))
	r.UpdateOption(dhcpv4.OptRouter(o.gateway.AsSlice()))
	r.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionInterfaceMTU, []byte{byte(o.mtu >> 8), byte(o.mtu)}))
	if o.lease.HostName != "" {
		r.UpdateOption(dhcpv4.OptHostName(o.lease.HostName))
	}
	if o.domain != "" {
		r.UpdateOption(dhcpv4.OptDomainName(o.domain))
		r.UpdateOption(dhcpv4.OptDomainSearch(&rfc1035label.Labels{Labels: []string{o.domain}}))
	}
	if len(o.dns) > 0 {
		var ips []net.IP
		for _, a := range o.dns {
			ips = append(ips, a.AsSlice())
		}
		r.UpdateOption(dhcpv4.OptDNS(ips...))
	}
	if m.MessageType() != dhcpv4.MessageTypeInform {
		r.YourIPAddr = o.lease.Address.AsSlice()
		r.UpdateOption(dhcpv4.OptIPAddressLeaseTime(forever))
	}
	return r
}

// kind returns the type of the answer. A client that wants another address, or
// renews one, is told no, so that it starts again.
func (o offer) kind(m *dhcpv4.DHCPv4) (kind dhcpv4.MessageType, ok bool) {
	switch m.MessageType() {
	case dhcpv4.MessageTypeDiscover:
		return dhcpv4.MessageTypeOffer, true
	case dhcpv4.MessageTypeInform:
		return dhcpv4.MessageTypeAck, true
	case dhcpv4.MessageTypeRequest:
		if id := m.ServerIdentifier(); id != nil && !id.Equal(o.gateway.AsSlice()) {
			return 0, false // it chose another server
		}
		wanted := m.RequestedIPAddress()
		if wanted == nil {
			wanted = m.ClientIPAddr
		}
		if !wanted.Equal(o.lease.Address.AsSlice()) {
			return dhcpv4.MessageTypeNak, true
		}
		return dhcpv4.MessageTypeAck, true
	default:
		return 0, false // a release or decline changes nothing: the lease is the port's
	}
}
