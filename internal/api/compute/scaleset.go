package compute

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/muster-vm/muster/internal/arm"
	wire "github.com/muster-vm/muster/internal/arm/wire/compute"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/vmss"
)

func (a *API) scaleSetRoutes() []arm.Route {
	return []arm.Route{
		route("GET", setsPath, setAction+"read", a.listInGroup),
		route("GET", subscriptionPath+"/providers/Microsoft.Compute/virtualMachineScaleSets", setAction+"read", a.listInSubscription),
		route("GET", locationPath+"/virtualMachineScaleSets", setAction+"read", a.listInLocation),
		route("GET", setPath, setAction+"read", a.getScaleSet),
		route("HEAD", setPath, setAction+"read", a.headScaleSet),
		route("PUT", setPath, setAction+"write", a.writeScaleSet),
		route("PATCH", setPath, setAction+"write", a.writeScaleSet),
		route("DELETE", setPath, setAction+"delete", a.deleteScaleSet),
		route("GET", setPath+"/instanceView", setAction+"instanceView/read", a.getSetInstanceView),
		route("GET", setPath+"/skus", setAction+"skus/read", a.listSetSizes),
		route("GET", setPath+"/osUpgradeHistory", setAction+"osUpgradeHistory/read", a.listOSUpgrades),
	}
}

// etag names the revision of a document; empty if there is none.
func etag(revision int64) string {
	if revision == 0 {
		return ""
	}
	return strconv.FormatInt(revision, 10)
}

// standing is where a set stands: its state, and how its newest PUT ended.
func (a *API) standing(set vmss.ScaleSet) (vmss.ProvisioningState, *vmss.Outcome) {
	open := a.Store.OpenOperations(set.UID)
	op, last, found := a.Store.LastOperation(set.UID, func(op vmss.Operation) bool { return op.Kind == vmss.OpPut })
	if found && last == nil && len(open) == 0 {
		open = append(open, op) // it began between the two looks
	}
	return vmss.SetProvisioning(set, open, last), last
}

func (a *API) getScaleSet(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	view, err := expandSet(r)
	if err != nil {
		return nil, err
	}
	e, err := a.scaleSet(ctx, r)
	if err != nil {
		return nil, err
	}
	body, err := a.render(e, view)
	return &arm.Response{Body: body, ETag: etag(e.Revision)}, err
}

// expandSet reads $expand.
func expandSet(r *arm.Request) (wire.SetView, error) {
	given := r.Query("$expand")
	if given != "" && !strings.EqualFold(given, "userData") {
		return wire.SetView{}, resource.Errorf(resource.Invalid, "InvalidParameter", "'%.64s' cannot be expanded here; $expand takes userData.", given).At("$expand")
	}
	return wire.SetView{UserData: given != "", Version: r.APIVersion}, nil
}

// headScaleSet tells whether there is such a set.
func (a *API) headScaleSet(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	_, err := a.scaleSet(ctx, r)
	return &arm.Response{Status: http.StatusNoContent}, err
}

// render writes the set as it is now. A set that is being deleted loses its
// revisions before its document; for that moment it shows no model.
func (a *API) render(e store.Entry[vmss.ScaleSet], view wire.SetView) ([]byte, error) {
	rev, err := a.revision(*e.Value, e.Value.Revision)
	if err != nil && !e.Value.Deleting {
		return nil, err
	}
	view.ETag = etag(e.Revision)
	view.Provisioning, _ = a.standing(*e.Value)
	if err != nil {
		return wire.RenderScaleSet(*e.Value, rev.Model, view)
	}
	return a.documents.get(documentKey{e.Value.UID, view}, func() ([]byte, error) {
		return wire.RenderScaleSet(*e.Value, rev.Model, view)
	})
}

// documentKey names a set as it was, by its ETag, and how it is shown.
type documentKey struct {
	set  vmss.UID
	view wire.SetView
}

// edit is a change of a set in the making.
type edit struct {
	group   resource.Group
	groupAt int64 // revision of the group's record
	at      int64 // revision of the set's document; 0 if it is to be created
	was     *wire.Current
	guards  []store.Change // what must still be so when it is committed
}

