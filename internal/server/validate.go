package server

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/muster-vm/muster/internal/disk"
	"github.com/muster-vm/muster/internal/host/volume"
	"github.com/muster-vm/muster/internal/vmss"
)

// problem reports that a key's value cannot be used; the sentence has the remedy.
type problem func(key, format string, args ...any)

var (
	hostName     = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,61}[A-Za-z0-9])?$`)
	locationName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9 -]{0,61}[A-Za-z0-9])?$`)
	zoneName     = regexp.MustCompile(`^[A-Za-z0-9]{1,16}$`)
	accelerator  = regexp.MustCompile(`^(kvm|tcg)(,[a-z-]+=[A-Za-z0-9-]+)*$`)
)

// Bounds of settings: far above what is of use, and low enough for arithmetic.
const (
	mostOvercommit   = 100
	mostFaultDomains = 20
	mostCapacity     = 1_000_000
)

func (c Config) checkServer(bad problem) {
	if _, port, err := net.SplitHostPort(c.Listen); err != nil {
		bad("listen", "The address %q is not host:port, such as 127.0.0.1:8443. Choose another with --listen.", c.Listen)
	} else if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		bad("listen", "The port %q is not a number from 0 to 65535. Choose another with --listen.", port)
	}
	if !locationName.MatchString(c.Location) {
		bad("location", "The location %q is not a name of letters, digits and hyphens, such as local.", c.Location)
	}
	for i, name := range c.Names {
		if _, err := netip.ParseAddr(name); err != nil && !hostName.MatchString(name) {
			bad(fmt.Sprintf("names[%d]", i), "%q is neither a host name, such as muster.example.org, nor an IP address.", name)
		}
	}
	if c.Simulation != "" && c.Driver != "sim" {
		bad("simulation", "A simulated fleet is for the driver sim. Take it out, or set driver: sim.")
	}
	if c.Limits.ImageGB < 1 || c.Limits.ImageGB > disk.MaxGB {
		bad("limits.imageGB", "The size %d is not one from 1 to %d GB.", c.Limits.ImageGB, disk.MaxGB)
	}
	if c.Limits.Capacity < 1 || c.Limits.Capacity > mostCapacity {
		bad("limits.capacity", "A scale set may be allowed from 1 to %d instances, not %d.", mostCapacity, c.Limits.Capacity)
	}
}

func (h Host) check(bad problem) {
	if !hostName.MatchString(h.Name) {
		bad("host.name", "The name %q is not one of letters, digits, dots and hyphens, such as host-1.", h.Name)
	}
	if h.VCPUs < 0 {
		bad("host.vcpus", "%d is not a number of processors; 0 stands for all of the machine's.", h.VCPUs)
	}
	if h.MemoryMB < 0 {
		bad("host.memoryMB", "%d is not a size in MB; 0 stands for the machine's less 1 GiB.", h.MemoryMB)
	}
	const overcommit = "The overcommit %v is not a number above 0 and up to %d; 1 promises what there is."
	if h.CPUOvercommit <= 0 || h.CPUOvercommit > mostOvercommit {
		bad("host.cpuOvercommit", overcommit, h.CPUOvercommit, mostOvercommit)
	}
	if h.MemoryOvercommit <= 0 || h.MemoryOvercommit > mostOvercommit {
		bad("host.memoryOvercommit", overcommit, h.MemoryOvercommit, mostOvercommit)
	}
	for i, zone := range h.Zones {
		key := fmt.Sprintf("host.zones[%d]", i)
		switch {
		case !zoneName.MatchString(zone):
			bad(key, "The zone %q is not a word of letters and digits, such as \"1\".", zone)
		case slices.Contains(h.Zones[:i], zone):
			bad(key, "The zone %q is listed twice. Take one out.", zone)
		}
	}
	if h.FaultDomains < 1 || h.FaultDomains > mostFaultDomains {
		bad("host.faultDomains", "The number of fault domains %d is not one from 1 to %d.", h.FaultDomains, mostFaultDomains)
	}
	if h.Accel != "" && !accelerator.MatchString(h.Accel) {
		bad("host.accel", "The accelerator %q is not kvm or tcg, with options of QEMU's such as tcg,thread=multi. Leave it empty to have it found out.", h.Accel)
	}
}

