package wire

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"unicode/utf8"
)

// Encode writes a document as compact JSON: members in the ledger's order, map
// entries by key, null members left out. Equal documents give equal bytes.
// Members that the ledger does not know are left out too.
func (s *Schema) Encode(doc Document) []byte { return s.Root.Append(nil, doc) }

// Append appends the JSON of a value of this node.
func (n *Node) Append(b []byte, v any) []byte {
	switch v := v.(type) {
	case map[string]any:
		if n == nil || n.Type != Object || n.Members == nil {
			return n.appendMap(b, v)
		}
		return n.appendObject(b, v)
	case []any:
		b = append(b, '[')
		for i, e := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = n.elem().Append(b, e)
		}
		return append(b, ']')
	}
	return appendScalar(b, v)
}

func (n *Node) elem() *Node {
	if n == nil {
		return nil
	}
	return n.Elem
}

func (n *Node) appendObject(b []byte, m map[string]any) []byte {
	b = append(b, '{')
	first := true
	for _, member := range n.Members {
		v, ok := m[member.Name]
		if !ok || v == nil {
			continue
		}
		b = appendName(b, member.Name, first)
		b, first = member.Append(b, v), false
	}
	return append(b, '}')
}

func (n *Node) appendMap(b []byte, m map[string]any) []byte {
	b = append(b, '{')
	first := true
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if m[key] == nil {
			continue
		}
		b = appendName(b, key, first)
		b, first = n.elem().Append(b, m[key]), false
	}
	return append(b, '}')
}

func appendName(b []byte, name string, first bool) []byte {
	if !first {
		b = append(b, ',')
	}
	return append(AppendString(b, name), ':')
}

func appendScalar(b []byte, v any) []byte {
	switch v := v.(type) {
	case string:
		return AppendString(b, v)
	case int64:
		return strconv.AppendInt(b, v, 10)
	case bool:
		return strconv.AppendBool(b, v)
	case json.Number:
		return append(b, v...)
	}
	return append(b, "null"...)
}

// AppendString appends s as a JSON string.
func AppendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			return appendEscaped(b, s)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

func appendEscaped(b []byte, s string) []byte {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string always encodes
	return append(b, bytes.TrimSuffix(buf.Bytes(), []byte("\n"))...)
}
