// Package bridge is the default network of a host: one network namespace with a
// bridge that instances' taps are plugged into, addresses by DHCP, and a way
// out by NAT.
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
// Everything lives in the kernel and outlasts the server: Open adopts what is
// there and repairs what is not. Rules are in nftables tables of the fabric's
// own name; no other table is ever touched. What to program is computed by pure
// functions (rules.go, transit.go); one transaction per namespace applies it.
package bridge
