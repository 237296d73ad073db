package resources

import (
	"context"
	"maps"

	"github.com/muster-vm/muster/internal/arm"
	wire "github.com/muster-vm/muster/internal/arm/wire/resources"
	"github.com/muster-vm/muster/internal/resource"
)

func renderTags(g resource.Group) *arm.Response {
	tags := g.Tags
	if tags == nil {
		tags = map[string]string{}
	}
	return &arm.Response{Body: object{"id": g.ID().String() + "/providers/Microsoft.Resources/tags/default", "name": "default",
		"type": "Microsoft.Resources/tags", "properties": object{"tags": tags}}}
}

func (a *API) getTags(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	g, err := a.find(ctx, r.Var("subscription"), r.Var("group"))
	return renderTags(g), err
}

// writeTags replaces on PUT, and does what the operation says on PATCH.
func (a *API) writeTags(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	doc, err := wire.Tags.Decode(r.Body())
	if err != nil {
		return nil, err
	}
	operation, _ := doc["operation"].(string)
	if r.HTTP.Method == "PUT" {
		operation = "Replace"
	}
	given := wire.TagsOf(doc, "properties", "tags")
	g, err := a.change(ctx, r, func(g *resource.Group) error {
		switch operation {
		case "Replace":
			g.Tags = given
		case "Merge":
			g.Tags = merge(g.Tags, given)
		case "Delete":
			maps.DeleteFunc(g.Tags, func(name, value string) bool {
				at := tagNamed(given, name)
				return at != "" && (given[at] == "" || given[at] == value)
			})
		default:
			return resource.Errorf(resource.Invalid, "InvalidTagsPatchOperation", "Say what to do with the tags: Merge, Replace or Delete.").At("operation")
		}
		return resource.CheckTags(g.Tags)
	})
	return renderTags(g), err
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
	_, err := a.change(ctx, r, func(g *resource.Group) error { g.Tags = nil; return nil })
	return &arm.Response{}, err
}
