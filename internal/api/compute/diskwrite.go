package compute

import (
	"bytes"
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/muster-vm/muster/internal/arm"
	wire "github.com/muster-vm/muster/internal/arm/wire/compute"
	"github.com/muster-vm/muster/internal/disk"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/vmss"
)

// maxDisks bounds how many disks of one kind there are.
//
// Source: https://learn.microsoft.com/azure/azure-resource-manager/management/azure-subscription-service-limits
const maxDisks = 50000

// diskEdit is a change of a disk in the making.
type diskEdit struct {
	kind    disk.Kind
	group   resource.Group
	groupAt int64          // revision of the group's record
	at      int64          // revision of the disk's record; 0 if it is to be created
	was     *disk.Disk     // nil if it is to be created
	with    []store.Change // what goes or holds with it
}

// openDisk starts a change of the disk that the path names. It fails as openSet
// does.
func (a *API) openDisk(ctx context.Context, r *arm.Request, kind disk.Kind) (diskEdit, error) {
	sub, name := r.Var("subscription"), r.Var("group")
	if err := a.known(sub); err != nil {
		return diskEdit{}, err
	}
	record, _ := store.Get(a.Store, store.Groups, store.GroupKeyOf(sub, name)) // before the look at it: the guard must not be newer
	group, err := a.Group(ctx, sub, name)
	if err != nil {
		return diskEdit{}, err
	}
	e := diskEdit{kind: kind, group: group, groupAt: record.Revision}
	found, err := a.disk(ctx, r, kind)
	if err != nil && (!missing(err) || r.HTTP.Method != http.MethodPut) {
		return diskEdit{}, err
	}
	e.at, e.was = found.Revision, found.Value
	if err := arm.Precondition(r, etag(e.at)); err != nil {
		return e, err
	}
	if e.was != nil && e.was.Deleting {
		return e, errDiskDeleting(*e.was)
	}
	return e, nil
}

// writeDisk answers PUT and PATCH.
func (a *API) writeDisk(kind disk.Kind) arm.Handler {
	return func(ctx context.Context, r *arm.Request) (resp *arm.Response, err error) {
		err = changeDisk(ctx, r.Var("disk"), func() error {
			e, err := a.openDisk(ctx, r, kind)
			if err != nil {
				return err
			}
			d, err := a.acceptDisk(r, &e)
			if err != nil {
				return err
			}
			resp, err = a.commitDisk(ctx, r, e, d)
			return err
		})
		return resp, err
	}
}

// acceptDisk merges and checks the request, and looks up what it names.
func (a *API) acceptDisk(r *arm.Request, e *diskEdit) (disk.Disk, error) {
	merge := wire.PutDisk
	if r.HTTP.Method == http.MethodPatch {
		merge = wire.PatchDisk
	}
	draft, err := merge(e.kind, e.was, r.Body())
	if err != nil {
		return disk.Disk{}, err
	}
	if e.was != nil {
		return a.acceptChange(draft, e)
	}
	in := wire.DiskInput{ID: resource.In(a.Subscription, e.group.Name, "Microsoft.Compute", string(e.kind), r.Var("disk")), Zones: a.Zones}
	if err := a.offers().Check(draft.Location(), e.kind.Type()); err != nil {
		return disk.Disk{}, err
	}
	if err := a.findSource(draft, e, &in); err != nil {
		return disk.Disk{}, placed(err, draft.SourcePath())
	}
	d, err := draft.Parse(in)
	if err != nil {
		return disk.Disk{}, err
	}
	return d, a.checkDiskQuota(e.kind)
}

// acceptChange checks a request that changes a disk.
func (a *API) acceptChange(draft *wire.DiskDraft, e *diskEdit) (disk.Disk, error) {
	d, err := draft.Parse(a.changeInput(*e.was))
	if err != nil {
		return disk.Disk{}, err
	}
	if d.Source.Option == disk.Import && !a.diskState(d.UID).Ready {
		// The signature in a query may have ended before the file was fetched.
		if source, err := draft.Source(); err == nil && strings.Contains(source.File.URI, "?") {
			d.Source.File = source.File
		}
	}
	return d, a.refitHolder(e, d)
}

