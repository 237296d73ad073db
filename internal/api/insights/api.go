// Package insights serves the metrics of Microsoft.Insights, as children of the
// scale set, instance or load balancer that they are of. It only reads.
package insights

import (
	"context"
	"slices"
	"time"

	"github.com/muster-vm/muster/internal/arm"
	"github.com/muster-vm/muster/internal/metrics"
	"github.com/muster-vm/muster/internal/network"
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
	BalancerSeries(uid string, m metrics.BalancerMetric, w metrics.Window) []metrics.BalancerSeries
	Retention() time.Duration // of sets
}

// API answers for the namespace. All members but Balancer are needed.
type API struct {
	Store    *store.Store
	Metrics  Recorder
	Set      func(ctx context.Context, r *arm.Request) (store.Entry[vmss.ScaleSet], error) // the one that a path names; NotFound
	Balancer func(ctx context.Context, r *arm.Request) (network.Resource, error)           // likewise, by {subscription}, {group} and {balancer}; nil: there are none
}

// Routes lists the operations.
func (a *API) Routes() (all []arm.Route) {
	const (
		group    = "/subscriptions/{subscription}/resourceGroups/{group}/providers/"
		set      = group + "Microsoft.Compute/virtualMachineScaleSets/{set}"
		balancer = group + "Microsoft.Network/loadBalancers/{balancer}"
	)
	add := func(resource string, find finder) {
		route := func(name string, h arm.Handler) arm.Route {
			return arm.Route{Method: "GET", Path: resource + "/providers/" + Namespace + "/" + name, Action: Namespace + "/" + name + "/read", Handler: h, Versions: Versions}
		}
		all = append(all, route("metrics", find.listMetrics), route("metricDefinitions", find.listDefinitions), route("metricNamespaces", find.listNamespaces))
	}
	add(set, a.set)
	add(set+"/virtualMachines/{instance}", a.instance)
	if a.Balancer != nil {
		add(balancer, a.balancer)
	}
	return all
}

// subject is a resource that has metrics.
type subject struct {
	id        resource.ID
	location  string
	namespace string
	retention time.Duration
	metrics   []metric // the first is taken where none is named
}

// metric is something that a subject can be asked for.
type metric struct {
	metrics.Definition
	dimensions []string
	// series returns those that have samples in the window of the query: one, or if
	// the query has conditions one for each of their values, as far as they are shown.
	series func(ctx context.Context, q query) ([]series, error)
}

// finder finds the subject that a path names. It fails with NotFound.
type finder func(ctx context.Context, r *arm.Request) (subject, error)

// childID is the id of something of the namespace below the subject.
func (s subject) childID(typ, name string) string {
	return s.id.String() + "/providers/" + Namespace + "/" + typ + "/" + name
}

// grains are the intervals that can be asked for.
var grains = []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour}

func validGrain(d time.Duration) bool { return slices.Contains(grains, d) }
