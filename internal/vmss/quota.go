package vmss

import (
	"cmp"
	"slices"
	"strings"
)

// Demand is what one scale set asks of its location: what it has and what it
// still wants to have.
type Demand struct {
	Size      Size
	Capacity  int // wanted instances; 0 for a set that is being deleted
	Rows      int // instances that there are, in any state
	Allocated int // of those, the ones that are not deallocated
}

// DemandOf returns what a set of this size asks for that has so many rows, some of
// them deallocated.
func DemandOf(set ScaleSet, size Size, rows, deallocated int) Demand {
	d := Demand{Size: size, Capacity: set.SKU.Capacity, Rows: rows, Allocated: rows - deallocated}
	if set.Deleting {
		d.Capacity = 0
	}
	return d
}

// instances is how many instances the demand comes to: what is wanted counts
// before it is there, and what is there until it is gone.
func (d Demand) instances() int { return max(d.Rows, d.Capacity) }

// cores leaves out deallocated instances, which hold no vCPUs.
func (d Demand) cores() int { return (d.instances() - (d.Rows - d.Allocated)) * d.Size.VCPUs }

// of returns how much of a usage the demand takes.
func (d Demand) of(usage string) int {
	switch usage {
	case usageCores, d.Size.Family:
		return d.cores()
	case usageInstances:
		return d.instances()
	case usageSets:
		return 1
	}
	return 0
}

// Usage is how much of a quota is taken in a location.
type Usage struct {
	Name    string // such as "cores"
	Label   string // for people: "Total Regional vCPUs"
	Current int
	Limit   int
}

// The names of usages that are no size family.
const (
	usageCores     = "cores"
	usageInstances = "virtualMachines"
	usageSets      = "virtualMachineScaleSets"
)

// The limits that hold unless the server's config says otherwise: a fuse
// against slips, far above what hosts offer.
const (
	defaultCores     = 100_000 // and of each size family
	defaultInstances = 25_000
	defaultSets      = 2_500
)

// quotas are the usages that there are, with their default limits. Families
// come last, by name.
var quotas = allQuotas()

func allQuotas() []Usage {
	all := []Usage{
		{Name: usageCores, Label: "Total Regional vCPUs", Limit: defaultCores},
		{Name: usageInstances, Label: "Virtual Machines", Limit: defaultInstances},
		{Name: usageSets, Label: "Virtual Machine Scale Sets", Limit: defaultSets},
	}
	var families []Usage
	for _, s := range sizes {
		families = append(families, Usage{Name: s.Family, Label: familyLabel(s.Family) + " vCPUs", Limit: defaultCores})
	}
	slices.SortFunc(families, func(a, b Usage) int { return cmp.Compare(a.Name, b.Name) })
	return append(all, slices.Compact(families)...)
}

// familyLabel words a family's name: standardDSv5Family is Standard DSv5 Family.
func familyLabel(name string) string {
	stem := strings.TrimSuffix(name, "Family")
	if series, ok := strings.CutPrefix(stem, "standard"); ok {
		return "Standard " + series + " Family"
	}
	return strings.ToUpper(stem[:1]) + stem[1:] + " Family"
}

// Usages returns all usages of a location: the sum of what its sets ask for,
// beside the limits. limits overrides the defaults by name, in any letter case.
func Usages(demands []Demand, limits map[string]int) []Usage {
	all := slices.Clone(quotas)
	for i := range all {
		u := &all[i]
		for name, limit := range limits {
			if strings.EqualFold(name, u.Name) {
				u.Limit = limit
			}
		}
		for _, d := range demands {
			u.Current += d.of(u.Name)
		}
	}
	return all
}

// Shortage is a quota that a change would exceed.
type Shortage struct {
	Usage
	Required int // what the change adds
}

// FindShortage returns the first of the usages that would go beyond its limit if
// a set's demand went from was to want, or nil. was is nil for a new set. What
// takes nothing more of a quota is never refused for it, whatever its limit.
func FindShortage(usages []Usage, was *Demand, want Demand) *Shortage {
	for _, u := range usages {
		required := want.of(u.Name)
		if was != nil {
			required -= was.of(u.Name)
		}
		if required > 0 && u.Current+required > u.Limit {
			return &Shortage{u, required}
		}
	}
	return nil
}
