package tsdb

// Damaged tells tests what is put aside.
var Damaged = damaged
