package arm

import (
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/google/uuid"

	"github.com/muster-vm/muster/internal/resource"
)

// The final and other statuses of a polled operation, as Azure words them.
const (
	inProgress = "InProgress"
	succeeded  = "Succeeded"
)

// stamp writes a time as Azure does in operations: up to seven digits, which is
// what its clients parse. The zero time is nothing.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.9999999-07:00")
}

// MarshalJSON writes the operation as clients poll it.
func (o Operation) MarshalJSON() ([]byte, error) {
	out := struct {
		StartTime  string     `json:"startTime"`
		EndTime    string     `json:"endTime,omitempty"`
		Status     string     `json:"status"`
		Error      *errorBody `json:"error,omitempty"`
		Properties *output    `json:"properties,omitempty"`
		Name       string     `json:"name"`
		Percent    float64    `json:"percentComplete,omitempty"`
	}{StartTime: stamp(o.StartTime), EndTime: stamp(o.EndTime), Status: o.Status, Name: o.Name, Percent: o.PercentComplete}
	if o.Error != nil {
		b := render(o.Error, o.Name)
		out.Error = &b
	}
	if len(o.Output) > 0 {
		out.Properties = &output{o.Output}
	}
	return json.Marshal(out)
}

// output is where an operation shows what a resource became.
type output struct {
	Output json.RawMessage `json:"output"`
}

// Poll answers a GET of an operation's URL. Without monitor=true that is the
// operation itself. With it, it is 202 with the polling headers while the
// operation runs, then result (nil: 200 without a body), or its error.
func Poll(r *Request, op Operation, result *Response) (*Response, error) {
	if r.Query("monitor") != "true" {
		return &Response{Body: op, Header: http.Header{"Retry-After": {"1"}}}, nil
	}
	switch op.Status {
	case inProgress:
		return &Response{Status: http.StatusAccepted, Async: &Async{OperationPath: r.HTTP.URL.EscapedPath(), Location: true}}, nil
	case succeeded:
		if result != nil {
			return result, nil
		}
		return &Response{}, nil
	}
	if op.Error == nil {
		return nil, resource.Errorf(resource.Conflict, "Operation"+op.Status, "The operation ended as %s.", op.Status)
	}
	e := *op.Error
	if e.Kind == resource.Internal {
		e.Kind = resource.Conflict // how an operation ended is no defect of this request
	}
	return nil, &e
}

// set writes the polling headers.
func (a *Async) set(h http.Header, r *Request) {
	at := r.Base + a.OperationPath + "?p=" + uuid.NewString() + "&api-version=" + url.QueryEscape(r.APIVersion)
	h.Set("Azure-AsyncOperation", at)
	h.Set("Azure-AsyncNotification", "Enabled")
	h.Set("Retry-After", "1")
	if a.Location {
		h.Set("Location", at+"&monitor=true")
	}
}
