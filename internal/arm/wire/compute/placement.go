package compute

import (
	"slices"
	"strings"

	"github.com/muster-vm/muster/internal/arm/wire"
	"github.com/muster-vm/muster/internal/vmss"
)

var defaultZones = []string{"1", "2", "3"}

func (p *parser) zones() []string {
	zones, known := wire.TextsAt(p.doc, "zones"), p.in.Zones
	if known == nil {
		known = defaultZones
	}
	for i, zone := range zones {
		switch {
		case !slices.Contains(known, zone):
			p.Add(wire.InvalidParameter, "zones", "There is no zone '%s'; there are %s.", zone, strings.Join(known, ", "))
		case slices.Contains(zones[:i], zone):
			p.Add(wire.InvalidParameter, "zones", "Zone '%s' is listed twice.", zone)
		}
	}
	return zones
}

// regionalFaultDomains is what a set without zones is spread over by default. A
// set with zones has one and spreads as far as it can; see fillDefaults.
const regionalFaultDomains = 5

// faultDomains reads platformFaultDomainCount.
func (p *parser) faultDomains(set vmss.ScaleSet) int {
	n, given := wire.NumberAt(p.doc, "properties", "platformFaultDomainCount")
	if !given {
		n = regionalFaultDomains
	}
	const path = "properties.platformFaultDomainCount"
	if len(set.Zones) > 0 && n != 1 && n != 5 {
		p.Add(wire.InvalidParameter, path, "A scale set with zones has 1 or 5 fault domains, not %d.", n)
	} else if n < 1 || n > 5 {
		p.Add(wire.InvalidParameter, path, "A scale set has 1 to 5 fault domains, not %d.", n)
	}
	return n
}

func (p *parser) placement(set vmss.ScaleSet) {
	if set.ZoneBalance && len(set.Zones) < 2 {
		p.Add(wire.InvalidParameter, "properties.zoneBalance", "zoneBalance needs more than one zone; name them in zones or set it to false.")
	}
	if set.SinglePlacementGroup && set.SKU.Capacity > MaxSinglePlacementGroup {
		p.Add(wire.InvalidParameter, "sku.capacity", "A single placement group holds at most %d instances; set properties.singlePlacementGroup to false for %d.", MaxSinglePlacementGroup, set.SKU.Capacity)
	}
}
