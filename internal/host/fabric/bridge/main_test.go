package bridge

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// The tests play a whole host: the test binary runs itself again in a network
// namespace and a mount namespace of its own, so that the machine's network and
// /run/netns are never touched, and all of it goes when the process ends.

const childEnv = "MUSTER_BRIDGE_TEST_HOST"

// noHost is why there is no such host; empty if there is one.
var noHost = "the test process is not inside a host namespace"

func TestMain(m *testing.M) {
	if os.Getenv(unprivilegedEnv) != "" {
		os.Exit(m.Run())
	}
	if dir := os.Getenv(crashEnv); dir != "" {
		fmt.Fprintln(os.Stderr, applyForEver(dir))
		os.Exit(1)
	}
	if os.Getenv(childEnv) != "" {
		noHost = ""
		if err := playHost(); err != nil {
			fmt.Fprintln(os.Stderr, "play a host:", err)
			os.Exit(1)
		}
		os.Exit(m.Run())
	}
	if os.Getuid() != 0 {
		noHost = "network namespaces need root"
		os.Exit(m.Run())
	}
	runtime.LockOSThread() // Pdeathsig is about the thread
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), childEnv+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		os.Exit(exit.ExitCode())
	}
	if err != nil {
		noHost = "cannot make namespaces: " + err.Error()
		os.Exit(m.Run())
	}
}

// outside is the address of a machine that the host reaches by its default route.
var (
	outside   = netip.MustParseAddr("192.0.2.1")
	hostEth   = netip.MustParseAddr("192.0.2.2")
	outsideNS netns.NsHandle
)

// playHost gives this process's namespace an eth0 with a default route, and a
// /run/netns that nobody else sees.
func playHost() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("private mounts: %w", err)
	}
	if err := os.MkdirAll(namespaces, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", namespaces, "tmpfs", 0, ""); err != nil {
		return fmt.Errorf("mount %s: %w", namespaces, err)
	}
	if err := aside(func() (err error) { outsideNS, err = netns.New(); return err }); err != nil {
		return err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = "eth0", 1400
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "eth0", PeerNamespace: netlink.NsFd(outsideNS)}); err != nil {
		return err
	}
	// Duplicate address detection would change routes in the midst of a test.
	if err := os.WriteFile("/proc/sys/net/ipv6/conf/eth0/disable_ipv6", []byte("1"), 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return errors.Join(
		linkUp("lo"),
		configure("eth0", netip.PrefixFrom(hostEth, 24), outside),
		inside(outsideNS, func() error { return configure("eth0", netip.PrefixFrom(outside, 24), netip.Addr{}) }),
	)
}

func linkUp(name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(link)
}

// configure gives a link of the thread's namespace an address and, if there is a
// gateway, the default route.
func configure(name string, addr netip.Prefix, gateway netip.Addr) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	if err := errors.Join(setOnlyAddress(link, addr), netlink.LinkSetUp(link)); err != nil || !gateway.IsValid() {
		return err
	}
	return netlink.RouteReplace(&netlink.Route{
		LinkIndex: link.Attrs().Index, Dst: &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}, Gw: gateway.AsSlice(),
	})
}