// openSet starts a change of the set that the path names. It fails with NotFound
// if the group is missing or, for PATCH, the set is; with Conflict while either
// is being deleted; with Precondition if the ETag is not the wanted one.
func (a *API) openSet(ctx context.Context, r *arm.Request) (edit, error) {
	sub, name := r.Var("subscription"), r.Var("group")
	if err := a.known(sub); err != nil {
		return edit{}, err
	}
	record, _ := store.Get(a.Store, store.Groups, store.GroupKeyOf(sub, name)) // before the look at it: the guard must not be newer
	group, err := a.Group(ctx, sub, name)
	if err != nil {
		return edit{}, err
	}
	e := edit{group: group, groupAt: record.Revision}
	found, err := a.scaleSet(ctx, r)
	if err != nil && (!missing(err) || r.HTTP.Method != http.MethodPut) {
		return edit{}, err
	}
	e.at = found.Revision
	if err := arm.Precondition(r, etag(e.at)); err != nil || found.Value == nil {
		return e, err
	}
	set := *found.Value
	if err := refuseDeleting(set, "Create or Update Virtual Machine Scale Set"); err != nil {
		return edit{}, err
	}
	rev, err := a.revision(set, set.Revision)
	e.was = &wire.Current{Set: set, Model: rev.Model}
	return e, err
}

func missing(err error) bool {
	e, ok := errors.AsType[*resource.Error](err)
	return ok && e.Code == "ResourceNotFound"
}

// writeScaleSet answers PUT and PATCH, which differ in how the body is merged.
func (a *API) writeScaleSet(ctx context.Context, r *arm.Request) (resp *arm.Response, err error) {
	err = a.change(ctx, keyOf(r), func() error {
		e, err := a.openSet(ctx, r)
		if err != nil {
			return err
		}
		set, model, err := a.accept(r, e)
		if err != nil {
			return err
		}
		next := wire.Current{Set: set, Model: model}
		give, err := a.hold(ctx, model)
		if err != nil {
			return err
		}
		defer give()
		if e.guards, err = a.references(r, e.was, next); err != nil {
			return err
		}
		resp, err = a.commitSet(ctx, r, e, next)
		return err
	})
	return resp, err
}

// accept merges and checks the request, and looks up what it names.
func (a *API) accept(r *arm.Request, e edit) (vmss.ScaleSet, vmss.Model, error) {
	merge := wire.Put
	if r.HTTP.Method == http.MethodPatch {
		merge = wire.Patch
	}
	draft, err := merge(e.was, r.Body())
	if err != nil {
		return vmss.ScaleSet{}, vmss.Model{}, err
	}
	in := wire.Input{ID: resource.In(a.Subscription, e.group.Name, "Microsoft.Compute", "virtualMachineScaleSets", r.Var("set")),
		MaxCapacity: a.MaxCapacity, Zones: a.Zones}
	size, err := a.lookUp(draft, e.was, &in)
	if err != nil {
		return vmss.ScaleSet{}, vmss.Model{}, err
	}
	set, model, err := draft.Parse(in)
	if err != nil {
		return vmss.ScaleSet{}, vmss.Model{}, err
	}
	return set, model, a.checkQuota(set, size, e.was)
}

const (
	sizePath  = "sku.name"
	imagePath = "properties.virtualMachineProfile.storageProfile.imageReference"
)

// lookUp finds the location, the size and the image that the draft names, and
// says what is wrong with all of them. What it does not name, Parse reports.
func (a *API) lookUp(draft *wire.Draft, was *wire.Current, in *wire.Input) (vmss.Size, error) {
	var where, what error
	if was == nil {
		where = a.offers().Check(draft.Location(), vmss.ResourceType)
	}
	size, ok := vmss.SizeNamed(draft.Size())
	if !ok && draft.Size() != "" {
		what = errNoSize(draft.Size())
	}
	image, err := a.resolveImage(draft.Image(), was)
	in.MaxDataDisks, in.Image = size.DataDisks, image
	return size, errors.Join(where, what, err)
}

func errNoSize(name string) error {
	return resource.Errorf(resource.Invalid, "InvalidParameter",
		"The VM size '%.64s' is not known. Valid sizes are, among others, Standard_B1s, Standard_D2s_v5, Standard_F2s_v2 and, for the smallest guests, Muster_T1; GET .../skus lists all.", name).At(sizePath)
}

// resolveImage resolves a reference. A set keeps the image that its reference meant
// until the text of the reference changes, through other changes of the model
// too: what "latest" means moves on by itself, and an upgrade that was asked for
// a new tag or disk must not replace the OS disks as well. Every member of a
// reference that has none left out counts, in any letter case.
func (a *API) resolveImage(ref vmss.Image, was *wire.Current) (vmss.Image, error) {
	urn := ref.Publisher != "" && ref.Offer != "" && ref.SKU != "" && ref.Version != ""
	both := ref.ID != "" && (ref.Publisher != "" || ref.Offer != "" || ref.SKU != "")
	if ref.ID == "" && !urn || both {
		return ref, nil // incomplete, or two images: Parse says what is wrong
	}
	if was != nil && sameReference(ref, was.Model.Image) {
		kept := was.Model.Image
		kept.Publisher, kept.Offer, kept.SKU, kept.Version, kept.ID = ref.Publisher, ref.Offer, ref.SKU, ref.Version, ref.ID
		return kept, nil
	}
	image, err := a.resolve(ref)
	return image, placed(err, imagePath)
}

