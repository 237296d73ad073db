// Package probe asks the members of load balancers whether they are well, as
// Azure's health probes do: [Prober] is told what to ask in which virtual network,
// asks at the intervals of the probes, and says when a state changed. What follows
// from a state is not its business. One goroutine keeps the time of all targets;
// others exist only while a question is open.
package probe
