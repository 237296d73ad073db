package network

import (
	"net/netip"
	"slices"
	"time"
)

// MemberState says whether a member of a load balancer takes new flows.
type MemberState string

// The states of members.
const (
	MemberUp      MemberState = "Up"
	MemberDown    MemberState = "Down"    // its probe says so
	MemberUnknown MemberState = "Unknown" // it was not asked yet, and takes no flows
	MemberLeaving MemberState = "Leaving" // it goes: its flows drain
)

// Membership is how a card does as a member behind one balancing rule.
type Membership struct {
	Rule     string
	Frontend netip.Addr
	Port     uint16 // of the frontend; 0: all
	Card     string // resource id of the IP configuration
	Instance string // such as web_3
	Member   netip.Addr
	State    MemberState
	Since    time.Time // of what its probe says; zero without one
	Reason   string    // why it takes no new flows, or what was wrong with the last answer
	Answers  []Answer  // the last ones, the oldest first
}

// Probed is what is known of a target.
type Probed struct {
	Well, Known bool
	Since       time.Time
	Reason      string // what was wrong with the last answer
	Answers     []Answer
}

// Answer is what came of one question of a probe.
type Answer struct {
	At     time.Time
	Took   time.Duration
	Reason string // what was wrong; empty if nothing was
}

// Memberships lists the members of a balancer in the order of its rules, and within
// a rule in that of their addresses. probed tells what probes say; nil where nobody
// asks.
func (p Program) Memberships(balancer UID, probed func(Target) Probed) (all []Membership) {
	for _, s := range p.Services {
		if s.Balancer != balancer {
			continue
		}
		for _, a := range slices.Concat(s.Pool, s.Leaving) {
			all = append(all, p.membership(s, a, probed))
		}
	}
	return all
}

func (p Program) membership(s Service, a netip.Addr, probed func(Target) Probed) Membership {
	i := slices.IndexFunc(p.Cards, func(c Card) bool { return c.Address == a })
	m := Membership{Rule: s.Rule, Frontend: s.Address, Port: s.Port, Card: p.Cards[i].ID, Instance: p.Cards[i].Instance, Member: a, State: MemberUp}
	if s.Probe == (Probe{}) {
		m.Reason = "The rule has no probe: every member counts as well."
	} else if probed != nil {
		told := probed(TargetOf(p.Network, a, s.Probe))
		m.Since, m.Reason, m.Answers = told.Since, told.Reason, told.Answers
		switch {
		case !told.Known:
			m.State, m.Reason = MemberUnknown, "It was not asked yet."
		case !told.Well:
			m.State, m.Reason = MemberDown, p.blocked(s, a, told.Reason)
		}
	}
	if slices.Contains(s.Leaving, a) {
		m.State, m.Reason = MemberLeaving, "The instance goes down: it gets no new connections, and those that it has go on until they end or their time is over."
	}
	return m
}

// blocked adds to why a member is down that a security rule keeps the probe from it.
func (p Program) blocked(s Service, member netip.Addr, why string) string {
	v := p.Decide(Flow{Protocol: TCP, From: netip.AddrPortFrom(HostAddress, 49152), To: netip.AddrPortFrom(member, s.Probe.Port)})
	if v.Allowed || len(v.Steps) == 0 {
		return why
	}
	last := v.Steps[len(v.Steps)-1]
	return why + ": the rule " + last.Rule + " of security group " + last.Group.Name + " denies the probe, which comes from the service tag AzureLoadBalancer (" + HostAddress.String() + ")"
}
