package resources

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/muster-vm/muster/internal/arm"
)

// usedTag is a tag name with how often each of its values is used.
type usedTag struct {
	name   string // as first met
	values map[string]int
}

// listTagNames sums up the tags of all groups and resources. Azure lets tag
// names be made and deleted by themselves as well; here a name exists while
// something has it.
//
// Source: https://learn.microsoft.com/rest/api/resources/tags/list
func (a *API) listTagNames(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	if err := a.known(r.Var("subscription")); err != nil {
		return nil, err
	}
	groups, err := a.Store.Groups(ctx, a.Subscription.ID)
	if err != nil {
		return nil, err
	}
	used := map[string]usedTag{} // by lower-case name
	for _, g := range groups {
		count(used, g.Tags)
	}
	for _, s := range a.resources(ctx) {
		count(used, s.Tags)
	}
	values := []any{}
	for _, key := range slices.Sorted(maps.Keys(used)) {
		values = append(values, a.renderTagName(used[key]))
	}
	return &arm.Response{Body: object{"value": values}}, nil
}

func count(used map[string]usedTag, tags map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(tags)) {
		key := strings.ToLower(name)
		if used[key].values == nil {
			used[key] = usedTag{name, map[string]int{}}
		}
		used[key].values[tags[name]]++
	}
}

func (a *API) renderTagName(t usedTag) object {
	id := "/subscriptions/" + a.Subscription.ID + "/tagNames/" + t.name
	total, values := 0, []any{}
	for _, v := range slices.Sorted(maps.Keys(t.values)) {
		total += t.values[v]
		values = append(values, object{"id": id + "/tagValues/" + v, "tagValue": v, "count": object{"type": "Total", "value": t.values[v]}})
	}
	return object{"id": id, "tagName": t.name, "count": object{"type": "Total", "value": total}, "values": values}
}
