// Package server puts the parts together: it is the only package that knows
// every implementation. Serve runs a server on a state directory; Assemble makes
// the part of it that touches neither files nor sockets, which tests run in
// virtual time. It decides nothing about scale sets.
package server
