package vmss_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/muster-vm/muster/internal/vmss"
)

func TestPlacementKeepsZonesLevelWhileThereIsRoom(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		set := vmss.ScaleSet{Zones: []string{"1", "2", "3"}, FaultDomains: rapid.SampledFrom([]int{1, 5}).Draw(t, "domains")}
		hosts := []vmss.Host{{Name: "a", Zones: []string{"1", "2", "3"}, Domains: 5, VCPUs: 1000, MemoryMB: 1000}}
		p := vmss.NewPlacer(set, hosts, nil)
		census := map[string]int{}
		for range rapid.IntRange(1, 50).Draw(t, "n") {
			place, why := p.Next(vmss.Size{VCPUs: 1, MemoryMB: 1})
			if why != "" {
				t.Fatal(why)
			}
			census[place.Zone]++
			if lo, hi := min(census["1"], census["2"], census["3"]), max(census["1"], census["2"], census["3"]); hi-lo > 1 {
				t.Fatalf("zones differ by more than one: %v", census)
			}
		}
	})
}

func TestPlacementNeverFillsAHostBeyondItsCapacity(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var hosts []vmss.Host
		room := map[string]int{}
		for _, name := range []string{"a", "b", "c"} {
			h := vmss.Host{Name: name, VCPUs: rapid.IntRange(0, 5).Draw(t, "vcpus"), MemoryMB: rapid.IntRange(0, 500).Draw(t, "mb")}
			room[name] = min(h.VCPUs, h.MemoryMB/100)
			hosts = append(hosts, h)
		}
		p := vmss.NewPlacer(vmss.ScaleSet{FaultDomains: 5}, hosts, nil)
		total := room["a"] + room["b"] + room["c"]
		for i := range 20 {
			place, why := p.Next(vmss.Size{VCPUs: 1, MemoryMB: 100})
			if (why == "") != (i < total) {
				t.Fatalf("instance %d of room for %d: %+v %q", i, total, place, why)
			}
			if room[place.Host]--; why == "" && room[place.Host] < 0 {
				t.Fatalf("host %s is overfull", place.Host)
			}
		}
	})
}

func TestPlacementSaysWhyThereIsNoPlace(t *testing.T) {
	set := vmss.ScaleSet{Zones: []string{"1", "2"}, ZoneBalance: true}
	hosts := []vmss.Host{{Name: "a", Zones: []string{"1"}, VCPUs: 9, MemoryMB: 900}}
	p := vmss.NewPlacer(set, hosts, []vmss.Place{{Host: "a", Zone: "1"}})
	if _, why := p.Next(vmss.Size{VCPUs: 1, MemoryMB: 1}); !strings.Contains(why, "zoneBalance forbids") {
		t.Errorf("strict balance: %q", why)
	}
	if _, why := vmss.NewPlacer(vmss.ScaleSet{}, hosts, nil).Next(vmss.Size{VCPUs: 10, MemoryMB: 1}); !strings.Contains(why, "9 vCPU and 900 MB") {
		t.Errorf("no room: %q", why)
	}
	if _, why := vmss.NewPlacer(vmss.ScaleSet{}, nil, nil).Next(vmss.Size{}); why == "" {
		t.Error("no hosts: no reason")
	}
}
