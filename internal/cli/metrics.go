package cli

import (
	"context"
	"encoding/json"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/muster-vm/muster/internal/cli/output"
)

const insightsVersion = "2018-01-01"

func metricCommands() []command {
	const of = "resource! resource-group resource-type resource-parent resource-namespace namespace "
	return []command{
		{path: "monitor metrics list", short: "List values of a resource's metrics", rows: metricRows,
			takes: of + "metrics aggregation grain start-time end-time offset top orderby filter dimension metadata", run: listMetrics},
		{path: "monitor metrics list-definitions", short: "List what is measured of a resource", takes: of,
			table: `[].{"Display Name":name.localizedValue, "Metric Name":name.value, Unit:unit, Type:primaryAggregationType, Dimensions:join(', ', dimensions[].value || ` + "`[]`" + `)}`,
			run: func(ctx context.Context, c *call) (any, error) {
				return c.insights(ctx, "metricDefinitions", insightsVersion)
			}},
		{path: "monitor metrics list-namespaces", short: "List the namespaces of a resource's metrics", shape: output.Named, takes: of,
			table: `[].{Classification:classification, "Metric Namespace Name":properties.metricNamespaceName}`,
			run: func(ctx context.Context, c *call) (any, error) {
				return c.insights(ctx, "metricNamespaces", "2017-12-01-preview")
			}},
	}
}

// insights lists what Microsoft.Insights says of the resource.
func (c *call) insights(ctx context.Context, what, version string) (any, error) {
	id, err := c.resourceID()
	if err != nil {
		return nil, err
	}
	query := url.Values{"api-version": {version}}
	if c.Namespace != "" {
		query.Set("metricnamespace", c.Namespace)
	}
	return c.conn.list(ctx, c.conn.Endpoint+id+"/providers/Microsoft.Insights/"+what+"?"+query.Encode())
}

// resourceID returns the id of --resource: as given, or of a resource by name.
func (c *call) resourceID() (string, error) {
	if strings.HasPrefix(c.Resource, "/") {
		return strings.TrimRight(c.Resource, "/"), nil
	}
	if c.Group == "" || c.Type == "" {
		return "", usage("usage error: --resource ID | --resource NAME --resource-group GROUP --resource-type TYPE\n" +
			"Next: muster vmss show -g GROUP -n NAME --query id -o tsv")
	}
	kind := c.Type
	if c.Provider != "" && !strings.Contains(kind, "/") {
		kind = c.Provider + "/" + kind
	}
	provider, kind, ok := strings.Cut(kind, "/")
	if !ok {
		return "", usage("--resource-type %s lacks its namespace, such as Microsoft.Compute/virtualMachineScaleSets", c.Type)
	}
	if c.Parent != "" {
		kind = c.Parent + "/" + kind
	}
	return "/subscriptions/" + c.conn.Subscription + "/resourceGroups/" + c.Group + "/providers/" + provider + "/" + kind + "/" + c.Resource, nil
}

func listMetrics(ctx context.Context, c *call) (any, error) {
	id, err := c.resourceID()
	if err != nil {
		return nil, err
	}
	span, err := c.timespan(time.Now().UTC())
	if err != nil {
		return nil, err
	}
	query := url.Values{"api-version": {insightsVersion}, "timespan": {span}, "interval": {"PT1M"}}
	if c.Grain != "" {
		d, err := period(c.Grain)
		if err != nil {
			return nil, err
		}
		query.Set("interval", isoDuration(d))
	}
	for name, values := range map[string][]string{"metricnames": c.Metrics, "aggregation": c.Aggregation} {
		if len(values) > 0 {
			query.Set(name, strings.Join(values, ","))
		}
	}
	for name, value := range map[string]string{"top": c.Top, "orderby": c.OrderBy, "$filter": c.filter(), "metricnamespace": c.Namespace} {
		if value != "" {
			query.Set(name, value)
		}
	}
	if c.Metadata {
		query.Set("resultType", "Metadata")
	}
	var answer any
	err = c.conn.get(ctx, c.conn.Endpoint+id+"/providers/Microsoft.Insights/metrics?"+query.Encode(), &answer)
	return answer, err
}

