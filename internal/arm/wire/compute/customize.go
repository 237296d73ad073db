package compute

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/muster-vm/muster/internal/arm/wire"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/vmss"
)

// InstanceNow is an instance before an instance-level PUT.
type InstanceNow struct {
	Rendered     []byte              // as it is answered
	Custom       *vmss.Customization // what it was customised to, nil if never
	MaxDataDisks int                 // what its size can attach
}

// read returns the instance as it is answered, and its customization.
func (is InstanceNow) read() (now wire.Document, out vmss.Customization, err error) {
	if now, err = Instance.Decode(is.Rendered); err != nil {
		return nil, out, fmt.Errorf("decode the rendered instance: %w", err)
	}
	if is.Custom != nil {
		out = *is.Custom
	}
	return now, out, nil
}

// ParseInstance reads the body of an instance-level PUT. Clients send the whole
// instance as they read it. Protection, tags and the data disks that are attached
// to the instance alone can be changed, and keep their value if they are absent;
// everything else must be what it is. It fails with Invalid, all problems
// together. The caller says By which operation.
func ParseInstance(body []byte, is InstanceNow) (vmss.Customization, error) {
	doc, err := Instance.Decode(body)
	if err != nil {
		return vmss.Customization{}, err
	}
	now, out, err := is.read()
	if err != nil {
		return vmss.Customization{}, err
	}
	var p wire.Problems
	unchanged{Problems: &p}.check(Instance.Root, doc, now, "")
	readAttached(&p, doc, now, is.MaxDataDisks, &out)
	readTags(&p, doc, &out)
	readProtection(&p, doc, &out)
	return out, p.Err()
}

func readTags(p *wire.Problems, doc wire.Document, out *vmss.Customization) {
	given := wire.ObjectAt(doc, "tags")
	if given == nil {
		return
	}
	out.Tags = make(map[string]string, len(given))
	for name, v := range given {
		out.Tags[name], _ = v.(string)
	}
	p.AddFrom(resource.CheckTags(out.Tags), "tags")
}

func readProtection(p *wire.Problems, doc wire.Document, out *vmss.Customization) {
	policy := wire.ObjectAt(doc, "properties", "protectionPolicy")
	if policy == nil {
		return
	}
	if actions, given := policy["protectFromScaleSetActions"].(bool); given {
		out.Protection.FromScaleSetActions = actions
	}
	scaleIn, given := policy["protectFromScaleIn"].(bool)
	if given {
		out.Protection.FromScaleIn = scaleIn
	}
	if !out.Protection.FromScaleSetActions {
		return
	}
	if given && !scaleIn {
		p.Add(wire.InvalidParameter, "properties.protectionPolicy.protectFromScaleIn",
			"protectFromScaleSetActions includes protection from scale-in; set protectFromScaleIn to true or leave it out.")
	}
	out.Protection.FromScaleIn = true
}

// unchanged checks that a body says nothing but what is: where members act only
// if all is set.
type unchanged struct {
	*wire.Problems
	all bool
}

func (u unchanged) check(n *wire.Node, body, now any, path string) {
	if body == nil || n.Class == wire.Acts && !u.all && n.Path != "" && n.Path != "properties" {
		return
	}
	switch b := body.(type) {
	case map[string]any:
		is, _ := now.(map[string]any)
		for _, name := range slices.Sorted(maps.Keys(b)) {
			at := name
			if path != "" {
				at = path + "." + name
			}
			child := n.Elem
			if n.Type == wire.Object {
				child = n.Member(name)
			}
			u.check(child, b[name], is[name], at)
		}
	case []any:
		is, _ := now.([]any)
		if len(b) != len(is) {
			u.changed(path)
			return
		}
		for i := range b {
			u.check(n.Elem, b[i], is[i], fmt.Sprintf("%s[%d]", path, i))
		}
	default:
		if !sameScalar(n, body, now) {
			u.changed(path)
		}
	}
}

// sameScalar compares one value; what was not there is the same as nothing.
func sameScalar(n *wire.Node, body, now any) bool {
	if n.Class == wire.Secret {
		return false
	}
	if now == nil {
		return body == false || body == "" || body == int64(0) || body == "None"
	}
	b, bText := body.(string)
	s, nowText := now.(string)
	if bText && nowText {
		exact := n.Type != wire.ID && n.Path != "location"
		return strings.TrimSpace(b) == strings.TrimSpace(s) || !exact && strings.EqualFold(b, s) || n.Path == "location" && plainLocation(b) == plainLocation(s)
	}
	if x, ok := body.(json.Number); ok {
		return fmt.Sprint(now) == x.String()
	}
	return body == now
}

func (u unchanged) changed(path string) {
	u.Add(wire.InvalidParameter, path, "'%s' cannot be changed for one instance: only tags, protectionPolicy and further data disks can. Change the model of the scale set and upgrade the instance to it.", path)
}
