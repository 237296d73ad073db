package network

import (
	"strings"

	"github.com/muster-vm/muster/internal/arm/wire"
	"github.com/muster-vm/muster/internal/network"
)

// kind is what this package knows of one kind of resource.
type kind struct {
	schema   *wire.Schema
	children []*child // that have ids of their own
	// keep lists members of properties that a PUT without them leaves as they are.
	keep []string
	// parse reads properties into out, whose common members are set, and fills in
	// defaults. It reports problems to p.
	parse func(p *parser, out *network.Resource)
	// show adds to the document what answers show beside it; nil for nothing. Ids,
	// states and ETags are added to it and to children by the caller.
	show func(doc wire.Document, r network.Resource, v View)
}

// child is a kind of child: an element of an array in its parent's properties.
type child struct {
	name   string // of the array, such as "subnets"
	schema *wire.Schema
	node   *wire.Node // in the parent's schema; nil for what only answers have
}

// kinds are the kinds that there are.
var kinds = map[network.Kind]*kind{
	network.VirtualNetworkKind:   virtualNetwork,
	network.SecurityGroupKind:    securityGroup,
	network.ApplicationGroupKind: applicationGroup,
	network.PublicAddressKind:    publicAddress,
	network.NATGatewayKind:       natGateway,
	network.LoadBalancerKind:     loadBalancer,
}

// newKind makes a kind of its ledger. Its children are in the named arrays of its
// properties; an array that the ledger has as read-only has children that cannot be
// written. A ledger that cannot be read is a mistake in the program.
func newKind(ledger string, parse func(*parser, *network.Resource), show func(wire.Document, network.Resource, View), children ...string) *kind {
	k := &kind{schema: wire.MustParseLedger(ledger), parse: parse, show: show}
	for _, name := range children {
		path := "properties." + name
		c := &child{name: name}
		if c.node = k.schema.Node(path + "[]"); c.node != nil {
			c.schema = wire.MustParseLedger(below(ledger, path+"[]."))
		}
		k.children = append(k.children, c)
	}
	return k
}

// keeping sets keep.
func (k *kind) keeping(members ...string) *kind {
	k.keep = members
	return k
}

// below returns the lines of a ledger whose paths start with the prefix, without
// it.
func below(ledger, prefix string) string {
	var b strings.Builder
	for line := range strings.Lines(ledger) {
		if rest, ok := strings.CutPrefix(line, prefix); ok {
			b.WriteString(rest)
		}
	}
	return b.String()
}

// child returns the kind of child with this name, in any letter case, or nil.
func (k *kind) child(name string) *child {
	for _, c := range k.children {
		if strings.EqualFold(c.name, name) {
			return c
		}
	}
	return nil
}
