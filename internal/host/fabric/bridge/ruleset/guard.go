package ruleset

import (
	"net"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/resource"
)

var (
	macKey   = nftables.MustConcatSetType(nftables.TypeIFName, nftables.TypeEtherAddr)
	guestKey = nftables.MustConcatSetType(nftables.TypeIFName, nftables.TypeEtherAddr, nftables.TypeIPAddr)
)

var (
	port        = part{&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1}}
	etherSource = part{payload(guestMAC, expr.PayloadBaseLLHeader, 6, 6)}
	ipSource    = part{ip(guestSource, 12, 4)}
	arpHardware = part{ip(guestMAC, 8, 6)}
	arpSource   = part{ip(guestSource, 14, 4)}
	unspecified = part{&expr.Cmp{Op: expr.CmpOpEq, Register: guestSource, Data: make([]byte, 4)}}
)

// guardTable is the stateless table of the bridges: each port sends from its own
// MAC and addresses only, or from any address if it may forward, but answers ARP
// for its own ones even then. Everything else is dropped as it arrives.
func guardTable(p network.Program, n Names) (Table, error) {
	macs := set{Set: nftables.Set{Name: "macs", Concatenation: true, KeyType: macKey}}
	guests := set{Set: nftables.Set{Name: "guests", Concatenation: true, KeyType: guestKey}}
	forwarders := set{Set: nftables.Set{Name: "forwarders", Concatenation: true, IsMap: true, KeyType: macKey, DataType: nftables.TypeMark}}
	_, lists := outLists(p)
	known, forwards := map[string]bool{}, map[string]bool{}
	for i, c := range p.Cards {
		mac, err := net.ParseMAC(c.MAC)
		if err != nil || len(mac) != 6 {
			return Table{}, resource.Errorf(resource.Invalid, "InvalidParameter", "The card %s has no MAC address but %.40q.", c.Name, c.MAC)
		}
		k := make([]byte, unix.IFNAMSIZ+8) // each part is padded to whole registers
		copy(k, n.Tap(c.Name))
		copy(k[unix.IFNAMSIZ:], mac)
		if !known[string(k)] {
			macs.elements = append(macs.elements, nftables.SetElement{Key: k})
		}
		if c.Forwarding && !forwards[string(k)] {
			forwarders.elements = append(forwarders.elements, nftables.SetElement{Key: k, Val: binaryutil.NativeEndian.PutUint32(uint32(lists[i]))})
			forwards[string(k)] = true
		}
		known[string(k)] = true
		guests.elements = append(guests.elements, nftables.SetElement{Key: append(slices.Clip(k), c.Address.AsSlice()...)})
	}
	foreign := part{&expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: result}}
	forwarder := part{&expr.Lookup{SourceRegister: 1, SetName: "forwarders", DestRegister: result, IsDestRegSet: true}}
	return Table{family: nftables.TableFamilyBridge, name: prefix, sets: []set{macs, guests, forwarders}, chains: []chain{{
		name: "prerouting", kind: nftables.ChainTypeFilter, hook: nftables.ChainHookPrerouting, priority: rawAt, drops: true,
		rules: [][]expr.Any{
			rule(ether(unix.ETH_P_IP), protocol(unix.IPPROTO_TCP), port, etherSource, ipSource, isIn("guests"), accept), // what is most
			rule(port, etherSource, notIn("macs"), drop),
			rule(ether(unix.ETH_P_IP), udpFrom(67), drop), // no DHCP servers among the guests
			rule(ether(unix.ETH_P_IP), port, etherSource, ipSource, isIn("guests"), accept),
			rule(ether(unix.ETH_P_IP), ipSource, unspecified, udpFrom(68), accept), // no address yet
			rule(ether(unix.ETH_P_IP), port, etherSource, forwarder, foreign, accept),
			rule(ether(unix.ETH_P_ARP), port, arpHardware, arpSource, isIn("guests"), accept),
			rule(ether(unix.ETH_P_ARP), port, arpHardware, isIn("macs"), arpSource, unspecified, accept), // is it free?
			rule(drop),
		},
	}}}, nil
}
