// Package dhcp tells guests their addresses: each MAC has one offer, for ever, and
// strangers get no answer. What is offered, and on which bridge, is the caller's.
package dhcp

import (
	"math"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/server4"
	"github.com/insomniacslk/dhcp/rfc1035label"
)

// Forever is the lease time: guests keep their address while no server runs to
// renew it.
const Forever = time.Duration(math.MaxUint32) * time.Second

// Offer is what one guest is told.
type Offer struct {
	Address  netip.Prefix // with the subnet's length
	Gateway  netip.Addr   // the server, too
	HostName string       // empty for none
	DNS      []netip.Addr
	Domain   string // of names; empty for none
	MTU      int
}

// Listen opens the server's socket on a bridge of the thread's namespace.
func Listen(bridge string) (net.PacketConn, error) {
	return server4.NewIPv4UDPConn(bridge, &net.UDPAddr{IP: net.IPv4zero, Port: dhcpv4.ServerPort})
}

// Serve answers on conn until it is closed. find returns what a MAC is
// offered; strangers get no answer.
func Serve(conn net.PacketConn, find func(mac string) (Offer, bool)) error {
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
func (o Offer) reply(m *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
	kind, ok := o.kind(m)
	if !ok {
		return nil
	}
	r, err := dhcpv4.NewReplyFromRequest(m, dhcpv4.WithMessageType(kind),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(o.Gateway.AsSlice())))
	if err != nil || kind == dhcpv4.MessageTypeNak {
		return r
	}
	r.UpdateOption(dhcpv4.OptSubnetMask(net.CIDRMask(o.Address.Bits(), 32)))
	r.UpdateOption(dhcpv4.OptRouter(o.Gateway.AsSlice()))
	r.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionInterfaceMTU, []byte{byte(o.MTU >> 8), byte(o.MTU)}))
	if o.HostName != "" {
		r.UpdateOption(dhcpv4.OptHostName(o.HostName))
	}
	if o.Domain != "" {
		r.UpdateOption(dhcpv4.OptDomainName(o.Domain))
		r.UpdateOption(dhcpv4.OptDomainSearch(&rfc1035label.Labels{Labels: []string{o.Domain}}))
	}
	if len(o.DNS) > 0 {
		var ips []net.IP
		for _, a := range o.DNS {
			ips = append(ips, a.AsSlice())
		}
		r.UpdateOption(dhcpv4.OptDNS(ips...))
	}
	if m.MessageType() != dhcpv4.MessageTypeInform {
		r.YourIPAddr = o.Address.Addr().AsSlice()
		r.UpdateOption(dhcpv4.OptIPAddressLeaseTime(Forever))
	}
	return r
}

// kind returns the type of the answer. A client that wants another address, or
// renews one, is told no, so that it starts again.
func (o Offer) kind(m *dhcpv4.DHCPv4) (kind dhcpv4.MessageType, ok bool) {
	switch m.MessageType() {
	case dhcpv4.MessageTypeDiscover:
		return dhcpv4.MessageTypeOffer, true
	case dhcpv4.MessageTypeInform:
		return dhcpv4.MessageTypeAck, true
	case dhcpv4.MessageTypeRequest:
		if id := m.ServerIdentifier(); id != nil && !id.Equal(o.Gateway.AsSlice()) {
			return 0, false // it chose another server
		}
		wanted := m.RequestedIPAddress()
		if wanted == nil {
			wanted = m.ClientIPAddr
		}
		if !wanted.Equal(o.Address.Addr().AsSlice()) {
			return dhcpv4.MessageTypeNak, true
		}
		return dhcpv4.MessageTypeAck, true
	default:
		return 0, false // a release or decline changes nothing: the lease is the port's
	}
}
