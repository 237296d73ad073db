package image

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/vmss"
)

// latest is the version that means the highest one.
const latest = "latest"

// names are what Azure lets publishers, offers and SKUs be called.
var (
	names    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)
	versions = regexp.MustCompile(`^[0-9]{1,18}(\.[0-9]{1,18}){0,3}$`)
)

// parseURN takes publisher:offer:sku:version apart.
func parseURN(urn string) (vmss.Image, error) {
	parts := strings.Split(urn, ":")
	bad := len(parts) != 4
	for _, p := range parts[:min(len(parts), 3)] {
		bad = bad || !names.MatchString(p)
	}
	if bad {
		return vmss.Image{}, resource.Errorf(resource.Invalid, "InvalidParameter",
			"The URN %q is not publisher:offer:sku:version, such as muster:tiny:debian:latest.", urn)
	}
	return vmss.Image{Publisher: parts[0], Offer: parts[1], SKU: parts[2], Version: parts[3]}, nil
}

// same reports whether two images differ at most in version.
func same(a, b vmss.Image) bool {
	return strings.EqualFold(a.Publisher, b.Publisher) && strings.EqualFold(a.Offer, b.Offer) && strings.EqualFold(a.SKU, b.SKU)
}

// compare orders images by name and version.
func compare(a, b vmss.Image) int {
	return cmp.Or(compareNames(a.Publisher, b.Publisher), compareNames(a.Offer, b.Offer), compareNames(a.SKU, b.SKU),
		compareVersions(a.Version, b.Version))
}

func compareNames(a, b string) int { return cmp.Compare(strings.ToLower(a), strings.ToLower(b)) }

// compareVersions orders versions number by number. Versions that are equal as
// numbers are ordered as text, so that the order is total.
func compareVersions(a, b string) int {
	return cmp.Or(slices.Compare(numbers(a), numbers(b)), cmp.Compare(a, b))
}

func numbers(version string) []int {
	var all []int
	for part := range strings.SplitSeq(version, ".") {
		n, err := strconv.Atoi(part)
		if err != nil {
			n = -1 // versions are digits when they come in; this keeps the order total
		}
		all = append(all, n)
	}
	return all
}
