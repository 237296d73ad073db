package compute

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/muster-vm/muster/internal/arm"
	wire "github.com/muster-vm/muster/internal/arm/wire/compute"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/vmss"
)

func (a *API) instanceRoutes() []arm.Route {
	routes := []arm.Route{
		route("GET", setPath+"/virtualMachines", instanceAction+"read", a.listInstances),
		route("GET", instancePath, instanceAction+"read", a.getInstance),
		route("GET", instancePath+"/instanceView", instanceAction+"instanceView/read", a.getInstanceView),
		route("PUT", instancePath, instanceAction+"write", a.putInstance),
		route("DELETE", instancePath, instanceAction+"delete", a.deleteInstance),
		route("POST", instancePath+"/attachDetachDataDisks", instanceAction+"attachDetachDataDisks/action", a.attachDetach),
	}
	return append(routes, a.nicRoutes()...)
}

// found is an instance that a path names. The customization was read before the
// record: what the record shows is never older than the ETag.
type found struct {
	set    store.Entry[vmss.ScaleSet]
	id     vmss.InstanceID
	custom store.Entry[vmss.Customization]
	rec    *store.Record // nil if the set has no such instance
}

// find looks up the instance that the path names. It fails with Invalid for
// what is no instance id, and with NotFound for a set that does not exist.
func (a *API) find(ctx context.Context, r *arm.Request) (found, error) {
	set, err := a.scaleSet(ctx, r)
	if err != nil {
		return found{}, err
	}
	id, err := vmss.ParseInstanceID(r.Var("instance"))
	if err != nil {
		return found{}, err
	}
	custom, _ := store.Get(a.Store, store.Customizations, vmss.InstanceKey{Set: set.Value.UID, ID: id})
	return found{set: set, id: id, custom: custom, rec: a.Store.Instance(set.Value.UID, id)}, nil
}

// read is find for instances that must be there. Without one it fails with
// NotFound, worded as Azure does.
func (a *API) read(ctx context.Context, r *arm.Request) (found, *wire.InstanceRenderer, error) {
	f, err := a.find(ctx, r)
	if err != nil {
		return f, nil, err
	}
	if f.rec == nil {
		return f, nil, resource.Errorf(resource.NotFound, "NotFound", "The entity was not found in this Azure location.")
	}
	renderer, err := a.renderer(f.set, f.rec.Row.Value.Revision)
	return f, renderer, err
}

// inputOf is a record as renderers take it.
func inputOf(rec *store.Record) wire.InstanceInput {
	in := wire.InstanceInput{Row: *rec.Row.Value, Custom: rec.Custom}
	if rec.Seen != nil {
		in.Seen = *rec.Seen
	}
	return in
}

func (a *API) getInstance(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	opt, err := expandInstance(r, "instanceView", "userData")
	if err != nil {
		return nil, err
	}
	f, renderer, err := a.read(ctx, r)
	if err != nil {
		return nil, err
	}
	return &arm.Response{Body: renderer.Render(inputOf(f.rec), opt), ETag: f.tag(f.custom.Revision)}, nil
}

func (a *API) getInstanceView(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	f, renderer, err := a.read(ctx, r)
	if err != nil {
		return nil, err
	}
	return &arm.Response{Body: renderer.RenderInstanceView(inputOf(f.rec))}, nil
}

// tag is the instance's ETag after the customization that was written at a
// revision, 0 for none. It changes when somebody customises the instance, and is
// another one when a set of the same name is made again.
func (f found) tag(revision int64) string {
	return vmss.GUID(f.set.Value.UID, "etag", f.id.String(), strconv.FormatInt(revision, 10))
}

// putInstance customises an instance: its protection, its tags, and the data disks
// that it has beyond those of the model.
func (a *API) putInstance(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	return a.customize(ctx, r, form{wire.ParseInstance, "properties.storageProfile.dataDisks.managedDisk.id"})
}

// attachDetach attaches managed disks to an instance, and detaches them from it. Its
// operation answers with the instance's storage profile.
func (a *API) attachDetach(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	resp, err := a.customize(ctx, r, form{wire.ParseAttachDetach, "dataDisksToAttach.diskId"})
	if err != nil {
		return nil, err
	}
	resp.Status, resp.Body, resp.ETag, resp.Async.Location = http.StatusAccepted, nil, "", true
	return resp, nil
}

// form is a body that customises an instance: how it is read, and where it names
// managed disks.
type form struct {
	parse func(body []byte, is wire.InstanceNow) (vmss.Customization, error)
	disks string // JSON path
}

