package disk

import (
	"cmp"
	"slices"
	"strings"

	"github.com/muster-vm/muster/internal/resource"
)

// MaxGB is the largest size of a disk in GB.
const MaxGB = 32767

// The types of storage whose limits are asked for, not looked up.
const (
	PremiumV2 = "PremiumV2_LRS"
	UltraSSD  = "UltraSSD_LRS"
)

// skus are the storage types by kind, the default first. Images have none of
// their own: instances and disks made from them have theirs.
var skus = map[Kind][]string{
	Managed:  {"Standard_LRS", "Premium_LRS", "StandardSSD_LRS", "Premium_ZRS", "StandardSSD_ZRS", PremiumV2, UltraSSD},
	Snapshot: {"Standard_LRS", "Premium_LRS", "Standard_ZRS"},
}

// ParseSKU returns a storage type as Azure spells it; an empty name is the
// kind's default. It fails with Invalid.
func ParseSKU(kind Kind, name string) (string, error) {
	known := skus[kind]
	if name == "" && len(known) > 0 {
		return known[0], nil
	}
	for _, sku := range known {
		if strings.EqualFold(sku, name) {
			return sku, nil
		}
	}
	return "", resource.Errorf(resource.Invalid, "InvalidParameter", "A %s has no sku '%.64s'; use %s.", kind.noun(), name, strings.Join(known, ", ")).At("sku.name")
}

// CheckSize fails with Invalid for a size that no disk has.
func CheckSize(sizeGB int) error {
	if sizeGB < 1 || sizeGB > MaxGB {
		return resource.Errorf(resource.Invalid, "InvalidParameter", "The disk size %d GB is not between 1 and %d.", sizeGB, MaxGB)
	}
	return nil
}

// SettableLimits reports whether a disk of the storage type has the limits that
// are asked for.
func SettableLimits(sku string) bool { return sku == PremiumV2 || sku == UltraSSD }

// tier is a performance tier: disks of at most GB have it, unless a smaller one
// fits.
type tier struct {
	number int // in its name: P10
	gb     int
	limit  Limit
}

// family is the tiers of a storage type; letter starts their names.
type family struct {
	letter string
	tiers  []tier
}

// families are the published targets of the storage types, bursts left out.
//
// Source: https://learn.microsoft.com/azure/virtual-machines/disks-scalability-targets
var families = map[string]family{
	"Premium": {"P", []tier{
		{1, 4, Limit{120, 25}}, {2, 8, Limit{120, 25}}, {3, 16, Limit{120, 25}}, {4, 32, Limit{120, 25}}, {6, 64, Limit{240, 50}},
		{10, 128, Limit{500, 100}}, {15, 256, Limit{1100, 125}}, {20, 512, Limit{2300, 150}}, {30, 1024, Limit{5000, 200}},
		{40, 2048, Limit{7500, 250}}, {50, 4096, Limit{7500, 250}}, {60, 8192, Limit{16000, 500}}, {70, 16384, Limit{18000, 750}},
		{80, MaxGB, Limit{20000, 900}},
	}},
	"StandardSSD": {"E", []tier{
		{1, 4, Limit{500, 100}}, {2, 8, Limit{500, 100}}, {3, 16, Limit{500, 100}}, {4, 32, Limit{500, 100}}, {6, 64, Limit{500, 100}},
		{10, 128, Limit{500, 100}}, {15, 256, Limit{500, 100}}, {20, 512, Limit{500, 100}}, {30, 1024, Limit{500, 100}},
		{40, 2048, Limit{500, 100}}, {50, 4096, Limit{500, 100}}, {60, 8192, Limit{2000, 400}}, {70, 16384, Limit{4000, 600}},
		{80, MaxGB, Limit{6000, 750}},
	}},
	"Standard": {"S", []tier{
		{4, 32, Limit{500, 60}}, {6, 64, Limit{500, 60}}, {10, 128, Limit{500, 60}}, {15, 256, Limit{500, 60}}, {20, 512, Limit{500, 60}},
		{30, 1024, Limit{500, 60}}, {40, 2048, Limit{500, 60}}, {50, 4096, Limit{500, 60}}, {60, 8192, Limit{1300, 300}},
		{70, 16384, Limit{2000, 500}}, {80, MaxGB, Limit{2000, 500}},
	}},
}

// tierOf returns the tier of a disk; ok is false for storage types without any.
func tierOf(sku string, sizeGB int) (f family, t tier, ok bool) {
	name, _, _ := strings.Cut(sku, "_")
	if f, ok = families[name]; !ok {
		return f, t, false
	}
	at, _ := slices.BinarySearchFunc(f.tiers, sizeGB, func(t tier, gb int) int { return cmp.Compare(t.gb, gb) })
	return f, f.tiers[min(at, len(f.tiers)-1)], true
}

// defaults are the limits where none are asked for.
var defaults = map[string]Limit{
	PremiumV2: {3000, 125}, // what each has without extra cost
	UltraSSD:  {500, 100},  // what Azure's Kubernetes driver asks for
}

// LimitOf returns what a disk may do by its storage type and size. For types
// whose limits are asked for it is the default; for unknown ones no limit.
//
// Source: https://learn.microsoft.com/azure/virtual-machines/disks-scalability-targets
func LimitOf(sku string, sizeGB int) Limit {
	if _, t, ok := tierOf(sku, sizeGB); ok {
		return t.limit
	}
	return defaults[sku]
}

// Or returns the limit with the members of other where it has none.
func (l Limit) Or(other Limit) Limit {
	return Limit{cmp.Or(l.IOPS, other.IOPS), cmp.Or(l.MBps, other.MBps)}
}

// Effective returns what the disk may do at a size: what was asked for, or what
// follows.
func (d Disk) Effective(sizeGB int) Limit {
	if d.Kind != Managed {
		return Limit{}
	}
	return d.Limit.Or(LimitOf(d.SKU, sizeGB))
}