// changeInput is what parsing a change of a disk needs.
func (a *API) changeInput(d disk.Disk) wire.DiskInput {
	return wire.DiskInput{ID: d.ID, SizeGB: a.diskState(d.UID).SizeGB, OSType: d.OSType, Zones: a.Zones}
}

// checkDiskQuota fails with Conflict if there are as many disks as there can be.
func (a *API) checkDiskQuota(kind disk.Kind) error {
	n := 0
	for _, e := range store.All(a.Store, store.Disks) {
		if e.Value.Kind == kind {
			n++
		}
	}
	if n < maxDisks {
		return nil
	}
	return resource.Errorf(resource.Conflict, "OperationNotAllowed", "There are %d %s already, and no more than that can be. Delete some.", n, kind)
}

// refitHolder adds to the edit what the instance that has the disk attached is told
// of the change: its new size and limits. It fails with Conflict for what cannot
// change while a disk is attached.
func (a *API) refitHolder(e *diskEdit, d disk.Disk) error {
	h := a.holder(d.UID)
	if h.attachment == nil {
		e.with = append(e.with, store.Check(store.Attachments, d.UID, store.Absent))
		return nil
	}
	if d.SKU != e.was.SKU {
		return resource.Errorf(resource.Conflict, "OperationNotAllowed", "The type of a disk cannot change while it is attached. Detach it from '%s' first.", h.id).At("sku.name")
	}
	custom, ok := store.Get(a.Store, store.Customizations, h.key)
	if !ok {
		return nil
	}
	next := *custom.Value
	next.Attached = slices.Clone(next.Attached)
	for i := range next.Attached {
		if next.Attached[i].Volume == string(d.UID) {
			next.Attached[i] = a.fitted(next.Attached[i], d)
		}
	}
	if !slices.Equal(next.Attached, custom.Value.Attached) {
		e.with = append(e.with, store.Put(store.Customizations, h.key, next, store.At(custom.Revision)))
	}
	return nil
}

// fitted returns an instance's disk with what is wanted of the managed disk.
func (a *API) fitted(v vmss.Disk, d disk.Disk) vmss.Disk {
	v.SizeGB, v.StorageType = d.Size(a.diskState(d.UID)), d.SKU
	v.IOPS, v.MBps = d.Limit.IOPS, d.Limit.MBps
	return v
}

// commitDisk writes the disk and the operation. A record that says what it said
// keeps its ETag.
func (a *API) commitDisk(ctx context.Context, r *arm.Request, e diskEdit, d disk.Disk) (*arm.Response, error) {
	changes, status, view := e.with, http.StatusOK, a.diskView(d.UID)
	view.Provisioning = disk.Updating
	if e.was == nil {
		d.UID, d.Created = disk.UID(uuid.NewString()), time.Now().UTC()
		changes = append(changes, store.Check(store.Groups, store.GroupKeyOf(a.Subscription, e.group.Name), store.At(e.groupAt)))
		status, view.Provisioning = http.StatusCreated, disk.Creating
	}
	if e.kind != disk.Image {
		status = http.StatusAccepted // clients of disks take no 201
		view.Provisioning, view.Accepted = disk.Updating, e.was == nil
	}
	same := e.was != nil && bytes.Equal(e.was.Document, d.Document) && e.was.Source.File == d.Source.File
	if same {
		changes = append(changes, store.Check(store.Disks, d.Key(), store.At(e.at)))
	} else {
		changes = append(changes, store.Put(store.Disks, d.Key(), d, store.At(e.at)))
	}
	op := diskOperation(vmss.OpPutDisk, d)
	at, err := a.Store.Commit(ctx, append(changes, a.record(r, &op)...)...)
	if err != nil {
		return nil, err
	}
	if same {
		at = e.at
	}
	body, err := wire.RenderDisk(d, view)
	return &arm.Response{Status: status, Body: body, ETag: etag(at), Async: async(op, e.kind != disk.Image)}, err
}
