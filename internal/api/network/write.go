package network

import (
	"context"
	"net/http"
	"net/netip"
	"time"

	"github.com/google/uuid"

	"github.com/muster-vm/muster/internal/arm"
	wire "github.com/muster-vm/muster/internal/arm/wire/network"
	noun "github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/vmss"
)

// edit is a change of a resource in the making.
type edit struct {
	kind    noun.Kind
	group   resource.Group
	groupAt int64 // revision of the group's record
	entry         // as it is stored; the zero entry if it is to be created
	changes
}

// open starts a change of the resource that the path names. A resource that is not
// there is an error, code ResourceNotFound, unless the request may create it.
func (a *API) open(ctx context.Context, r *arm.Request, kind noun.Kind, create bool) (*edit, error) {
	sub, name := r.Var("subscription"), r.Var("group")
	if err := a.known(sub); err != nil {
		return nil, err
	}
	record, _ := store.Get(a.Store, store.Groups, store.GroupKeyOf(sub, name)) // before the look at it: the guard must not be newer
	group, err := a.Group(ctx, sub, name)
	if err != nil {
		return nil, err
	}
	e := &edit{kind: kind, group: group, groupAt: record.Revision, changes: newChanges(a.Store)}
	e.entry, err = a.find(ctx, r, kind)
	if err != nil && (!missing(err) || !create) {
		return nil, err
	}
	if err := arm.Precondition(r, etag(e.entry)); err != nil {
		return nil, err
	}
	if e.Value != nil && e.Value.Deleting {
		return nil, errDeleting(*e.Value)
	}
	return e, nil
}

func errDeleting(r noun.Resource) error {
	return resource.Errorf(resource.Conflict, "AnotherOperationInProgress", "'%s' is being deleted. Wait until it is gone.", r.ID)
}

func (a *API) put(kind noun.Kind) arm.Handler {
	return func(ctx context.Context, r *arm.Request) (resp *arm.Response, err error) {
		err = a.change(ctx, r.Var("name"), func() error {
			e, err := a.open(ctx, r, kind, true)
			if err != nil {
				return err
			}
			draft, err := wire.Put(kind, e.Value, r.Body())
			if err != nil {
				return err
			}
			next, err := a.accept(e, draft, r.Var("name"))
			if err != nil {
				return err
			}
			op, at, err := a.commit(ctx, r, e, next, task{vmss.OpPutNetwork, next.ID})
			if err != nil {
				return err
			}
			view, status := a.begun(r, at), http.StatusOK
			view.Fresh = addressOf(e.Value) != addressOf(&next)
			if e.Value == nil {
				status = http.StatusCreated
			}
			body, err := wire.Render(next, view)
			resp = &arm.Response{Status: status, Body: body, Header: polling(r, op, false)}
			return err
		})
		return resp, err
	}
}

// addressOf is what is given out to a public address.
func addressOf(r *noun.Resource) netip.Addr {
	if r == nil || r.PublicAddress == nil {
		return netip.Addr{}
	}
	return r.PublicAddress.Address
}

// accept checks a draft against everything else that there is, and plans what is
// given out with it.
func (a *API) accept(e *edit, draft *wire.Draft, name string) (noun.Resource, error) {
	if err := a.location(draft.Location(), e.kind); err != nil {
		return noun.Resource{}, err
	}
	in := wire.Input{ID: resource.In(a.Subscription, e.group.Name, Namespace, string(e.kind), name), Zones: a.Zones}
	next, err := draft.Parse(in)
	if err != nil {
		return next, err
	}
	if e.Value == nil {
		next.UID, next.Created = noun.UID(uuid.NewString()), time.Now().UTC()
		if err := a.checkQuota(next); err != nil {
			return next, err
		}
		e.add(store.Check(store.Groups, store.GroupKeyOf(a.Subscription, e.group.Name), store.At(e.groupAt)))
	}
	if err := a.checkReferences(e, next, draft.References()); err != nil {
		return next, err
	}
	if err := a.checkRemoved(e.Value, next); err != nil {
		return next, err
	}
	return next, a.giveOut(e, &next)
}

// commit writes the resource and an operation of the kind on the target, itself or a
// child, and returns the operation and the record.
func (a *API) commit(ctx context.Context, r *arm.Request, e *edit, next noun.Resource, on task) (vmss.Operation, entry, error) {
	op, changes := a.begin(r, next, on)
	changes = append(append(e.all(), changes...), store.Put(store.Networks, next.Key(), next, store.At(e.Revision)))
	at, err := a.Store.Commit(ctx, changes...)
	return op, entry{Value: &next, Revision: at}, err
}

