package compute

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/muster-vm/muster/internal/arm"
	wire "github.com/muster-vm/muster/internal/arm/wire/compute"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/vmss"
)

// action is a POST on a set or on an instance.
type action struct {
	name string // in the path
	kind vmss.OperationKind
	ids  func(body []byte) ([]vmss.InstanceID, error) // which instances; nil means all
}

func mayName(body []byte) ([]vmss.InstanceID, error) {
	return wire.ParseInstanceIDs(body, wire.MayName)
}

func mustName(body []byte) ([]vmss.InstanceID, error) {
	return wire.ParseInstanceIDs(body, wire.MustName)
}

// everyAction can be asked of a set and of an instance.
var everyAction = []action{
	{"start", vmss.OpStart, mayName},
	{"powerOff", vmss.OpPowerOff, mayName},
	{"restart", vmss.OpRestart, mayName},
	{"deallocate", vmss.OpDeallocate, mayName},
	{"reimage", vmss.OpReimage, wire.ParseReimage},
	{"reimageAll", vmss.OpReimageAll, wire.ParseReimage},
	{"redeploy", vmss.OpRedeploy, mayName},
}

// setActions can be asked of a set only.
var setActions = []action{
	{"reapply", vmss.OpReapply, mayName},
	{"delete", vmss.OpDeleteSome, mustName},
	{"manualUpgrade", vmss.OpManualUpgrade, mustName},
}

func (a *API) actionRoutes() []arm.Route {
	routes := []arm.Route{
		route("POST", setPath+"/performMaintenance", setAction+"performMaintenance/action", a.performMaintenance),
		route("POST", instancePath+"/performMaintenance", instanceAction+"performMaintenance/action", a.performMaintenance),
	}
	for _, act := range slices.Concat(setActions, everyAction) {
		routes = append(routes, route("POST", setPath+"/"+act.name, setAction+act.name+"/action", a.onSet(act)))
	}
	for _, act := range everyAction {
		routes = append(routes, route("POST", instancePath+"/"+act.name, instanceAction+act.name+"/action", a.onInstance(act)))
	}
	return routes
}

// onSet serves an action on instances of a set that the body names.
func (a *API) onSet(act action) arm.Handler {
	return func(ctx context.Context, r *arm.Request) (*arm.Response, error) {
		op, err := act.operation(r)
		if err != nil {
			return nil, err
		}
		return a.act(ctx, r, op)
	}
}

// onInstance serves an action on the instance that the path names. As in Azure,
// "*" stands for all of them; az deallocates a whole set that way.
func (a *API) onInstance(act action) arm.Handler {
	return func(ctx context.Context, r *arm.Request) (*arm.Response, error) {
		op, err := act.operation(r)
		if err != nil {
			return nil, err
		}
		if op.Instances != nil {
			return nil, resource.Errorf(resource.Invalid, "InvalidParameter", "The path names the instance already; leave instanceIds out, or ask the scale set.").At("instanceIds")
		}
		if r.Var("instance") == "*" {
			return a.act(ctx, r, op)
		}
		id, err := vmss.ParseInstanceID(r.Var("instance"))
		if err != nil {
			return nil, err
		}
		op.AtInstance, op.Instances = true, []vmss.InstanceID{id}
		return a.act(ctx, r, op)
	}
}

// operation reads what is asked for: body and query.
func (act action) operation(r *arm.Request) (op vmss.Operation, err error) {
	op.Kind = act.kind
	if op.Instances, err = act.ids(r.Body()); err != nil {
		return op, err
	}
	switch act.kind {
	case vmss.OpPowerOff:
		op.SkipShutdown, err = boolQuery(r, "skipShutdown")
	case vmss.OpDeleteSome:
		op.Force, err = boolQuery(r, "forceDeletion")
	case vmss.OpDeallocate:
		var hibernate bool
		if hibernate, err = boolQuery(r, "hibernate"); hibernate {
			err = resource.Errorf(resource.Invalid, "InvalidParameter", "Hibernation is not supported; leave hibernate out to deallocate without saving memory.").At("hibernate")
		}
	case vmss.OpReapply:
		if op.Instances != nil {
			err = resource.Errorf(resource.Invalid, "InvalidParameter", "reapply is for the whole scale set; leave instanceIds out.").At("instanceIds")
		}
	}
	return op, err
}

