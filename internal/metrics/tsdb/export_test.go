package tsdb

import "context"

// Damaged tells tests what is put aside.
var Damaged = damaged

// Compact does at once what the database does now and then.
func (a *Archive) Compact(ctx context.Context) error { return a.db.Compact(ctx) }
