package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"net"
	"syscall"
)

// The script's guests have fixed addresses, which follow from their MACs. That
// takes so little of DHCP that it is written out here: the library of the
// product's own server stays with the product.
//
// Source: RFC 2131, section 2, and RFC 2132.
const (
	dhcpLength  = 240 // of a message up to its options
	dhcpAddress = 16  // where the client's address is
	dhcpMAC     = 28  // where its MAC is
	discover    = 1
	offer       = 2
	request     = 3
	ack         = 5
)

var us = net.IPv4(10, 99, 0, 1).To4()

func macOf(i int) net.HardwareAddr { return net.HardwareAddr{2, 0xba, 0x4e, 0, byte(i >> 8), byte(i)} }
func addressOf(i int) net.IP       { return net.IPv4(10, 99, byte(1+i>>8), byte(i)).To4() }

// listenDHCP opens a server's socket on the script's bridge.
func listenDHCP(ctx context.Context) (net.PacketConn, error) {
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		if failed := c.Control(func(fd uintptr) { err = syscall.BindToDevice(int(fd), link) }); failed != nil {
			return failed
		}
		return err
	}}
	return config.ListenPacket(ctx, "udp4", ":67")
}

// serveDHCP answers until conn is closed.
func serveDHCP(conn net.PacketConn) {
	buffer := make([]byte, 1500)
	for {
		n, _, err := conn.ReadFrom(buffer)
		if err != nil {
			return
		}
		if r := reply(buffer[:n]); r != nil {
			_, _ = conn.WriteTo(r, &net.UDPAddr{IP: net.IPv4bcast, Port: 68}) // a lost answer is asked for again
		}
	}
}

// reply tells a guest its address; nil if that is not what it asks.
func reply(m []byte) []byte {
	var kind byte
	switch {
	case len(m) < dhcpLength || !bytes.HasPrefix(m[dhcpMAC:], macOf(0)[:4]):
		return nil
	case bytes.Contains(m[dhcpLength:], []byte{53, 1, discover}):
		kind = offer
	case bytes.Contains(m[dhcpLength:], []byte{53, 1, request}):
		kind = ack
	default:
		return nil
	}
	r := make([]byte, dhcpLength, 300)
	copy(r, m[:dhcpMAC+16])
	copy(r[dhcpLength-4:], m[dhcpLength-4:]) // what marks it as DHCP
	r[0] = 2                                 // a reply
	copy(r[dhcpAddress:], addressOf(int(binary.BigEndian.Uint16(m[dhcpMAC+4:]))))
	r = append(r, 53, 1, kind, 51, 4, 0x7f, 0xff, 0xff, 0xff, 1, 4, 255, 255, 0, 0)
	r = append(append(r, 54, 4), us...)
	r = append(append(r, 3, 4), us...)
	return append(r, 255)
}
