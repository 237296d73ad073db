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
)

// query is a question for metrics.
type query struct {
	metrics      []metric
	window       metrics.Window // the grains, whole minutes on
	end          time.Time      // as asked for
	aggregations []metrics.Aggregation
	dataless     bool // only which series there are

	conditions []condition // in the order of the filter; none for one series of everything
	top        int
	orderBy    metrics.Aggregation // empty for the order of the subject
	falling    bool
}

// condition asks for a series for each value of a dimension.
type condition struct {
	dimension string
	values    []string // nil for all
}

// shows reports whether the condition lets a value through.
func (c condition) shows(value string) bool {
	return c.values == nil || slices.ContainsFunc(c.values, func(v string) bool { return strings.EqualFold(v, value) })
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

func (s subject) parseNames(list string) (all []metric, err error) {
	if strings.TrimSpace(list) == "" {
		return s.metrics[:1], nil
	}
	var asked []string
	for name := range strings.SplitSeq(list, ",") {
		name = strings.TrimSpace(name)
		i := slices.IndexFunc(s.metrics, func(m metric) bool { return strings.EqualFold(m.Name, name) })
		if i < 0 {
			var valid []string
			for _, m := range s.metrics {
				valid = append(valid, m.Name)
			}
			provider, typ, _ := strings.Cut(s.namespace, "/")
			return nil, bad("metricnames", "Failed to find metric configuration for provider: %s, resource Type: %s, metric: %.128s, Valid metrics: %s",
				provider, typ, name, strings.Join(valid, ","))
		}
		if !slices.Contains(asked, s.metrics[i].Name) {
			asked, all = append(asked, s.metrics[i].Name), append(all, s.metrics[i])
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
func (q *query) wanted(m metric) []metrics.Aggregation {
	if len(q.aggregations) > 0 {
		return q.aggregations
	}
	return []metrics.Aggregation{m.Primary}
}

var (
	term = regexp.MustCompile(`(?i)^\(*\s*(\w+)\s+eq\s+'((?:[^']|'')*)'\s*\)*$`)
	or   = regexp.MustCompile(`(?i)\s+or\s+`)
	and  = regexp.MustCompile(`(?i)\s+and\s+`)
)

// parseFilter reads VMName eq 'x', several of them joined by or; '*' stands for
// all values. Of several dimensions, each has a part of its own, joined by and.
func (q *query) parseFilter(s subject, filter string) error {
	filter = strings.TrimSpace(filter)
	if filter == "" {
		return nil
	}
	var known []string
	for _, m := range s.metrics {
		for _, d := range m.dimensions {
			if !slices.Contains(known, d) {
				known = append(known, d)
			}
		}
	}
	if len(known) == 0 {
		return bad("$filter", "The metrics of an instance have no dimensions to filter by.")
	}
	for _, part := range and.Split(filter, -1) {
		c, wrong := parseCondition(part, known)
		if wrong == "" && slices.ContainsFunc(q.conditions, func(o condition) bool { return o.dimension == c.dimension }) {
			wrong = part
		}
		if wrong != "" {
			remedy := ""
			if len(known) > 1 {
				remedy = " Dimensions, joined by and: " + strings.Join(known, ", ") + "."
			}
			return bad("$filter", "The filter is not supported at '%.64s'. Use %s eq '*', or %s eq 'name', joined by or.%s", wrong, known[0], known[0], remedy)
		}
		q.conditions = append(q.conditions, c)
	}
	for _, m := range q.metrics {
		for _, c := range q.conditions {
			if !slices.Contains(m.dimensions, c.dimension) {
				return bad("$filter", "Metric: %s does not support requested dimension combination: %s, supported ones are: %s", m.Name, c.dimension, strings.Join(m.dimensions, ","))
			}
		}
	}
	return nil
}

// parseCondition reads what a filter says of one of the known dimensions. wrong is
// what cannot be read.
func parseCondition(text string, known []string) (c condition, wrong string) {
	all := false
	for _, t := range or.Split(text, -1) {
		m := term.FindStringSubmatch(strings.TrimSpace(t))
		if m == nil {
			return c, t
		}
		i := slices.IndexFunc(known, func(d string) bool { return strings.EqualFold(d, m[1]) })
		if i < 0 || c.dimension != "" && c.dimension != known[i] {
			return c, t
		}
		c.dimension, all = known[i], all || m[2] == "*"
		c.values = append(c.values, strings.ReplaceAll(m[2], "''", "'"))
	}
	if all {
		c.values = nil
	}
	return c, ""
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
