package compute

import (
	"encoding/base64"

	"github.com/muster-vm/muster/internal/arm/wire"
	"github.com/muster-vm/muster/internal/vmss"
)

// Current is a scale set as it is stored: its document and its newest model.
type Current struct {
	Set   vmss.ScaleSet
	Model vmss.Model
}

// Draft is a request's document, merged into the current one, that has not been
// checked yet.
type Draft struct {
	doc     wire.Document
	current *Current // nil on create
}

// Put merges the body of a PUT into the current document; current is nil on
// create. Members that the body lacks keep their value, secrets included; null
// goes back to the default; arrays and tags are replaced as a whole. It fails
// with Invalid.
func Put(current *Current, body []byte) (*Draft, error) {
	return draft(current, body, ScaleSet.Merge)
}

// Patch merges the body of a PATCH, an RFC 7396 merge patch, into the current
// document. It fails with Invalid.
func Patch(current *Current, body []byte) (*Draft, error) {
	return draft(current, body, func(target, patch wire.Document) wire.Document {
		return wire.MergePatch(target, patch).(map[string]any)
	})
}

func draft(current *Current, body []byte, merge func(target, body wire.Document) wire.Document) (*Draft, error) {
	patch, err := ScaleSet.Decode(body)
	if err != nil {
		return nil, err
	}
	base := wire.Document{}
	if current != nil {
		if base, err = current.document(); err != nil {
			return nil, err
		}
		replaceImage(base, patch)
	}
	// A merge keeps the nulls of arrays' elements and of objects that are new:
	// merging into nothing removes them.
	merged := wire.DropNulls(merge(base, patch)).(map[string]any)
	return &Draft{doc: merged, current: current}, nil
}

// document puts the stored parts of a scale set together again.
func (c *Current) document() (wire.Document, error) {
	doc, err := ScaleSet.Decode(c.Set.Document)
	if err != nil {
		return nil, err
	}
	vm, err := wire.ParseJSON(c.Model.Document)
	if err != nil {
		return nil, err
	}
	wire.Set(doc, vm, "properties", "virtualMachineProfile")
	wire.Set(doc, int64(c.Set.SKU.Capacity), "sku", "capacity")
	// Decoding once more gives the profile's members their types.
	if doc, err = ScaleSet.Decode(ScaleSet.Encode(doc)); err != nil {
		return nil, err
	}
	c.addSecrets(doc)
	return doc, nil
}

func (c *Current) addSecrets(doc wire.Document) {
	secrets := c.Model.OS.Secrets
	add := func(s string, path ...string) {
		if s != "" {
			wire.Set(doc, s, append([]string{"properties", "virtualMachineProfile"}, path...)...)
		}
	}
	add(secrets.AdminPassword, "osProfile", "adminPassword")
	add(base64.StdEncoding.EncodeToString(secrets.CustomData), "osProfile", "customData")
	add(base64.StdEncoding.EncodeToString(secrets.UserData), "userData")
}

// replaceImage drops the current image reference where the body names an image
// in the other way, by id or by publisher: a mix would name two images.
func replaceImage(base, patch wire.Document) {
	path := []string{"properties", "virtualMachineProfile", "storageProfile", "imageReference"}
	was, _ := wire.Get(base, path...).(map[string]any)
	now, _ := wire.Get(patch, path...).(map[string]any)
	byID := now["id"] != nil
	byURN := now["publisher"] != nil || now["offer"] != nil || now["sku"] != nil
	if byID && was["id"] == nil || byURN && was["id"] != nil {
		wire.Remove(base, path...)
	}
}

// Location returns the location that the document names, if any.
func (d *Draft) Location() string { return wire.TextAt(d.doc, "location") }

// Size returns the VM size that the document names, if any.
func (d *Draft) Size() string { return wire.TextAt(d.doc, "sku", "name") }

// Image returns what the image reference says: publisher, offer, SKU and
// version, or an id. It is the zero Image if there is no reference.
func (d *Draft) Image() vmss.Image {
	ref, _ := wire.Get(d.doc, "properties", "virtualMachineProfile", "storageProfile", "imageReference").(map[string]any)
	return vmss.Image{
		Publisher: wire.TextAt(ref, "publisher"), Offer: wire.TextAt(ref, "offer"), SKU: wire.TextAt(ref, "sku"),
		Version: wire.TextAt(ref, "version"), ID: wire.TextAt(ref, "id"),
	}
}

// fill sets a member that is not there.
func fill(doc wire.Document, name string, v any) {
	if doc[name] == nil {
		doc[name] = v
	}
}

// sub returns the object at a member, making it if it is not there.
func sub(doc wire.Document, name string) wire.Document {
	m, ok := doc[name].(map[string]any)
	if !ok {
		m = wire.Document{}
		doc[name] = m
	}
	return m
}
