package cli

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"github.com/muster-vm/muster/internal/cli/output"
	"github.com/muster-vm/muster/internal/cli/span"
)

const insightsVersion = "2018-01-01"

func metricCommands() []command {
	const of = "resource! resource-group resource-type resource-parent resource-namespace namespace "
	return []command{
		{path: "monitor metrics list", short: "List values of a resource's metrics", rows: output.MetricRows,
			takes: of + "metrics aggregation grain start-time end-time offset top orderby filter dimension metadata", run: listMetrics},
		{path: "monitor metrics list-definitions", short: "List what is measured of a resource", takes: of,
			table: `[].{"Display Name":name.localizedValue, "Metric Name":name.value, Unit:unit, Type:primaryAggregationType, "Dimension Required":isDimensionRequired, Dimensions:join(', ', dimensions[].value || ` + "`[]`" + `)}`,
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
	times, err := span.Between(c.StartTime, c.EndTime, c.Offset, time.Now())
	if err != nil {
		return nil, usage("%v", err)
	}
	query := url.Values{"api-version": {insightsVersion}, "timespan": {times}, "interval": {"PT1M"}}
	if c.Grain != "" {
		d, err := span.Period(c.Grain)
		if err != nil {
			return nil, usage("%v", err)
		}
		query.Set("interval", span.ISO(d))
	}
	for name, value := range map[string]string{"metricnames": strings.Join(c.Metrics, ","), "aggregation": strings.Join(c.Aggregation, ","),
		"top": c.Top, "orderby": c.OrderBy, "$filter": c.filter(), "metricnamespace": c.Namespace} {
		if value != "" {
			query.Set(name, value)
		}
	}
	if c.Metadata {
		query.Set("resultType", "Metadata")
	}
	return c.readMetrics(ctx, c.conn.Endpoint+id+"/providers/Microsoft.Insights/metrics?", query)
}

// readMetrics asks for metrics. Where no metric has the words of --metric as
// their names, they may be one name that lacks its quotes.
func (c *call) readMetrics(ctx context.Context, url string, query url.Values) (any, error) {
	var answer any
	err := c.conn.Get(ctx, url+query.Encode(), &answer)
	refusal, ok := errors.AsType[*azcore.ResponseError](err)
	if !ok || refusal.StatusCode != http.StatusBadRequest || len(c.Metrics) < 2 {
		return answer, err
	}
	query.Set("metricnames", strings.Join(c.Metrics, " "))
	if c.conn.Get(ctx, url+query.Encode(), &answer) == nil {
		return answer, nil
	}
	return nil, err
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
