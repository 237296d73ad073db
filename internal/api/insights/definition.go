package insights

import (
	"context"
	"strings"

	"github.com/muster-vm/muster/internal/arm"
	"github.com/muster-vm/muster/internal/arm/wire"
	shapes "github.com/muster-vm/muster/internal/arm/wire/insights"
	"github.com/muster-vm/muster/internal/metrics"
)

func (find finder) listDefinitions(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	s, err := find(ctx, r)
	if err != nil {
		return nil, err
	}
	if err := s.checkNamespace(r.Query("metricnamespace")); err != nil {
		return nil, err
	}
	list := shapes.List[shapes.Definition]{}
	for _, m := range s.metrics {
		list.Value = append(list.Value, s.definition(m))
	}
	return &arm.Response{Body: list}, nil
}

func (s subject) definition(m metric) shapes.Definition {
	out := shapes.Definition{ID: s.childID("metricdefinitions", m.Name), ResourceID: s.id.String(), Namespace: s.namespace, Name: m.named(),
		Description: m.Description, Unit: m.Unit, Primary: string(m.Primary)}
	for _, a := range metrics.Aggregations() {
		out.Supported = append(out.Supported, string(a))
	}
	for _, g := range grains {
		out.Availabilities = append(out.Availabilities, shapes.Availability{Grain: wire.FormatDuration(g), Retention: wire.FormatDuration(s.retention)})
	}
	for _, d := range m.dimensions {
		out.Dimensions = append(out.Dimensions, shapes.Name{Value: d, Localized: d})
	}
	return out
}

// named is the metric's name as answers have it.
func (m metric) named() shapes.Name { return shapes.Name{Value: m.Name, Localized: m.Shown()} }

func (find finder) listNamespaces(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	s, err := find(ctx, r)
	if err != nil {
		return nil, err
	}
	name := strings.ReplaceAll(strings.ToLower(s.namespace), "/", "-")
	return &arm.Response{Body: shapes.List[shapes.Namespace]{Value: []shapes.Namespace{{ID: s.childID("metricNamespaces", name), Name: name,
		Type: Namespace + "/metricNamespaces", Classification: "Platform", Properties: shapes.NamespaceProperties{Name: s.namespace}}}}}, nil
}
