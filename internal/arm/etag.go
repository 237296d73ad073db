package arm

import (
	"strings"

	"github.com/muster-vm/muster/internal/resource"
)

// Precondition checks If-Match and If-None-Match against the current ETag,
// without quotes; empty means that the resource does not exist. It fails with
// Precondition. Weak tags compare as strong ones, as Azure does.
func Precondition(r *Request, current string) error {
	if wants := r.HTTP.Header.Values("If-Match"); len(wants) > 0 && !tagMatches(wants, current) {
		if current == "" {
			return resource.Errorf(resource.Precondition, "", "The resource does not exist, and If-Match asks for %.128s. Leave If-Match out to create it.", strings.Join(wants, ", "))
		}
		return resource.Errorf(resource.Precondition, "", "The resource was changed since it was read: If-Match asks for %.128s. Read it again and repeat the change.", strings.Join(wants, ", "))
	}
	if wants := r.HTTP.Header.Values("If-None-Match"); len(wants) > 0 && tagMatches(wants, current) {
		return resource.Errorf(resource.Precondition, "", "The resource exists already, and If-None-Match asks that it does not match %.128s.", strings.Join(wants, ", "))
	}
	return nil
}

// tagMatches reports whether one of the listed tags is the current one.
func tagMatches(lists []string, current string) bool {
	if current == "" {
		return false
	}
	for _, list := range lists {
		for tag := range strings.SplitSeq(list, ",") {
			tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/")
			if tag == "*" || strings.Trim(tag, `"`) == current {
				return true
			}
		}
	}
	return false
}
