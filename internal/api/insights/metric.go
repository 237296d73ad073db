package insights

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/muster-vm/muster/internal/arm"
	"github.com/muster-vm/muster/internal/arm/wire"
	shapes "github.com/muster-vm/muster/internal/arm/wire/insights"
	"github.com/muster-vm/muster/internal/metrics"
	"github.com/muster-vm/muster/internal/vmss"
)

// maxData bounds the values of one answer, which is made in memory. Every metric of
// a set for a month by the minute is less.
const maxData = 400_000

func (a *API) listMetrics(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	s, err := a.subject(ctx, r)
	if err != nil {
		return nil, err
	}
	q, err := s.parse(r, time.Now())
	if err != nil {
		return nil, err
	}
	out := shapes.Metrics{Timespan: shapes.Time(q.window.From) + "/" + shapes.Time(q.end), Interval: wire.FormatDuration(q.window.Grain),
		Namespace: s.namespace, ResourceRegion: s.set.Location}
	data := 0
	for _, m := range q.metrics {
		found, err := a.series(ctx, s, q, m)
		if err != nil {
			return nil, err
		}
		if data += len(found) * q.window.Grains(); data > maxData && !q.dataless {
			return nil, bad("timespan", "The answer would have more than %d values. Ask for a shorter timespan, a coarser interval, fewer metrics or a lower top.", maxData)
		}
		d := m.Definition()
		metric := shapes.Metric{ID: s.childID("metrics", d.Name), Type: Namespace + "/metrics", Name: shapes.Name{Value: d.Name, Localized: d.Name},
			Description: d.Description, Unit: d.Unit, Series: []shapes.Series{}, ErrorCode: "Success"}
		for _, f := range found {
			metric.Series = append(metric.Series, f.render(s, q, m))
		}
		out.Value = append(out.Value, metric)
		out.Cost += max(1, len(found)) * q.window.Grains()
	}
	return &arm.Response{Body: out}, nil
}

// series is a metric of the subject, or of one instance that it is split into.
type series struct {
	instance vmss.InstanceID
	points   []metrics.Point
	whole    metrics.Point
}

// series gathers what the query asks of one metric. What has no samples in the
// window is left out.
func (a *API) series(ctx context.Context, s subject, q query, m metrics.Metric) (all []series, err error) {
	switch {
	case s.instance != nil:
		all = []series{{points: a.Metrics.Instance(vmss.InstanceKey{Set: s.set.UID, ID: *s.instance}, m, q.window)}}
	case q.split:
		return a.split(ctx, s, q, m)
	default:
		points, err := a.Metrics.Set(s.set.UID, m, q.window)
		if err != nil {
			return nil, err
		}
		all = []series{{points: points}}
	}
	if len(all[0].points) == 0 {
		return nil, nil
	}
	return all, nil
}

// split gathers the series of single instances: the first, or those that
// orderby puts first.
func (a *API) split(ctx context.Context, s subject, q query, m metrics.Metric) (all []series, err error) {
	for _, rec := range a.Store.Instances(s.set.UID, -1, 0) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if !q.shows(s.set.ID.Name(), rec.ID) {
			continue
		}
		points := a.Metrics.Instance(vmss.InstanceKey{Set: s.set.UID, ID: rec.ID}, m, q.window)
		if len(points) == 0 {
			continue
		}
		all = append(all, series{instance: rec.ID, points: points, whole: metrics.Whole(points)})
		if q.orderBy == "" && len(all) == q.top {
			break
		}
	}
	if q.orderBy != "" {
		slices.SortStableFunc(all, func(x, y series) int {
			n := cmp.Compare(x.whole.Value(q.orderBy), y.whole.Value(q.orderBy))
			if q.falling {
				n = -n
			}
			return n
		})
	}
	return all[:min(len(all), q.top)], nil
}

func (f series) render(s subject, q query, m metrics.Metric) shapes.Series {
	out := shapes.Series{Dimensions: []shapes.Dimension{}}
	if q.split {
		out.Dimensions = append(out.Dimensions, shapes.Dimension{Name: shapes.Name{Value: "vmname", Localized: "vmname"}, Value: vmss.InstanceName(s.set.ID.Name(), f.instance)})
	}
	if !q.dataless {
		data := shapes.Render(f.points, q.window, q.wanted(m))
		out.Data = &data
	}
	return out
}