// filter is --filter, or what --dimension makes of its names.
func (c *call) filter() string {
	if c.Filter != "" || len(c.Dimension) == 0 {
		return c.Filter
	}
	var parts []string
	for _, name := range c.Dimension {
		parts = append(parts, name+" eq '*'")
	}
	return strings.Join(parts, " and ")
}

// timespan is what --start-time, --end-time and --offset say, as az takes them:
// an hour until now if nothing is said.
func (c *call) timespan(now time.Time) (string, error) {
	offset, err := period(c.Offset)
	if err != nil {
		return "", err
	}
	var from, to time.Time
	for text, into := range map[string]*time.Time{c.StartTime: &from, c.EndTime: &to} {
		if text == "" {
			continue
		}
		if *into, err = moment(text); err != nil {
			return "", err
		}
	}
	switch {
	case !from.IsZero() && to.IsZero():
		to = from.Add(offset)
	case to.IsZero():
		from, to = now.Add(-offset), now
	case from.IsZero():
		from = to.Add(-offset)
	}
	const layout = "2006-01-02T15:04:05.000000Z" // a sample of this very second counts
	return from.Format(layout) + "/" + to.Format(layout), nil
}

func moment(text string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, usage("unable to parse datetime '%s': use 2026-11-25T10:00:00Z or 2026-11-25 10:00", text)
}

var periodForm = regexp.MustCompile(`^(?i:p?(?:(\d+)d)?t?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?)$`)

// period reads a duration as az writes it, such as 1d12h or 5m, or as ISO 8601.
func period(text string) (d time.Duration, err error) {
	m := periodForm.FindStringSubmatch(strings.TrimSpace(text))
	for i, unit := range []time.Duration{24 * time.Hour, time.Hour, time.Minute, time.Second} {
		if m != nil && m[i+1] != "" {
			n, err := strconv.Atoi(m[i+1])
			if err != nil || n > 100_000 {
				return 0, usage("invalid period '%s'", text)
			}
			d += time.Duration(n) * unit
		}
	}
	if m == nil || d == 0 {
		return 0, usage("invalid period '%s'. Use ##d##h##m##s, such as 1h or 5m, or ISO 8601, such as PT5M", text)
	}
	return d, nil
}

func isoDuration(d time.Duration) string {
	day := 24 * time.Hour
	switch {
	case d%day == 0:
		return "P" + strconv.Itoa(int(d/day)) + "D"
	case d%time.Hour == 0:
		return "PT" + strconv.Itoa(int(d/time.Hour)) + "H"
	case d%time.Minute == 0:
		return "PT" + strconv.Itoa(int(d/time.Minute)) + "M"
	}
	return "PT" + strconv.Itoa(int(d/time.Second)) + "S"
}

// metricRows makes a row of every grain, as az's table has them.
func metricRows(result any) (rows []any, columns []string) {
	raw, err := json.Marshal(result)
	var answer struct {
		Value []struct {
			Name   struct{ LocalizedValue string }
			Series []struct {
				Dimensions []struct {
					Name  struct{ LocalizedValue string }
					Value string
				} `json:"metadatavalues"`
				Data []map[string]any
			} `json:"timeseries"`
		}
	}
	if err == nil {
		err = json.Unmarshal(raw, &answer)
	}
	if err != nil {
		return nil, nil
	}
	columns = []string{"Timestamp", "Name"}
	for _, metric := range answer.Value {
		for _, series := range metric.Series {
			for _, grain := range series.Data {
				row := map[string]any{"Name": metric.Name.LocalizedValue}
				for _, d := range series.Dimensions {
					row[d.Name.LocalizedValue] = d.Value
					columns = append(columns, d.Name.LocalizedValue)
				}
				for name, value := range grain {
					row[name] = value
				}
				row["Timestamp"] = strings.TrimSuffix(strings.Replace(grainTime(grain), "T", " ", 1), "Z")
				delete(row, "timeStamp")
				rows = append(rows, row)
			}
		}
	}
	return rows, columns
}

func grainTime(grain map[string]any) string {
	at, _ := grain["timeStamp"].(string)
	return strings.TrimSuffix(at, "+00:00")
}
