package network

import (
	"slices"
	"strings"

	"github.com/muster-vm/muster/internal/arm/wire"
	"github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/resource"
)

// Draft is a document that a request wants a resource to have, which has not been
// checked yet.
type Draft struct {
	kind    *kind
	of      network.Kind
	doc     wire.Document
	current *network.Resource // nil on create
	element string            // path of the child that the request is about, with a dot; empty for the resource
	refs    []Reference
}

// Child names a child of a resource.
type Child struct {
	Collection string // such as "subnets", in any letter case
	Name       string
}

// Put takes the body of a PUT; current is nil on create. It fails with Invalid.
func Put(kind network.Kind, current *network.Resource, body []byte) (*Draft, error) {
	k := kinds[kind]
	doc, err := k.schema.Decode(body)
	if err != nil {
		return nil, err
	}
	doc = wire.DropNulls(doc).(map[string]any)
	if current != nil {
		before, err := k.schema.Decode(current.Document)
		if err != nil {
			return nil, err
		}
		for _, name := range k.keep {
			if was := wire.Get(before, "properties", name); was != nil && wire.Get(doc, "properties", name) == nil {
				wire.Set(doc, was, "properties", name)
			}
		}
	}
	return &Draft{kind: k, of: kind, doc: doc, current: current}, nil
}

// PatchTags takes the body of a PATCH, which says what the tags are from now on and
// nothing else. It fails with Invalid.
func PatchTags(current network.Resource, body []byte) (*Draft, error) {
	patch, err := tagsSchema.Decode(body)
	if err != nil {
		return nil, err
	}
	d, err := edit(current)
	if err != nil {
		return nil, err
	}
	delete(d.doc, "tags")
	if tags := wire.DropNulls(patch).(map[string]any)["tags"]; tags != nil {
		d.doc["tags"] = tags
	}
	return d, nil
}

// tagsSchema is that of the body of a PATCH.
var tagsSchema = wire.MustParseLedger("tags  map  acts\ntags{}  string  acts\n")

// PutChild takes the body of a PUT of one child, in place of the one with its name,
// and says whether there was none. It fails with Invalid; paths are those of the
// child's document.
func PutChild(current network.Resource, c Child, body []byte) (d *Draft, created bool, err error) {
	if d, err = edit(current); err != nil {
		return nil, false, err
	}
	kind := d.kind.child(c.Collection)
	doc, err := kind.schema.Decode(body)
	if err != nil {
		return nil, false, err
	}
	doc = wire.DropNulls(doc).(map[string]any)
	doc["name"] = c.Name
	all := d.children(kind)
	at := find(all, c.Name)
	if created = at < 0; created {
		at, all = len(all), append(all, doc)
	} else {
		doc["name"] = all[at].(map[string]any)["name"] // names keep the letter case that they were given first
		all[at] = doc
	}
	wire.Set(d.doc, all, "properties", kind.name)
	d.element = elementPath(kind.name, at) + "."
	return d, created, nil
}

// DeleteChild removes one child, and says whether there was one.
func DeleteChild(current network.Resource, c Child) (d *Draft, found bool, err error) {
	if d, err = edit(current); err != nil {
		return nil, false, err
	}
	kind := d.kind.child(c.Collection)
	all := d.children(kind)
	at := find(all, c.Name)
	if at < 0 {
		return d, false, nil
	}
	wire.Set(d.doc, slices.Delete(all, at, at+1), "properties", kind.name)
	return d, true, nil
}

// edit starts from what is there.
func edit(current network.Resource) (*Draft, error) {
	k := kinds[current.Kind]
	doc, err := k.schema.Decode(current.Document)
	return &Draft{kind: k, of: current.Kind, doc: doc, current: &current}, err
}

// children returns a copy of the list of children in the document.
func (d *Draft) children(c *child) []any {
	list, _ := wire.Get(d.doc, "properties", c.name).([]any)
	return slices.Clone(list)
}

// find returns the index of the object with this name, in any letter case, or -1.
func find(all []any, name string) int {
	return slices.IndexFunc(all, func(v any) bool {
		m, _ := v.(map[string]any)
		return strings.EqualFold(wire.TextAt(m, "name"), name)
	})
}

// Location returns the location that the document names, if any.
func (d *Draft) Location() string { return wire.TextAt(d.doc, "location") }

// Reference is a place in a document that names a resource, or a child of one.
type Reference struct {
	Path string // in the document that the request was about
	ID   resource.ID
	To   network.Ref
}

// References lists what the document names beside itself, in order; it is complete
// once Parse has succeeded. Parse has checked that each is of a type that may be
// there; whether it exists is for the caller to find out.
func (d *Draft) References() []Reference { return d.refs }

// here moves the paths of an error into the document that the request was about.
func (d *Draft) here(err error) error {
	e, ok := err.(*resource.Error) //nolint:errorlint // Problems do not wrap
	if !ok || d.element == "" {
		return err
	}
	out := e.At(strings.TrimPrefix(e.Target, d.element))
	out.Details = nil
	for _, detail := range e.Details {
		out.Details = append(out.Details, detail.At(strings.TrimPrefix(detail.Target, d.element)))
	}
	return out
}
