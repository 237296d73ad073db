package network

import (
	"regexp"

	"github.com/muster-vm/muster/internal/resource"
)

var nameSyntax = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,78}[A-Za-z0-9_])?$`)

// CheckName says whether a resource, or a child of one, may have the name. It fails
// with Invalid, code InvalidResourceName.
//
// Source: https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules#microsoftnetwork
func CheckName(name string) error {
	if nameSyntax.MatchString(name) {
		return nil
	}
	return resource.Errorf(resource.Invalid, "InvalidResourceName", "Resource name %.100s is invalid. The name can be up to 80 characters long. "+
		"It must begin with a word character, and it must end with a word character or with '_'. The name may contain word characters or '.', '-', '_'.", name)
}
