package wire

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/muster-vm/muster/internal/resource"
)

// Document is a decoded body: the root object. Members have their canonical
// names. Values are string, int64, bool, json.Number, nil for null, []any and
// map[string]any.
type Document = map[string]any

// Decode reads a body against the ledger. An empty body is an empty document.
// It fails with Invalid and lists every problem: members that the ledger does
// not know (InvalidRequestContent), wrong types (InvalidRequestContent), and
// values that are out of range, malformed or refused (InvalidParameter). Null
// members are kept: they mean "back to the default" when merged. Decoding what
// Encode made of the result gives the same document.
func (s *Schema) Decode(raw []byte) (Document, error) {
	if len(raw) == 0 {
		return Document{}, nil
	}
	v, err := ParseJSON(raw)
	if err != nil {
		return nil, err
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, resource.Errorf(resource.Invalid, InvalidRequestContent, "The request body must be a JSON object, not %s.", nameOf(v))
	}
	var p Problems
	doc := decoder{&p}.object(s.Root, m, "")
	return doc, p.Err()
}

type decoder struct{ *Problems }

// value conforms v, which is not null, to the node. keep is false if there was
// a problem or the member is to be ignored.
func (d decoder) value(n *Node, v any, path string) (out any, keep bool) {
	if n.Class == Refused && !hollow(v) {
		d.Add(InvalidParameter, path, "'%s' is not supported. %s", path, n.Why)
		return nil, false
	}
	if n.Class == Refused && v == "" {
		return nil, false
	}
	switch n.Type {
	case Object:
		if m, ok := v.(map[string]any); ok {
			return d.object(n, m, path), true
		}
	case Map:
		if m, ok := v.(map[string]any); ok {
			return d.entries(n, m, path), true
		}
	case Array:
		if list, ok := v.([]any); ok {
			return d.elements(n, list, path), true
		}
	case Any:
		return v, true
	default:
		return d.scalar(n, v, path)
	}
	return d.wrongType(n, v, path)
}

func (d decoder) object(n *Node, m map[string]any, path string) map[string]any {
	out := make(map[string]any, len(m))
	given := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(m)) {
		at := join(path, name)
		member := n.Member(name)
		if member == nil {
			d.Add(InvalidRequestContent, at, "There is no member '%s' in %s; check its spelling and the api-version.", name, objectName(n))
			continue
		}
		if before, twice := given[member.Name]; twice {
			d.Add(InvalidRequestContent, at, "'%s' and '%s' are the same member; send it once.", before, name)
			continue
		}
		given[member.Name] = name
		if member.Class == ReadOnly {
			continue
		}
		if m[name] == nil {
			out[member.Name] = nil
			continue
		}
		if v, keep := d.value(member, m[name], join(path, member.Name)); keep {
			out[member.Name] = v
		}
	}
	return out
}

func (d decoder) entries(n *Node, m map[string]any, path string) map[string]any {
	out := make(map[string]any, len(m))
	given := map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(m)) {
		at := join(path, key)
		if before, twice := given[strings.ToLower(key)]; twice {
			d.Add(InvalidRequestContent, at, "'%s' and '%s' differ in letter case only; send one of them.", before, key)
			continue
		}
		given[strings.ToLower(key)] = key
		if m[key] == nil || n.Elem == nil {
			out[key] = m[key]
			continue
		}
		if v, keep := d.value(n.Elem, m[key], at); keep {
			out[key] = v
		}
	}
	return out
}

func (d decoder) elements(n *Node, list []any, path string) []any {
	out := make([]any, 0, len(list))
	for i, v := range list {
		at := path + "[" + strconv.Itoa(i) + "]"
		if v == nil {
			d.Add(InvalidRequestContent, at, "'%s' is null; leave the element out.", at)
			continue
		}
		if v, keep := d.value(n.Elem, v, at); keep {
			out = append(out, v)
		}
	}
	return out
}

func (d decoder) scalar(n *Node, v any, path string) (any, bool) {
	switch n.Type {
	case Bool:
		return d.boolean(n, v, path)
	case Int32, Int64, Number:
		return d.number(n, v, path)
	}
	var s string
	switch v := v.(type) {
	case string:
		s = v
	case json.Number:
		s = v.String()
	default:
		return d.wrongType(n, v, path)
	}
	if n.Type == Enum {
		return d.enum(n, s, path)
	}
	return d.text(n, s, path)
}

