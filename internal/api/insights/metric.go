package insights

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/muster-vm/muster/internal/arm"
	"github.com/muster-vm/muster/internal/arm/wire"
	shapes "github.com/muster-vm/muster/internal/arm/wire/insights"
	"github.com/muster-vm/muster/internal/metrics"
)

// maxData bounds the values of one answer, which is made in memory. Every metric of
// a set for a month by the minute is less.
const maxData = 400_000

func (find finder) listMetrics(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	s, err := find(ctx, r)
	if err != nil {
		return nil, err
	}
	q, err := s.parse(r, time.Now())
	if err != nil {
		return nil, err
	}
	out := shapes.Metrics{Timespan: shapes.Time(q.window.From) + "/" + shapes.Time(q.end), Interval: wire.FormatDuration(q.window.Grain),
		Namespace: s.namespace, ResourceRegion: s.location}
	data := 0
	for _, m := range q.metrics {
		found, err := m.series(ctx, q)
		if err != nil {
			return nil, err
		}
		if data += len(found) * q.window.Grains(); data > maxData && !q.dataless {
			return nil, bad("timespan", "The answer would have more than %d values. Ask for a shorter timespan, a coarser interval, fewer metrics or a lower top.", maxData)
		}
		metric := shapes.Metric{ID: s.childID("metrics", m.Name), Type: Namespace + "/metrics", Name: m.named(),
			Description: m.Description, Unit: m.Unit, Series: []shapes.Series{}, ErrorCode: "Success"}
		for _, f := range found {
			metric.Series = append(metric.Series, f.render(q, m))
		}
		out.Value = append(out.Value, metric)
		out.Cost += max(1, len(found)) * q.window.Grains()
	}
	return &arm.Response{Body: out}, nil
}

// series is a metric of what has these values of the query's dimensions.
type series struct {
	values []string // one for each condition of the query
	points []metrics.Point
	whole  metrics.Point
}

// ranked returns the series that are asked for at most: the first, or those that
// orderby puts first.
func (q query) ranked(all []series) []series {
	if q.orderBy != "" {
		slices.SortStableFunc(all, func(x, y series) int {
			n := cmp.Compare(x.whole.Value(q.orderBy), y.whole.Value(q.orderBy))
			if q.falling {
				n = -n
			}
			return n
		})
	}
	return all[:min(len(all), q.top)]
}

func (f series) render(q query, m metric) shapes.Series {
	out := shapes.Series{Dimensions: []shapes.Dimension{}}
	for i, c := range q.conditions {
		name := strings.ToLower(c.dimension)
		out.Dimensions = append(out.Dimensions, shapes.Dimension{Name: shapes.Name{Value: name, Localized: name}, Value: f.values[i]})
	}
	if !q.dataless {
		data := shapes.Render(f.points, q.window, q.wanted(m))
		out.Data = &data
	}
	return out
}
