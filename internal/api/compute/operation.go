package compute

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"

	"github.com/muster-vm/muster/internal/arm"
	wire "github.com/muster-vm/muster/internal/arm/wire/compute"
	"github.com/muster-vm/muster/internal/disk"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/vmss"
)

// attempts bounds how often a change is tried again after a Conflict.
const attempts = 10

// begin returns what records an operation on a set: its record under the next
// sequence number, and the counter. op gets its id, sequence, time and place.
func (a *API) begin(r *arm.Request, set vmss.ScaleSet, op *vmss.Operation) []store.Change {
	op.Set, op.Location = set.UID, set.Location
	if op.Target.IsZero() {
		op.Target = set.ID
	}
	return a.record(r, op)
}

// record is begin for operations that say what they are on: Set, Location and
// Target.
func (a *API) record(r *arm.Request, op *vmss.Operation) []store.Change {
	counter, _ := store.Get(a.Store, store.Counters, string(op.Set))
	n := int64(1)
	if counter.Value != nil {
		n = *counter.Value + 1
	}
	op.ID, op.Sequence = uuid.NewString(), n
	op.Created, op.Principal = time.Now().UTC(), r.Principal.ObjectID
	return []store.Change{store.Put(store.Counters, string(op.Set), n, store.At(counter.Revision)), store.Put(store.Operations, op.Key(), *op, store.Absent)}
}

// retry calls f again while it meets a Conflict of the store: somebody else
// wrote the same records meanwhile. It waits between, longer each time and never
// as long as another caller, until the cache shows what was written.
func retry(ctx context.Context, f func() error) error {
	wait := time.Millisecond
	for try := 1; ; try++ {
		err := f()
		if !stale(err) || try == attempts {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait + rand.N(wait)):
			wait = min(2*wait, 128*time.Millisecond)
		}
	}
}

func stale(err error) bool {
	e, ok := err.(*resource.Error) //nolint:errorlint // what a store answers is not wrapped
	return ok && e.Kind == resource.Conflict && e.Code == store.CodeConflict
}

// async says where the operation is polled.
func async(op vmss.Operation, location bool) *arm.Async {
	kind := "operations"
	if key, ok := disk.KeyOf(op.Target); ok && key.Kind != disk.Image {
		kind = diskOperations
	}
	return &arm.Async{OperationPath: fmt.Sprintf("/subscriptions/%s/providers/Microsoft.Compute/locations/%s/%s/%s", op.Target.Subscription, op.Location, kind, op.ID),
		Location: location}
}

// diskOperations is where Azure has the operations on managed disks and snapshots.
const diskOperations = "DiskOperations"

func (a *API) operationRoutes() []arm.Route {
	var routes []arm.Route
	for _, kind := range []string{"operations", diskOperations} {
		polled := route("GET", locationPath+"/"+kind+"/{operation}", "", a.getOperation)
		polled.Versions = DiskVersions // of all that operations are on
		routes = append(routes, polled)
	}
	return routes
}

// getOperation shows an operation to who began it, whatever the scope of their
// role, and to who may read what it is about.
func (a *API) getOperation(_ context.Context, r *arm.Request) (*arm.Response, error) {
	op, outcome, err := a.Store.OperationByID(r.Var("operation"))
	if err != nil {
		return nil, err
	}
	if op.Principal != r.Principal.ObjectID {
		if err := r.May("Microsoft.Compute/locations/operations/read", op.Target.String()); err != nil {
			return nil, err
		}
	}
	view := operationView(op, outcome)
	if outcome == nil && op.Kind == vmss.OpPutDisk && a.Progress != nil {
		view.PercentComplete = a.percent(disk.UID(op.Set))
	}
	made, err := a.made(op, outcome)
	if err != nil {
		return nil, err
	}
	if made == nil {
		return arm.Poll(r, view, a.result(op, outcome))
	}
	view.Output = made
	return arm.Poll(r, view, &arm.Response{Body: made})
}

// made is what became of a managed disk or a snapshot in an operation that has
// succeeded; nil for other operations, and if it is gone.
func (a *API) made(op vmss.Operation, outcome *vmss.Outcome) ([]byte, error) {
	if op.Kind != vmss.OpPutDisk || outcome == nil || outcome.Status != vmss.OperationSucceeded {
		return nil, nil
	}
	key, ok := disk.KeyOf(op.Target)
	if !ok || key.Kind == disk.Image {
		return nil, nil
	}
	e, ok := store.Get(a.Store, store.Disks, key)
	if !ok || string(e.Value.UID) != string(op.Set) {
		return nil, nil
	}
	return wire.RenderDisk(*e.Value, a.diskView(e.Value.UID))
}

// percent is how much of the content of a disk is made, zero if that is not known.
func (a *API) percent(uid disk.UID) float64 {
	done, total, ok := a.Progress(uid)
	if !ok || total <= 0 {
		return 0
	}
	return math.Floor(1000*min(1, float64(done)/float64(total))) / 10
}

// result is what an operation that was begun by a POST answers with when it is
// done; nil for nothing.
func (a *API) result(op vmss.Operation, outcome *vmss.Outcome) *arm.Response {
	if op.Kind != vmss.OpCustomize || outcome == nil {
		return nil
	}
	set, ok := a.Store.SetByUID(op.Set)
	rec := a.Store.Instance(op.Set, op.Instances[0])
	if !ok || rec == nil {
		return nil
	}
	renderer, err := a.renderer(set, rec.Row.Value.Revision)
	if err != nil {
		return nil
	}
	return &arm.Response{Body: renderer.RenderStorage(inputOf(rec))}
}

// operationView is an operation as clients poll it.
func operationView(op vmss.Operation, outcome *vmss.Outcome) arm.Operation {
	view := arm.Operation{Name: op.ID, Status: string(vmss.InProgress), StartTime: op.Created}
	if outcome == nil {
		return view
	}
	view.Status, view.EndTime = string(outcome.Status), outcome.Finished
	if outcome.Error != nil {
		view.Error = operationError(*outcome.Error)
	}
	return view
}

func operationError(e vmss.OperationError) *resource.Error {
	out := resource.Errorf(resource.Conflict, e.Code, "%s", e.Message).At(e.Target)
	for _, d := range e.Details {
		out.Details = append(out.Details, operationError(d))
	}
	return out
}
