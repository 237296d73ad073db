package network

import "github.com/muster-vm/muster/internal/arm/wire"

func dropNulls(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, member := range v {
			if member != nil {
				out[name] = dropNulls(member)
			}
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = dropNulls(v[i])
		}
		return out
	}
	return v
}

// text returns the string at a path, empty if there is none.
func text(doc wire.Document, path ...string) string {
	s, _ := wire.Get(doc, path...).(string)
	return s
}

// flag returns the boolean at a path, false if there is none.
func flag(doc wire.Document, path ...string) bool {
	b, _ := wire.Get(doc, path...).(bool)
	return b
}

// number returns the whole number at a path.
func number(doc wire.Document, path ...string) (n int, given bool) {
	i, given := wire.Get(doc, path...).(int64)
	return int(i), given
}

// objects returns the objects of the array at a path.
func objects(doc wire.Document, path ...string) []wire.Document {
	list, _ := wire.Get(doc, path...).([]any)
	var out []wire.Document
	for _, v := range list {
		if m, ok := v.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}

// texts returns the strings of the array at a path.
func texts(doc wire.Document, path ...string) []string {
	list, _ := wire.Get(doc, path...).([]any)
	var out []string
	for _, v := range list {
		if s, ok := v.(string); ok {
			out = append(out, s)
		}
	}
	return out
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

// dropEmpty removes a string that says nothing.
func dropEmpty(doc wire.Document, names ...string) {
	for _, name := range names {
		if doc[name] == "" {
			delete(doc, name)
		}
	}
}
