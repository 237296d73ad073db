// Package compute is the JSON of scale sets and their instances. The ledgers in
// its folder list every member there is and what it is worth here; package wire
// explains their notation. It is pure.
//
// A scale set request is taken in three steps, with the image looked up between
// the second and the third:
//
//	draft, err := compute.Put(current, body)      // or Patch; current is nil on create
//	ref := draft.Image()                          // what the image reference says
//	set, model, err := draft.Parse(compute.Input{ID: id, Image: resolved, ...})
//
// Put and Patch decode the body and merge it into the current document, secrets
// included; Parse fills in Azure's defaults, checks everything and splits the
// document into the nouns of package vmss. [SameModel] tells whether a new
// revision is needed. All errors are *resource.Error: Invalid with ARM's codes,
// Conflict with code PropertyChangeNotAllowed for what cannot change; several
// problems come together as details.
//
// [RenderScaleSet], [InstanceRenderer], [RenderSetInstanceView] and [RenderSizes]
// write what Azure answers; none of them ever writes a secret (but userData, where
// it is asked for). Network cards are package nic's. [ParseInstance] reads the body of an
// instance-level PUT; [ParseInstanceIDs] and [ParseReimage] those of actions.
package compute
