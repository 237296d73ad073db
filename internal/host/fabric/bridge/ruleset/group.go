package ruleset

import (
	"github.com/google/nftables/expr"

	"github.com/muster-vm/muster/internal/network"
)

// groupChain is the chain of a security group and direction.
func groupChain(name string) string { return "sg-" + name }

// groups makes the chains of the security groups. What a rule allows returns to
// the caller, what it denies is dropped.
func (b *builder) groups() {
	for _, c := range b.p.Chains {
		var rules [][]expr.Any
		for _, r := range c.Rules {
			if parts, ok := b.resolved(r); ok {
				rules = append(rules, parts)
			}
		}
		b.chain(groupChain(c.Name), append(rules, rule(drop))...)
	}
}

// resolved returns a rule of a security group; ok is false if it matches nothing.
// A rule about certain ports is about no protocol without.
func (b *builder) resolved(r network.Resolved) (parts []expr.Any, ok bool) {
	from, some := b.inRange(source, r.Source)
	to, any := b.inRange(destination, r.Dest)
	if !some || !any {
		return nil, false
	}
	ports := r.SrcPorts != nil || r.DstPorts != nil
	switch {
	case r.Protocol == network.AnyProtocol && ports:
		parts = rule(part{layer4(1)}, isIn(transports))
	case r.Protocol != network.AnyProtocol:
		if ports && !r.Protocol.HasPorts() {
			return nil, false
		}
		parts = protocol(r.Protocol.Number())
	}
	parts = rule(parts, from, to)
	if r.SrcPorts != nil {
		parts = rule(parts, b.inPorts(fromPort, r.SrcPorts))
	}
	if r.DstPorts != nil {
		parts = rule(parts, b.inPorts(toPort, r.DstPorts))
	}
	if r.Access == network.Deny {
		return rule(parts, drop), true
	}
	return rule(parts, back), true
}
