package server

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/prometheus/common/model"

	"github.com/muster-vm/muster/internal/host/volume"
	"github.com/muster-vm/muster/internal/metrics/remotewrite"
	"github.com/muster-vm/muster/internal/resource"
)

// Config is everything that can be set. Default gives every member a value; a
// file overrides them (YAML or JSON, unknown keys are errors), flags override
// the file.
type Config struct {
	State  string `json:"state"`  // directory of everything the server keeps
	Listen string `json:"listen"` // host:port of the API
	Driver string `json:"driver"` // "qemu" or "sim"

	Location  string   `json:"location"`  // the region's name, such as "local"
	Names     []string `json:"names"`     // further names of this server, for its certificate
	LogLevel  string   `json:"logLevel"`  // debug, info, warn or error
	CheckPlan bool     `json:"checkPlan"` // verify every plan against the laws before it is carried out

	Host       Host           `json:"host"`
	Network    Network        `json:"network"`
	Images     Images         `json:"images"`
	Limits     Limits         `json:"limits"`
	Metrics    Metrics        `json:"metrics"`
	Quotas     map[string]int `json:"quotas"` // limit by usage name, such as "cores"
	Prices     string         `json:"prices"` // file with what instances cost; empty for none
	Etcd       Etcd           `json:"etcd"`
	Simulation string         `json:"simulation"` // file with a population, for driver "sim"; empty for the default one

	version string // of this program
}

// Host is what this machine gives to instances.
type Host struct {
	Name             string   `json:"name"`
	VCPUs            int      `json:"vcpus"`            // 0: the machine's processors
	MemoryMB         int      `json:"memoryMB"`         // 0: the machine's memory less 1 GiB
	CPUOvercommit    float64  `json:"cpuOvercommit"`    // vCPU promised per vCPU there is
	MemoryOvercommit float64  `json:"memoryOvercommit"` // MB promised per MB there is
	Zones            []string `json:"zones"`            // zones that this machine stands in for
	FaultDomains     int      `json:"faultDomains"`     // fault domains that it stands in for
	Accel            string   `json:"accel"`            // QEMU's accelerator; empty: found out by booting a guest
	DiskLimits       bool     `json:"diskLimits"`       // hold disks to the IOPS and MB/s of their type and size
}

// Network is the default network of instances, and where public addresses come from.
type Network struct {
	Prefix       string `json:"prefix"`       // IPv4, /8 to /28
	PublicPrefix string `json:"publicPrefix"` // of public addresses: IPv4, /8 to /30
	PublicRouted bool   `json:"publicRouted"` // public addresses reach this host from outside, and leave it as they are
	Drain        string `json:"drain"`        // how long connections to a member that leaves go on, unless its pool says
}

// public returns the prefix that public addresses are given out of.
func (n Network) public() netip.Prefix {
	p, _ := netip.ParsePrefix(n.PublicPrefix) // Validate refuses what is none
	return p
}

// drain returns how long connections to a member that leaves go on.
func (n Network) drain() time.Duration {
	d, _ := time.ParseDuration(n.Drain) // Validate refuses what is none
	return d
}

// Images is where images come from.
type Images struct {
	Tiny      string   `json:"tiny"`      // directory of the built-in guest, as make guest builds it
	Catalogue string   `json:"catalogue"` // file with further images; empty for none
	Allowed   []string `json:"allowed"`   // directories that catalogue files may point into, and imports come from
	Hosts     []string `json:"hosts"`     // web servers that imports may come from whatever address they have
}

// Limits are the bounds on requests.
type Limits struct {
	Capacity int `json:"capacity"` // instances of one scale set
	ImageGB  int `json:"imageGB"`  // size of a disk that is imported
}

// Metrics is how instances are measured.
type Metrics struct {
	Interval  string `json:"interval"`  // between two samples, such as "10s"; "0" measures nothing
	Retention string `json:"retention"` // of the series of scale sets, such as "90d"
	// Listen is a loopback host:port that Prometheus scrapes without a token; empty
	// for none.
	Listen      string                 `json:"listen"`
	RemoteWrite []remotewrite.Receiver `json:"remoteWrite"` // that get the series of scale sets
}

// interval returns the time between two samples, 0 for none.
func (m Metrics) interval() (time.Duration, error) { return time.ParseDuration(m.Interval) }

