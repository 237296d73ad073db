// Package disk holds managed disks, snapshots and images: what they are made
// from and the rules they keep. The three differ in what they are for, not in how
// they come to be, so they are one type. Pure values: nothing here reads a file,
// a clock or a network.
package disk
