// Package insights has the JSON of Microsoft.Insights: metrics, their
// definitions and their namespaces. It holds shapes only, and is pure.
package insights

import (
	"time"

	"github.com/muster-vm/muster/internal/metrics"
)

// Metrics is the answer to a question for metrics.
//
// Source: recordings of the Azure CLI, monitor metrics scenario.
type Metrics struct {
	Cost           int      `json:"cost"`
	Timespan       string   `json:"timespan"`
	Interval       string   `json:"interval"`
	Value          []Metric `json:"value"`
	Namespace      string   `json:"namespace"`
	ResourceRegion string   `json:"resourceregion"`
}

// Metric is one metric of the answer.
type Metric struct {
	ID          string   `json:"id"`
	Type        string   `json:"type"`
	Name        Name     `json:"name"`
	Description string   `json:"displayDescription"`
	Unit        string   `json:"unit"`
	Series      []Series `json:"timeseries"`
	ErrorCode   string   `json:"errorCode"`
}

// Name is a name with how people are shown it.
type Name struct {
	Value     string `json:"value"`
	Localized string `json:"localizedValue"`
}

// Series is a metric of one value of the dimensions.
type Series struct {
	Dimensions []Dimension `json:"metadatavalues"`
	Data       *[]Data     `json:"data,omitempty"` // nil where only the dimensions were asked for
}

// Dimension is what a series is of.
type Dimension struct {
	Name  Name   `json:"name"`
	Value string `json:"value"`
}

// Data is a grain of a series. One without samples has its time alone.
type Data struct {
	At      string   `json:"timeStamp"`
	Average *float64 `json:"average,omitempty"`
	Minimum *float64 `json:"minimum,omitempty"`
	Maximum *float64 `json:"maximum,omitempty"`
	Total   *float64 `json:"total,omitempty"`
	Count   *float64 `json:"count,omitempty"`
}

// Time writes a time as the answers do.
func Time(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// Render writes a grain for each of the window, with the aggregations that were
// asked for. The points are in the window's grains.
func Render(points []metrics.Point, w metrics.Window, wanted []metrics.Aggregation) []Data {
	all := make([]Data, 0, w.Grains())
	for i := range w.Grains() {
		at := w.From.Add(time.Duration(i) * w.Grain)
		d := Data{At: Time(at)}
		if len(points) > 0 && points[0].At.Equal(at) {
			d.fill(points[0], wanted)
			points = points[1:]
		}
		all = append(all, d)
	}
	return all
}

func (d *Data) fill(p metrics.Point, wanted []metrics.Aggregation) {
	member := map[metrics.Aggregation]**float64{metrics.Average: &d.Average, metrics.Minimum: &d.Minimum, metrics.Maximum: &d.Maximum,
		metrics.Total: &d.Total, metrics.Count: &d.Count}
	for _, a := range wanted {
		*member[a] = new(p.Value(a))
	}
}
