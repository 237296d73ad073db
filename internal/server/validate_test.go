package server_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/server"
)

// TestEverySettingIsRefusedByItsKeyWithARemedy breaks one setting after the
// other, and wants one problem, at the key, with a word of what helps.
func TestEverySettingIsRefusedByItsKeyWithARemedy(t *testing.T) {
	good := configOf(t.TempDir())
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		key, remedy string
		set         func(*server.Config)
	}{
		{"state", "--state", func(c *server.Config) { c.State = "" }},
		{"listen", "host:port", func(c *server.Config) { c.Listen = "8443" }},
		{"listen", "65535", func(c *server.Config) { c.Listen = "localhost:65536" }},
		{"driver", "qemu nor sim", func(c *server.Config) { c.Driver = "xen" }},
		{"location", "such as local", func(c *server.Config) { c.Location = "" }},
		{"location", "such as local", func(c *server.Config) { c.Location = "a/b" }},
		{"names[1]", "such as", func(c *server.Config) { c.Names = []string{"muster.lab", "*.lab"} }},
		{"logLevel", "debug, info", func(c *server.Config) { c.LogLevel = "loud" }},
		{"host.name", "such as host-1", func(c *server.Config) { c.Host.Name = "" }},
		{"host.vcpus", "0 stands for", func(c *server.Config) { c.Host.VCPUs = -1 }},
		{"host.memoryMB", "0 stands for", func(c *server.Config) { c.Host.MemoryMB = -1 }},
		{"host.cpuOvercommit", "1 promises", func(c *server.Config) { c.Host.CPUOvercommit = 0 }},
		{"host.memoryOvercommit", "up to 100", func(c *server.Config) { c.Host.MemoryOvercommit = 1e6 }},
		{"host.zones[0]", "such as", func(c *server.Config) { c.Host.Zones = []string{""} }},
		{"host.zones[1]", "Take one out", func(c *server.Config) { c.Host.Zones = []string{"1", "1"} }},
		{"host.faultDomains", "from 1 to", func(c *server.Config) { c.Host.FaultDomains = 0 }},
		{"host.accel", "Leave it empty", func(c *server.Config) { c.Host.Accel = "kvm -daemonize" }},
		{"network.prefix", "such as 10.240.0.0/16", func(c *server.Config) { c.Network.Prefix = "10.0.0.0/30" }},
		{"network.prefix", "such as 10.240.0.0/16", func(c *server.Config) { c.Network.Prefix = "fd00::/64" }},
		{"network.prefix", "Write 10.0.0.0/16", func(c *server.Config) { c.Network.Prefix = "10.0.3.0/16" }},
		{"network.prefix", "is reserved", func(c *server.Config) { c.Network.Prefix = "127.0.0.0/8" }},
		{"network.publicPrefix", "such as 198.18.0.0/16", func(c *server.Config) { c.Network.PublicPrefix = "" }},
		{"network.drain", "from 1s to 1h", func(c *server.Config) { c.Network.Drain = "soon" }},
		{"network.publicPrefix", "apart from it", func(c *server.Config) { c.Network.PublicPrefix = "10.0.0.0/8" }},
		{"images.allowed[0]", "take the entry out", func(c *server.Config) { c.Images.Allowed = []string{""} }},
		{"limits.capacity", "from 1 to", func(c *server.Config) { c.Limits.Capacity = 0 }},
		{"limits.capacity", "from 1 to", func(c *server.Config) { c.Limits.Capacity = 1_000_001 }},
		{"metrics.interval", "from 1s to 1m", func(c *server.Config) { c.Metrics.Interval = "1h" }},
		{"metrics.retention", "such as", func(c *server.Config) { c.Metrics.Retention = "long" }},
		{"metrics.listen", "such as", func(c *server.Config) { c.Metrics.Listen = "0.0.0.0:9464" }},
		{"quotas.corse", "list-usage", func(c *server.Config) { c.Quotas = map[string]int{"corse": 1} }},
		{"quotas.cores", "take the key out", func(c *server.Config) { c.Quotas = map[string]int{"cores": -1} }},
		{"quotas.cores", "Keep one", func(c *server.Config) { c.Quotas = map[string]int{"CORES": 1, "cores": 2} }},
		{"etcd.endpoints[0]", "such as https://", func(c *server.Config) { c.Etcd.Endpoints = []string{"10.0.0.1:2379"} }},
		{"etcd.endpoints", "take etcd.ca", func(c *server.Config) { c.Etcd.CA = "ca.pem" }},
		{"etcd.key", "give both", func(c *server.Config) { c.Etcd.Endpoints, c.Etcd.Cert = []string{"https://h:1"}, "c.pem" }},
		{"simulation", "driver: sim", func(c *server.Config) { c.Driver, c.Simulation = "qemu", "fleet.json" }},
	} {
		bad := good
		c.set(&bad)
		err, ok := errors.AsType[*resource.Error](bad.Validate())
		if !ok || err.Kind != resource.Invalid || err.Code != "InvalidConfig" || err.Target != c.key || len(err.Details) > 0 || !strings.Contains(err.Msg, c.remedy) {
			t.Errorf("%s: %v, want it to say %q", c.key, err, c.remedy)
		}
	}
	bad := good
	bad.Driver, bad.Location = "xen", ""
	if err, ok := errors.AsType[*resource.Error](bad.Validate()); !ok || len(err.Details) != 2 {
		t.Errorf("two problems are told as %v", err)
	}
}

// TestAFileIsRefusedForWhatWouldNotBeRead writes files with keys and documents
// that nothing looks at.
func TestAFileIsRefusedForWhatWouldNotBeRead(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.yaml")
	for text, words := range map[string][]string{
		"listne: x\n":                               {"listne", "config show"},
		"host:\n  vcpu: 3\n":                        {"vcpu", "config show"},
		"location: a\nlocation: b\n":                {"location", "already set"},
		"location: a\n---\nlocation: b\n":           {"line 2", "keep one"},
		"# fleet\n---\nlocation: a\n---\n":          {"line 4", "keep one"},
		"host: [\n":                                 {"config show"},
		"limits:\n  capacity: many\n":               {"limits.capacity"},
		`{"host": {"zones": ["1"]}, "hots": {}}`:    {"hots"},
		"images:\n  allowed: /srv\n":                {"images.allowed"},
		"quotas:\n  cores: 1.5\n":                   {"quotas"},
		"metrics:\n  interval: 10s\n  intervall: 1": {"intervall"},
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := server.Load(file, server.Default())
		if !resource.Is(err, resource.Invalid) {
			t.Errorf("%q: %v", text, err)
			continue
		}
		for _, w := range append(words, file) {
			if !strings.Contains(server.Explain(err), w) {
				t.Errorf("%q: %s, want %q", text, server.Explain(err), w)
			}
		}
	}
	if err := os.WriteFile(file, []byte("# a comment\n---\nhost:\n  zones: null\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err := server.Load(file, server.Default()); err != nil || c.Host.Zones == nil || len(c.Host.Zones) > 0 {
		t.Errorf("no zones are read as %q, %v", c.Host.Zones, err)
	}
}