func sameReference(a, b vmss.Image) bool {
	return strings.EqualFold(a.ID, b.ID) && strings.EqualFold(a.URN(), b.URN())
}

// commitSet writes the set, a revision if the model is another one, and the
// operation, all or none. A document that says what it said keeps its ETag.
func (a *API) commitSet(ctx context.Context, r *arm.Request, e edit, next wire.Current) (*arm.Response, error) {
	set, now := next.Set, time.Now().UTC()
	changes := e.guards
	if e.was == nil {
		set.UID, set.Created = vmss.UID(uuid.NewString()), now
		changes = append(changes, store.Check(store.Groups, store.GroupKeyOf(a.Subscription, e.group.Name), store.At(e.groupAt)))
	}
	if e.was == nil || !wire.SameModel(e.was.Model, next.Model) {
		set.Revision++
		changes = append(changes, store.Put(store.Revisions, vmss.RevisionKey{Set: set.UID, Number: set.Revision},
			vmss.Revision{Number: set.Revision, Created: now, Model: next.Model}, store.Absent))
	}
	same := e.was != nil && sameDocument(e.was.Set, set)
	if same {
		changes = append(changes, store.Check(store.ScaleSets, set.Key(), store.At(e.at)))
	} else {
		changes = append(changes, store.Put(store.ScaleSets, set.Key(), set, store.At(e.at)))
	}
	// In mode Automatic instances follow the model by themselves; the operation
	// lasts until they have.
	op := vmss.Operation{Kind: vmss.OpPut, CreatesSet: e.was == nil, WaitUpgrade: set.Upgrade.Mode == vmss.UpgradeAutomatic}
	changes = append(changes, a.begin(r, set, &op)...)
	at, err := a.Store.Commit(ctx, changes...)
	if err != nil {
		return nil, err
	}
	if same {
		at = e.at
	}
	view, status := wire.SetView{Provisioning: vmss.Updating, ETag: etag(at), Version: r.APIVersion}, http.StatusOK
	if e.was == nil {
		view.Provisioning, status = vmss.Creating, http.StatusCreated
	}
	body, err := wire.RenderScaleSet(set, next.Model, view)
	return &arm.Response{Status: status, Body: body, ETag: view.ETag, Async: async(op, false)}, err
}

// sameDocument reports whether the user's document is the same: all that is
// typed beside it is read from these.
func sameDocument(a, b vmss.ScaleSet) bool {
	return bytes.Equal(a.Document, b.Document) && a.SKU.Capacity == b.SKU.Capacity && a.Revision == b.Revision
}

// deleteScaleSet marks the set; the reconciler takes it apart. Asking again
// while it goes answers with the same operation, and can add force.
func (a *API) deleteScaleSet(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	force, err := boolQuery(r, "forceDeletion")
	if err != nil {
		return nil, err
	}
	var op vmss.Operation
	err = a.change(ctx, keyOf(r), func() error {
		e, err := a.scaleSet(ctx, r)
		if err != nil {
			return err
		}
		if err := arm.Precondition(r, etag(e.Revision)); err != nil {
			return err
		}
		op, err = a.markDeleting(ctx, r, e, force)
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

func (a *API) markDeleting(ctx context.Context, r *arm.Request, e store.Entry[vmss.ScaleSet], force bool) (vmss.Operation, error) {
	set := *e.Value
	running, _, found := a.Store.LastOperation(set.UID, func(op vmss.Operation) bool { return op.Kind == vmss.OpDelete })
	found = found && set.Deleting
	if found && (set.ForceDelete || !force) {
		return running, nil
	}
	set.Deleting, set.ForceDelete = true, set.ForceDelete || force
	changes := []store.Change{store.Put(store.ScaleSets, set.Key(), set, store.At(e.Revision))}
	op := running
	if !found {
		op = vmss.Operation{Kind: vmss.OpDelete, Force: force}
		changes = append(changes, a.begin(r, set, &op)...)
	}
	_, err := a.Store.Commit(ctx, changes...)
	return op, err
}

// boolQuery reads a query parameter that is true or false, in any letter case,
// and false if it is not given.
func boolQuery(r *arm.Request, name string) (bool, error) {
	switch given := r.Query(name); strings.ToLower(given) {
	case "true":
		return true, nil
	case "", "false":
		return false, nil
	default:
		return false, resource.Errorf(resource.Invalid, "InvalidParameter", "%s is true or false, not '%.64s'.", name, given).At(name)
	}
}
