package network

import "github.com/muster-vm/muster/internal/arm/wire"

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
