// Package resource says what every Azure Resource Manager resource is: its
// id, its common envelope, and the one error type that crosses package
// boundaries. It is pure: values in, values out, no clock and no I/O.
package resource
