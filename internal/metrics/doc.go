// Package metrics takes samples of instances and load balancers in and gives
// windows out: a compact ring per instance for hours, and a series per scale set,
// summed up over its instances by the minute, for as long as its archive keeps; of
// each part of a load balancer a series by the minute, for hours. What a sample is
// measured with is the hosts' business, and how a window is asked for the API's.
// Summing up is done by pure functions; the types that hold samples are safe for
// concurrent use and start no goroutine.
package metrics
