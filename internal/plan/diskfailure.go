package plan

import (
	"cmp"
	"errors"
	"time"

	"github.com/muster-vm/muster/internal/disk"
	"github.com/muster-vm/muster/internal/resource"
)

// Back-off between tries for one disk.
const (
	firstDiskRetry = 5 * time.Second
	lastDiskRetry  = 5 * time.Minute
	diskTries      = 3 // after which a make or a grow waits to be asked for again
)

// diskFailure counts one more failed try. What a user has to mend is not tried
// again by itself; removals are, for nothing may be left of a disk.
func diskFailure(last *disk.Failure, err error, removal bool, now time.Time) *disk.Failure {
	f := disk.Failure{Code: "InternalExecutionError", Message: "The server could not carry this out; its log says why.", Since: now}
	e, ok := errors.AsType[*resource.Error](err)
	if ok && e.Kind != resource.Internal {
		f.Code, f.Message = cmp.Or(e.Code, f.Code), e.Msg
	}
	if last != nil && !last.RetryAt.IsZero() { // else it was asked for anew
		f.Attempts = last.Attempts
		if last.Code == f.Code {
			f.Since = last.Since
		}
	}
	wait := min(firstDiskRetry<<min(2*f.Attempts, 10), lastDiskRetry)
	f.Attempts++
	final := ok && hopeless(e.Kind) || f.Attempts >= diskTries
	if removal || !final {
		f.RetryAt = now.Add(wait)
	}
	return &f
}

// hopeless says which kinds of error do not go away by themselves.
func hopeless(k resource.Kind) bool {
	switch k {
	case resource.Invalid, resource.NotFound, resource.Forbidden, resource.Unauthenticated, resource.Precondition:
		return true
	}
	return false
}
