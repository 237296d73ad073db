package vmss

import (
	"cmp"
	"slices"
	"time"
)

// Candidate is an instance as scale-in sees it.
type Candidate struct {
	ID          InstanceID
	Zone        string // empty for an instance that was made before its set became zonal
	FaultDomain int
	Created     time.Time
	Unhealthy   bool
	Protected   bool // counts where balance is judged, but is never chosen
}

// ScaleInOrder returns the ids of up to n candidates to remove, first to go
// first. It makes n single choices, each on what the earlier ones left:
// unhealthy instances first if the policy says so, then instances without a
// zone in a zonal set, then one of a zone with the most instances, then (rule
// Default, more than one fault domain) of a fault domain with the most, then by
// the rule: highest id, oldest or newest.
//
// Source: https://learn.microsoft.com/azure/virtual-machine-scale-sets/virtual-machine-scale-sets-scale-in-policy
func ScaleInOrder(all []Candidate, policy ScaleInPolicy, n int) []InstanceID {
	lots, inZone, inDomain := sortIntoLots(all, policy)
	var out []InstanceID
	for len(out) < n {
		best := -1
		for i := range lots {
			if len(lots[i].queue) == 0 {
				continue
			}
			if best < 0 || compareLots(&lots[i], &lots[best], inZone, inDomain, policy) < 0 {
				best = i
			}
		}
		if best < 0 {
			return out
		}
		lot := &lots[best]
		out = append(out, lot.queue[0].ID)
		lot.queue = lot.queue[1:]
		inZone[lot.zone]--
		inDomain[lot.domain()]--
	}
	return out
}

// lot holds the candidates among which the rule alone decides.
type lot struct {
	unhealthy   bool
	zone        string
	faultDomain int
	queue       []Candidate // first to go first
}

type domain struct {
	zone        string
	faultDomain int
}

func (l *lot) domain() domain { return domain{l.zone, l.faultDomain} }

func sortIntoLots(all []Candidate, policy ScaleInPolicy) ([]lot, map[string]int, map[domain]int) {
	type key struct {
		unhealthy bool
		domain
	}
	index := map[key]int{}
	var lots []lot
	inZone, inDomain := map[string]int{}, map[domain]int{}
	for _, c := range all {
		d := domain{c.Zone, c.FaultDomain}
		inZone[c.Zone]++
		inDomain[d]++
		if c.Protected {
			continue
		}
		k := key{c.Unhealthy && policy.PrioritizeUnhealthyVM, d}
		i, ok := index[k]
		if !ok {
			i = len(lots)
			index[k] = i
			lots = append(lots, lot{unhealthy: k.unhealthy, zone: c.Zone, faultDomain: c.FaultDomain})
		}
		lots[i].queue = append(lots[i].queue, c)
	}
	for i := range lots {
		slices.SortFunc(lots[i].queue, func(a, b Candidate) int { return byRule(a, b, policy.Rule) })
	}
	return lots, inZone, inDomain
}

// compareLots is negative when a's first candidate goes before b's.
func compareLots(a, b *lot, inZone map[string]int, inDomain map[domain]int, policy ScaleInPolicy) int {
	if a.unhealthy != b.unhealthy {
		return first(a.unhealthy)
	}
	if (a.zone == "") != (b.zone == "") {
		return first(a.zone == "")
	}
	if d := cmp.Compare(inZone[b.zone], inZone[a.zone]); d != 0 {
		return d
	}
	if policy.Rule == ScaleInDefault && a.zone == b.zone {
		if d := cmp.Compare(inDomain[b.domain()], inDomain[a.domain()]); d != 0 {
			return d
		}
	}
	return byRule(a.queue[0], b.queue[0], policy.Rule)
}

func first(yes bool) int {
	if yes {
		return -1
	}
	return 1
}

// byRule orders candidates that balance does not tell apart, first to go first.
func byRule(a, b Candidate, rule ScaleInRule) int {
	switch rule {
	case ScaleInOldestVM:
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	case ScaleInNewestVM:
		return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(b.ID, a.ID))
	}
	return cmp.Compare(b.ID, a.ID)
}
