package network

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/google/uuid"

	"github.com/muster-vm/muster/internal/arm"
	noun "github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/vmss"
)

func (a *API) locationRoutes() []arm.Route {
	return []arm.Route{
		route("GET", locationPath+"/operations/{operation}", "", a.getOperation),
		route("GET", locationPath+"/operationResults/{operation}", "", a.getResult),
		route("GET", locationPath+"/usages", Namespace+"/locations/usages/read", a.listUsages),
	}
}

// task is what an operation does, and to what: a resource, or a child of one.
type task struct {
	kind   vmss.OperationKind
	target resource.ID
}

// begin returns what records an operation on a resource: its record under the next
// sequence number, and the counter.
func (a *API) begin(r *arm.Request, on noun.Resource, t task) (vmss.Operation, []store.Change) {
	op := vmss.Operation{Kind: t.kind, Target: t.target, Set: vmss.UID(on.UID), Location: on.Location, ID: uuid.NewString(), Created: time.Now().UTC(), Principal: r.Principal.ObjectID}
	counter, _ := store.Get(a.Store, store.Counters, string(op.Set))
	op.Sequence = 1
	if counter.Value != nil {
		op.Sequence = *counter.Value + 1
	}
	return op, []store.Change{store.Put(store.Counters, string(op.Set), op.Sequence, store.At(counter.Revision)), store.Put(store.Operations, op.Key(), op, store.Absent)}
}

// polling says where an operation is polled. The URLs are those of Azure's network
// provider, which differ from others' in where results are.
func polling(r *arm.Request, op vmss.Operation, result bool) http.Header {
	at := func(kind string) string {
		return r.Base + "/subscriptions/" + op.Target.Subscription + "/providers/" + Namespace + "/locations/" + op.Location + "/" + kind + "/" + op.ID +
			"?api-version=" + url.QueryEscape(r.APIVersion)
	}
	h := http.Header{"Azure-Asyncoperation": {at("operations")}, "Azure-Asyncnotification": {"Enabled"}, "Retry-After": {"1"}}
	if result {
		h.Set("Location", at("operationResults"))
	}
	return h
}

// operation finds the one that the path names, if the caller began it or may read
// what it is about.
func (a *API) operation(r *arm.Request) (vmss.Operation, *vmss.Outcome, error) {
	op, outcome, err := a.Store.OperationByID(r.Var("operation"))
	if err == nil && op.Principal != r.Principal.ObjectID {
		err = r.May(Namespace+"/locations/operations/read", op.Target.String())
	}
	return op, outcome, err
}

func (a *API) getOperation(_ context.Context, r *arm.Request) (*arm.Response, error) {
	_, outcome, err := a.operation(r)
	if err != nil {
		return nil, err
	}
	h := http.Header{"Retry-After": {"1"}}
	if outcome == nil {
		return &arm.Response{Body: object{"status": string(vmss.InProgress)}, Header: h}, nil
	}
	body := object{"status": string(outcome.Status)}
	if outcome.Error != nil {
		body["error"] = showError(*outcome.Error)
	}
	return &arm.Response{Body: body, Header: h}, nil
}

// showError is an error as operations show it.
func showError(e vmss.OperationError) object {
	details := []any{}
	for _, d := range e.Details {
		details = append(details, showError(d))
	}
	return object{"code": e.Code, "message": e.Message, "details": details}
}

// getResult answers with what an operation ends in: nothing for a delete, the
// resource otherwise.
func (a *API) getResult(_ context.Context, r *arm.Request) (*arm.Response, error) {
	op, outcome, err := a.operation(r)
	if err != nil {
		return nil, err
	}
	switch {
	case outcome == nil:
		return &arm.Response{Status: http.StatusAccepted, Header: polling(r, op, true)}, nil
	case outcome.Error != nil:
		return nil, resource.Errorf(resource.Conflict, outcome.Error.Code, "%s", outcome.Error.Message).At(outcome.Error.Target)
	case op.Kind == vmss.OpDeleteNetwork:
		return &arm.Response{Status: http.StatusNoContent, Header: polling(r, op, true)}, nil
	}
	key, _ := noun.KeyOf(op.Target)
	e, ok := store.Get(a.Store, store.Networks, key)
	if !ok {
		return &arm.Response{Status: http.StatusNoContent}, nil
	}
	return a.render(r, e, http.StatusOK)
}
