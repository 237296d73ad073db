// Package volume keeps the content of managed disks, snapshots and images on
// this machine. A content is one qcow2 file that depends on no other; that of an
// image goes to the image store, which finds it by digest.
//
// Contents are made in a directory of halves and get their name when they are
// complete and on the disk. Files that are imported are hostile until proven
// otherwise: they are copied first, so that nobody changes them between a look
// and a use, their headers are read by a parser of our own, and the format that
// qemu-img works with is always given, never found out by it. qemu-img runs
// with bounds on memory and time.
//
// The package does not know who may have a disk, nor when one is removed.
package volume
