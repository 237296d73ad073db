// Package vmss holds the nouns of virtual machine scale sets and the rules
// that need nothing but them: scale set, model revision, instance row and
// observation, operation, zones and domains, scale-in order, names, sizes. It
// is pure: no I/O, no clock.
//
// The user's words live in a scale set's Document (canonical JSON, without
// secrets). The typed members beside it are the reading of that document:
// everything a planner may look at. Nobody below package arm/wire looks inside
// a Document.
package vmss
