// Package store keeps Muster's records: typed, with revisions, in one keyspace
// of a Backend (etcd, or memory), behind a cache that answers every read.
//
// A record belongs to a Kind, such as Instances, and has one writer: the API
// writes what users said (groups, scale sets, model revisions, customizations,
// operations, counters), the set reconciler what was decided (states, instance
// rows, outcomes), hosts what they observed (observations). Writes are commits
// of a few changes, each guarded by the revision that its record must have; they
// return when this process's cache shows them.
//
// How records look as bytes is known here only. They carry a version; those of
// every past version decode for ever, as the files in testdata hold.
package store
