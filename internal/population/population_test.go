package population_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-vm/muster/internal/population"
	"github.com/muster-vm/muster/internal/resource"
)

func TestEmptyObjectIsTheDefault(t *testing.T) {
	got, err := population.Parse([]byte(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(population.Default(), got); diff != "" {
		t.Errorf("(-default +parsed):\n%s", diff)
	}
}

func TestEveryMemberIsRead(t *testing.T) {
	got, err := population.Parse([]byte(`{
		"seed": 7,
		"hosts": [
			{"name": "rack", "count": 3, "zones": ["1", "2"], "vCPUs": 64, "memoryMB": 1024},
			{"name": "spare", "zone": "3", "faultDomain": 4, "vCPUs": 8, "memoryMB": 512}
		],
		"boot": {"base": "20s", "jitter": "1500ms"},
		"load": {"cpu": 30, "swing": 20, "period": "30m", "network": 1e6, "disk": 4096},
		"faults": [
			{"op": "create", "match": "web_*", "host": "rack-?", "probability": 0.1, "count": 3, "effect": "half",
			 "kind": "exhausted", "code": "AllocationFailed", "message": "No room."},
			{"op": "boot"}
		]}`))
	if err != nil {
		t.Fatal(err)
	}
	want := population.Population{
		Seed: 7,
		Hosts: []population.Host{
			{Name: "rack-1", Zone: "1", VCPUs: 64, MemoryMB: 1024},
			{Name: "rack-2", Zone: "2", VCPUs: 64, MemoryMB: 1024},
			{Name: "rack-3", Zone: "1", FaultDomain: 1, VCPUs: 64, MemoryMB: 1024},
			{Name: "spare", Zone: "3", FaultDomain: 4, VCPUs: 8, MemoryMB: 512},
		},
		Boot: population.Boot{Base: 20 * time.Second, Jitter: 1500 * time.Millisecond},
		Load: population.Load{CPU: 30, Swing: 20, Period: 30 * time.Minute, Network: 1e6, Disk: 4096},
		Faults: []population.Fault{
			{Op: population.Create, Match: "web_*", Host: "rack-?", Probability: .1, Count: 3, Effect: population.Half,
				Kind: resource.Exhausted, Code: "AllocationFailed", Message: "No room."},
			{Op: population.NoBoot, Kind: resource.Unavailable},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestEachProblemNamesItsPlace(t *testing.T) {
	const host = `"hosts": [{"name": "a", "vCPUs": 1, "memoryMB": 1`
	for _, tt := range []struct{ in, target string }{
		{`{"color": 1}`, ""},
		{`{} {}`, ""},
		{`[]`, ""},
		{`{"hosts": []}`, "hosts"},
		{`{"hosts": [{}]}`, "hosts[0].name"},
		{`{` + host + `}, {"name": "a", "vCPUs": 1, "memoryMB": 1}]}`, "hosts[1].name"},
		{`{` + host + `, "count": 0}]}`, "hosts[0].count"},
		{`{` + host + `, "count": 1000000000}]}`, "hosts[0].count"},
		{`{` + host + `, "zones": ["1"]}]}`, "hosts[0].zones"},
		{`{"boot": {"base": "soon"}}`, "boot.base"},
		{`{"boot": {"base": "1s", "jitter": "2s"}}`, "boot.jitter"},
		{`{"load": {"cpu": 101}}`, "load.cpu"},
		{`{"load": {"cpu": 10, "swing": 11, "period": "1m"}}`, "load.swing"},
		{`{"load": {"cpu": 10, "swing": 5}}`, "load.period"},
		{`{"load": {"disk": -1}}`, "load"},
		{`{"faults": [{"op": "reboot"}]}`, "faults[0].op"},
		{`{"faults": [{"op": "create", "match": "["}]}`, "faults[0].match"},
		{`{"faults": [{"op": "create", "probability": 0}]}`, "faults[0].probability"},
		{`{"faults": [{"op": "create", "kind": "Bad"}]}`, "faults[0].kind"},
		{`{"faults": [{"op": "power", "effect": "half"}]}`, "faults[0].effect"},
	} {
		_, err := population.Parse([]byte(tt.in))
		e, ok := errors.AsType[*resource.Error](err) // the first
		if !ok || e.Kind != resource.Invalid || e.Target != tt.target {
			t.Errorf("%s: got %#v, want an Invalid error at %q", tt.in, err, tt.target)
		}
	}
}

func TestHostsAreDealtOverZonesAndFaultDomains(t *testing.T) {
	count := map[[2]any]int{}
	for _, h := range population.Hosts(30, population.Host{Name: "h"}, "1", "2", "3") {
		count[[2]any{h.Zone, h.FaultDomain}]++
	}
	if len(count) != 15 {
		t.Errorf("got %d pairs of zone and fault domain, want 15", len(count))
	}
	for pair, n := range count {
		if n != 2 {
			t.Errorf("%v has %d hosts, want 2", pair, n)
		}
	}
}
