package network

import (
	"context"
	"net/http"
	"strconv"

	"github.com/muster-vm/muster/internal/arm"
	plain "github.com/muster-vm/muster/internal/arm/wire"
	wire "github.com/muster-vm/muster/internal/arm/wire/network"
	noun "github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/vmss"
)

// pageSize is how many resources a page of a list has.
const pageSize = 100

// etag is the ETag of a resource, and of its children, empty if there is none.
func etag(e entry) string {
	if e.Value == nil {
		return ""
	}
	return vmss.GUID(vmss.UID(e.Value.UID), "etag", strconv.FormatInt(e.Revision, 10))
}

// state is the provisioning state of a resource. A load balancer is Succeeded from
// the start, as Azure shows it.
func (a *API) state(r noun.Resource) string {
	if r.Deleting {
		return wire.Deleting
	}
	_, outcome, found := a.Store.LastOperation(vmss.UID(r.UID), func(vmss.Operation) bool { return true })
	switch {
	case found && outcome == nil && r.Kind != noun.LoadBalancerKind:
		return wire.Updating
	case outcome != nil && outcome.Status == vmss.OperationFailed:
		return wire.Failed
	}
	return wire.Succeeded
}

// begun is view of a resource whose change was just accepted: the answer says what
// that makes of it, however soon it is carried out.
func (a *API) begun(r *arm.Request, e entry) wire.View {
	v := a.view(r, e)
	if v.State = wire.Updating; e.Value.Kind == noun.LoadBalancerKind {
		v.State = wire.Succeeded
	}
	return v
}

// view is what is shown of a resource beside its document.
func (a *API) view(r *arm.Request, e entry) wire.View { return a.linker().view(r, e) }

// view is view of one of several resources.
func (l *linker) view(r *arm.Request, e entry) wire.View {
	v := wire.View{ETag: etag(e), State: l.state(*e.Value), Version: r.APIVersion, Links: l.links(*e.Value)}
	if e.Value.LoadBalancer != nil {
		v.Balancer = l.balancerView(*e.Value)
	}
	return v
}

// render answers with a resource as it is now.
func (a *API) render(r *arm.Request, e entry, status int) (*arm.Response, error) {
	body, err := wire.Render(*e.Value, a.view(r, e))
	return &arm.Response{Status: status, Body: body}, err
}

// tagged adds the header that answers to GET have.
func tagged(resp *arm.Response, e entry) *arm.Response {
	resp.Header = http.Header{"Etag": {`W/"` + etag(e) + `"`}}
	return resp
}

func (a *API) get(kind noun.Kind) arm.Handler {
	return func(ctx context.Context, r *arm.Request) (*arm.Response, error) {
		e, err := a.find(ctx, r, kind)
		if err != nil {
			return nil, err
		}
		resp, err := a.render(r, e, http.StatusOK)
		return tagged(resp, e), err
	}
}

// list lists the resources of a group, or of the subscription if the path names no
// group.
func (a *API) list(kind noun.Kind) arm.Handler {
	return func(ctx context.Context, r *arm.Request) (*arm.Response, error) {
		sub, group := r.Var("subscription"), r.Var("group")
		if err := a.known(sub); err != nil {
			return nil, err
		}
		if group != "" {
			if _, err := a.Group(ctx, sub, group); err != nil && !resource.Is(err, resource.Conflict) {
				return nil, err
			}
		}
		in := noun.NewKey(kind, sub, group, "")
		var found []entry
		for _, e := range store.All(a.Store, store.Networks) {
			if k := e.Value.Key(); k.Kind == kind && k.Subscription == in.Subscription && (group == "" || k.Group == in.Group) {
				found = append(found, e)
			}
		}
		page, next, err := arm.Page(r, found, pageSize, func(e entry) string {
			k := e.Value.Key()
			return k.Group + "/" + k.Name // the order of store.All
		})
		if err != nil {
			return nil, err
		}
		values, links := make([][]byte, 0, len(page)), a.linker()
		for _, e := range page {
			body, err := wire.Render(*e.Value, links.view(r, e))
			if err != nil {
				return nil, err
			}
			values = append(values, body)
		}
		return &arm.Response{Body: pageOf(values, next)}, nil
	}
}

// pageOf is the body of a list.
func pageOf(values [][]byte, next string) []byte {
	b := []byte(`{"value":[`)
	for i, v := range values {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, v...)
	}
	b = append(b, ']')
	if next != "" {
		b = plain.AppendString(append(b, `,"nextLink":`...), next)
	}
	return append(b, '}')
}

func (a *API) listChildren(c collection) arm.Handler {
	return func(ctx context.Context, r *arm.Request) (*arm.Response, error) {
		e, err := a.find(ctx, r, c.kind)
		if err != nil {
			return nil, err
		}
		values, err := wire.RenderChildren(*e.Value, a.view(r, e), c.name)
		return &arm.Response{Body: pageOf(values, "")}, err
	}
}

func (a *API) getChild(c collection) arm.Handler {
	return func(ctx context.Context, r *arm.Request) (*arm.Response, error) {
		e, err := a.find(ctx, r, c.kind)
		if err != nil {
			return nil, err
		}
		body, found, err := wire.RenderChild(*e.Value, a.view(r, e), wire.Child{Collection: c.name, Name: r.Var("child")})
		if err == nil && !found {
			err = errNoChild(*e.Value, c, r.Var("child"))
		}
		return tagged(&arm.Response{Body: body}, e), err
	}
}

// errNoChild is the answer where a resource is and its child is not.
func errNoChild(r noun.Resource, c collection, name string) error {
	return resource.Errorf(resource.NotFound, "NotFound", "Resource %s/%s/%s not found.", r.ID, c.name, name)
}
