// Package resources knows the JSON of Microsoft.Resources bodies: resource
// groups and tags. It is pure: bytes in, documents and errors out.
package resources

import (
	_ "embed" // the ledgers

	"github.com/muster-vm/muster/internal/arm/wire"
)

//go:embed ledger/group.txt
var groupLedger string

//go:embed ledger/tags.txt
var tagsLedger string

// The schemas of the bodies.
var (
	Group = wire.MustParseLedger(groupLedger)
	Tags  = wire.MustParseLedger(tagsLedger)
)

// TagsOf returns the tags in a decoded body below path: nil if the member is
// absent, empty if it is null or holds none.
func TagsOf(doc wire.Document, path ...string) map[string]string {
	at := doc
	for _, p := range path[:len(path)-1] {
		at, _ = at[p].(map[string]any)
	}
	v, ok := at[path[len(path)-1]]
	if !ok {
		return nil
	}
	tags := map[string]string{}
	values, _ := v.(map[string]any)
	for name, value := range values {
		tags[name], _ = value.(string)
	}
	return tags
}
