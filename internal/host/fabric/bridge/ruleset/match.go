package ruleset

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/muster-vm/muster/internal/network"
)

// part is a piece of a rule: what nft writes as one match or verdict.
type part = []expr.Any

// rule joins parts; a packet that fails one leaves the rule.
func rule(parts ...part) []expr.Any { return slices.Concat(parts...) }

var (
	accept     = verdict(expr.VerdictAccept, "")
	drop       = part{&expr.Counter{}, &expr.Verdict{Kind: expr.VerdictDrop}} // counted, for operators to see
	back       = verdict(expr.VerdictReturn, "")
	masquerade = part{&expr.Masq{}}
	reset      = part{&expr.Counter{}, &expr.Reject{Type: unix.NFT_REJECT_TCP_RST}}

	established = ctState(expr.CtStateBitESTABLISHED | expr.CtStateBitRELATED)
	invalid     = ctState(expr.CtStateBitINVALID)

	notIPv4 = part{&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1}, &expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: []byte{unix.NFPROTO_IPV4}}}
	echo    = rule(protocol(unix.IPPROTO_ICMP), part{transport(1, 0, 1), equal([]byte{8})})

	// syn is the first packet of a client; midstream any that cannot be.
	syn       = tcpFlags(expr.CmpOpEq)
	midstream = tcpFlags(expr.CmpOpNeq)
)

func verdict(kind expr.VerdictKind, chain string) part {
	return part{&expr.Verdict{Kind: kind, Chain: chain}}
}

func jump(chain string) part { return verdict(expr.VerdictJump, chain) }

func ctState(bits uint32) part {
	return rule(part{&expr.Ct{Key: expr.CtKeySTATE, Register: 1}}, anyOf(bits))
}

// anyOf compares the number in register 1, in the host's byte order.
func anyOf(bits uint32) part {
	return part{
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Xor: make([]byte, 4), Mask: binaryutil.NativeEndian.PutUint32(bits)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)},
	}
}

func tcpFlags(op expr.CmpOp) part {
	const fin, first, rst, ack = 1, 2, 4, 16
	return rule(protocol(unix.IPPROTO_TCP), part{
		transport(1, 13, 1),
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 1, Mask: []byte{fin | first | rst | ack}, Xor: []byte{0}},
		&expr.Cmp{Op: op, Register: 1, Data: []byte{first}},
	})
}

// Registers of 4 bytes are numbered from 8; 1 to 4 are the same in groups of four.
// The parts of a key lie side by side.
const (
	second      = 9
	third       = 10
	fourth      = 11
	result      = 12 // what a map gave
	resultPort  = 13 // its second part
	guestMAC    = 12 // after the 16 bytes of a port's name
	guestSource = 14
)

func payload(register uint32, base expr.PayloadBase, offset, length uint32) *expr.Payload {
	return &expr.Payload{DestRegister: register, Base: base, Offset: offset, Len: length}
}

func ip(register, offset, length uint32) *expr.Payload {
	return payload(register, expr.PayloadBaseNetworkHeader, offset, length)
}

func transport(register, offset, length uint32) *expr.Payload {
	return payload(register, expr.PayloadBaseTransportHeader, offset, length)
}

func layer4(register uint32) *expr.Meta {
	return &expr.Meta{Key: expr.MetaKeyL4PROTO, Register: register}
}

var (
	source      = part{ip(1, 12, 4)}
	destination = part{ip(1, 16, 4)}
	both        = part{ip(1, 12, 8)} // source and destination
	fromPort    = part{transport(1, 0, 2)}
	toPort      = part{transport(1, 2, 2)}
	// frontend is the key of a frontend port: address, protocol, port.
	frontend = part{ip(1, 16, 4), layer4(second), transport(third, 2, 2)}
)

// equal compares register 1.
func equal(data []byte) *expr.Cmp { return &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: data} }

func isIn(set string) part  { return part{&expr.Lookup{SourceRegister: 1, SetName: set}} }
func notIn(set string) part { return part{&expr.Lookup{SourceRegister: 1, SetName: set, Invert: true}} }

// follow does what a verdict map says; without an entry, the rule ends.
func follow(verdicts string) part {
	return part{&expr.Lookup{SourceRegister: 1, SetName: verdicts, IsDestRegSet: true}}
}

// find puts what a map says into the result register; without an entry, the rule
// ends.
func find(m string) part {
	return part{&expr.Lookup{SourceRegister: 1, SetName: m, DestRegister: result, IsDestRegSet: true}}
}

func in(link string) part {
	return part{&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1}, equal(linkName(link))}
}

func out(link string) part {
	return part{&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1}, equal(linkName(link))}
}

// inAny and outAny are about a set of links.
func inAny(links string) part {
	return rule(part{&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1}}, isIn(links))
}

func outAny(links string) part {
	return rule(part{&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1}}, isIn(links))
}

func linkName(link string) []byte {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, link)
	return b
}

// within matches an address in register 1.
func within(p netip.Prefix) part {
	mask := binary.BigEndian.AppendUint32(nil, ^uint32(0)<<(32-p.Bits()))
	return part{
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: mask, Xor: make([]byte, 4)},
		equal(p.Masked().Addr().AsSlice()),
	}
}

// is matches an address in register 1.
func is(a netip.Addr) part { return part{equal(a.AsSlice())} }

func protocol(number byte) part { return part{layer4(1), equal([]byte{number})} }

// udpTo matches UDP to a port, udpFrom from one.
func udpTo(port uint16) part {
	return rule(protocol(unix.IPPROTO_UDP), toPort, part{equal(bigEndian(port))})
}
func udpFrom(port uint16) part {
	return rule(protocol(unix.IPPROTO_UDP), fromPort, part{equal(bigEndian(port))})
}

// ether matches frames of a protocol, in the bridge family.
func ether(proto uint16) part {
	return part{&expr.Meta{Key: expr.MetaKeyPROTOCOL, Register: 1}, equal(bigEndian(proto))}
}

func bigEndian(n uint16) []byte { return binary.BigEndian.AppendUint16(nil, n) }

// numbers returns the protocols that a frontend port is about.
func numbers(p network.Protocol) []byte {
	if p == network.AnyProtocol {
		return []byte{unix.IPPROTO_TCP, unix.IPPROTO_UDP}
	}
	return []byte{p.Number()}
}
