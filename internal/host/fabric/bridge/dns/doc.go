// Package dns is the resolver that a virtual network has at the platform's address.
// It answers for the names and addresses of the network's own cards, and asks the
// host's resolvers about everything else, in the host's network. It knows nothing
// of other virtual networks. Its sockets are given to it: who can reach them is not
// its business.
package dns
