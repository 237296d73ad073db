package arm

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/muster-vm/muster/internal/access"
	"github.com/muster-vm/muster/internal/resource"
)

// Route is one operation of the API. Providers hand their routes to a Router;
// nothing else of a provider is reachable.
type Route struct {
	Method string // GET, PUT, ...; GET routes answer HEAD only where a HEAD route says so
	// Path is a pattern such as
	// "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Compute/virtualMachineScaleSets/{set}".
	// Fixed segments match without regard to case, {name} matches one segment.
	Path string
	// Action is the permission that the caller needs at the scope of the
	// path, such as "Microsoft.Compute/virtualMachineScaleSets/read". Empty
	// lets in everyone with a token; the handler shows each what is theirs.
	Action  string
	Handler Handler
	// Versions is the provider's list of api-versions, newest first; a request
	// with another one is refused with the list.
	Versions []string
	// Public routes need no token and no api-version (login, discovery).
	Public bool
	// AnyHost routes answer under names that are not the server's, too: they
	// repeat none.
	AnyHost bool
	// HTTP answers instead of Handler: the body is limited to 4 MiB, everything
	// else is its own. It needs no api-version. If the route is not public, the
	// caller needs Action at Scope.
	HTTP  http.Handler
	Scope string
}

// Handler answers one request. An error that is no *resource.Error becomes a
// 500 whose text stays in the log.
type Handler func(ctx context.Context, r *Request) (*Response, error)

// Request is one request as handlers see it: authenticated, authorised and
// matched.
type Request struct {
	HTTP          *http.Request
	Principal     access.Principal
	APIVersion    string
	Vars          map[string]string // the path's {names}, URL-decoded, in the caller's case
	Base          string            // "https://host:port" as the caller reached us, for absolute URLs
	RequestID     string
	CorrelationID string
	May           func(action, scope string) error // Forbidden unless the caller may, for routes without an Action
	body          []byte
	route         string    // the pattern that matched; empty for none
	upgraded      time.Time // when the connection became another protocol's; zero if it did not
}

// Var returns the path variable with this name.
func (r *Request) Var(name string) string { return r.Vars[name] }

// Query returns the first query parameter of that name, ignoring its case
// ("$expand", "$skipToken"...).
func (r *Request) Query(name string) string { return queryFold(r.HTTP.URL.Query(), name) }

// Body returns the request's body, at most 4 MiB of it; larger is Invalid with
// code RequestContentTooLarge.
func (r *Request) Body() []byte { return r.body }

// Response is what a handler answers.
type Response struct {
	Status int    // 200 if zero
	Body   any    // encoded as JSON; []byte goes out as it is; nil is no body
	ETag   string // without quotes; also checked by Precondition
	Async  *Async // for long-running operations: the polling headers
	Header http.Header

	// Release, if there is one, is called when Body is not needed any more.
	Release func()

	// Upgrade, if there is one, answers instead of all the others: it takes the
	// connection over for another protocol and returns when that has ended. It
	// is called once.
	Upgrade func(w http.ResponseWriter, r *http.Request)
}

// Async asks the router for the headers of a long-running operation.
//
// Source: Resource Manager RPC, asynchronous operations; header set as recorded
// from Azure: Azure-AsyncOperation on PUT and PATCH, with Location too on POST
// and DELETE; Retry-After: 1 always (clients sleep 30 s without it).
type Async struct {
	// OperationPath is where the status is, such as
	// "/subscriptions/{s}/providers/Microsoft.Compute/locations/{l}/operations/{id}".
	OperationPath string
	// Location says that the Location header is wanted too: the same URL with
	// monitor=true.
	Location bool
}

// Operation is the body of a polled operation.
type Operation struct {
	Name      string
	Status    string // InProgress, Succeeded, Failed, Canceled
	StartTime time.Time
	EndTime   time.Time // zero while in progress
	Error     *resource.Error
	Output    json.RawMessage // what a resource became, of those whose operations show it

	PercentComplete float64 // while in progress, where it is known; zero leaves it out
}
