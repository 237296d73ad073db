package resources

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/muster-vm/muster/internal/arm"
	wire "github.com/muster-vm/muster/internal/arm/wire/resources"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/vmss"
)

// attempts bounds how often a change is tried again after a Conflict.
const attempts = 5

func renderGroup(g resource.Group) object {
	state := "Succeeded"
	if g.Deleting {
		state = "Deleting"
	}
	tags := g.Tags
	if tags == nil {
		tags = map[string]string{}
	}
	return object{"id": g.ID().String(), "name": g.Name, "type": "Microsoft.Resources/resourceGroups", "location": g.Location, "tags": tags,
		"properties": object{"provisioningState": state}}
}

func (a *API) getGroup(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	g, err := a.find(ctx, r.Var("subscription"), r.Var("group"))
	return &arm.Response{Body: renderGroup(g)}, err
}

func (a *API) headGroup(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	_, err := a.find(ctx, r.Var("subscription"), r.Var("group"))
	return &arm.Response{Status: http.StatusNoContent}, err
}

var tagFilter = regexp.MustCompile(`(?i)^\s*tagName\s+eq\s+'((?:[^']|'')*)'(?:\s+and\s+tagValue\s+eq\s+'((?:[^']|'')*)')?\s*$`)

func (a *API) listGroups(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	if err := a.known(r.Var("subscription")); err != nil {
		return nil, err
	}
	groups, err := a.Store.Groups(ctx, a.Subscription.ID)
	if err != nil {
		return nil, err
	}
	if filter := r.Query("$filter"); filter != "" {
		m := tagFilter.FindStringSubmatchIndex(filter)
		if m == nil {
			return nil, resource.Errorf(resource.Invalid, "InvalidFilterInQueryString", "The $filter is not supported: use tagName eq 'name' and tagValue eq 'value'.").At("$filter")
		}
		part := func(i int) string { return strings.ReplaceAll(filter[m[i]:m[i+1]], "''", "'") }
		groups = slices.DeleteFunc(slices.Clone(groups), func(g resource.Group) bool {
			at := tagNamed(g.Tags, part(2))
			return at == "" || m[4] >= 0 && g.Tags[at] != part(4)
		})
	}
	size, err := top(r)
	if err != nil {
		return nil, err
	}
	page, next, err := arm.Page(r, groups, size, func(g resource.Group) string { return strings.ToLower(g.Name) })
	if err != nil {
		return nil, err
	}
	body := object{"value": []any{}}
	for _, g := range page {
		body["value"] = append(body["value"].([]any), renderGroup(g))
	}
	if next != "" {
		body["nextLink"] = next
	}
	return &arm.Response{Body: body}, nil
}

// tagNamed returns the tag's name as stored; names ignore case.
func tagNamed(tags map[string]string, name string) string {
	for t := range tags {
		if strings.EqualFold(t, name) {
			return t
		}
	}
	return ""
}

func (a *API) putGroup(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	doc, err := wire.Group.Decode(r.Body())
	if err != nil {
		return nil, err
	}
	name := r.Var("group")
	given, _ := doc["location"].(string)
	location := strings.ToLower(strings.ReplaceAll(given, " ", ""))
	tags := wire.TagsOf(doc, "tags")
	if err := cmp.Or(resource.CheckGroupName(name), resource.CheckTags(tags), a.checkLocation(location)); err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		g, err := a.Group(ctx, r.Var("subscription"), name)
		status := http.StatusOK
		switch {
		case resource.Is(err, resource.NotFound) && a.known(r.Var("subscription")) == nil:
			status = http.StatusCreated
			g = resource.Group{Subscription: a.Subscription.ID, Name: name, Location: location, Created: time.Now().UTC()}
		case err != nil:
			return nil, err
		case g.Location != location:
			return nil, resource.Errorf(resource.Conflict, "InvalidResourceGroupLocation",
				"Invalid resource group location '%s'. The Resource group already exists in location '%s'.", location, g.Location)
		}
		g.Tags = tags
		if err = a.Store.PutGroup(ctx, g); err == nil {
			return &arm.Response{Status: status, Body: renderGroup(g)}, nil
		}
		if !resource.Is(err, resource.Conflict) || try == attempts {
			return nil, err
		}
	}
}

