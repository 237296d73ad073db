package ruleset

import (
	"fmt"
	"hash/fnv"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/muster-vm/muster/internal/network"
)

func native(n int) []byte { return binaryutil.NativeEndian.PutUint32(uint32(n)) }

// frontendOf is the key of a frontend port, each part padded to whole registers.
func frontendOf(a netip.Addr, protocol byte, port uint16) []byte {
	return append(a.AsSlice(), protocol, 0, 0, 0, byte(port>>8), byte(port), 0, 0)
}

func memberOf(a netip.AddrPort) []byte {
	return append(a.Addr().AsSlice(), byte(a.Port()>>8), byte(a.Port()), 0, 0)
}

// setMark marks the connection with what is in a register.
func setMark(register uint32) part {
	return part{&expr.Ct{Key: expr.CtKeyMARK, SourceRegister: true, Register: register}}
}

// destined sends the connection to the address, and port, in the result registers.
func destined(withPort bool) part {
	nat := &expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: result}
	if withPort {
		nat.RegProtoMin = resultPort
	}
	return part{nat}
}

// sourced gives the connection the source address in a register.
func sourced(register uint32) part {
	return part{&expr.NAT{Type: expr.NATTypeSourceNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: register}}
}

func marks(by uint32, public bool, sku network.SKU) []byte {
	if public {
		by |= markPublic
	}
	if sku == network.Standard {
		by |= markStandard
	}
	return native(int(by))
}

// nat makes the chains that translate addresses. Frontend ports are found in maps,
// so that thousands of them cost no more than one.
func (b *builder) nat() {
	b.forwards()
	b.services()
	var cards, cardMarks, egress, selves []nftables.SetElement
	for _, c := range b.p.Publics {
		cards = append(cards, nftables.SetElement{Key: c.Public.AsSlice(), Val: c.Address.AsSlice()})
		cardMarks = append(cardMarks, nftables.SetElement{Key: c.Public.AsSlice(), Val: marks(markCard, true, c.SKU)})
	}
	for _, e := range b.p.Egress {
		if e.To.IsValid() {
			egress = append(egress, nftables.SetElement{Key: e.From.AsSlice(), Val: e.To.AsSlice()})
		}
	}
	for _, c := range b.p.Cards {
		selves = append(selves, nftables.SetElement{Key: append(c.Address.AsSlice(), c.Address.AsSlice()...)})
	}
	address := nftables.TypeIPAddr
	b.set(nftables.Set{Name: "publics", KeyType: address, DataType: address}, cards...)
	b.set(nftables.Set{Name: "public-marks", KeyType: address, DataType: nftables.TypeMark}, cardMarks...)
	b.set(nftables.Set{Name: "egress", KeyType: address, DataType: address}, egress...)
	b.set(nftables.Set{Name: "selves", KeyType: pairKey}, selves...)
	b.base("destinations", nftables.ChainTypeNAT, nftables.ChainHookPrerouting, destinations,
		rule(frontend, find("forward-marks"), setMark(result), find("forwards"), destined(true)),
		rule(frontend, follow("services")),
		rule(destination, follow("all-ports")),
		rule(destination, find("public-marks"), setMark(result), find("publics"), destined(false)),
		rule(destination, isIn("frontends"), drop),
	)
	called := &expr.Ct{Key: expr.CtKeyDST, Register: 1} // of the original direction
	b.base("sources", nftables.ChainTypeNAT, nftables.ChainHookPostrouting, sources,
		rule(both, isIn("selves"), masquerade), // who calls himself by a frontend sees the gateway
		rule(outAny(bridges), mark(markPublic), b.space(source), source, find("egress"), sourced(result)),
		rule(outAny(bridges), mark(markPublic), b.space(source), part{called}, sourced(1)),
		rule(out(b.n.Uplink), source, find("egress"), sourced(result)),
		rule(out(b.n.Uplink), part{&expr.Immediate{Register: 1, Data: b.n.Transit.AsSlice()}}, sourced(1)),
	)
}

