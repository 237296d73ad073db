package tables

import (
	"net"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Inner is the name of the tables in a network's namespace.
const Inner = "muster"

// linkLocal holds transit networks, among others.
var linkLocal = netip.MustParsePrefix("169.254.0.0/16")

// Table is one table and everything in it, as a value.
type Table struct {
	table  *nftables.Table
	sets   []memberSet
	chains []chain
}

// chain is a base chain and its rules.
type chain struct {
	*nftables.Chain
	rules [][]expr.Any
}

// memberSet is a set and its elements.
type memberSet struct {
	*nftables.Set
	elements []nftables.SetElement
}

// Member is a port as the rules see it.
type Member struct {
	Tap     string
	MAC     net.HardwareAddr
	Address netip.Addr
}

// Default says what the default network is and what its parts are called.
type Default struct {
	Table, Veth    string // in the host's namespace
	Bridge, Uplink string // in its own
	Prefix         netip.Prefix
	Gateway        netip.Addr
}

// Host is the table in the host's namespace: what may pass between the host and the
// network, and NAT on the way out.
func (d Default) Host() Table {
	table := &nftables.Table{Family: nftables.TableFamilyINet, Name: d.Table}
	base := baseChain(table)
	from, to := in(d.Veth), out(d.Veth)
	return Table{table: table, chains: []chain{
		{base("input", nftables.ChainHookInput, nftables.ChainPriorityFilter, nftables.ChainPolicyAccept), [][]expr.Any{
			rule(from, established, accept),
			rule(from, drop), // nothing of the host is for guests
		}},
		{base("forward", nftables.ChainHookForward, nftables.ChainPriorityFilter, nftables.ChainPolicyAccept), [][]expr.Any{
			rule(to, established, accept),
			rule(to, drop), // nobody outside opens connections to guests
			rule(from, source(d.Prefix), accept),
			rule(from, drop),
		}},
		{natChain(table), [][]expr.Any{
			rule(source(d.Prefix), notOut(d.Veth), masquerade),
		}},
	}}
}

// Virtual says what the host needs to know of a virtual network.
type Virtual struct {
	Table, Veth string
	Local       string     // how the names of the links to all networks of the host begin
	Transit     netip.Addr // of the network's end of the link
	Public      []netip.Addr
	KeepPublic  bool // on the way out of the host
}

// Host is the table of a virtual network in the host's namespace. The network's
// namespace has translated what leaves it: packets come from its transit address or
// from public addresses that are routed into it. Public addresses are reached from
// everywhere; other addresses of it from nowhere.
func (v Virtual) Host() Table {
	table := &nftables.Table{Family: nftables.TableFamilyINet, Name: v.Table}
	base := baseChain(table)
	public := memberSet{Set: &nftables.Set{Table: table, Name: "public", KeyType: nftables.TypeIPAddr}}
	for _, a := range v.Public {
		public.elements = append(public.elements, nftables.SetElement{Key: a.AsSlice()})
	}
	from, to := in(v.Veth), out(v.Veth)
	inner := source(netip.PrefixFrom(v.Transit, 32))
	leaving := [][]expr.Any{rule(inner, notOutBelow(v.Local), masquerade)}
	if !v.KeepPublic {
		leaving = append(leaving, rule(ipv4, sourceAddress, isIn(public), notOutBelow(v.Local), masquerade))
	}
	return Table{table: table, sets: []memberSet{public}, chains: []chain{
		{base("input", nftables.ChainHookInput, nftables.ChainPriorityFilter, nftables.ChainPolicyAccept), [][]expr.Any{
			rule(from, established, accept),
			rule(from, drop), // nothing of the host is for guests
		}},
		{base("forward", nftables.ChainHookForward, nftables.ChainPriorityFilter, nftables.ChainPolicyAccept), [][]expr.Any{
			rule(from, to, drop), // a public address that nothing in the network has: it would go round for ever
			rule(to, established, accept),
			rule(to, ipv4, destinationAddress, isIn(public), accept),
			rule(to, drop),
			rule(from, established, accept),
			rule(from, destination(linkLocal), drop),
			rule(from, inner, accept),
			rule(from, ipv4, sourceAddress, isIn(public), accept),
			rule(from, drop),
		}},
		{natChain(table), leaving},
	}}
}

// Inner is the stateful table in the network's namespace.
func (d Default) Inner() Table {
	table := &nftables.Table{Family: nftables.TableFamilyINet, Name: Inner}
	base := baseChain(table)
	guests, host := in(d.Bridge), in(d.Uplink)
	return Table{table: table, chains: []chain{
		{base("input", nftables.ChainHookInput, nftables.ChainPriorityFilter, nftables.ChainPolicyDrop), [][]expr.Any{
			rule(in("lo"), accept),
			rule(established, accept),
			rule(guests, udp(67), accept),
			rule(guests, destination(netip.PrefixFrom(d.Gateway, 32)), echo, accept),
			rule(host, echo, accept),
			rule(drop),
		}},
		{base("forward", nftables.ChainHookForward, nftables.ChainPriorityFilter, nftables.ChainPolicyDrop), [][]expr.Any{
			rule(established, accept),
			rule(guests, out(d.Bridge), accept), // bridged frames, where the kernel shows them here
			rule(guests, destination(linkLocal), drop),
			rule(guests, out(d.Uplink), source(d.Prefix), accept),
			rule(host, out(d.Bridge), destination(d.Prefix), accept),
			rule(drop),
		}},
		{natChain(table), [][]expr.Any{
			rule(source(linkLocal), out(d.Bridge), masquerade), // the host looks like the gateway
		}},
	}}
}

// Guard is the stateless table of the bridge: each port sends from its own
// MAC and address only. Everything else is dropped as it arrives.
func Guard(members []Member) Table {
	table := &nftables.Table{Family: nftables.TableFamilyBridge, Name: Inner}
	macs, guests := guardSets(table)
	for _, m := range members {
		macs.elements = append(macs.elements, m.macElement())
		guests.elements = append(guests.elements, m.guestElement())
	}
	base := baseChain(table)
	return Table{table: table, sets: []memberSet{macs, guests}, chains: []chain{
		{base("prerouting", nftables.ChainHookPrerouting, nftables.ChainPriorityRaw, nftables.ChainPolicyDrop), [][]expr.Any{
			rule(port, etherSource, notIn(macs), drop),
			rule(ether(unix.ETH_P_IP), udpFrom(67), drop), // no DHCP servers among the guests
			rule(ether(unix.ETH_P_IP), port, etherSource, ipSource, isIn(guests), accept),
			rule(ether(unix.ETH_P_IP), ipSource, unspecified, udpFrom(68), accept), // no address yet
			rule(ether(unix.ETH_P_ARP), port, arpHardware, arpSource, isIn(guests), accept),
			rule(ether(unix.ETH_P_ARP), port, arpHardware, isIn(macs), arpSource, unspecified, accept), // is it free?
			rule(drop),
		}},
	}}
}

// guardSets returns the sets of the guard, without elements.
func guardSets(table *nftables.Table) (macs, guests memberSet) {
	macs.Set = &nftables.Set{
		Table: table, Name: "macs", Concatenation: true,
		KeyType: nftables.MustConcatSetType(nftables.TypeIFName, nftables.TypeEtherAddr),
	}
	guests.Set = &nftables.Set{
		Table: table, Name: "guests", Concatenation: true,
		KeyType: nftables.MustConcatSetType(nftables.TypeIFName, nftables.TypeEtherAddr, nftables.TypeIPAddr),
	}
	return macs, guests
}

// macElement is "tap . mac", each padded to whole registers.
func (m Member) macElement() nftables.SetElement {
	k := make([]byte, unix.IFNAMSIZ+8)
	copy(k, m.Tap)
	copy(k[unix.IFNAMSIZ:], m.MAC)
	return nftables.SetElement{Key: k}
}

// guestElement is "tap . mac . address".
func (m Member) guestElement() nftables.SetElement {
	return nftables.SetElement{Key: append(m.macElement().Key, m.Address.AsSlice()...)}
}

func baseChain(table *nftables.Table) func(string, *nftables.ChainHook, *nftables.ChainPriority, nftables.ChainPolicy) *nftables.Chain {
	return func(name string, hook *nftables.ChainHook, priority *nftables.ChainPriority, policy nftables.ChainPolicy) *nftables.Chain {
		return &nftables.Chain{
			Name: name, Table: table, Type: nftables.ChainTypeFilter,
			Hooknum: hook, Priority: priority, Policy: &policy,
		}
	}
}

func natChain(table *nftables.Table) *nftables.Chain {
	return &nftables.Chain{
		Name: "postrouting", Table: table, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource,
	}
}