func (a *API) checkLocation(location string) error {
	if location == "" {
		return resource.Errorf(resource.Invalid, "LocationRequired", "The location property is required for this definition.").At("location")
	}
	if !slices.ContainsFunc(a.Locations, func(l string) bool { return strings.EqualFold(l, location) }) {
		return resource.Errorf(resource.Invalid, "LocationNotAvailableForResourceGroup",
			"The provided location '%s' is not available for resource group. List of available regions is '%s'.", location, strings.Join(a.Locations, ",")).At("location")
	}
	return nil
}

// change applies f to a group that is not being deleted, again if another
// change came between.
func (a *API) change(ctx context.Context, r *arm.Request, f func(*resource.Group) error) (resource.Group, error) {
	for try := 1; ; try++ {
		g, err := a.Group(ctx, r.Var("subscription"), r.Var("group"))
		if err != nil {
			return g, err
		}
		g.Tags = maps.Clone(g.Tags) // what the store gave is not ours
		if err := f(&g); err != nil {
			return g, err
		}
		err = a.Store.PutGroup(ctx, g)
		if err == nil || !resource.Is(err, resource.Conflict) || try == attempts {
			return g, err
		}
	}
}

func (a *API) patchGroup(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	doc, err := wire.Group.Decode(r.Body())
	if err != nil {
		return nil, err
	}
	g, err := a.change(ctx, r, func(g *resource.Group) error {
		if tags := wire.TagsOf(doc, "tags"); tags != nil {
			g.Tags = tags
		}
		return resource.CheckTags(g.Tags)
	})
	return &arm.Response{Body: renderGroup(g)}, err
}

func (a *API) deleteGroup(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	for try := 1; ; try++ {
		g, err := a.find(ctx, r.Var("subscription"), r.Var("group"))
		if err != nil {
			return nil, err
		}
		if g.Deleting {
			return nil, resource.Errorf(resource.Conflict, "ResourceGroupBeingDeleted", "The resource group '%s' is being deleted already.", g.Name)
		}
		if a.Blocked != nil {
			if err := a.Blocked(g.Subscription, g.Name); err != nil {
				return nil, err
			}
		}
		g.Deleting = true
		now := time.Now().UTC()
		op := vmss.Operation{ID: uuid.NewString(), Sequence: now.UnixNano(), Kind: vmss.OpDeleteGroup, Target: g.ID(), Location: g.Location, Created: now, Principal: r.Principal.ObjectID}
		if err = a.Store.DeleteGroup(ctx, g, op); err == nil {
			path := "/subscriptions/" + g.Subscription + "/operationresults/" + op.ID
			return &arm.Response{Status: http.StatusAccepted, Async: &arm.Async{OperationPath: path, Location: true}}, nil
		}
		if !resource.Is(err, resource.Conflict) || try == attempts {
			return nil, err
		}
	}
}

// getOperation shows an operation to who began it, whatever the scope of their
// role, and to who may read what it is about.
func (a *API) getOperation(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	op, out, err := a.Store.Operation(ctx, r.Var("operation"))
	if err != nil {
		return nil, err
	}
	if op.Principal != r.Principal.ObjectID {
		if err := r.May("Microsoft.Resources/subscriptions/operationresults/read", op.Target.String()); err != nil {
			return nil, err
		}
	}
	status := arm.Operation{Name: op.ID, Status: string(vmss.InProgress), StartTime: op.Created}
	if out != nil {
		status.Status, status.EndTime = string(out.Status), out.Finished
		if e := out.Error; e != nil {
			status.Error = resource.Errorf(resource.Conflict, e.Code, "%s", e.Message).At(e.Target)
		}
	}
	return arm.Poll(r, status, nil)
}
