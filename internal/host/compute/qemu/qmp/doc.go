// Package qmp speaks the QEMU Machine Protocol: JSON lines over one
// connection, commands answered by id, and events in between. It knows the
// protocol and no command of it.
package qmp
