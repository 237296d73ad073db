// Package bridge is the network of a host: its default network and any number of
// virtual ones, each in a network namespace of its own. The default network has one
// bridge that instances' taps are plugged into, addresses by DHCP, and a way out by
// NAT.
//
//	guest ── tap ──┐          namespace muster-{name}          │ host
//	guest ── tap ──┴─ muster0 (gateway address) ── uplink ─────┼── mst-{name} ── ...
//
// The host reaches its guests, which see it as their gateway. Guests reach each
// other, DHCP and the gateway's echo, and whatever the host forwards to; they
// reach nothing else of the host, and no link-local address beyond it, such as
// a cloud's metadata service. From outside nobody opens connections to guests.
// A guest can only send from the address and MAC that were leased to its port.
// A firewall of the host that drops what it forwards keeps guests from getting
// out: the fabric's tables can add refusals to it, not exceptions.
//
// A virtual network does what its [network.Program] says:
//
//	guest ── tap ─┐             namespace muster-{name}-{key}             │ host
//	guest ── tap ─┴─ subnet's bridge ─┐                                   │
//	guest ── tap ─┬─ subnet's bridge ─┼─ rules (package ruleset) ─ uplink ┼── mst-{hash} ── ...
//	guest ── tap ─┘        168.63.129.16: DNS, health probes              │
//
// Ports of a bridge are isolated, and the gateway answers for all neighbours: what
// two guests say to each other is routed, and judged, even in one subnet. Networks
// may have equal prefixes, for the host has no route to their private addresses. It
// sends them the public addresses of their programs, and takes from them what comes
// from those or from the uplink's own address. So networks reach each other by
// public addresses only.
//
// Everything lives in the kernel and outlasts the server: Open adopts what is
// there and repairs what is not. What is written of virtual networks is in a file
// for each; it comes before all else of a network and goes last. Rules are in
// nftables tables of the fabric's own name; no other table is ever touched. What to
// program is computed by pure functions (transit.go, virtual.go, packages tables and
// ruleset); one transaction per namespace applies it.
package bridge
