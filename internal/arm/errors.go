package arm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/muster-vm/muster/internal/resource"
)

// Codes whose status is not their kind's.
const (
	codeMethod   = "MethodNotAllowed"
	codeTooLarge = "RequestContentTooLarge"
)

// answers maps kinds to HTTP: the only such table.
var answers = map[resource.Kind]struct {
	Status int
	Code   string // where the error has none
}{
	resource.Internal:        {http.StatusInternalServerError, "InternalServerError"},
	resource.Invalid:         {http.StatusBadRequest, "BadRequest"},
	resource.Unauthenticated: {http.StatusUnauthorized, "AuthenticationFailed"},
	resource.Forbidden:       {http.StatusForbidden, "AuthorizationFailed"},
	resource.NotFound:        {http.StatusNotFound, "NotFound"},
	resource.Conflict:        {http.StatusConflict, "Conflict"},
	resource.Precondition:    {http.StatusPreconditionFailed, "PreconditionFailed"},
	resource.Throttled:       {http.StatusTooManyRequests, "TooManyRequests"},
	resource.Exhausted:       {http.StatusConflict, "AllocationFailed"},
	resource.Unavailable:     {http.StatusServiceUnavailable, "ServiceUnavailable"},
	resource.Canceled:        {http.StatusConflict, "OperationPreempted"},
}

var statusByCode = map[string]int{
	codeMethod:   http.StatusMethodNotAllowed,
	codeTooLarge: http.StatusRequestEntityTooLarge,
}

// errorBody is ARM's error object.
type errorBody struct {
	Code    string      `json:"code"`
	Message string      `json:"message"`
	Target  string      `json:"target,omitempty"`
	Details []errorBody `json:"details,omitempty"`
}

// flatten turns any error into one *resource.Error. The parts of errors.Join
// become details of a sum that has the first one's kind and code; if one part
// is Internal, so is the sum, and nothing of it is shown.
func flatten(err error) *resource.Error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return sum(joined.Unwrap(), err)
	}
	if e, ok := errors.AsType[*resource.Error](err); ok {
		return e
	}
	if errors.Is(err, context.Canceled) {
		return resource.Errorf(resource.Canceled, "", "The request was canceled.").Because(err)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return resource.Errorf(resource.Unavailable, "", "The request took too long. Try again later.").Because(err)
	}
	return (&resource.Error{Kind: resource.Internal}).Because(err)
}

func sum(parts []error, cause error) *resource.Error {
	details := make([]*resource.Error, 0, len(parts))
	for _, p := range parts {
		e := flatten(p)
		if e.Kind == resource.Internal {
			return (&resource.Error{Kind: resource.Internal}).Because(cause)
		}
		details = append(details, e)
	}
	switch len(details) {
	case 0:
		return (&resource.Error{Kind: resource.Internal}).Because(cause)
	case 1:
		return details[0]
	}
	first := details[0]
	return &resource.Error{Kind: first.Kind, Code: first.Code, RetryAfter: first.RetryAfter, Details: details, Err: cause,
		Msg: fmt.Sprintf("The request has %d problems. The first: %s", len(details), first.Msg)}
}

// status returns the HTTP status of an error.
func status(e *resource.Error) int {
	if s, ok := statusByCode[e.Code]; ok {
		return s
	}
	return answers[e.Kind].Status
}

// render returns what a user may see of an error.
func render(e *resource.Error, requestID string) errorBody {
	if e.Kind == resource.Internal {
		return errorBody{Code: answers[e.Kind].Code,
			Message: "The server met a defect of its own. Its log has more under the request id '" + requestID + "'."}
	}
	b := errorBody{Code: e.Code, Message: e.Msg, Target: e.Target}
	if b.Code == "" {
		b.Code = answers[e.Kind].Code
	}
	for _, d := range e.Details {
		b.Details = append(b.Details, render(d, requestID))
	}
	return b
}

// retryAfter renders a wait in whole seconds, at least one.
func retryAfter(d time.Duration) string {
	return strconv.Itoa(max(1, int((d+time.Second-1)/time.Second)))
}

// writeError answers with the error.
func writeError(w http.ResponseWriter, method string, e *resource.Error, requestID string) int {
	h, code := w.Header(), status(e)
	if e.Kind == resource.Throttled || e.RetryAfter > 0 {
		h.Set("Retry-After", retryAfter(e.RetryAfter))
	}
	body := render(e, requestID)
	if code == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", fmt.Sprintf("Bearer error=\"invalid_token\", error_description=%q", body.Message))
	}
	h.Set("Content-Type", jsonType)
	raw, err := json.Marshal(map[string]errorBody{"error": body})
	if err != nil {
		raw = []byte(`{"error":{"code":"InternalServerError","message":"The error cannot be shown."}}`)
	}
	w.WriteHeader(code)
	if method != http.MethodHead {
		_, _ = w.Write(raw) // the caller may have gone; there is nobody to tell
	}
	return code
}
