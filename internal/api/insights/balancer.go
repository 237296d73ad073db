package insights

import (
	"context"
	"strings"

	"github.com/muster-vm/muster/internal/arm"
	"github.com/muster-vm/muster/internal/metrics"
	"github.com/muster-vm/muster/internal/network"
)

// balancer finds a load balancer.
func (a *API) balancer(ctx context.Context, r *arm.Request) (subject, error) {
	found, err := a.Balancer(ctx, r)
	if err != nil {
		return subject{}, err
	}
	s := subject{id: found.ID, location: found.Location, namespace: network.LoadBalancerKind.Type(), retention: metrics.Kept}
	for _, m := range metrics.AllOfBalancers() {
		var dimensions []string
		for _, d := range m.Dimensions() {
			dimensions = append(dimensions, string(d))
		}
		s.metrics = append(s.metrics, metric{Definition: m.Definition(), dimensions: dimensions, series: func(_ context.Context, q query) ([]series, error) {
			return q.ranked(q.gather(a.Metrics.BalancerSeries(string(found.UID), m, q.window))), nil
		}})
	}
	return s, nil
}

// gather sums up the parts of a load balancer that have the same values of the
// query's dimensions. Parts that its conditions do not show are left out.
func (q query) gather(parts []metrics.BalancerSeries) (all []series) {
	places := map[string]int{}
next:
	for _, p := range parts {
		values := make([]string, len(q.conditions))
		for i, c := range q.conditions {
			values[i] = p.Value(metrics.Dimension(c.dimension))
			if !c.shows(values[i]) {
				continue next
			}
		}
		key := strings.Join(values, " ")
		at, ok := places[key]
		if !ok {
			at = len(all)
			places[key] = at
			all = append(all, series{values: values})
		}
		all[at].points = append(all[at].points, p.Points...)
	}
	for i := range all {
		all[i].points = metrics.Roll(all[i].points, q.window)
		all[i].whole = metrics.Whole(all[i].points)
	}
	return all
}
