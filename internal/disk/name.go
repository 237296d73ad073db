package disk

import "github.com/muster-vm/muster/internal/resource"

const maxName = 80

// noun is what the kind is called in sentences.
func (k Kind) noun() string {
	switch k {
	case Snapshot:
		return "snapshot"
	case Image:
		return "image"
	}
	return "disk"
}

// CheckName applies Azure's rule for names of managed disks, snapshots and
// images: 1 to 80 characters out of letters, digits, underscore, period and
// hyphen, starting with a letter or digit and ending in one or in an underscore.
// It fails with Invalid, code InvalidParameter.
//
// Source: https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules
func CheckName(kind Kind, name string) error {
	ok := len(name) >= 1 && len(name) <= maxName
	for i, r := range name {
		first, last := i == 0, i == len(name)-1
		ok = ok && (resource.IsAlnum(r) || r == '_' && !first || (r == '-' || r == '.') && !first && !last)
	}
	if !ok {
		return resource.Errorf(resource.Invalid, "InvalidParameter",
			"The %s name %q is not valid: use 1 to %d letters, digits, underscores, periods and hyphens; start with a letter or digit, and do not end in a period or hyphen.",
			kind.noun(), name, maxName).At(kind.noun() + "Name")
	}
	return nil
}
