package network

import (
	"strings"

	"github.com/muster-vm/muster/internal/arm/wire"
	"github.com/muster-vm/muster/internal/network"
)

// The provisioning states.
const (
	Succeeded = "Succeeded"
	Updating  = "Updating"
	Deleting  = "Deleting"
	Failed    = "Failed"
)

// View is what answers show beside the document.
type View struct {
	ETag    string // a GUID; children have that of their parent
	State   string // of the resource and its children
	Fresh   bool   // its public address was given out just now: Azure does not show it yet
	Version string // api-version of the request
	// Links are the ids of what refers to the resource and its children, sorted.
	Links map[Link][]string
	// Balancer is what is found of a load balancer.
	Balancer BalancerView
}

// Link is a member that shows who refers to a resource or a child of it, such as
// ipConfigurations of the child subnets/web.
type Link struct {
	Child  string // collection and name, in lower case; empty for the resource
	Member string
}

// ids returns the ids of a link as objects, nil if there are none.
func (v View) ids(child, member string) []any {
	var all []any
	for _, id := range v.Links[Link{strings.ToLower(child), member}] {
		all = append(all, wire.Document{"id": id})
	}
	return all
}

// olderThan reports whether the request's api-version is older than that one.
func (v View) olderThan(version string) bool { return v.Version != "" && v.Version < version }

// link shows the ids of a link, if there are any.
func (v View) link(doc wire.Document, child, member string) {
	if all := v.ids(child, member); all != nil {
		doc[member] = all
	}
}

// Render writes a resource as Azure answers it. It fails only if what is stored is
// no JSON.
func Render(r network.Resource, v View) ([]byte, error) {
	doc, err := document(r, v)
	if err != nil {
		return nil, err
	}
	return kinds[r.Kind].schema.Encode(doc), nil
}

// RenderChildren writes the children in a collection, in order.
func RenderChildren(r network.Resource, v View, collection string) ([][]byte, error) {
	doc, err := document(r, v)
	if err != nil {
		return nil, err
	}
	c, all := kinds[r.Kind].child(collection), [][]byte{}
	for _, m := range wire.ObjectsAt(doc, "properties", c.name) {
		all = append(all, c.node.Append(nil, m))
	}
	return all, nil
}

// RenderChild writes one child; found is false if there is none of its name.
func RenderChild(r network.Resource, v View, c Child) (body []byte, found bool, err error) {
	doc, err := document(r, v)
	if err != nil {
		return nil, false, err
	}
	kind := kinds[r.Kind].child(c.Collection)
	for _, m := range wire.ObjectsAt(doc, "properties", kind.name) {
		if strings.EqualFold(wire.TextAt(m, "name"), c.Name) {
			return kind.node.Append(nil, m), true, nil
		}
	}
	return nil, false, nil
}

// document is the whole of what an answer shows.
func document(r network.Resource, v View) (wire.Document, error) {
	k := kinds[r.Kind]
	doc, err := k.schema.Decode(r.Document)
	if err != nil {
		return nil, err
	}
	etag := `W/"` + v.ETag + `"`
	doc["name"], doc["id"], doc["type"], doc["etag"] = r.ID.Name(), r.ID.String(), r.Kind.Type(), etag
	props := sub(doc, "properties")
	props["provisioningState"] = v.State
	if r.Kind != network.ApplicationGroupKind {
		props["resourceGuid"] = string(r.UID)
	}
	if k.show != nil {
		k.show(doc, r, v)
	}
	for _, c := range k.children {
		for _, m := range wire.ObjectsAt(props, c.name) {
			name := wire.TextAt(m, "name")
			m["id"], m["type"], m["etag"] = r.ID.String()+"/"+c.name+"/"+name, r.Kind.Type()+"/"+c.name, etag
			sub(m, "properties")["provisioningState"] = v.State
		}
	}
	return doc, nil
}
