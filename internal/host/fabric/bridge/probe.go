package bridge

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/muster-vm/muster/internal/host/fabric"
	"github.com/muster-vm/muster/internal/host/fabric/bridge/ruleset"
	"github.com/muster-vm/muster/internal/host/fabric/bridge/tables"
	"github.com/muster-vm/muster/internal/network"
)

// Features is what a host offers to a network. A nil error is a feature that is
// there; the others name the remedy.
type Features struct {
	Taps       error // /dev/net/tun
	Namespaces error
	Rules      error // nftables; nil, too, if it could not be tried without namespaces
	Networks   error // what virtual networks need beyond; nil, too, if it could not be tried
	Unasked    bool  // this process lacks the right to try namespaces and rules
}

// Probe tries what Open and Apply need, in a namespace of its own that is gone when
// it returns. Nothing on the host is changed.
func Probe() Features {
	f := Features{Taps: needTun()}
	f.Namespaces = aside(func() error {
		ns, err := netns.New()
		if err != nil {
			return err
		}
		defer ns.Close() //nolint:errcheck // nobody holds it: it ends
		pool, err := fabric.NewPool(DefaultPrefix)
		if err != nil {
			return err
		}
		rules := defaultRules(namesOf("probe"), pool)
		f.Rules = explainRules(tables.Load(rules.Host(), rules.Inner(), tables.Guard(nil)), "in a trial namespace")
		f.Networks = probeNetwork()
		return nil
	})
	f.Unasked = errors.Is(f.Namespaces, fs.ErrPermission)
	f.Namespaces = explain(f.Namespaces, "make a network namespace")
	return f
}

// probeNetwork tries in the thread's namespace what virtual networks need.
func probeNetwork() error {
	p := trialProgram()
	rules, err := ruleset.Tables(p, ruleset.Names{
		Uplink: uplinkLink, Bridge: bridgeOf, Tap: tapOf,
		Transit: netip.MustParseAddr("169.254.1.2"),
	})
	if err != nil {
		return err
	}
	if err := explainRules(ruleset.Load(rules), "of a virtual network, in a trial namespace"); err != nil {
		return err
	}
	if _, err := ruleset.Flows(p.Cards[0].Address); err != nil {
		return missing(err, "The kernel does not list the connections that it follows; load the modules nf_conntrack and nf_conntrack_netlink (modprobe).")
	}
	br := bridgeOf(p.Subnets[0].Name)
	if err := setUpBridge(br, macOf("trial"), netip.PrefixFrom(network.Gateway(p.Subnets[0].Prefix), 24), mostMTU); err != nil {
		return missing(err, "The kernel makes no bridges; load the module bridge (modprobe bridge).")
	}
	if _, err := os.Stat("/proc/sys/net/ipv4/conf/" + br + "/proxy_arp_pvlan"); err != nil {
		return missing(err, "The kernel cannot answer for the neighbours of a network card (proxy_arp_pvlan); use Linux 2.6.37 or later.")
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = tapOf("trial")
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "trial"}); err != nil {
		return missing(err, "The kernel makes no pairs of links; load the module veth (modprobe veth).")
	}
	if err := plug(attrs.Name, outlet{bridge: br, isolated: true, mtu: mostMTU}); err != nil {
		return missing(err, "The kernel cannot isolate the ports of a bridge; use Linux 4.18 or later.")
	}
	return nil
}

// trialProgram uses each kind of rule once.
func trialProgram() network.Program {
	card, public := netip.MustParseAddr("10.0.0.4"), netip.MustParseAddr("192.0.2.1")
	prefix := netip.MustParsePrefix("10.0.0.0/24")
	all := network.Range{Prefixes: []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0)}}
	return network.Program{
		Network: "trial", Prefixes: []netip.Prefix{prefix}, Subnets: []network.SubnetProgram{{Name: "trial", Prefix: prefix}},
		Cards: []network.Card{{Port: network.Port{Name: "trial", MAC: macOf("trial card").String(), Subnet: "trial", Address: card, Primary: true}, In: []string{"trial"}}},
		Chains: []network.Chain{{Name: "trial", Direction: network.Inbound, Rules: []network.Resolved{{
			Access: network.Allow, Protocol: network.TCP, Source: all, Dest: all, DstPorts: []network.Ports{{First: 80, Last: 90}, {First: 443, Last: 443}},
		}}}},
		Services: []network.Service{{
			Address: public, Public: true, SKU: network.Standard, Protocol: network.TCP, Port: 80, Idle: 4 * time.Minute,
			Members: []netip.AddrPort{netip.AddrPortFrom(card, 80)}, Buckets: []uint16{0},
		}},
		Forwards: []network.Forward{{Address: public, Protocol: network.TCP, Port: 22, To: netip.AddrPortFrom(card, 22)}},
		Publics:  []network.PublicCard{{Public: public.Next(), Address: card}},
		Egress:   []network.Egress{{From: card, To: public.Next()}},
		Routed:   []netip.Addr{public, public.Next()},
	}
}