// patch replaces the tags. That concerns no packet: there is nothing to wait for.
func (a *API) patch(kind noun.Kind) arm.Handler {
	return func(ctx context.Context, r *arm.Request) (resp *arm.Response, err error) {
		err = a.change(ctx, r.Var("name"), func() error {
			e, err := a.open(ctx, r, kind, false)
			if err != nil {
				return err
			}
			next, err := a.retag(ctx, e.entry, r.Body())
			if err != nil {
				return err
			}
			resp, err = a.render(r, next, http.StatusOK)
			return err
		})
		return resp, err
	}
}

// retag writes a resource with the tags that a body says.
func (a *API) retag(ctx context.Context, e entry, body []byte) (entry, error) {
	draft, err := wire.PatchTags(*e.Value, body)
	if err != nil {
		return entry{}, err
	}
	next, err := draft.Parse(wire.Input{Zones: a.Zones})
	if err != nil {
		return entry{}, err
	}
	at, err := a.Store.Commit(ctx, store.Put(store.Networks, next.Key(), next, store.At(e.Revision)))
	return entry{Value: &next, Revision: at}, err
}

// delete marks the resource; the reconciler removes it once no host has anything of
// it. Asking again while it goes answers with the same operation.
func (a *API) delete(kind noun.Kind) arm.Handler {
	return func(ctx context.Context, r *arm.Request) (*arm.Response, error) {
		var op vmss.Operation
		err := a.change(ctx, r.Var("name"), func() error {
			e, err := a.find(ctx, r, kind)
			if err != nil {
				return err
			}
			if err := arm.Precondition(r, etag(e)); err != nil {
				return err
			}
			op, err = a.mark(ctx, r, e)
			return err
		})
		if missing(err) {
			return &arm.Response{Status: http.StatusNoContent}, nil
		}
		if err != nil {
			return nil, err
		}
		return &arm.Response{Status: http.StatusAccepted, Header: polling(r, op, true)}, nil
	}
}

func (a *API) mark(ctx context.Context, r *arm.Request, e entry) (vmss.Operation, error) {
	next := *e.Value
	running, _, found := a.Store.LastOperation(vmss.UID(next.UID), func(op vmss.Operation) bool { return op.Kind == vmss.OpDeleteNetwork && op.Target.Equal(next.ID) })
	if next.Deleting && found {
		return running, nil
	}
	if !next.Deleting {
		if err := a.checkUnused(next); err != nil {
			return vmss.Operation{}, err
		}
	}
	next.Deleting = true
	op, changes := a.begin(r, next, task{vmss.OpDeleteNetwork, next.ID})
	_, err := a.Store.Commit(ctx, append(changes, store.Put(store.Networks, next.Key(), next, store.At(e.Revision)))...)
	return op, err
}

func (a *API) putChild(c collection) arm.Handler {
	return func(ctx context.Context, r *arm.Request) (resp *arm.Response, err error) {
		child := wire.Child{Collection: c.name, Name: r.Var("child")}
		err = a.change(ctx, r.Var("name"), func() error {
			e, err := a.open(ctx, r, c.kind, false)
			if err != nil {
				return err
			}
			draft, created, err := wire.PutChild(*e.Value, child, r.Body())
			if err != nil {
				return err
			}
			next, err := a.accept(e, draft, r.Var("name"))
			if err != nil {
				return err
			}
			op, at, err := a.commit(ctx, r, e, next, task{vmss.OpPutNetwork, next.ID.Child(c.name, child.Name)})
			if err != nil {
				return err
			}
			body, _, err := wire.RenderChild(next, a.begun(r, at), child)
			resp = &arm.Response{Status: http.StatusOK, Body: body, Header: polling(r, op, false)}
			if created {
				resp.Status = http.StatusCreated
			}
			return err
		})
		return resp, err
	}
}

func (a *API) deleteChild(c collection) arm.Handler {
	return func(ctx context.Context, r *arm.Request) (resp *arm.Response, err error) {
		child := wire.Child{Collection: c.name, Name: r.Var("child")}
		err = a.change(ctx, r.Var("name"), func() error {
			e, err := a.open(ctx, r, c.kind, false)
			if err != nil {
				return err
			}
			draft, found, err := wire.DeleteChild(*e.Value, child)
			if err != nil {
				return err
			}
			if !found {
				resp = &arm.Response{Status: http.StatusNoContent}
				return nil
			}
			next, err := a.accept(e, draft, r.Var("name"))
			if err != nil {
				return err
			}
			op, _, err := a.commit(ctx, r, e, next, task{vmss.OpDeleteNetwork, next.ID.Child(c.name, child.Name)})
			resp = &arm.Response{Status: http.StatusAccepted, Header: polling(r, op, true)}
			return err
		})
		if missing(err) {
			return &arm.Response{Status: http.StatusNoContent}, nil
		}
		return resp, err
	}
}
