package resource

import (
	"errors"
	"fmt"
	"time"
)

// Kind answers what a caller can do about an error. The set is closed; the
// mapping to HTTP lives in one table in package arm.
type Kind int

// The kinds. Internal is the zero value: an error that nobody classified must
// never leak its text.
const (
	Internal        Kind = iota // a defect of ours; the text stays hidden
	Invalid                     // the request is wrong; sending it again cannot help
	Unauthenticated             // no valid token
	Forbidden                   // a valid token without the right
	NotFound                    // the thing does not exist
	Conflict                    // the thing is in a state that forbids this, or was changed meanwhile
	Precondition                // If-Match or If-None-Match did not hold
	Throttled                   // too many requests; try later
	Exhausted                   // no room: capacity of hosts, addresses, disk
	Unavailable                 // a dependency does not answer; try later
	Canceled                    // the caller went away, or a newer request took over
)

var kindNames = [...]string{"Internal", "Invalid", "Unauthenticated", "Forbidden", "NotFound", "Conflict",
	"Precondition", "Throttled", "Exhausted", "Unavailable", "Canceled"}

// String returns the constant's name.
func (k Kind) String() string {
	if k < 0 || int(k) >= len(kindNames) {
		return fmt.Sprintf("Kind(%d)", int(k))
	}
	return kindNames[k]
}

// Kinds lists every kind, for tables and their tests.
func Kinds() []Kind {
	all := make([]Kind, len(kindNames))
	for i := range all {
		all[i] = Kind(i)
	}
	return all
}

// Error is the one error type that crosses package boundaries.
type Error struct {
	Kind       Kind
	Code       string        // ARM's error code, such as "ResourceNotFound"; empty takes the kind's default
	Target     string        // the JSON path or parameter at fault, if any
	Msg        string        // a full sentence that a user may read, with the remedy
	RetryAfter time.Duration // for Throttled and Unavailable; zero if unknown
	Details    []*Error      // the single problems, where Msg sums up several
	Err        error         // the cause, for logs only
}

// Error implements error. It includes the cause and is meant for logs; users
// are shown Msg alone.
func (e *Error) Error() string {
	s := e.Msg
	if e.Code != "" {
		s = e.Code + ": " + s
	}
	if e.Target != "" {
		s = e.Target + ": " + s
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the hidden cause.
func (e *Error) Unwrap() error { return e.Err }

// Errorf returns an error of the given kind and ARM code whose message is the
// formatted sentence.
func Errorf(kind Kind, code, format string, args ...any) *Error {
	return &Error{Kind: kind, Code: code, Msg: fmt.Sprintf(format, args...)}
}

// At returns a copy of the error that names target, a JSON path, as the place
// at fault.
func (e *Error) At(target string) *Error {
	c := *e
	c.Target = target
	return &c
}

// Because returns a copy of the error with its hidden cause set.
func (e *Error) Because(err error) *Error {
	c := *e
	c.Err = err
	return &c
}

// KindOf returns the kind of the first *Error in err's chain, and Internal if
// there is none.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Internal
}

// Is reports whether err carries an *Error of the given kind.
func Is(err error, kind Kind) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Kind == kind
}
