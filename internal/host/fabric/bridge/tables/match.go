package tables

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// part is a piece of a rule: what nft writes as one match or verdict.
type part = []expr.Any

// rule joins parts; a packet that fails one leaves the rule.
func rule(parts ...part) []expr.Any { return slices.Concat(parts...) }

var (
	accept     = part{&expr.Verdict{Kind: expr.VerdictAccept}}
	drop       = part{&expr.Counter{}, &expr.Verdict{Kind: expr.VerdictDrop}} // counted, for operators to see
	masquerade = part{&expr.Masq{}}

	established = part{
		&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
		&expr.Bitwise{
			SourceRegister: 1, DestRegister: 1, Len: 4, Xor: make([]byte, 4),
			Mask: binaryutil.NativeEndian.PutUint32(expr.CtStateBitESTABLISHED | expr.CtStateBitRELATED),
		},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)},
	}

	ipv4 = part{&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1}, equal([]byte{unix.NFPROTO_IPV4})}
	echo = rule(protocol(unix.IPPROTO_ICMP), part{payload(1, expr.PayloadBaseTransportHeader, 0, 1), equal([]byte{8})})
)

// The parts of a key are loaded into registers side by side: 16 bytes for the
// port's name in register 1, 8 for a MAC, 4 for an address. Registers of 4 bytes
// are numbered from 8.
const (
	macRegister     = 12
	addressRegister = 14
)

var (
	port               = part{&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1}}
	etherSource        = part{payload(macRegister, expr.PayloadBaseLLHeader, 6, 6)}
	ipSource           = part{payload(addressRegister, expr.PayloadBaseNetworkHeader, 12, 4)}
	arpHardware        = part{payload(macRegister, expr.PayloadBaseNetworkHeader, 8, 6)}
	arpSource          = part{payload(addressRegister, expr.PayloadBaseNetworkHeader, 14, 4)}
	sourceAddress      = part{payload(1, expr.PayloadBaseNetworkHeader, 12, 4)}
	destinationAddress = part{payload(1, expr.PayloadBaseNetworkHeader, 16, 4)}

	unspecified = part{&expr.Cmp{Op: expr.CmpOpEq, Register: addressRegister, Data: make([]byte, 4)}}
)

func payload(register uint32, base expr.PayloadBase, offset, length uint32) *expr.Payload {
	return &expr.Payload{DestRegister: register, Base: base, Offset: offset, Len: length}
}

// equal compares register 1.
func equal(data []byte) *expr.Cmp { return &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: data} }

func isIn(s memberSet) part { return lookup(s, false) }

func notIn(s memberSet) part { return lookup(s, true) }

func lookup(s memberSet, invert bool) part {
	return part{&expr.Lookup{SourceRegister: 1, SetName: s.Name, Invert: invert}}
}

func in(link string) part {
	return part{&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1}, equal(linkName(link))}
}

func out(link string) part {
	return part{&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1}, equal(linkName(link))}
}

func notOut(link string) part {
	return part{&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1}, &expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: linkName(link)}}
}

// notOutBelow matches links whose name does not begin with prefix.
func notOutBelow(prefix string) part {
	return part{&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1}, &expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: []byte(prefix)}}
}

func linkName(link string) []byte {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, link)
	return b
}

func source(p netip.Prefix) part { return within(p, 12) }

func destination(p netip.Prefix) part { return within(p, 16) }

// within matches IPv4 packets whose address at an offset of the header is in p.
func within(p netip.Prefix, offset uint32) part {
	mask := binary.BigEndian.AppendUint32(nil, ^uint32(0)<<(32-p.Bits()))
	return rule(ipv4, part{
		payload(1, expr.PayloadBaseNetworkHeader, offset, 4),
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: mask, Xor: make([]byte, 4)},
		equal(p.Masked().Addr().AsSlice()),
	})
}

func protocol(number byte) part {
	return part{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, equal([]byte{number})}
}

// udp matches UDP to a port, udpFrom from one.
func udp(to uint16) part { return udpPort(2, to) }

func udpFrom(from uint16) part { return udpPort(0, from) }

func udpPort(offset uint32, number uint16) part {
	return rule(protocol(unix.IPPROTO_UDP), part{
		payload(1, expr.PayloadBaseTransportHeader, offset, 2),
		equal(binary.BigEndian.AppendUint16(nil, number)),
	})
}

// ether matches frames of a protocol, in the bridge family.
func ether(proto uint16) part {
	return part{&expr.Meta{Key: expr.MetaKeyPROTOCOL, Register: 1}, equal(binary.BigEndian.AppendUint16(nil, proto))}
}
