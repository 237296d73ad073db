package compute

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/muster-vm/muster/internal/arm"
	wire "github.com/muster-vm/muster/internal/arm/wire/compute"
	"github.com/muster-vm/muster/internal/disk"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/vmss"
)

// DiskVersions are the api-versions of managed disks and snapshots, newest first:
// Azure gives them out apart from those of instances. Clients that ask for all of
// the namespace in one version may.
var DiskVersions = newestFirst([]string{"2026-03-02", "2025-01-02", "2024-03-02", "2023-10-02", "2023-04-02", "2023-01-02", "2022-07-02", "2022-03-02",
	"2021-12-01", "2021-08-01", "2021-04-01", "2020-12-01", "2020-09-30", "2020-06-30", "2020-05-01", "2019-11-01", "2019-07-01", "2019-03-01",
	"2018-09-30", "2018-06-01", "2018-04-01", "2017-03-30", "2016-04-30-preview"}, Versions)

func newestFirst(lists ...[]string) []string {
	all := slices.Compact(slices.Sorted(slices.Values(slices.Concat(lists...))))
	slices.Reverse(all)
	return all
}

func (a *API) diskRoutes() []arm.Route {
	const in = subscriptionPath + "/resourceGroups/{group}"
	var routes []arm.Route
	for _, kind := range disk.Kinds() {
		all := "/providers/" + kind.Type()
		one, may := in+all+"/{disk}", kind.Type()+"/"
		some := []arm.Route{
			route("GET", subscriptionPath+all, may+"read", a.listDisks(kind)),
			route("GET", in+all, may+"read", a.listDisks(kind)),
			route("GET", one, may+"read", a.getDisk(kind)),
			route("PUT", one, may+"write", a.writeDisk(kind)),
			route("PATCH", one, may+"write", a.writeDisk(kind)),
			route("DELETE", one, may+"delete", a.deleteDisk(kind)),
		}
		for i := range some {
			if kind != disk.Image {
				some[i].Versions = DiskVersions
			}
		}
		routes = append(routes, some...)
	}
	return routes
}

// disk returns the disk that the path names. It fails with NotFound, code
// ResourceNotFound, or that of the missing group.
func (a *API) disk(ctx context.Context, r *arm.Request, kind disk.Kind) (store.Entry[disk.Disk], error) {
	sub, group, name := r.Var("subscription"), r.Var("group"), r.Var("disk")
	if e, ok := store.Get(a.Store, store.Disks, disk.NewKey(kind, sub, group, name)); ok {
		return e, nil
	}
	if _, err := a.Group(ctx, sub, group); err != nil && !resource.Is(err, resource.Conflict) {
		return store.Entry[disk.Disk]{}, err
	}
	return store.Entry[disk.Disk]{}, resource.Errorf(resource.NotFound, "ResourceNotFound", "The Resource '%s/%s' under resource group '%s' was not found.", kind.Type(), name, group)
}

// diskState is what was made of a disk; nothing, if there is no record.
func (a *API) diskState(uid disk.UID) disk.State {
	if e, ok := store.Get(a.Store, store.DiskStates, uid); ok {
		return *e.Value
	}
	return disk.State{}
}

// holder is who has a managed disk attached.
type holder struct {
	attachment *disk.Attachment // nil for nobody
	key        vmss.InstanceKey
	id         resource.ID   // of the instance; zero if its set is gone
	rec        *store.Record // of the instance; nil if it is gone
}

func (a *API) holder(uid disk.UID) holder {
	e, ok := store.Get(a.Store, store.Attachments, uid)
	if !ok {
		return holder{}
	}
	h := holder{attachment: e.Value, key: vmss.InstanceKey{Set: vmss.UID(e.Value.Set), ID: vmss.InstanceID(e.Value.Instance)}}
	if set, ok := a.Store.SetByUID(h.key.Set); ok {
		h.id, h.rec = instanceOf(*set.Value, h.key.ID), a.Store.Instance(h.key.Set, h.key.ID)
	}
	return h
}

// diskView is what is known of a disk now beside its record.
func (a *API) diskView(uid disk.UID) wire.DiskView {
	view := wire.DiskView{State: a.diskState(uid)}
	if h := a.holder(uid); h.attachment != nil {
		view.At, view.Since = h.id, h.attachment.Since
		view.Reserved = h.rec != nil && h.rec.Row.Value.Power == vmss.PowerDeallocated
	}
	return view
}

