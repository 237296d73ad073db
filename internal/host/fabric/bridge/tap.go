package bridge

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/muster-vm/muster/internal/resource"
)

// outlet is where ports are plugged in.
type outlet struct {
	bridge   string
	isolated bool // its ports reach the bridge's own address only
	mtu      int
}

// openTap makes the tap in the thread's namespace and plugs it into the bridge.
// It vanishes when the returned file, and every copy of it, is closed.
func openTap(name string, to outlet) (*os.File, error) {
	f, err := makeTap(name)
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.EEXIST) {
		// Something of that name is there that is not such a tap.
		if link, e := netlink.LinkByName(name); e == nil {
			if e := netlink.LinkDel(link); e != nil {
				return nil, e
			}
		}
		f, err = makeTap(name)
	}
	if errors.Is(err, syscall.EBUSY) {
		return nil, resource.Errorf(resource.Conflict, "", "The tap %s is held by a hypervisor that still runs.", name).Because(err)
	}
	if err != nil {
		return nil, explain(err, "make tap "+name)
	}
	if err := plug(name, to); err != nil {
		f.Close()
		return nil, explain(err, "plug in tap "+name)
	}
	return f, nil
}

func makeTap(name string) (*os.File, error) {
	fd, err := unix.Open(tunDevice, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	req, err := unix.NewIfreq(name)
	if err != nil {
		unix.Close(fd) //nolint:errcheck // nothing was written
		return nil, err
	}
	req.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
		unix.Close(fd) //nolint:errcheck // nothing was written
		return nil, err
	}
	// A persistent tap left by somebody must go with its file too.
	if err := unix.IoctlSetInt(fd, unix.TUNSETPERSIST, 0); err != nil {
		unix.Close(fd) //nolint:errcheck // nothing was written
		return nil, err
	}
	return os.NewFile(uintptr(fd), tunDevice), nil
}

// plug makes a link in the thread's namespace a port of the bridge.
func plug(name string, to outlet) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	br, err := netlink.LinkByName(to.bridge)
	if err != nil {
		return fmt.Errorf("bridge: %w", err)
	}
	if err := errors.Join(netlink.LinkSetMTU(link, to.mtu), netlink.LinkSetMaster(link, br)); err != nil {
		return err
	}
	if to.isolated { // before it carries anything
		if err := netlink.LinkSetIsolated(link, true); err != nil {
			return err
		}
	}
	return netlink.LinkSetUp(link)
}
