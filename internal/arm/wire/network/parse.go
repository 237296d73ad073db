package network

import (
	"fmt"
	"slices"
	"strings"

	"github.com/muster-vm/muster/internal/arm/wire"
	"github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/resource"
)

// Input is what Parse needs beside the document.
type Input struct {
	ID    resource.ID // of the resource; ignored unless it is new
	Zones []string    // the zones there are
}

// Parse checks the document and reads it. Members that requests do not write (UID,
// Created, Deleting, and addresses that were given out) come from the current
// resource and are zero on create. It fails with Invalid, or with Conflict, code
// PropertyChangeNotAllowed, where something changed that cannot; all problems are
// reported together.
func (d *Draft) Parse(in Input) (network.Resource, error) {
	p := &parser{doc: wire.Clone(d.doc), in: in, was: d.current}
	out := network.Resource{ID: in.ID, Kind: d.of}
	if d.current != nil {
		was := d.current
		out.ID, out.UID, out.Created, out.Deleting = was.ID, was.UID, was.Created, was.Deleting
	} else {
		p.AddFrom(network.CheckName(in.ID.Name()), "name")
	}
	p.common(&out)
	p.props = sub(p.doc, "properties")
	d.kind.parse(p, &out)
	p.unchangeable(d.kind)
	if err := p.Err(); err != nil {
		return network.Resource{}, d.here(err)
	}
	for i := range p.refs {
		p.refs[i].Path = strings.TrimPrefix(p.refs[i].Path, d.element)
	}
	d.refs = p.refs
	out.Document = d.kind.schema.Encode(p.doc)
	return out, nil
}

// parser walks a document.
type parser struct {
	wire.Problems
	doc   wire.Document
	props wire.Document // the document's properties
	in    Input
	was   *network.Resource // nil on create
	refs  []Reference
}

// common reads what all kinds have.
func (p *parser) common(out *network.Resource) {
	if wire.TextAt(p.doc, "location") == "" {
		p.Add(wire.InvalidParameter, "location", "The required member 'location' is missing.")
	}
	out.Location = strings.ReplaceAll(strings.ToLower(wire.TextAt(p.doc, "location")), " ", "")
	p.doc["location"] = out.Location
	out.SKU = network.SKU(wire.TextAt(p.doc, "sku", "name"))
	p.zones(out)
	p.tags(out)
}

func (p *parser) zones(out *network.Resource) {
	out.Zones = wire.TextsAt(p.doc, "zones")
	for i, z := range out.Zones {
		at := fmt.Sprintf("zones[%d]", i)
		switch {
		case !slices.Contains(p.in.Zones, z):
			p.Add("InvalidAvailabilityZone", at, "There is no zone '%.32s'; there are: %s.", z, strings.Join(p.in.Zones, ", "))
		case slices.Contains(out.Zones[:i], z):
			p.Add(wire.InvalidParameter, at, "The zone '%s' is listed twice.", z)
		}
	}
	if len(out.Zones) == 0 {
		delete(p.doc, "zones")
	}
}

func (p *parser) tags(out *network.Resource) {
	tags, given := p.doc["tags"].(map[string]any)
	if !given {
		return
	}
	out.Tags = map[string]string{}
	for name, v := range tags {
		out.Tags[name], _ = v.(string)
	}
	p.AddFrom(resource.CheckTags(out.Tags), "tags")
}

// name reads the name of a child.
func (p *parser) name(doc wire.Document, at string) string {
	name := wire.TextAt(doc, "name")
	if name == "" {
		p.Add(wire.InvalidParameter, at+".name", "The required member '%s' is missing.", at+".name")
		return ""
	}
	p.AddFrom(network.CheckName(name), at+".name")
	return name
}

// ref reads an object that names a resource by its id, as networkSecurityGroup
// does, or a child of one in the collection. It keeps the id alone of it. It
// returns the zero Ref if the object is not there.
func (p *parser) ref(in wire.Document, member, at string, kind network.Kind, collection string) network.Ref {
	at += "." + member
	if wire.TextAt(in, member, "id") == "" {
		delete(in, member)
		return network.Ref{}
	}
	in[member] = wire.Document{"id": wire.TextAt(in, member, "id")}
	return p.id(wire.TextAt(in, member, "id"), at, kind, collection)
}

// id reads an id of a resource, or of a child in the collection, and notes the
// reference. It returns the zero Ref if that is a problem.
func (p *parser) id(value, at string, kind network.Kind, collection string) network.Ref {
	id, err := resource.ParseID(value)
	if err != nil {
		p.AddFrom(err, at+".id")
		return network.Ref{}
	}
	want := kind.Type()
	if collection != "" {
		want += "/" + collection
	}
	ref, ok := network.RefOf(id)
	if !ok || !strings.EqualFold(id.Type(), want) {
		p.Add("InvalidResourceReference", at+".id", "'%.256s' is the id of a %s; '%s' takes that of a %s.", value, id.Type(), at+".id", want)
		return network.Ref{}
	}
	p.refs = append(p.refs, Reference{Path: at + ".id", ID: id, To: ref})
	return ref
}

// idle reads a timeout in minutes, which is from 4 on and 4 if it is not given.
func (p *parser) idle(in wire.Document, at string, high int) int {
	const member, low = "idleTimeoutInMinutes", 4
	n, given := wire.NumberAt(in, member)
	if !given {
		in[member] = int64(low)
		return low
	}
	if n < low || n > high {
		p.Add(wire.InvalidParameter, at+"."+member, "'%s' must be from %d to %d, not %d.", at+"."+member, low, high, n)
	}
	return n
}

// required reports a string that is missing.
func (p *parser) required(in wire.Document, member, at string) string {
	s := wire.TextAt(in, member)
	if s == "" {
		p.Add(wire.InvalidParameter, at+"."+member, "The required member '%s' is missing.", at+"."+member)
	}
	return s
}

// elementPath is the JSON path of an element of properties.
func elementPath(collection string, i int) string {
	return fmt.Sprintf("properties.%s[%d]", collection, i)
}

// unchangeable reports the members that can never change.
func (p *parser) unchangeable(k *kind) {
	if p.was == nil {
		return
	}
	before, err := k.schema.Decode(p.was.Document)
	if err != nil {
		p.AddFrom(err, "")
		return
	}
	for _, path := range [][]string{{"location"}, {"zones"}, {"sku", "name"}} {
		if !equal(wire.Get(before, path...), wire.Get(p.doc, path...)) {
			at := strings.Join(path, ".")
			p.AddError(resource.Errorf(resource.Conflict, "PropertyChangeNotAllowed", "Changing property '%s' is not allowed. Delete the resource and make it again, or make another one.", at).At(at))
		}
	}
}

// equal compares strings, and lists of them.
func equal(a, b any) bool {
	x, isList := a.([]any)
	y, _ := b.([]any)
	if isList {
		return slices.Equal(x, y)
	}
	return a == b
}
