package wire

import (
	"maps"
	"slices"
)

// MergePatch applies an RFC 7396 merge patch: members of patch replace those of
// target, objects merge member by member, null deletes, anything else replaces
// as a whole. Neither argument is changed; the result may share values with both.
//
// Source: https://www.rfc-editor.org/rfc/rfc7396
func MergePatch(target, patch any) any {
	p, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	t, _ := target.(map[string]any)
	out := make(map[string]any, len(t)+len(p))
	maps.Copy(out, t)
	for name, v := range p {
		if v == nil {
			delete(out, name)
			continue
		}
		out[name] = MergePatch(out[name], v)
	}
	return out
}

// Merge applies a body as Azure's PUT on a scale set does: like MergePatch, but
// maps such as tags are replaced as a whole, as arrays are.
func (s *Schema) Merge(target, body Document) Document {
	return mergeNode(s.Root, target, body).(map[string]any)
}

func mergeNode(n *Node, target, body any) any {
	b, ok := body.(map[string]any)
	if !ok {
		return body
	}
	if n == nil || n.Type != Object {
		return MergePatch(nil, body)
	}
	t, _ := target.(map[string]any)
	out := make(map[string]any, len(t)+len(b))
	maps.Copy(out, t)
	for name, v := range b {
		if v == nil {
			delete(out, name)
			continue
		}
		out[name] = mergeNode(n.Member(name), out[name], v)
	}
	return out
}

// Get returns the value at a path of member names, and nil if there is none.
func Get(doc Document, path ...string) any {
	var v any = doc
	for _, name := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[name]
	}
	return v
}

// Set puts a value at a path of member names, making the objects on the way.
func Set(doc Document, v any, path ...string) {
	for _, name := range path[:len(path)-1] {
		next, ok := doc[name].(map[string]any)
		if !ok {
			next = map[string]any{}
			doc[name] = next
		}
		doc = next
	}
	doc[path[len(path)-1]] = v
}

// Remove deletes the member at a path, if it is there.
func Remove(doc Document, path ...string) {
	parent, ok := Get(doc, path[:len(path)-1]...).(map[string]any)
	if ok {
		delete(parent, path[len(path)-1])
	}
}

// Clone copies a document deeply.
func Clone(doc Document) Document { return cloneValue(doc).(map[string]any) }

func cloneValue(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, member := range v {
			out[name] = cloneValue(member)
		}
		return out
	case []any:
		out := slices.Clone(v)
		for i := range out {
			out[i] = cloneValue(out[i])
		}
		return out
	}
	return v
}

// WithoutSecrets returns a copy of the document without the members whose class
// is secret.
func (s *Schema) WithoutSecrets(doc Document) Document {
	out := Clone(doc)
	dropSecrets(s.Root, out)
	return out
}

func dropSecrets(n *Node, v any) {
	switch v := v.(type) {
	case map[string]any:
		for name, member := range v {
			child := n.Elem
			if n.Type == Object {
				child = n.Member(name)
			}
			if child != nil && child.Class == Secret {
				delete(v, name)
				continue
			}
			if child != nil {
				dropSecrets(child, member)
			}
		}
	case []any:
		for _, member := range v {
			dropSecrets(n.Elem, member)
		}
	}
}

// DropNulls returns a value without the members that are null, at any depth.
func DropNulls(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, member := range v {
			if member != nil {
				out[name] = DropNulls(member)
			}
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = DropNulls(v[i])
		}
		return out
	}
	return v
}
