package disk

import "strings"

// tier is a size up to which disks of a type have a limit.
type tier struct {
	upToGB int
	limit  Limit
}

// tiers are the published limits by type of storage, without its redundancy.
//
// Source: https://learn.microsoft.com/azure/virtual-machines/disks-types
var tiers = map[string][]tier{
	"Premium": {
		{32, Limit{120, 25}}, {64, Limit{240, 50}}, {128, Limit{500, 100}}, {256, Limit{1100, 125}}, {512, Limit{2300, 150}}, {1024, Limit{5000, 200}},
		{4096, Limit{7500, 250}}, {8192, Limit{16000, 500}}, {16384, Limit{18000, 750}}, {32767, Limit{20000, 900}},
	},
	"StandardSSD": {{4096, Limit{500, 100}}, {8192, Limit{2000, 400}}, {16384, Limit{4000, 600}}, {32767, Limit{6000, 750}}},
	"Standard":    {{4096, Limit{500, 60}}, {8192, Limit{1300, 300}}, {32767, Limit{2000, 500}}},
	"PremiumV2":   {{65536, Limit{3000, 125}}},
}

// LimitOf returns what a disk of a type, such as Premium_LRS, may do when nothing
// else was asked for. Types that are not known have no limit.
func LimitOf(sku string, sizeGB int) Limit {
	kind, _, _ := strings.Cut(sku, "_")
	for _, t := range tiers[kind] {
		if sizeGB <= t.upToGB {
			return t.limit
		}
	}
	return Limit{}
}
