package server

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/muster-vm/muster/internal/host/compute/qemu"
	"github.com/muster-vm/muster/internal/host/fabric/bridge"
	"github.com/muster-vm/muster/internal/host/image"
	"github.com/muster-vm/muster/internal/vmss"
)

// Directories of a state directory.
const (
	etcdDir    = "etcd"
	computeDir = "compute"
	networkDir = "network"
	imageDir   = "images"
	metricsDir = "metrics"
)

// openQEMU opens this machine as a host of real virtual machines. What it opened
// is closed by the functions it returns, the last one first.
func openQEMU(ctx context.Context, c Config, images *image.Catalogue, volumes qemu.Volumes, log *slog.Logger) (HostPart, []func(), error) {
	net := networkOptions(c, log)
	if err := os.MkdirAll(net.Dir, 0o700); err != nil {
		return HostPart{}, nil, err
	}
	fabric, err := bridge.Open(ctx, net)
	if err != nil {
		return HostPart{}, nil, err
	}
	if missing := bridge.Probe().Networks; missing != nil { // the default network works without
		log.WarnContext(ctx, "virtual networks and load balancers will not work on this host", "reason", missing)
	}
	closers := []func(){func() {
		if err := fabric.Close(); err != nil {
			log.WarnContext(ctx, "close the network", "err", err)
		}
	}}
	driver, err := qemu.Open(ctx, qemu.Options{Root: filepath.Join(c.State, computeDir), Images: files{images}, Volumes: volumes, Taps: fabric, Accel: accel(ctx, c, images, log), Log: log})
	if err != nil {
		closers[0]()
		return HostPart{}, nil, err
	}
	vcpus, memory := c.Host.capacity()
	place := vmss.Host{Name: c.Host.Name, Zones: c.Host.Zones, Domains: c.Host.FaultDomains, VCPUs: vcpus, MemoryMB: memory}
	return HostPart{Place: place, Driver: driver, Fabric: fabric}, append(closers, driver.Close), nil
}

// accel finds out how machines run fastest here, and logs why.
func accel(ctx context.Context, c Config, images *image.Catalogue, log *slog.Logger) string {
	found, why := findAccel(ctx, c, images)
	log.InfoContext(ctx, "acceleration", "accel", found, "reason", why)
	return found
}

// findAccel finds out how machines run fastest here, by trying.
func findAccel(ctx context.Context, c Config, images *image.Catalogue) (found, why string) {
	if c.Host.Accel != "" {
		return c.Host.Accel, "the config says so"
	}
	var guest qemu.Image
	if tiny, err := images.Get("muster:tiny:debian:latest"); err == nil {
		if f, err := images.Files(ctx, tiny.Digest); err == nil {
			guest = qemu.Image(f)
		}
	}
	return qemu.ProbeAccel(ctx, guest)
}

// files is the catalogue as the driver wants it.
type files struct{ catalogue *image.Catalogue }

// Image implements qemu.Images.
func (f files) Image(ctx context.Context, digest string) (qemu.Image, error) {
	found, err := f.catalogue.Files(ctx, digest)
	return qemu.Image(found), err
}

// networkOptions describes the default network of a state directory.
func networkOptions(c Config, log *slog.Logger) bridge.Options {
	return bridge.Options{Name: fabricName(c.State), Dir: filepath.Join(c.State, networkDir), Prefix: netip.MustParsePrefix(c.Network.Prefix),
		DNS: resolvers("/etc/resolv.conf", false), Resolvers: resolvers("/etc/resolv.conf", true), PublicRouted: c.Network.PublicRouted, Log: log}
}

// fabricName names what a state directory makes in the kernel, so that two
// servers on one machine do not meet.
func fabricName(state string) string {
	sum := sha256.Sum256([]byte(state))
	return fmt.Sprintf("%x", sum[:4])
}

// resolvers reads the host's DNS servers. Those on a loopback address are no
// use to guests, but to this process.
func resolvers(file string, own bool) (all []netip.Addr) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(raw)) {
		word := strings.Fields(line)
		if len(word) < 2 || word[0] != "nameserver" {
			continue
		}
		if a, err := netip.ParseAddr(word[1]); err == nil && a.Is4() && (own || !a.IsLoopback()) {
			all = append(all, a)
		}
	}
	return all
}
