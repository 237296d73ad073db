package bridge

import (
	"net"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// rules is one table and everything in it, as a value.
type rules struct {
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

// member is a port as the rules see it.
type member struct {
	tap  string
	mac  net.HardwareAddr
	addr netip.Addr
}

// hostRules is the table in the host's namespace: what may pass between the
// host and the fabric, and NAT on the way out.
func hostRules(n names, prefix netip.Prefix) rules {
	table := &nftables.Table{Family: nftables.TableFamilyINet, Name: n.table}
	base := baseChain(table)
	from, to := in(n.veth), out(n.veth)
	return rules{table: table, chains: []chain{
		{base("input", nftables.ChainHookInput, nftables.ChainPriorityFilter, nftables.ChainPolicyAccept), [][]expr.Any{
			rule(from, established, accept),
			rule(from, drop), // nothing of the host is for guests
		}},
		{base("forward", nftables.ChainHookForward, nftables.ChainPriorityFilter, nftables.ChainPolicyAccept), [][]expr.Any{
			rule(to, established, accept),
			rule(to, drop), // nobody outside opens connections to guests
			rule(from, source(prefix), accept),
			rule(from, drop),
		}},
		{natChain(table), [][]expr.Any{
			rule(source(prefix), notOut(n.veth), masquerade),
		}},
	}}
}

// networkRules is the table of a virtual network in the host's namespace. The
// network's namespace has translated what leaves it: packets come from its transit
// address or from public addresses that are routed into it. Public addresses are
// reached from everywhere; other addresses of it from nowhere.
func networkRules(n names, t transit, routed []netip.Addr, keepPublic bool) rules {
	table := &nftables.Table{Family: nftables.TableFamilyINet, Name: n.table}
	base := baseChain(table)
	public := memberSet{Set: &nftables.Set{Table: table, Name: "public", KeyType: nftables.TypeIPAddr}}
	for _, a := range routed {
		public.elements = append(public.elements, nftables.SetElement{Key: a.AsSlice()})
	}
	from, to := in(n.veth), out(n.veth)
	inner := source(netip.PrefixFrom(t.inner(), 32))
	leaving := [][]expr.Any{rule(inner, notOutBelow(vethPrefix), masquerade)}
	if !keepPublic {
		leaving = append(leaving, rule(ipv4, sourceAddress, isIn(public), notOutBelow(vethPrefix), masquerade))
	}
	return rules{table: table, sets: []memberSet{public}, chains: []chain{
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
			rule(from, destination(transits), drop),
			rule(from, inner, accept),
			rule(from, ipv4, sourceAddress, isIn(public), accept),
			rule(from, drop),
		}},
		{natChain(table), leaving},
	}}
}

// innerRules is the stateful table in the fabric's namespace.
func innerRules(pool netip.Prefix, gateway netip.Addr) rules {
	table := &nftables.Table{Family: nftables.TableFamilyINet, Name: innerTable}
	base := baseChain(table)
	guests, host := in(bridgeLink), in(uplinkLink)
	return rules{table: table, chains: []chain{
		{base("input", nftables.ChainHookInput, nftables.ChainPriorityFilter, nftables.ChainPolicyDrop), [][]expr.Any{
			rule(in("lo"), accept),
			rule(established, accept),
			rule(guests, udp(67), accept),
			rule(guests, destination(netip.PrefixFrom(gateway, 32)), echo, accept),
			rule(host, echo, accept),
			rule(drop),
		}},
		{base("forward", nftables.ChainHookForward, nftables.ChainPriorityFilter, nftables.ChainPolicyDrop), [][]expr.Any{
			rule(established, accept),
			rule(guests, out(bridgeLink), accept), // bridged frames, where the kernel shows them here
			rule(guests, destination(transits), drop),
			rule(guests, out(uplinkLink), source(pool), accept),
			rule(host, out(bridgeLink), destination(pool), accept),
			rule(drop),
		}},
		{natChain(table), [][]expr.Any{
			rule(source(transits), out(bridgeLink), masquerade), // the host looks like the gateway
		}},
	}}
}

// guardRules is the stateless table of the bridge: each port sends from its own
// MAC and address only. Everything else is dropped as it arrives.
func guardRules(members []member) rules {
	table := &nftables.Table{Family: nftables.TableFamilyBridge, Name: innerTable}
	macs, guests := guardSets(table)
	for _, m := range members {
		macs.elements = append(macs.elements, m.macElement())
		guests.elements = append(guests.elements, m.guestElement())
	}
	base := baseChain(table)
	return rules{table: table, sets: []memberSet{macs, guests}, chains: []chain{
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
func (m member) macElement() nftables.SetElement {
	k := make([]byte, unix.IFNAMSIZ+8)
	copy(k, m.tap)
	copy(k[unix.IFNAMSIZ:], m.mac)
	return nftables.SetElement{Key: k}
}

// guestElement is "tap . mac . address".
func (m member) guestElement() nftables.SetElement {
	return nftables.SetElement{Key: append(m.macElement().Key, m.addr.AsSlice()...)}
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
