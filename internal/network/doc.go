// Package network holds the nouns of Microsoft.Network and their rules: virtual
// networks, subnets, security groups, public addresses, load balancers, NAT
// gateways. [Compile] turns what users said, and which cards there are, into a
// [Program] that says what every packet of one virtual network may do; the
// fabric carries it out, and [Program.Decide] explains it. It is pure: values in,
// values out.
package network