func (a *API) getDisk(kind disk.Kind) arm.Handler {
	return func(ctx context.Context, r *arm.Request) (*arm.Response, error) {
		e, err := a.disk(ctx, r, kind)
		if err != nil {
			return nil, err
		}
		body, err := wire.RenderDisk(*e.Value, a.diskView(e.Value.UID))
		return &arm.Response{Body: body, ETag: etag(e.Revision)}, err
	}
}

// listDisks lists the disks of a group, or of the subscription if the path names no
// group.
func (a *API) listDisks(kind disk.Kind) arm.Handler {
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
		in := disk.NewKey(kind, sub, group, "")
		var found []store.Entry[disk.Disk]
		for _, e := range store.All(a.Store, store.Disks) {
			if k := e.Value.Key(); k.Kind == kind && k.Subscription == in.Subscription && (group == "" || k.Group == in.Group) {
				found = append(found, e)
			}
		}
		page, next, err := arm.Page(r, found, setsPage, func(e store.Entry[disk.Disk]) string {
			k := e.Value.Key()
			return k.Group + "/" + k.Name // the order of store.All
		})
		if err != nil {
			return nil, err
		}
		values := make([][]byte, 0, len(page))
		for _, e := range page {
			body, err := wire.RenderDisk(*e.Value, a.diskView(e.Value.UID))
			if err != nil {
				return nil, err
			}
			values = append(values, body)
		}
		return &arm.Response{Body: wire.RenderPage(values, next)}, nil
	}
}

// changeDisk calls f, again while it meets a Conflict of the store.
func changeDisk(ctx context.Context, name string, f func() error) error {
	err := retry(ctx, f)
	if stale(err) {
		busy := resource.Errorf(resource.Throttled, "TooManyRequests", "'%s' is being changed by others all the time. Try again later.", name).Because(err)
		busy.RetryAfter = time.Second
		return busy
	}
	return err
}

func errDiskDeleting(d disk.Disk) error {
	return resource.Errorf(resource.Conflict, "OperationNotAllowed", "'%s' is being deleted. Wait until it is gone.", d.ID)
}

// diskOperation is an operation on a disk.
func diskOperation(kind vmss.OperationKind, d disk.Disk) vmss.Operation {
	return vmss.Operation{Kind: kind, Target: d.ID, Set: vmss.UID(d.UID), Location: d.Location}
}

// deleteDisk marks the disk; the reconciler removes what it holds. Asking again
// while it goes answers with the same operation.
func (a *API) deleteDisk(kind disk.Kind) arm.Handler {
	return func(ctx context.Context, r *arm.Request) (*arm.Response, error) {
		var op vmss.Operation
		err := changeDisk(ctx, r.Var("disk"), func() error {
			e, err := a.disk(ctx, r, kind)
			if err != nil {
				return err
			}
			if err := arm.Precondition(r, etag(e.Revision)); err != nil {
				return err
			}
			op, err = a.markDisk(ctx, r, e)
			return err
		})
		if missing(err) {
			return &arm.Response{Status: http.StatusNoContent}, nil
		}
		if err != nil {
			return nil, err
		}
		return &arm.Response{Status: http.StatusAccepted, Async: async(op, true)}, nil
	}
}

func (a *API) markDisk(ctx context.Context, r *arm.Request, e store.Entry[disk.Disk]) (vmss.Operation, error) {
	d := *e.Value
	running, _, found := a.Store.LastOperation(vmss.UID(d.UID), func(op vmss.Operation) bool { return op.Kind == vmss.OpDeleteDisk })
	if d.Deleting && found {
		return running, nil
	}
	if h := a.holder(d.UID); h.attachment != nil {
		return vmss.Operation{}, resource.Errorf(resource.Conflict, "OperationNotAllowed", "Disk %s is attached to VM %s. Detach it first.", d.ID.Name(), h.id)
	}
	if copier := a.copying(d.UID); copier != nil {
		return vmss.Operation{}, resource.Errorf(resource.Conflict, "OperationNotAllowed", "'%s' is being copied to '%s'. Wait until that is made, or delete it.", d.ID, copier.ID)
	}
	d.Deleting = true
	op := diskOperation(vmss.OpDeleteDisk, d)
	changes := append(a.record(r, &op), store.Put(store.Disks, d.Key(), d, store.At(e.Revision)), store.Check(store.Attachments, d.UID, store.Absent))
	_, err := a.Store.Commit(ctx, changes...)
	return op, err
}

// copying returns a disk that is being made from the one with this UID, or nil.
func (a *API) copying(uid disk.UID) *disk.Disk {
	for _, e := range store.All(a.Store, store.Disks) {
		d := e.Value
		if d.Source.Disk == uid && d.Provisioning(a.diskState(d.UID)) == disk.Creating {
			return d
		}
	}
	return nil
}