// check tells bad what is wrong with the metrics' part.
func (m Metrics) check(bad func(key, format string, args ...any)) {
	if d, err := m.interval(); err != nil || d != 0 && (d < time.Second || d > time.Minute) {
		bad("metrics.interval", "The interval %q is not one from 1s to 1m, or 0 to measure nothing.", m.Interval)
	}
	if d, err := m.retention(); err != nil || d < time.Hour {
		bad("metrics.retention", "The retention %q is not a duration from 1h on, such as 90d.", m.Retention)
	}
	if m.Listen != "" {
		host, _, err := net.SplitHostPort(m.Listen)
		if a, e := netip.ParseAddr(host); err != nil || e != nil || !a.IsLoopback() {
			bad("metrics.listen", "The address %q is not a loopback one with a port, such as 127.0.0.1:9464. From elsewhere, scrape /metrics of the API with a token.", m.Listen)
		}
	}
	for i, r := range m.RemoteWrite {
		if err := r.Check(); err != nil {
			bad(fmt.Sprintf("metrics.remoteWrite[%d]", i), "The receiver cannot be used: %v.", err)
		}
	}
}

// retention returns how long the series of scale sets are kept.
func (m Metrics) retention() (time.Duration, error) {
	d, err := model.ParseDuration(m.Retention)
	return time.Duration(d), err
}

// Etcd is where state is kept. No endpoints means the embedded etcd.
type Etcd struct {
	Endpoints []string `json:"endpoints"`
	CA        string   `json:"ca"`
	Cert      string   `json:"cert"`
	Key       string   `json:"key"`
}

// Default returns the configuration that holds without a file.
func Default() Config {
	return Config{
		Listen: "127.0.0.1:8443", Driver: "qemu", Location: "local", LogLevel: "info",
		Host:    Host{Name: "host-1", CPUOvercommit: 8, MemoryOvercommit: 1, Zones: []string{"1", "2", "3"}, FaultDomains: 5, DiskLimits: true},
		Network: Network{Prefix: "10.240.0.0/16", PublicPrefix: "198.18.0.0/16", Drain: "30s"},
		Images:  Images{Tiny: "/usr/share/muster/tiny"},
		Limits:  Limits{Capacity: 1000, ImageGB: volume.DefaultMaxGB},
		Metrics: Metrics{Interval: "10s", Retention: "90d"},
	}
}

// Load reads a file over the given configuration. Errors are Invalid and name
// the file.
func Load(file string, over Config) (Config, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return over, resource.Errorf(resource.Invalid, "InvalidConfig", "The config file cannot be read: %v.", err)
	}
	if err := readYAML(raw, &over); err != nil {
		return over, resource.Errorf(resource.Invalid, "InvalidConfig", "The config file %s is not valid: %v. `muster config show` prints one that is.", file, err)
	}
	if over.Host.Zones == nil {
		over.Host.Zones = []string{} // null is none, and not the zones that there are elsewhere
	}
	return over, nil
}

// Validate returns everything that is wrong with the configuration.
func (c Config) Validate() error {
	var problems []*resource.Error
	bad := func(key, format string, args ...any) {
		problems = append(problems, resource.Errorf(resource.Invalid, "InvalidConfig", format, args...).At(key))
	}
	if c.State == "" {
		bad("state", "Say where the server keeps its state: --state DIR.")
	}
	if !slices.Contains([]string{"qemu", "sim"}, c.Driver) {
		bad("driver", "The driver %q is neither qemu nor sim.", c.Driver)
	}
	c.checkServer(bad)
	c.Host.check(bad)
	c.Network.check(bad)
	c.Images.check(bad)
	c.checkQuotas(bad)
	c.Etcd.check(bad)
	c.Metrics.check(bad)
	if _, err := c.level(); err != nil {
		bad("logLevel", "The log level %q is none of debug, info, warn, error.", c.LogLevel)
	}
	if len(problems) == 0 {
		return nil
	}
	all := *problems[0]
	if len(problems) > 1 {
		all.Msg, all.Details = fmt.Sprintf("The configuration has %d problems.", len(problems)), problems
	}
	return &all
}

// sampling returns how often machines are sampled, 0 for never.
func (c Config) sampling() time.Duration {
	d, err := c.Metrics.interval()
	if err != nil {
		return 0 // Validate refuses it
	}
	return d
}

func (c Config) level() (slog.Level, error) {
	var l slog.Level
	err := l.UnmarshalText([]byte(c.LogLevel))
	return l, err
}

// capacity returns what the host gives to instances, overcommit included.
func (h Host) capacity() (vcpus, memoryMB int) {
	vcpus, memoryMB = h.VCPUs, h.MemoryMB
	if vcpus == 0 {
		vcpus = runtime.NumCPU()
	}
	if memoryMB == 0 {
		memoryMB = max(machineMemoryMB()-1024, 256)
	}
	return int(float64(vcpus) * h.CPUOvercommit), int(float64(memoryMB) * h.MemoryOvercommit)
}
