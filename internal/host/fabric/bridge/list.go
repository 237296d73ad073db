package bridge

import (
	"errors"

	"github.com/vishvananda/netlink"
)

// listTries is how often a list is read that changes while it is read.
const listTries = 50

// whole reads a list of the kernel's until nothing has changed meanwhile: others come
// and go in the same namespace all the time.
func whole[T any](list func() ([]T, error)) ([]T, error) {
	for try := 1; ; try++ {
		all, err := list()
		if try == listTries || !errors.Is(err, netlink.ErrDumpInterrupted) {
			return all, err
		}
	}
}

// addrsOf lists the IPv4 addresses of a link in the thread's namespace; of all for
// nil.
func addrsOf(link netlink.Link) ([]netlink.Addr, error) {
	return whole(func() ([]netlink.Addr, error) { return netlink.AddrList(link, netlink.FAMILY_V4) })
}

// routesOf lists the IPv4 routes by a link in the thread's namespace; all for nil.
func routesOf(link netlink.Link) ([]netlink.Route, error) {
	return whole(func() ([]netlink.Route, error) { return netlink.RouteList(link, netlink.FAMILY_V4) })
}
