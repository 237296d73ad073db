// Package network is muster's commands for virtual networks, security groups,
// public addresses and load balancers, with az's names. They read and write the
// resources of Microsoft.Network as JSON: what an option says stands in one member
// of a body.
package network
