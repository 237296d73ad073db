package insights

import (
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/muster-vm/muster/internal/arm"
	"github.com/muster-vm/muster/internal/arm/wire"
	"github.com/muster-vm/muster/internal/metrics"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/vmss"
)

// query is a question for metrics.
type query struct {
	metrics      []metrics.Metric
	window       metrics.Window // the grains, whole minutes on
	end          time.Time      // as asked for
	aggregations []metrics.Aggregation
	dataless     bool // only which series there are

	split   bool // a series for each instance
	names   []string
	top     int
	orderBy metrics.Aggregation // empty for the order of ids
	falling bool
}

const (
	defaultSpan = time.Hour
	defaultTop  = 10
	maxTop      = 1000
)

func bad(target, format string, args ...any) error {
	return resource.Errorf(resource.Invalid, "BadRequest", format, args...).At(target)
}

// parse reads the question. Everything wrong with it is Invalid, code
// BadRequest, as Azure has it.
func (s subject) parse(r *arm.Request, now time.Time) (q query, err error) {
	if err := s.checkNamespace(r.Query("metricnamespace")); err != nil {
		return q, err
	}
	if q.metrics, err = s.parseNames(r.Query("metricnames")); err != nil {
		return q, err
	}
	if err := q.parseWindow(r, now); err != nil {
		return q, err
	}
	if err := q.parseAggregations(r.Query("aggregation")); err != nil {
		return q, err
	}
	switch strings.ToLower(r.Query("resultType")) {
	case "", "data":
	case "metadata":
		q.dataless = true
	default:
		return q, bad("resultType", "The resultType '%.64s' is not valid. Valid values: Data, Metadata.", r.Query("resultType"))
	}
	if err := q.parseFilter(s, r.Query("$filter")); err != nil {
		return q, err
	}
	return q, q.parseOrder(r)
}

func (s subject) checkNamespace(name string) error {
	if name == "" || strings.EqualFold(name, s.namespace) {
		return nil
	}
	return bad("metricnamespace", "The metric namespace '%.128s' is not one of this resource. Valid namespaces: %s.", name, s.namespace)
}

func (s subject) parseNames(list string) (all []metrics.Metric, err error) {
	if strings.TrimSpace(list) == "" {
		return []metrics.Metric{metrics.PercentageCPU}, nil
	}
	for name := range strings.SplitSeq(list, ",") {
		m, ok := metrics.Named(strings.TrimSpace(name))
		if !ok {
			var valid []string
			for _, m := range metrics.All() {
				valid = append(valid, m.String())
			}
			provider, typ, _ := strings.Cut(s.namespace, "/")
			return nil, bad("metricnames", "Failed to find metric configuration for provider: %s, resource Type: %s, metric: %.128s, Valid metrics: %s",
				provider, typ, strings.TrimSpace(name), strings.Join(valid, ","))
		}
		if !slices.Contains(all, m) {
			all = append(all, m)
		}
	}
	return all, nil
}

// parseWindow reads timespan and interval. A span longer than a month loses its
// beginning, as recorded from Azure.
func (q *query) parseWindow(r *arm.Request, now time.Time) error {
	from, to := now.Add(-defaultSpan), now
	if span := r.Query("timespan"); span != "" {
		var err error
		if from, to, err = parseSpan(span); err != nil {
			return err
		}
	}
	if month := to.AddDate(0, -1, 0); from.Before(month) {
		from = month
	}
	grain := time.Minute
	if text := r.Query("interval"); text != "" {
		d, err := wire.ParseDuration(text)
		if strings.EqualFold(r.Query("AutoAdjustTimegrain"), "true") && err == nil && d > 0 {
			d = adjusted(d)
		}
		if err != nil || !validGrain(d) {
			var valid []string
			for _, g := range grains {
				valid = append(valid, wire.FormatDuration(g))
			}
			return bad("interval", "Detected invalid time grain input '%.64s' for the current metric. Valid time grains: %s.", text, strings.Join(valid, ","))
		}
		grain = d
	}
	q.end = to
	q.window = metrics.Window{From: from.Truncate(metrics.Minute), To: to, Grain: grain}
	return nil
}

// adjusted is the coarsest of the grains that is not coarser than d, or the
// finest.
func adjusted(d time.Duration) time.Duration {
	best := grains[0]
	for _, g := range grains {
		if g <= d {
			best = g
		}
	}
	return best
}

