// Package tables is the nftables tables of a host's networks, as values, and their
// transactions: all of the default network, and what the host's namespace has for a
// virtual one. What a virtual network's own namespace has is in package ruleset.
// Transactions act on the namespace of the calling thread; they touch no table of
// another name.
package tables
