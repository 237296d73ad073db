package vmss

import (
	"cmp"
	"fmt"
	"slices"
)

// UpdateDomains is how many update domains a set has.
const UpdateDomains = 5

// UpdateDomain returns the instance's update domain: round-robin by id.
func UpdateDomain(id InstanceID) int { return int(id % UpdateDomains) }

// Host is a machine that runs instances, as placement sees it.
type Host struct {
	Name        string
	Zones       []string // in which it can stand in; a single machine may offer several
	FaultDomain int      // ignored with Domains > 1
	Domains     int      // how many fault domains it stands in for; 0 or 1 is one real domain
	VCPUs       int      // for instances, overcommit included
	MemoryMB    int
	UsedVCPUs   int // by rows that it owns
	UsedMB      int
	Down        bool // takes no new instances
}

// Fits reports whether an instance of that size has room on the host.
func (h Host) Fits(s Size) bool {
	return !h.Down && h.UsedVCPUs+s.VCPUs <= h.VCPUs && h.UsedMB+s.MemoryMB <= h.MemoryMB
}

// Place is where an instance goes.
type Place struct {
	Host        string
	Zone        string
	FaultDomain int
}

// Placer chooses places one after another, each choice seeing the earlier
// ones. It spreads over zones first, then fault domains, then load.
type Placer struct {
	hosts   []Host
	zones   []string
	domains int // platformFaultDomainCount
	strict  bool
	inZone  map[string]int
	inPlace map[domain]int
}

// NewPlacer returns a placer for a set whose instances stand at the given
// places already. Hosts are copied.
func NewPlacer(set ScaleSet, hosts []Host, taken []Place) *Placer {
	p := &Placer{hosts: slices.Clone(hosts), zones: slices.Sorted(slices.Values(set.Zones)), domains: max(1, set.FaultDomains),
		strict: set.ZoneBalance, inZone: map[string]int{}, inPlace: map[domain]int{}}
	slices.SortFunc(p.hosts, func(a, b Host) int { return cmp.Compare(a.Name, b.Name) })
	for _, t := range taken {
		p.count(t)
	}
	return p
}

func (p *Placer) count(t Place) {
	p.inZone[t.Zone]++
	p.inPlace[domain{t.Zone, t.FaultDomain}]++
}

// Next chooses a place for an instance of the size. The second result says why
// there is none.
func (p *Placer) Next(size Size) (Place, string) {
	if len(p.hosts) == 0 {
		return Place{}, "No host has registered yet."
	}
	for _, zone := range p.zoneOrder() {
		if place, ok := p.inZoneNext(zone, size); ok {
			p.count(place)
			return place, ""
		}
		if p.strict {
			return Place{}, "Zone " + zone + " has the fewest instances and no host with room for " + describe(size.VCPUs, size.MemoryMB) + "; zoneBalance forbids to use another zone."
		}
	}
	return Place{}, p.full(size)
}

// zoneOrder lists the set's zones, emptiest first; a regional set has the one
// zone "".
func (p *Placer) zoneOrder() []string {
	if len(p.zones) == 0 {
		return []string{""}
	}
	order := slices.Clone(p.zones)
	slices.SortStableFunc(order, func(a, b string) int { return cmp.Compare(p.inZone[a], p.inZone[b]) })
	return order
}

func (p *Placer) inZoneNext(zone string, size Size) (Place, bool) {
	best, bestDomain := -1, 0
	for i, h := range p.hosts {
		if !h.Fits(size) || zone != "" && !slices.Contains(h.Zones, zone) {
			continue
		}
		d := p.domainOf(h, zone)
		if best < 0 || p.better(i, d, best, bestDomain, zone) {
			best, bestDomain = i, d
		}
	}
	if best < 0 {
		return Place{}, false
	}
	p.hosts[best].UsedVCPUs += size.VCPUs
	p.hosts[best].UsedMB += size.MemoryMB
	return Place{Host: p.hosts[best].Name, Zone: zone, FaultDomain: bestDomain}, true
}

func (p *Placer) better(i, di, j, dj int, zone string) bool {
	if d := cmp.Compare(p.inPlace[domain{zone, di}], p.inPlace[domain{zone, dj}]); d != 0 {
		return d < 0
	}
	return p.load(i) < p.load(j)
}

// load is the share of a host that is used, in thousandths, so that equal
// hosts fill evenly.
func (p *Placer) load(i int) int {
	h := p.hosts[i]
	return max(h.UsedVCPUs*1000/max(1, h.VCPUs), h.UsedMB*1000/max(1, h.MemoryMB))
}

// domainOf returns the fault domain that the next instance on the host would
// be in: the host's own, or the emptiest of those it stands in for.
func (p *Placer) domainOf(h Host, zone string) int {
	if p.domains == 1 {
		return 0 // max spreading: hosts are told apart by load alone
	}
	if h.Domains <= 1 {
		return h.FaultDomain % p.domains
	}
	best := 0
	for d := range p.domains {
		if p.inPlace[domain{zone, d}] < p.inPlace[domain{zone, best}] {
			best = d
		}
	}
	return best
}

// full says in numbers why no host had room.
func (p *Placer) full(size Size) string {
	vcpus, mb := 0, 0
	for _, h := range p.hosts {
		if !h.Down {
			vcpus, mb = max(vcpus, h.VCPUs-h.UsedVCPUs), max(mb, h.MemoryMB-h.UsedMB)
		}
	}
	return "No host has room for " + describe(size.VCPUs, size.MemoryMB) + "; the most that is free on one host is " + describe(vcpus, mb) +
		". Delete or deallocate instances, add a host, or raise the overcommit in the server's config."
}

func describe(vcpus, memoryMB int) string { return fmt.Sprintf("%d vCPU and %d MB", vcpus, memoryMB) }