func (n Network) check(bad problem) {
	own, ok := checkPrefix(bad, "network.prefix", n.Prefix, 28, "10.240.0.0/16")
	public, also := checkPrefix(bad, "network.publicPrefix", n.PublicPrefix, 30, "198.18.0.0/16")
	if ok && also && own.Overlaps(public) {
		bad("network.publicPrefix", "The public addresses %s overlap network.prefix, %s. Choose a range apart from it.", public, own)
	}
	if d, err := time.ParseDuration(n.Drain); err != nil || d < time.Second || d > time.Hour {
		bad("network.drain", "The time to drain %q is not a duration from 1s to 1h, such as 30s.", n.Drain)
	}
}

// checkPrefix reads the prefix of a network of at most that many bits.
func checkPrefix(bad problem, key, value string, bits int, example string) (netip.Prefix, bool) {
	p, err := netip.ParsePrefix(value)
	switch {
	case err != nil || !p.Addr().Is4() || p.Bits() < 8 || p.Bits() > bits:
		bad(key, "The network prefix %q is not an IPv4 prefix between /8 and /%d, such as %s.", value, bits, example)
	case p != p.Masked():
		bad(key, "The network prefix %s has bits set beyond its length. Write %s.", p, p.Masked())
	case p.Addr().IsLoopback(), p.Addr().IsMulticast(), p.Addr().IsLinkLocalUnicast(), p.Addr().IsUnspecified():
		bad(key, "The network %s is reserved. Choose another one, such as %s.", p, example)
	default:
		return p, true
	}
	return p, false
}

func (i Images) check(bad problem) {
	for n, dir := range i.Allowed {
		if dir == "" {
			bad(fmt.Sprintf("images.allowed[%d]", n), "The directory has no name. Name one, or take the entry out.")
		}
	}
	for n, host := range i.Hosts {
		if err := volume.CheckHost(host); err != nil {
			bad(fmt.Sprintf("images.hosts[%d]", n), "%q is not a host's name, *.suffix or address, with or without :port.", host)
		}
	}
}

// checkQuotas refuses names that no usage has: such a limit would limit nothing.
func (c Config) checkQuotas(bad problem) {
	var names []string
	for name := range c.Quotas {
		names = append(names, name)
	}
	slices.Sort(names)
	usages, seen := vmss.Usages(nil, nil), map[string]string{}
	for _, name := range names {
		key, lower := "quotas."+name, strings.ToLower(name)
		switch {
		case !slices.ContainsFunc(usages, func(u vmss.Usage) bool { return strings.EqualFold(u.Name, name) }):
			bad(key, "No usage is called %q: there are cores, virtualMachines, virtualMachineScaleSets, and one of each size family, "+
				"such as standardDSv5Family. `muster vm list-usage -l %s` lists them.", name, c.Location)
		case seen[lower] != "":
			bad(key, "The quota is given already, as %q. Keep one.", seen[lower])
		case c.Quotas[name] < 0:
			bad(key, "The quota %d is negative. 0 allows nothing; take the key out for the default.", c.Quotas[name])
		}
		seen[lower] = name
	}
}

func (e Etcd) check(bad problem) {
	for i, endpoint := range e.Endpoints {
		if u, err := url.Parse(endpoint); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			bad(fmt.Sprintf("etcd.endpoints[%d]", i), "The endpoint %q is not a URL such as https://10.0.0.1:2379.", endpoint)
		}
	}
	if len(e.Endpoints) == 0 && e.CA+e.Cert+e.Key != "" {
		bad("etcd.endpoints", "Certificates are for an etcd of your own. Name its endpoints, or take etcd.ca, etcd.cert and etcd.key out.")
	}
	if (e.Cert == "") != (e.Key == "") {
		bad("etcd.key", "etcd.cert and etcd.key go together: give both, or none.")
	}
}

// readYAML reads the one document of a YAML or JSON file; unknown and repeated
// keys are errors.
func readYAML(raw []byte, into any) error {
	begun := false
	for n, line := range bytes.Split(raw, []byte("\n")) {
		marker := bytes.HasPrefix(line, []byte("---"))
		if marker && begun {
			return fmt.Errorf("line %d begins a second document, which would not be read; keep one", n+1)
		}
		text := bytes.TrimSpace(line)
		begun = begun || marker || len(text) > 0 && text[0] != '#' && text[0] != '%'
	}
	return yaml.UnmarshalStrict(raw, into)
}
