// Package plan decides. It has two levels, both functions from values to a
// value:
//
//   - Set looks at a scale set with all its rows and returns the row edits to
//     make next, how operations ended, and why nothing else was done.
//   - Instance looks at one row and what its host observed and returns at most
//     one driver call.
//
// The package is pure: no clock, no I/O, no randomness; now is an input. It
// does not log; it returns text.
package plan
