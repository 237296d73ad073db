package insights

import (
	"context"

	"github.com/muster-vm/muster/internal/arm"
	"github.com/muster-vm/muster/internal/metrics"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/vmss"
)

// vmName is the one dimension that metrics of a set have.
const vmName = "VMName"

// set finds a scale set.
func (a *API) set(ctx context.Context, r *arm.Request) (subject, error) {
	e, err := a.Set(ctx, r)
	if err != nil {
		return subject{}, err
	}
	set := *e.Value
	s := subject{id: set.ID, location: set.Location, namespace: vmss.ResourceType, retention: a.Metrics.Retention()}
	for _, m := range metrics.All() {
		s.metrics = append(s.metrics, metric{Definition: m.Definition(), dimensions: []string{vmName}, series: func(ctx context.Context, q query) ([]series, error) {
			if len(q.conditions) > 0 {
				return a.split(ctx, set, q, m)
			}
			points, err := a.Metrics.Set(set.UID, m, q.window)
			if err != nil || len(points) == 0 {
				return nil, err
			}
			return []series{{points: points}}, nil
		}})
	}
	return s, nil
}

// instance finds an instance of a scale set.
func (a *API) instance(ctx context.Context, r *arm.Request) (subject, error) {
	e, err := a.Set(ctx, r)
	if err != nil {
		return subject{}, err
	}
	id, err := vmss.ParseInstanceID(r.Var("instance"))
	if err != nil {
		return subject{}, err
	}
	if rec := a.Store.Instance(e.Value.UID, id); rec == nil || rec.Row.Value == nil {
		return subject{}, resource.Errorf(resource.NotFound, "NotFound", "The entity was not found in this Azure location.")
	}
	s := subject{id: e.Value.ID.Child("virtualMachines", id.String()), location: e.Value.Location, namespace: vmss.ResourceType + "/virtualMachines", retention: metrics.Kept}
	key := vmss.InstanceKey{Set: e.Value.UID, ID: id}
	for _, m := range metrics.All() {
		s.metrics = append(s.metrics, metric{Definition: m.Definition(), series: func(_ context.Context, q query) ([]series, error) {
			points := a.Metrics.Instance(key, m, q.window)
			if len(points) == 0 {
				return nil, nil
			}
			return []series{{points: points}}, nil
		}})
	}
	return s, nil
}

// split gathers a metric of single instances of a set, by name.
func (a *API) split(ctx context.Context, set vmss.ScaleSet, q query, m metrics.Metric) (all []series, err error) {
	for _, rec := range a.Store.Instances(set.UID, -1, 0) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		name := vmss.InstanceName(set.ID.Name(), rec.ID)
		if !q.conditions[0].shows(name) {
			continue
		}
		points := a.Metrics.Instance(vmss.InstanceKey{Set: set.UID, ID: rec.ID}, m, q.window)
		if len(points) == 0 {
			continue
		}
		all = append(all, series{values: []string{name}, points: points, whole: metrics.Whole(points)})
		if q.orderBy == "" && len(all) == q.top {
			break
		}
	}
	return q.ranked(all), nil
}
