// Package codetest states the rules this repository keeps about its own code:
// which package may import which, which packages are pure, what must be
// documented, how large things may grow and which words do not belong.
//
// Every rule is a function from a parsed Tree to a list of problems, each one
// line that names a place and says what is wrong there. The rules read an
// fs.FS, so they are tested on small made-up trees as well as on the real one,
// and they never compile anything. Only tests import this package.
package codetest
