// Package ruleset turns the program of a virtual network into nftables tables of
// the network's namespace, as values, and loads them in one step. It also does the
// work on connection tracking that goes with them: counting, cutting and moving
// flows. [Tables] is pure; everything else acts on the namespace of the calling
// thread. Links, addresses and routes are the caller's.
//
// What the tables expect of the namespace: a bridge for each subnet whose ports are
// isolated, so that packets between two guests of a subnet are routed as well; the
// addresses of the gateways and network.HostAddress; and an uplink that the public
// addresses of the program are routed into.
package ruleset