// parseSpan reads "start/end". az encodes it twice.
func parseSpan(text string) (from, to time.Time, err error) {
	if strings.Contains(text, "%") {
		if once, err := url.PathUnescape(text); err == nil {
			text = once
		}
	}
	start, end, ok := strings.Cut(text, "/")
	from, ok1 := parseTime(start)
	to, ok2 := parseTime(end)
	if !ok || !ok1 || !ok2 {
		return from, to, bad("timespan", "The timespan '%.128s' is not valid. It is written as start/end, two times such as 2026-01-31T08:00:00Z.", text)
	}
	if !from.Before(to) {
		return from, to, bad("timespan", "The timespan '%.128s' is not valid: the start is not before the end.", text)
	}
	return from, to, nil
}

// parseTime reads an ISO 8601 time; UTC, if it has no offset. The plus of an
// offset may have become a space.
func parseTime(s string) (time.Time, bool) {
	s = strings.ReplaceAll(strings.TrimSpace(s), " ", "+")
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02T15:04Z07:00", time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil && t.Year() > 0 && t.Year() < 10_000 {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}

// parseAggregations leaves none where none are asked for: each metric then has
// its own.
func (q *query) parseAggregations(list string) error {
	if strings.TrimSpace(list) == "" {
		return nil
	}
	for name := range strings.SplitSeq(list, ",") {
		a, ok := metrics.ParseAggregation(strings.TrimSpace(name))
		if !ok {
			return bad("aggregation", "The aggregation '%.64s' is not valid. Valid aggregations: Average,Minimum,Maximum,Total,Count.", strings.TrimSpace(name))
		}
		q.aggregations = append(q.aggregations, a)
	}
	return nil
}

// wanted returns the aggregations of a metric.
func (q *query) wanted(m metrics.Metric) []metrics.Aggregation {
	if len(q.aggregations) > 0 {
		return q.aggregations
	}
	return []metrics.Aggregation{m.Definition().Primary}
}

var (
	vmNameTerm = regexp.MustCompile(`(?i)^\(?\s*VMName\s+eq\s+'((?:[^']|'')*)'\s*\)?$`)
	or         = regexp.MustCompile(`(?i)\s+or\s+`)
)

// parseFilter reads VMName eq 'x', several of them joined by or; '*' stands for
// all instances.
func (q *query) parseFilter(s subject, filter string) error {
	filter = strings.TrimSpace(filter)
	if filter == "" {
		return nil
	}
	if s.instance != nil {
		return bad("$filter", "The metrics of an instance have no dimensions to filter by.")
	}
	q.split = true
	all := false
	for _, term := range or.Split(filter, -1) {
		m := vmNameTerm.FindStringSubmatch(strings.TrimSpace(term))
		if m == nil {
			return bad("$filter", "The filter is not supported at '%.64s'. Use VMName eq '*', or VMName eq 'name', joined by or.", term)
		}
		all = all || m[1] == "*"
		q.names = append(q.names, strings.ReplaceAll(m[1], "''", "'"))
	}
	if all {
		q.names = nil
	}
	return nil
}

// shows reports whether the filter lets an instance through.
func (q *query) shows(set string, id vmss.InstanceID) bool {
	name := vmss.InstanceName(set, id)
	return len(q.names) == 0 || slices.ContainsFunc(q.names, func(n string) bool { return strings.EqualFold(n, name) })
}

// parseOrder reads top and orderby, which are about the series of a filter.
func (q *query) parseOrder(r *arm.Request) error {
	q.top = defaultTop
	if text := r.Query("top"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxTop {
			return bad("top", "The top '%.64s' is not a number from 1 to %d.", text, maxTop)
		}
		q.top = n
	}
	words := strings.Fields(r.Query("orderby"))
	if len(words) == 0 {
		return nil
	}
	a, ok := metrics.ParseAggregation(words[0])
	direction := "asc"
	if len(words) == 2 {
		direction = strings.ToLower(words[1])
	}
	if !ok || len(words) > 2 || direction != "asc" && direction != "desc" {
		return bad("orderby", "The orderby '%.64s' is not an aggregation with asc or desc, such as average desc.", r.Query("orderby"))
	}
	q.orderBy, q.falling = a, direction == "desc"
	return nil
}
