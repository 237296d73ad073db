package resources

import (
	"context"
	"maps"
	"net/http"

	"github.com/muster-vm/muster/internal/arm"
	wire "github.com/muster-vm/muster/internal/arm/wire/resources"
	"github.com/muster-vm/muster/internal/resource"
)

// tagsPath is where the tags of anything are, below its id.
const tagsPath = "/providers/Microsoft.Resources/tags/default"

func (a *API) tagRoutes() []arm.Route {
	const group = "/subscriptions/{subscription}/resourceGroups/{group}"
	route := func(method, scope, action string, h arm.Handler) arm.Route {
		return arm.Route{Method: method, Path: scope + tagsPath, Action: "Microsoft.Resources/tags/" + action, Handler: h, Versions: Versions}
	}
	var all []arm.Route
	for _, scope := range []string{group, group + "/providers/{namespace}/{type}/{name}"} {
		all = append(all, route("GET", scope, "read", a.getTags), route("PUT", scope, "write", a.writeTags),
			route("PATCH", scope, "write", a.writeTags), route("DELETE", scope, "delete", a.deleteTags))
	}
	return all
}

// tagged returns what the path says has the tags: a group, or something in it.
func tagged(r *arm.Request) resource.ID {
	if r.Var("name") == "" {
		return resource.GroupID(r.Var("subscription"), r.Var("group"))
	}
	return resource.In(r.Var("subscription"), r.Var("group"), r.Var("namespace"), r.Var("type"), r.Var("name"))
}

// tag reads the tags, and changes them if change is not nil, which gets a copy.
func (a *API) tag(ctx context.Context, r *arm.Request, change func(map[string]string) (map[string]string, error)) (*arm.Response, error) {
	id := tagged(r)
	tags, err := map[string]string(nil), a.known(id.Subscription)
	switch {
	case err != nil:
	case id.Provider == "":
		id, tags, err = a.tagGroup(ctx, r, change)
	default:
		if _, err = a.find(ctx, id.Subscription, id.Group); err == nil {
			tags, err = a.tagResource(ctx, id, change)
		}
	}
	if tags == nil {
		tags = map[string]string{}
	}
	return &arm.Response{Body: object{"id": id.String() + tagsPath, "name": "default",
		"type": "Microsoft.Resources/tags", "properties": object{"tags": tags}}}, err
}

func (a *API) tagGroup(ctx context.Context, r *arm.Request, change func(map[string]string) (map[string]string, error)) (resource.ID, map[string]string, error) {
	if change == nil {
		g, err := a.find(ctx, r.Var("subscription"), r.Var("group"))
		return g.ID(), g.Tags, err
	}
	g, err := a.change(ctx, r, func(g *resource.Group) (err error) {
		g.Tags, err = change(g.Tags)
		return err
	})
	return g.ID(), g.Tags, err
}

func (a *API) tagResource(ctx context.Context, id resource.ID, change func(map[string]string) (map[string]string, error)) (map[string]string, error) {
	if a.Tag == nil {
		return nil, resource.Errorf(resource.NotFound, "ResourceNotFound", "The Resource '%s/%s' under resource group '%s' was not found.", id.Type(), id.Name(), id.Group)
	}
	return a.Tag(ctx, id, change)
}

func (a *API) getTags(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	return a.tag(ctx, r, nil)
}

// writeTags replaces on PUT, and does what the operation says on PATCH.
func (a *API) writeTags(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	doc, err := wire.Tags.Decode(r.Body())
	if err != nil {
		return nil, err
	}
	operation, _ := doc["operation"].(string)
	if r.HTTP.Method == http.MethodPut {
		operation = "Replace"
	}
	given := wire.TagsOf(doc, "properties", "tags")
	return a.tag(ctx, r, func(tags map[string]string) (map[string]string, error) {
		switch operation {
		case "Replace":
			tags = given
		case "Merge":
			tags = merge(tags, given)
		case "Delete":
			maps.DeleteFunc(tags, func(name, value string) bool {
				at := tagNamed(given, name)
				return at != "" && (given[at] == "" || given[at] == value)
			})
		default:
			return nil, resource.Errorf(resource.Invalid, "InvalidTagsPatchOperation", "Say what to do with the tags: Merge, Replace or Delete.").At("operation")
		}
		return tags, resource.CheckTags(tags)
	})
}

// merge sets the given tags; a tag keeps the case of its name.
func merge(tags, given map[string]string) map[string]string {
	if tags == nil {
		tags = map[string]string{}
	}
	for name, value := range given {
		if at := tagNamed(tags, name); at != "" {
			name = at
		}
		tags[name] = value
	}
	return tags
}

func (a *API) deleteTags(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	_, err := a.tag(ctx, r, func(map[string]string) (map[string]string, error) { return nil, nil })
	return &arm.Response{}, err
}