// customize commits what the body makes of an instance.
func (a *API) customize(ctx context.Context, r *arm.Request, form form) (resp *arm.Response, err error) {
	err = a.change(ctx, keyOf(r), func() error {
		f, err := a.find(ctx, r)
		if err != nil {
			return err
		}
		if err := refuseDeleting(*f.set.Value, "Update Virtual Machine Scale Set VM"); err != nil {
			return err
		}
		if !active(f.rec) {
			return errNotActive(f.id)
		}
		if err := arm.Precondition(r, f.tag(f.custom.Revision)); err != nil {
			return err
		}
		renderer, err := a.renderer(f.set, f.rec.Row.Value.Revision)
		if err != nil {
			return err
		}
		size, _ := vmss.SizeNamed(renderer.Size())
		custom, err := form.parse(r.Body(), wire.InstanceNow{Rendered: renderer.Render(inputOf(f.rec), wire.InstanceOptions{}), Custom: f.custom.Value, MaxDataDisks: size.DataDisks})
		if err != nil {
			return err
		}
		resp, err = a.commitInstance(ctx, r, f, custom, form.disks)
		return err
	})
	return resp, err
}

// commitInstance writes the customization, the attachments of managed disks that
// are new in it, and the operation, all or none. disks is where the request names
// them.
func (a *API) commitInstance(ctx context.Context, r *arm.Request, f found, custom vmss.Customization, disks string) (*arm.Response, error) {
	set, in := f.set.Value, inputOf(f.rec)
	if f.custom.Value != nil {
		in.Leaving = slices.DeleteFunc(slices.Clone(f.custom.Value.Attached), func(d vmss.Disk) bool { return slices.Contains(custom.Attached, d) })
	}
	changes, err := a.attach(f, &custom)
	if err != nil {
		return nil, placed(err, disks)
	}
	op := vmss.Operation{Kind: vmss.OpCustomize, Instances: []vmss.InstanceID{f.id}, AtInstance: true, Target: instanceOf(*set, f.id)}
	changes = append(changes, a.begin(r, *set, &op)...)
	custom.By(op.Sequence)
	key := vmss.InstanceKey{Set: set.UID, ID: f.id}
	revision, err := a.Store.Commit(ctx, append(changes,
		store.Put(store.Customizations, key, custom, store.At(f.custom.Revision)),
		store.Check(store.ScaleSets, set.Key(), store.At(f.set.Revision)),
		store.Check(store.Instances, key, store.At(f.rec.Row.Revision)))...)
	if err != nil {
		return nil, err
	}
	renderer, err := a.renderer(f.set, in.Row.Revision)
	if err != nil {
		return nil, err
	}
	in.Custom = &custom
	body := renderer.Render(in, wire.InstanceOptions{Provisioning: vmss.Updating})
	return &arm.Response{Body: body, ETag: f.tag(revision), Async: async(op, false)}, nil
}

// deleteInstance deletes one instance and lowers the capacity with it. One that
// is not there is deleted already.
func (a *API) deleteInstance(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	force, err := boolQuery(r, "forceDeletion")
	if err != nil {
		return nil, err
	}
	f, err := a.find(ctx, r)
	if err != nil {
		return nil, err
	}
	if f.rec == nil {
		return &arm.Response{Status: http.StatusNoContent}, nil
	}
	return a.act(ctx, r, vmss.Operation{Kind: vmss.OpDeleteSome, Force: force, AtInstance: true, Instances: []vmss.InstanceID{f.id}})
}

func instanceOf(set vmss.ScaleSet, id vmss.InstanceID) resource.ID {
	return set.ID.Child("virtualMachines", id.String())
}

// active reports whether the instance is there to stay.
func active(rec *store.Record) bool { return rec != nil && !rec.Row.Value.Deleting }

// expandInstance reads $expand, a list of names, each one of those known.
func expandInstance(r *arm.Request, known ...string) (opt wire.InstanceOptions, err error) {
	for name := range strings.SplitSeq(r.Query("$expand"), ",") {
		at := ""
		for _, k := range known {
			if strings.EqualFold(strings.TrimSpace(name), k) {
				at = k
			}
		}
		switch {
		case at == "instanceView":
			opt.View = true
		case at == "userData":
			opt.UserData = true
		case strings.TrimSpace(name) != "":
			return opt, resource.Errorf(resource.Invalid, "InvalidParameter", "'%.64s' cannot be expanded here; $expand takes %s.", name, strings.Join(known, " or ")).At("$expand")
		}
	}
	return opt, nil
}

// rendererKey names a set's document and one of its models, as they were.
type rendererKey struct {
	set      vmss.UID
	document int64 // store revision of the set
	model    vmss.RevisionNumber
}

// renderer returns what writes the instances of the set that have a model. It
// is remembered, so that a page does not parse the model again.
func (a *API) renderer(set store.Entry[vmss.ScaleSet], model vmss.RevisionNumber) (*wire.InstanceRenderer, error) {
	return a.renderers.get(rendererKey{set.Value.UID, set.Revision, model}, func() (*wire.InstanceRenderer, error) {
		revision, err := a.revision(*set.Value, model)
		if err != nil {
			return nil, err
		}
		return wire.NewInstanceRenderer(*set.Value, revision)
	})
}
