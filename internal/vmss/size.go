package vmss

import (
	"slices"
	"strconv"
	"strings"
)

// Size is a VM size: what an instance gets of its host.
type Size struct {
	Name      string
	Family    string // quota family, such as standardDSv5Family
	VCPUs     int
	MemoryMB  int
	DataDisks int // how many can be attached
}

// PremiumStorage reports whether Azure offers premium storage for the size, which
// decides what its disks are where nothing is said. Here every size may have it.
func (s Size) PremiumStorage() bool {
	return strings.Contains(s.Family, "S") || s.Family == musterFamily // such as standardDSv5Family
}

const musterFamily = "musterFamily"

// family is a series of sizes whose memory grows with the vCPUs.
type family struct {
	name    string
	pattern string // of the sizes' names; # stands for the vCPUs
	ratio   int    // MB a vCPU
	vcpus   []int
}

// families are the series whose sizes follow a rule.
//
// Source: https://learn.microsoft.com/azure/virtual-machines/sizes/overview
var families = []family{
	{"standardAv2Family", "Standard_A#_v2", 2 << 10, []int{1, 2, 4, 8}},
	{"standardDv3Family", "Standard_D#_v3", 4 << 10, []int{2, 4, 8, 16, 32, 48, 64}},
	{"standardDSv3Family", "Standard_D#s_v3", 4 << 10, []int{2, 4, 8, 16, 32, 48, 64}},
	{"standardESv3Family", "Standard_E#s_v3", 8 << 10, []int{2, 4, 8, 16, 20, 32, 48}},
	{"standardDASv4Family", "Standard_D#as_v4", 4 << 10, []int{2, 4, 8, 16, 32, 48, 64, 96}},
	{"standardDDSv4Family", "Standard_D#ds_v4", 4 << 10, []int{2, 4, 8, 16, 32, 48, 64}},
	{"standardDSv4Family", "Standard_D#s_v4", 4 << 10, []int{2, 4, 8, 16, 32, 48, 64}},
	{"standardDv5Family", "Standard_D#_v5", 4 << 10, []int{2, 4, 8, 16, 32, 48, 64, 96}},
	{"standardDSv5Family", "Standard_D#s_v5", 4 << 10, []int{2, 4, 8, 16, 32, 48, 64, 96}},
	{"standardDDSv5Family", "Standard_D#ds_v5", 4 << 10, []int{2, 4, 8, 16, 32, 48, 64, 96}},
	{"standardDASv5Family", "Standard_D#as_v5", 4 << 10, []int{2, 4, 8, 16, 32, 48, 64, 96}},
	{"standardESv5Family", "Standard_E#s_v5", 8 << 10, []int{2, 4, 8, 16, 20, 32, 48, 64}},
	{"standardFSFamily", "Standard_F#s", 2 << 10, []int{1, 2, 4, 8, 16}},
	{"standardFSv2Family", "Standard_F#s_v2", 2 << 10, []int{2, 4, 8, 16, 32, 48, 64, 72}},
}