// text checks the strings that have a syntax. Secrets are never quoted.
func (d decoder) text(n *Node, s, path string) (any, bool) {
	switch n.Type {
	case ID:
		if _, err := resource.ParseID(s); err != nil {
			d.AddFrom(err, path)
			return nil, false
		}
	case Base64:
		if _, err := base64.StdEncoding.DecodeString(s); err != nil {
			d.Add(InvalidParameter, path, "'%s' is not base64; encode it with padding and without line breaks (base64 -w0).", path)
			return nil, false
		}
	case Duration:
		dur, err := ParseDuration(s)
		if err != nil {
			d.AddFrom(err, path)
			return nil, false
		}
		return FormatDuration(dur), true
	case Time:
		if _, err := time.Parse(time.RFC3339Nano, s); err != nil {
			d.Add(InvalidParameter, path, "'%s' is not a time such as 2026-01-31T08:00:00Z.", path)
			return nil, false
		}
	}
	return s, true
}

func (d decoder) enum(n *Node, s, path string) (any, bool) {
	for _, value := range n.Values {
		if !strings.EqualFold(value, s) {
			continue
		}
		if slices.Contains(n.Except, value) {
			d.Add(InvalidParameter, path, "The value '%s' of '%s' is not supported. %s", value, path, n.Why)
			return nil, false
		}
		return value, true
	}
	d.Add(InvalidParameter, path, "'%s' is not a value of '%s'; use %s.", clip(s), path, strings.Join(n.offered(), ", "))
	return nil, false
}

func (d decoder) boolean(n *Node, v any, path string) (any, bool) {
	if b, ok := v.(bool); ok {
		return b, true
	}
	if s, ok := v.(string); ok && strings.EqualFold(s, "true") {
		return true, true
	} else if ok && strings.EqualFold(s, "false") {
		return false, true
	}
	return d.wrongType(n, v, path)
}

func (d decoder) number(n *Node, v any, path string) (any, bool) {
	var text string
	switch v := v.(type) {
	case json.Number:
		text = v.String()
	case string:
		text = strings.TrimSpace(v)
	default:
		return d.wrongType(n, v, path)
	}
	if n.Type == Number {
		if _, err := strconv.ParseFloat(text, 64); err != nil || !json.Valid([]byte(text)) {
			return d.wrongType(n, v, path)
		}
		return json.Number(text), true
	}
	i, ok := parseInt(text)
	if !ok {
		return d.wrongType(n, v, path)
	}
	if n.Type == Int32 && (i < math.MinInt32 || i > math.MaxInt32) {
		d.Add(InvalidParameter, path, "'%s' must be between %d and %d.", path, math.MinInt32, math.MaxInt32)
		return nil, false
	}
	return i, true
}

// parseInt reads a whole number exactly. A fraction of zeros, as in 3.0, is
// what some clients make of an integer.
func parseInt(text string) (int64, bool) {
	whole, fraction, has := strings.Cut(text, ".")
	if has && (fraction == "" || strings.Trim(fraction, "0") != "") {
		return 0, false
	}
	i, err := strconv.ParseInt(whole, 10, 64)
	return i, err == nil
}

func (d decoder) wrongType(n *Node, v any, path string) (any, bool) {
	d.Add(InvalidRequestContent, path, "'%s' must be %s, not %s.", path, wants[n.Type], nameOf(v))
	return nil, false
}

var wants = map[Type]string{
	String: "a string", Enum: "a string", ID: "a resource id", Base64: "a string", Duration: "a duration such as PT5M",
	Time: "a time", Bool: "true or false", Int32: "a whole number", Int64: "a whole number of at most 64 bits", Number: "a number",
	Object: "an object", Map: "an object", Array: "an array",
}

func nameOf(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case string:
		return "a string"
	case bool:
		return "true or false"
	case []any:
		return "an array"
	case map[string]any:
		return "an object"
	}
	return "a number"
}

// hollow reports whether a value asks for nothing.
func hollow(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case bool:
		return !v
	case string:
		return v == "" || strings.EqualFold(v, "false") || strings.EqualFold(v, "none")
	case json.Number:
		return strings.Trim(v.String(), "-0.") == ""
	case []any:
		return len(v) == 0
	case map[string]any:
		for _, member := range v {
			if !hollow(member) {
				return false
			}
		}
		return true
	}
	return false
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func objectName(n *Node) string {
	if n.Path == "" {
		return "the body"
	}
	return "'" + n.Path + "'"
}

func clip(s string) string {
	if len(s) > 64 {
		return strings.ToValidUTF8(s[:64], "") + "..."
	}
	return s
}
