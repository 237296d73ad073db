// Package network is the JSON of Microsoft.Network: virtual networks, security
// groups, public addresses, load balancers and NAT gateways. The ledgers in its
// folder list every member there is and what it is worth here; package wire
// explains their notation. It is pure.
//
// A request is taken in two steps:
//
//	draft, err := network.Put(kind, current, body) // or PatchTags, PutChild, DeleteChild
//	r, err := draft.Parse(network.Input{ID: id, ...})
//
// A PUT replaces what was there: what it lacks goes back to its default. Parse
// fills in Azure's defaults, checks everything that can be checked without looking
// at other resources, and makes the noun of package internal/network.
// [Draft.References] then lists what the document names elsewhere, for the caller
// to look up. All errors are *resource.Error with JSON paths; several problems come
// together as details.
//
// [Render], [RenderChild] and [RenderChildren] write what Azure answers.
//
// Each kind is one file: its ledger, how it is parsed, and what answers show
// beside the document. The table in kind.go lists them.
package network