// act begins an operation on the instances it names, or on all there are.
func (a *API) act(ctx context.Context, r *arm.Request, op vmss.Operation) (*arm.Response, error) {
	err := a.change(ctx, keyOf(r), func() error {
		set, err := a.scaleSet(ctx, r)
		if err != nil {
			return err
		}
		if err := refuseDeleting(*set.Value, string(op.Kind)); err != nil {
			return err
		}
		if err := a.checkNamed(*set.Value, op); err != nil {
			return err
		}
		if err := a.refuseEphemeral(*set.Value, op.Kind); err != nil {
			return err
		}
		if err := a.checkStart(*set.Value, op); err != nil {
			return err
		}
		if op.AtInstance {
			op.Target = instanceOf(*set.Value, op.Instances[0])
		}
		if op.Instances == nil {
			op.Below = a.nextID(*set.Value)
		}
		_, err = a.Store.Commit(ctx, append(a.begin(r, *set.Value, &op), a.document(set, op))...)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &arm.Response{Status: http.StatusAccepted, Async: async(op, true)}, nil
}

// nextID is the id that the set's next instance gets.
func (a *API) nextID(set vmss.ScaleSet) vmss.InstanceID {
	if state, ok := store.Get(a.Store, store.States, set.UID); ok {
		return state.Value.NextID
	}
	return 0
}

// document is what the operation makes of the set's document: deleting
// instances lowers the capacity, everything else leaves it as it was read.
func (a *API) document(set store.Entry[vmss.ScaleSet], op vmss.Operation) store.Change {
	at, next := store.At(set.Revision), *set.Value
	if op.Kind != vmss.OpDeleteSome {
		return store.Check(store.ScaleSets, next.Key(), at)
	}
	next.SKU.Capacity = a.capacityWithout(next, op.Instances)
	return store.Put(store.ScaleSets, next.Key(), next, at)
}

// capacityWithout is the capacity that is left if these instances go, nil for
// all. What stands above the capacity already, because protection kept a scale-in
// from taking it, goes without lowering it.
func (a *API) capacityWithout(set vmss.ScaleSet, ids []vmss.InstanceID) int {
	if ids == nil {
		return 0
	}
	stays, leaving := a.stays(set.UID), 0
	for _, id := range ids {
		if stays(a.Store.Instance(set.UID, id)) {
			leaving++
		}
	}
	if a.Store.Tally(set.UID).Rows > set.SKU.Capacity {
		surplus := -set.SKU.Capacity
		for _, rec := range a.Store.Instances(set.UID, -1, 0) {
			if stays(rec) {
				surplus++
			}
		}
		leaving -= max(0, surplus)
	}
	return set.SKU.Capacity - min(max(0, leaving), set.SKU.Capacity)
}

// stays returns what tells whether an instance is there to stay: it is not
// going, and no operation that was accepted and not begun will delete it.
func (a *API) stays(uid vmss.UID) func(*store.Record) bool {
	named := map[vmss.InstanceID]int64{} // the newest operation that deletes one by name
	var all []vmss.Operation             // those that delete all there were
	for _, op := range a.Store.OpenOperations(uid) {
		if op.Kind != vmss.OpDeleteSome {
			continue
		}
		for _, id := range op.Instances {
			named[id] = op.Sequence
		}
		if op.Instances == nil {
			all = append(all, op)
		}
	}
	return func(rec *store.Record) bool {
		if !active(rec) || named[rec.ID] > rec.Row.Value.Operation {
			return false
		}
		return !slices.ContainsFunc(all, func(op vmss.Operation) bool { return op.Covers(rec.ID) && op.Sequence > rec.Row.Value.Operation })
	}
}

// maxNamed bounds how many ids one answer complains about.
const maxNamed = 20

// checkNamed fails with Invalid if the operation names instances that are not
// there. Those that are being deleted can be deleted again, and nothing else.
func (a *API) checkNamed(set vmss.ScaleSet, op vmss.Operation) error {
	var missing []error
	for _, id := range op.Instances {
		rec := a.Store.Instance(set.UID, id)
		if active(rec) || rec != nil && op.Kind == vmss.OpDeleteSome {
			continue
		}
		if missing = append(missing, errNotActive(id)); len(missing) == maxNamed {
			break
		}
	}
	return errors.Join(missing...)
}

// errNotActive is worded as Azure does; clients look for the words.
func errNotActive(id vmss.InstanceID) error {
	return resource.Errorf(resource.Invalid, "InvalidParameter", "The provided instanceId %s is not an active Virtual Machine Scale Set VM instanceId.", id).At("instanceIds")
}

// refuseDeleting fails with Conflict for a set whose deletion was accepted.
func refuseDeleting(set vmss.ScaleSet, what string) error {
	if !set.Deleting {
		return nil
	}
	return resource.Errorf(resource.Conflict, "OperationNotAllowed", "Operation '%s' is not allowed on Virtual Machine Scale Set '%s' since it is marked for deletion.", what, set.ID.Name())
}

// refuseEphemeral fails with Conflict for deallocating instances whose OS disks are
// ephemeral. No other revision of the model has other ones: that cannot change.
func (a *API) refuseEphemeral(set vmss.ScaleSet, kind vmss.OperationKind) error {
	if kind != vmss.OpDeallocate {
		return nil
	}
	rev, err := a.revision(set, set.Revision)
	if err != nil || !rev.Model.OSDisk.Ephemeral {
		return err
	}
	return resource.Errorf(resource.Conflict, "OperationNotAllowed",
		"Operation 'deallocate' is not supported for VMs or VM Scale Set instances using an ephemeral OS disk, which would not survive it. Power them off (az vmss stop), or delete them.")
}

// performMaintenance says that no maintenance is planned: there never is.
func (a *API) performMaintenance(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	if _, err := a.scaleSet(ctx, r); err != nil {
		return nil, err
	}
	return nil, resource.Errorf(resource.Conflict, "OperationNotAllowed", "No maintenance is planned for the scale set '%s'; redeploy moves its instances.", r.Var("set"))
}
