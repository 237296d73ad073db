package resources

import (
	"cmp"
	"context"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/muster-vm/muster/internal/arm"
	"github.com/muster-vm/muster/internal/resource"
)

func (a *API) listResources(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	if err := a.known(r.Var("subscription")); err != nil {
		return nil, err
	}
	return a.pageOfResources(ctx, r, "")
}

func (a *API) listGroupResources(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	g, err := a.find(ctx, r.Var("subscription"), r.Var("group"))
	if err != nil {
		return nil, err
	}
	return a.pageOfResources(ctx, r, g.Name)
}

// pageOfResources answers with a page of the resources in a group, or in all of
// them, that the request's filter accepts.
func (a *API) pageOfResources(ctx context.Context, r *arm.Request, group string) (*arm.Response, error) {
	accepts, err := parseFilter(r.Query("$filter"))
	if err != nil {
		return nil, err
	}
	size, err := top(r)
	if err != nil {
		return nil, err
	}
	var all []resource.Summary
	for _, s := range a.resources(ctx) {
		if (group == "" || strings.EqualFold(s.ID.Group, group)) && accepts(s) {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b resource.Summary) int { return cmp.Compare(a.ID.Key(), b.ID.Key()) })
	page, next, err := arm.Page(r, all, size, func(s resource.Summary) string { return s.ID.Key() })
	if err != nil {
		return nil, err
	}
	expanded := strings.ToLower(r.Query("$expand"))
	values := []any{}
	for _, s := range page {
		values = append(values, renderSummary(s, expanded))
	}
	body := object{"value": values}
	if next != "" {
		body["nextLink"] = next
	}
	return &arm.Response{Body: body}, nil
}

func (a *API) resources(ctx context.Context) []resource.Summary {
	if a.Resources == nil {
		return nil
	}
	return a.Resources(ctx)
}

// renderSummary writes a resource with the members that $expand, in lower case,
// names. Nobody notes when a resource was last changed: changedTime is left out.
func renderSummary(s resource.Summary, expanded string) object {
	out := object{"id": s.ID.String(), "name": s.ID.Name(), "type": s.ID.Type(), "location": s.Location, "tags": s.Tags}
	if s.Tags == nil {
		out["tags"] = object{}
	}
	if s.SKU != (resource.SKU{}) {
		out["sku"] = object{"name": s.SKU.Name, "tier": s.SKU.Tier, "capacity": s.SKU.Capacity}
	}
	if len(s.Zones) > 0 {
		out["zones"] = s.Zones
	}
	if strings.Contains(expanded, "createdtime") {
		out["createdTime"] = s.Created.UTC().Format(time.RFC3339Nano)
	}
	if strings.Contains(expanded, "provisioningstate") {
		out["provisioningState"] = s.State
	}
	return out
}

// maxTop is how many items a page has at most, and by default.
const maxTop = 1000

// top reads $top.
func top(r *arm.Request) (int, error) {
	given := r.Query("$top")
	if given == "" {
		return maxTop, nil
	}
	n, err := strconv.Atoi(given)
	if err != nil || n < 1 {
		return 0, resource.Errorf(resource.Invalid, "InvalidTopInQueryString", "$top is a number from 1.").At("$top")
	}
	return min(n, maxTop), nil
}

// clause is one comparison of a filter, with what joins it to the next.
var clause = regexp.MustCompile(`(?i)^\s*([a-z]+)\s+eq\s+'((?:[^']|'')*)'\s*(?:$|(and)\s)`)

// members are what a filter can compare, by their names in lower case. Names,
// types and locations compare without regard to case.
var members = map[string]func(s resource.Summary, want string) bool{
	"resourcetype":  func(s resource.Summary, want string) bool { return strings.EqualFold(s.ID.Type(), want) },
	"name":          func(s resource.Summary, want string) bool { return strings.EqualFold(s.ID.Name(), want) },
	"resourcegroup": func(s resource.Summary, want string) bool { return strings.EqualFold(s.ID.Group, want) },
	"location": func(s resource.Summary, want string) bool {
		return strings.EqualFold(s.Location, strings.ReplaceAll(want, " ", ""))
	},
}

// parseFilter reads $filter: comparisons joined by and. tagName and tagValue go
// together: the tag of that name has that value. It fails with Invalid, code
// InvalidFilterInQueryString.
func parseFilter(text string) (accepts func(resource.Summary) bool, err error) {
	var conditions []func(resource.Summary) bool
	var tag, value *string
	for rest := text; strings.TrimSpace(rest) != ""; {
		m := clause.FindStringSubmatch(rest)
		if m == nil {
			return nil, errFilter()
		}
		name, want := strings.ToLower(m[1]), strings.ReplaceAll(m[2], "''", "'")
		compare := members[name]
		switch {
		case compare != nil:
			conditions = append(conditions, func(s resource.Summary) bool { return compare(s, want) })
		case name == "tagname" && tag == nil:
			tag = &want
		case name == "tagvalue" && value == nil:
			value = &want
		default:
			return nil, errFilter()
		}
		rest = rest[len(m[0]):]
		if m[3] != "" && strings.TrimSpace(rest) == "" {
			return nil, errFilter() // nothing after the last and
		}
	}
	if tag == nil && value != nil {
		return nil, errFilter()
	}
	return func(s resource.Summary) bool {
		for _, holds := range conditions {
			if !holds(s) {
				return false
			}
		}
		return tag == nil || hasTag(s.Tags, *tag, value)
	}, nil
}

func errFilter() error {
	return resource.Errorf(resource.Invalid, "InvalidFilterInQueryString",
		"The $filter is not supported: compare resourceType, name, resourceGroup, location, tagName or tagName and tagValue by eq 'value', and join comparisons by and.").At("$filter")
}

// hasTag reports whether the tag is there, with the value if one is wanted.
func hasTag(tags map[string]string, name string, value *string) bool {
	for t, v := range tags {
		if strings.EqualFold(t, name) && (value == nil || v == *value) {
			return true
		}
	}
	return false
}
