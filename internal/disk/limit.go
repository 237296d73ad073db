package disk

import (
	"strconv"
	"strings"

	"github.com/muster-vm/muster/internal/resource"
)

// CheckLimit checks the limits that were asked for, members that are zero were
// not. It fails with Invalid, with the JSON path below properties as target.
//
// Source: https://learn.microsoft.com/azure/virtual-machines/disks-types
func CheckLimit(sku string, sizeGB int, asked Limit) error {
	bad := func(member, format string, args ...any) error {
		return resource.Errorf(resource.Invalid, "InvalidParameter", format, args...).At(member)
	}
	const iops, mbps = "diskIOPSReadWrite", "diskMBpsReadWrite"
	switch {
	case asked == Limit{}:
		return nil
	case !SettableLimits(sku) && asked.IOPS != 0:
		return bad(iops, "The limits of a disk of type %s follow from its size; leave %s out, or use %s or %s.", sku, iops, PremiumV2, UltraSSD)
	case !SettableLimits(sku):
		return bad(mbps, "The limits of a disk of type %s follow from its size; leave %s out, or use %s or %s.", sku, mbps, PremiumV2, UltraSSD)
	}
	low, high := bounds(sku, sizeGB)
	if n := asked.IOPS; n != 0 && (n < low.IOPS || n > high.IOPS) {
		return bad(iops, "A disk of type %s and %d GB has %d to %d IOPS, not %d.", sku, sizeGB, low.IOPS, high.IOPS, n)
	}
	// A disk moves at most 256 kB with each operation.
	high.MBps = min(high.MBps, max(low.MBps, asked.Or(LimitOf(sku, sizeGB)).IOPS/4))
	if n := asked.MBps; n != 0 && (n < low.MBps || n > high.MBps) {
		return bad(mbps, "A disk of type %s and %d GB with so many IOPS has %d to %d MBps, not %d.", sku, sizeGB, low.MBps, high.MBps, n)
	}
	return nil
}

// bounds are the least and the most that can be asked for.
func bounds(sku string, sizeGB int) (low, high Limit) {
	if sku == UltraSSD {
		return Limit{100, 1}, Limit{min(400000, max(1200, 300*sizeGB)), 10000}
	}
	return Limit{3000, 125}, Limit{min(80000, max(3000, 500*sizeGB)), 1200}
}

// TierOf returns the performance tier that follows from type and size, such as
// P10, and nothing for types without tiers.
func TierOf(sku string, sizeGB int) string {
	f, t, ok := tierOf(sku, sizeGB)
	if !ok {
		return ""
	}
	return f.letter + strconv.Itoa(t.number)
}

// baseline is the largest of the tiers that smaller disks can be raised to.
const baseline = 50

// LimitOfTier returns the limits of a performance tier that was asked for. The
// zero Limit is that of the disk's own tier. It fails with Invalid for a tier
// below that, and for one that such disks cannot have.
//
// Source: https://learn.microsoft.com/azure/virtual-machines/disks-change-performance
func LimitOfTier(sku string, sizeGB int, name string) (Limit, error) {
	own := TierOf(sku, sizeGB)
	if name == "" || strings.EqualFold(name, own) {
		return Limit{}, nil
	}
	f, is, ok := tierOf(sku, sizeGB)
	if ok && f.letter == "P" {
		for _, t := range f.tiers {
			if strings.EqualFold(name, f.letter+strconv.Itoa(t.number)) && t.number > is.number && (t.number <= baseline || is.number >= baseline) {
				return t.limit, nil
			}
		}
	}
	if own == "" {
		return Limit{}, resource.Errorf(resource.Invalid, "InvalidParameter", "Disks of type %s have no tiers; leave tier out.", sku).At("tier")
	}
	return Limit{}, resource.Errorf(resource.Invalid, "InvalidParameter",
		"A disk of type %s and %d GB cannot have the tier '%.16s': it is of tier %s, and only Premium disks can be raised, to at most P50 if they have up to 4096 GB.", sku, sizeGB, name, own).At("tier")
}