// single sizes follow no rule. The Muster ones are for guests that a laptop
// can run many of.
var single = []Size{
	{"Muster_T1", musterFamily, 1, 96, 4},
	{"Muster_T2", musterFamily, 1, 256, 4},
	{"Muster_S1", musterFamily, 1, 512, 8},
	{"Muster_S2", musterFamily, 2, 1 << 10, 8},
	{"Basic_A0", "basicAFamily", 1, 768, 1},
	{"Basic_A1", "basicAFamily", 1, 1792, 2},
	{"Basic_A2", "basicAFamily", 2, 3584, 4},
	{"Basic_A3", "basicAFamily", 4, 7 << 10, 8},
	{"Basic_A4", "basicAFamily", 8, 14 << 10, 16},
	{"Standard_A0", "standardA0_A7Family", 1, 768, 1},
	{"Standard_A1", "standardA0_A7Family", 1, 1792, 2},
	{"Standard_A2", "standardA0_A7Family", 2, 3584, 4},
	{"Standard_A3", "standardA0_A7Family", 4, 7 << 10, 8},
	{"Standard_A4", "standardA0_A7Family", 8, 14 << 10, 16},
	{"Standard_A5", "standardA0_A7Family", 2, 14 << 10, 4},
	{"Standard_A6", "standardA0_A7Family", 4, 28 << 10, 8},
	{"Standard_A7", "standardA0_A7Family", 8, 56 << 10, 16},
	{"Standard_B1ls", "standardBSFamily", 1, 512, 2},
	{"Standard_B1s", "standardBSFamily", 1, 1 << 10, 2},
	{"Standard_B1ms", "standardBSFamily", 1, 2 << 10, 2},
	{"Standard_B2s", "standardBSFamily", 2, 4 << 10, 4},
	{"Standard_B2ms", "standardBSFamily", 2, 8 << 10, 4},
	{"Standard_B4ms", "standardBSFamily", 4, 16 << 10, 8},
	{"Standard_B8ms", "standardBSFamily", 8, 32 << 10, 16},
	{"Standard_D1_v2", "standardDv2Family", 1, 3584, 4},
	{"Standard_D2_v2", "standardDv2Family", 2, 7 << 10, 8},
	{"Standard_D3_v2", "standardDv2Family", 4, 14 << 10, 16},
	{"Standard_D4_v2", "standardDv2Family", 8, 28 << 10, 32},
	{"Standard_D5_v2", "standardDv2Family", 16, 56 << 10, 64},
	{"Standard_D11_v2", "standardDv2Family", 2, 14 << 10, 8},
	{"Standard_D12_v2", "standardDv2Family", 4, 28 << 10, 16},
	{"Standard_DS1", "standardDSFamily", 1, 3584, 4},
	{"Standard_DS2", "standardDSFamily", 2, 7 << 10, 8},
	{"Standard_DS3", "standardDSFamily", 4, 14 << 10, 16},
	{"Standard_DS4", "standardDSFamily", 8, 28 << 10, 32},
	{"Standard_DS1_v2", "standardDSv2Family", 1, 3584, 4},
	{"Standard_DS2_v2", "standardDSv2Family", 2, 7 << 10, 8},
	{"Standard_DS3_v2", "standardDSv2Family", 4, 14 << 10, 16},
	{"Standard_DS4_v2", "standardDSv2Family", 8, 28 << 10, 32},
	{"Standard_DS5_v2", "standardDSv2Family", 16, 56 << 10, 64},
	{"Standard_DS11_v2", "standardDSv2Family", 2, 14 << 10, 8},
	{"Standard_DS12_v2", "standardDSv2Family", 4, 28 << 10, 16},
	{"Standard_DS13_v2", "standardDSv2Family", 8, 56 << 10, 32},
	{"Standard_DS14_v2", "standardDSv2Family", 16, 112 << 10, 64},
}

var (
	sizes  = allSizes()
	byName = indexSizes(sizes)
)

func allSizes() []Size {
	all := slices.Clone(single)
	for _, f := range families {
		for _, n := range f.vcpus {
			name := strings.Replace(f.pattern, "#", strconv.Itoa(n), 1)
			all = append(all, Size{name, f.name, n, n * f.ratio, min(2*n, 64)})
		}
	}
	slices.SortFunc(all, func(a, b Size) int { return strings.Compare(a.Name, b.Name) })
	return all
}

func indexSizes(all []Size) map[string]Size {
	index := make(map[string]Size, len(all))
	for _, s := range all {
		index[strings.ToLower(s.Name)] = s
	}
	return index
}

// Sizes lists the sizes that a set may have, by name.
func Sizes() []Size { return slices.Clone(sizes) }

// SizeNamed returns the size with this name, in any letter case.
func SizeNamed(name string) (Size, bool) {
	s, ok := byName[strings.ToLower(name)]
	return s, ok
}
