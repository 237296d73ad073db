package insights

import (
	"context"
	"strings"

	"github.com/muster-vm/muster/internal/arm"
	"github.com/muster-vm/muster/internal/arm/wire"
	shapes "github.com/muster-vm/muster/internal/arm/wire/insights"
	"github.com/muster-vm/muster/internal/metrics"
)

// vmName is the one dimension that metrics of a set have.
const vmName = "VMName"

func (a *API) listDefinitions(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	s, err := a.subject(ctx, r)
	if err != nil {
		return nil, err
	}
	if err := s.checkNamespace(r.Query("metricnamespace")); err != nil {
		return nil, err
	}
	list := shapes.List[shapes.Definition]{}
	for _, m := range metrics.All() {
		list.Value = append(list.Value, s.definition(m))
	}
	return &arm.Response{Body: list}, nil
}

func (s subject) definition(m metrics.Metric) shapes.Definition {
	d := m.Definition()
	out := shapes.Definition{ID: s.childID("metricdefinitions", d.Name), ResourceID: s.id.String(), Namespace: s.namespace, Name: shapes.Name{Value: d.Name, Localized: d.Name},
		Description: d.Description, Unit: d.Unit, Primary: string(d.Primary)}
	for _, a := range metrics.Aggregations() {
		out.Supported = append(out.Supported, string(a))
	}
	for _, g := range grains {
		out.Availabilities = append(out.Availabilities, shapes.Availability{Grain: wire.FormatDuration(g), Retention: wire.FormatDuration(s.retention)})
	}
	if s.instance == nil {
		out.Dimensions = []shapes.Name{{Value: vmName, Localized: vmName}}
	}
	return out
}

func (a *API) listNamespaces(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	s, err := a.subject(ctx, r)
	if err != nil {
		return nil, err
	}
	name := strings.ReplaceAll(strings.ToLower(s.namespace), "/", "-")
	return &arm.Response{Body: shapes.List[shapes.Namespace]{Value: []shapes.Namespace{{ID: s.childID("metricNamespaces", name), Name: name,
		Type: Namespace + "/metricNamespaces", Classification: "Platform", Properties: shapes.NamespaceProperties{Name: s.namespace}}}}}, nil
}
