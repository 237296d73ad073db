// Package insights serves the metrics of Microsoft.Insights, as children of the
// scale set or instance that they are of. It only reads.
package insights

import (
	"context"
	"slices"
	"time"

	"github.com/muster-vm/muster/internal/arm"
	"github.com/muster-vm/muster/internal/metrics"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/vmss"
)

// Namespace is the provider's.
const Namespace = "Microsoft.Insights"

// Versions are the api-versions of the namespace, newest first.
var Versions = []string{"2024-02-01", "2023-10-01", "2021-05-01", "2019-07-01", "2018-01-01", "2017-12-01-preview", "2017-05-01-preview"}

// Recorder has what is asked for.
type Recorder interface {
	Set(set vmss.UID, m metrics.Metric, w metrics.Window) ([]metrics.Point, error)
	Instance(key vmss.InstanceKey, m metrics.Metric, w metrics.Window) []metrics.Point
	Retention() time.Duration // of sets
}

// API answers for the namespace. All members are needed.
type API struct {
	Store   *store.Store
	Metrics Recorder
	Set     func(ctx context.Context, r *arm.Request) (store.Entry[vmss.ScaleSet], error) // the one that a path names; NotFound
}

// Routes lists the operations.
func (a *API) Routes() []arm.Route {
	const set = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Compute/virtualMachineScaleSets/{set}"
	var all []arm.Route
	for _, resource := range []string{set, set + "/virtualMachines/{instance}"} {
		route := func(name string, h arm.Handler) arm.Route {
			return arm.Route{Method: "GET", Path: resource + "/providers/" + Namespace + "/" + name, Action: Namespace + "/" + name + "/read", Handler: h, Versions: Versions}
		}
		all = append(all, route("metrics", a.listMetrics), route("metricDefinitions", a.listDefinitions), route("metricNamespaces", a.listNamespaces))
	}
	return all
}

// subject is what a path asks the metrics of: a set, or one of its instances.
type subject struct {
	set       vmss.ScaleSet
	id        resource.ID
	instance  *vmss.InstanceID // nil for the set
	namespace string
	retention time.Duration
}

// subject finds what the path names. It fails with NotFound.
func (a *API) subject(ctx context.Context, r *arm.Request) (subject, error) {
	set, err := a.Set(ctx, r)
	if err != nil {
		return subject{}, err
	}
	s := subject{set: *set.Value, id: set.Value.ID, namespace: vmss.ResourceType, retention: a.Metrics.Retention()}
	if r.Var("instance") == "" {
		return s, nil
	}
	id, err := vmss.ParseInstanceID(r.Var("instance"))
	if err != nil {
		return s, err
	}
	if rec := a.Store.Instance(s.set.UID, id); rec == nil || rec.Row.Value == nil {
		return s, resource.Errorf(resource.NotFound, "NotFound", "The entity was not found in this Azure location.")
	}
	s.instance, s.id = &id, s.id.Child("virtualMachines", id.String())
	s.namespace, s.retention = vmss.ResourceType+"/virtualMachines", metrics.Kept
	return s, nil
}

// childID is the id of something of the namespace below the subject.
func (s subject) childID(typ, name string) string {
	return s.id.String() + "/providers/" + Namespace + "/" + typ + "/" + name
}

// grains are the intervals that can be asked for.
var grains = []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour}

func validGrain(d time.Duration) bool { return slices.Contains(grains, d) }
