// Package drivertest is the conformance suite of compute.Driver: what the
// control plane relies on, whatever runs the machines. It knows no driver.
package drivertest
