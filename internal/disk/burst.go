package disk

import "strings"

// BurstOf returns what a disk of a type may do for half an hour, after as long a
// rest: small disks come with that, and guests boot by it. Zero for no more than
// LimitOf says.
//
// Source: https://learn.microsoft.com/azure/virtual-machines/disk-bursting
func BurstOf(sku string, sizeGB int) Limit {
	switch kind, _, _ := strings.Cut(sku, "_"); {
	case kind == "Premium" && sizeGB <= 512:
		return Limit{IOPS: 3500, MBps: 170}
	case kind == "StandardSSD" && sizeGB <= 1024:
		return Limit{IOPS: 600, MBps: 150}
	}
	return Limit{}
}