// forwards makes the maps of the frontend ports that belong to single cards.
func (b *builder) forwards() {
	var to, with []nftables.SetElement
	known := map[string]bool{}
	for _, f := range b.p.Forwards {
		for _, number := range numbers(f.Protocol) {
			k := frontendOf(f.Address, number, f.Port)
			if known[string(k)] {
				continue // the first one has it
			}
			known[string(k)] = true
			member := f.To
			if member.Port() == 0 {
				member = netip.AddrPortFrom(member.Addr(), f.Port)
			}
			to = append(to, nftables.SetElement{Key: k, Val: memberOf(member)})
			with = append(with, nftables.SetElement{Key: k, Val: marks(markBalanced, f.Public, f.SKU)})
		}
	}
	b.set(nftables.Set{Name: "forwards", KeyType: frontendKey, DataType: memberData}, to...)
	b.set(nftables.Set{Name: "forward-marks", KeyType: frontendKey, DataType: nftables.TypeMark}, with...)
}

// services makes a chain for each service that chooses its member, and the maps
// that lead there. Where two services take the same flow, the first one has it.
func (b *builder) services() {
	var ports, addresses []nftables.SetElement
	known := map[string]bool{}
	for i, s := range b.p.Services {
		if known[string(s.Address.AsSlice())] {
			continue
		}
		b.service(i+1, s)
		if allPorts(s) {
			known[string(s.Address.AsSlice())] = true
			addresses = append(addresses, nftables.SetElement{Key: s.Address.AsSlice(), VerdictData: gotoChain("service-%d", i+1)})
			continue
		}
		for _, number := range numbers(s.Protocol) {
			k := frontendOf(s.Address, number, s.Port)
			if !known[string(k)] {
				known[string(k)] = true
				ports = append(ports, nftables.SetElement{Key: k, VerdictData: gotoChain("service-%d", i+1)})
			}
		}
	}
	b.set(nftables.Set{Name: "services", KeyType: frontendKey, DataType: nftables.TypeVerdict}, ports...)
	b.set(nftables.Set{Name: "all-ports", KeyType: nftables.TypeIPAddr, DataType: nftables.TypeVerdict}, addresses...)
}

// allPorts reports whether a service takes TCP and UDP on every port.
func allPorts(s network.Service) bool { return s.Protocol == network.AnyProtocol && s.Port == 0 }

// service makes the chain and the map of buckets of a service.
func (b *builder) service(number int, s network.Service) {
	name, buckets := fmt.Sprintf("service-%d", number), fmt.Sprintf("buckets-%d", number)
	if len(s.Buckets) == 0 {
		b.chain(name, rule(drop))
		return
	}
	keep := s.Members[0].Port() == 0
	data := memberData
	if keep {
		data = nftables.TypeIPAddr
	}
	var members []nftables.SetElement
	for i, m := range s.Buckets {
		val := s.Members[m].Addr().AsSlice()
		if !keep {
			val = memberOf(s.Members[m])
		}
		members = append(members, nftables.SetElement{Key: native(i), Val: val})
	}
	b.set(nftables.Set{Name: buckets, KeyType: nftables.TypeInteger, DataType: data}, members...)
	var rules [][]expr.Any
	if allPorts(s) {
		rules = append(rules, rule(part{layer4(1)}, notIn(transports), drop))
	}
	rules = append(rules,
		rule(part{&expr.Immediate{Register: 1, Data: marks(markBalanced, s.Public, s.SKU)}}, setMark(1)),
		rule(hashOf(s), find(buckets), destined(!keep)),
		rule(drop),
	)
	b.chain(name, rules...)
}

// hashOf puts the number of a flow's bucket into register 1. The seed is the
// service's own and does not change, so that a client finds the same member after
// the rules were loaded again.
func hashOf(s network.Service) part {
	h := fnv.New32a()
	fmt.Fprintf(h, "%s/%s", s.Balancer, s.Rule)
	load, length := both, uint32(8)
	switch s.Distribution {
	case network.SourceIP:
	case network.SourceIPProtocol:
		load, length = rule(both, part{layer4(third)}), 12
	default:
		load, length = rule(both, part{transport(third, 0, 4), layer4(fourth)}), 16
	}
	return rule(load, part{&expr.Hash{SourceRegister: 1, DestRegister: 1, Length: length, Modulus: uint32(len(s.Buckets)), Seed: h.Sum32() | 1, Type: expr.HashTypeJenkins}})
}
