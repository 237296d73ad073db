// Package sim is a compute driver in memory: machines that boot, stop and fail
// on time, and keep their disks, without a process behind them. A population
// says how long things take and what goes wrong. It reads the clock only
// through package time, so that a synctest bubble makes it run in virtual time,
// and its randomness comes from the population's seed and the machine's id
// alone: the order of concurrent calls does not matter.
//
// One Driver is one host. It outlives a "crash" of the server by being handed
// to the next one. It does not keep track of room; placement does.
package sim
