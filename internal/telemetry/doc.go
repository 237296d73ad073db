// Package telemetry tells Prometheus how the server and its scale sets are: what
// happens is counted as it happens, how things stand is looked up at every scrape.
// It decides nothing and keeps nothing else.
package telemetry
