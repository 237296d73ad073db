package resource

import (
	"strings"
	"time"
)

// Group is a resource group.
type Group struct {
	Subscription string
	Name         string // as first given; compares without regard to case
	Location     string
	Tags         map[string]string
	Created      time.Time
	Deleting     bool  // a delete was accepted; contents go first, then the group
	Revision     int64 `json:"-"` // of the store, for optimistic updates
}

// ID returns the group's id.
func (g Group) ID() ID { return GroupID(g.Subscription, g.Name) }

// CheckGroupName applies Azure's rule for resource group names: 1 to 90
// characters out of letters, digits, underscore, parentheses, hyphen and
// period, not ending in a period.
//
// Source: https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules
func CheckGroupName(name string) error {
	ok := len(name) >= 1 && len(name) <= 90 && !strings.HasSuffix(name, ".")
	for _, r := range name {
		ok = ok && (IsAlnum(r) || strings.ContainsRune("_()-.", r))
	}
	if !ok {
		return Errorf(Invalid, "InvalidResourceGroup", "The resource group name %q is not valid: use 1 to 90 letters, digits, underscores, parentheses, hyphens and periods, not ending in a period.", name).At("resourceGroupName")
	}
	return nil
}

// CheckTags applies Azure's limits: at most 50 tags, names of 1 to 512
// characters without <>%&\?/, values of at most 256.
//
// Source: https://learn.microsoft.com/azure/azure-resource-manager/management/tag-resources
func CheckTags(tags map[string]string) error {
	if len(tags) > 50 {
		return Errorf(Invalid, "InvalidTagCount", "A resource has at most 50 tags; %d were given.", len(tags)).At("tags")
	}
	for name, value := range tags {
		if name == "" || len(name) > 512 || strings.ContainsAny(name, `<>%&\?/`) {
			return Errorf(Invalid, "InvalidTagNameCharacters", `The tag name %q is not valid: use 1 to 512 characters without <>%%&\?/.`, name).At("tags")
		}
		if len(value) > 256 {
			return Errorf(Invalid, "InvalidTagValueLength", "The value of tag %q is longer than 256 characters.", name).At("tags." + name)
		}
	}
	return nil
}

// IsAlnum reports whether r is an ASCII letter or digit, the only characters
// that every name may have.
func IsAlnum(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}
