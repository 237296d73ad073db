package wire

import (
	"fmt"

	"github.com/muster-vm/muster/internal/resource"
)

// ARM's codes for bad requests.
const (
	InvalidRequestContent = "InvalidRequestContent" // the JSON, or its shape
	InvalidParameter      = "InvalidParameter"      // a value
)

// maxProblems bounds what one answer lists.
const maxProblems = 50

// Problems collects what is wrong with a request, so that its sender learns
// everything at once.
type Problems struct{ list []*resource.Error }

// Add records an Invalid problem at target, a JSON path.
func (p *Problems) Add(code, target, format string, args ...any) {
	p.AddError(resource.Errorf(resource.Invalid, code, format, args...).At(target))
}

// AddError records a problem.
func (p *Problems) AddError(err *resource.Error) {
	if len(p.list) < maxProblems {
		p.list = append(p.list, err)
	}
}

// AddFrom records what another part of the program reported, as it is if it is
// a *resource.Error, at target unless it names one itself. Nil is ignored.
func (p *Problems) AddFrom(err error, target string) {
	if err == nil {
		return
	}
	e, ok := err.(*resource.Error) //nolint:errorlint // a wrapped one is no sentence for users
	if !ok {
		e = (&resource.Error{Kind: resource.Internal}).Because(err)
	}
	if e.Target == "" {
		e = e.At(target)
	}
	p.AddError(e)
}

// Len returns the number of problems.
func (p *Problems) Len() int { return len(p.list) }

// Err returns nil if there is no problem, the problem if there is one, and
// otherwise an error of the first one's kind and code that has all as details.
func (p *Problems) Err() error {
	switch len(p.list) {
	case 0:
		return nil
	case 1:
		return p.list[0]
	}
	first := p.list[0]
	return &resource.Error{
		Kind: first.Kind, Code: first.Code, Target: first.Target,
		Msg:     fmt.Sprintf("The request has %d problems. The first: %s", len(p.list), first.Msg),
		Details: p.list,
	}
}
