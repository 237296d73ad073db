package sim_test

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/muster-vm/muster/internal/host/compute"
	"github.com/muster-vm/muster/internal/host/compute/drivertest"
	"github.com/muster-vm/muster/internal/host/compute/sim"
	"github.com/muster-vm/muster/internal/population"
)

const missing = "sha256:missing"

func spec(instance int64) compute.Spec {
	return compute.Spec{
		ID:   compute.VMID{Set: "6f1f3cf0-3f2b-4c5e-9d0f-000000000001", Instance: instance, Disks: 1},
		Name: fmt.Sprintf("web_%d", instance), VCPUs: 1, MemoryMB: 128, Image: "sha256:ok",
		DataDisks: []compute.Disk{{LUN: 0, SizeGB: 1, Generation: 1}, {LUN: 4, SizeGB: 1, Generation: 1}},
		Boots:     1,
	}
}

// wait lets virtual time pass until cond holds, an hour at most.
func wait(cond func() bool) bool {
	for range 3600 {
		if cond() {
			return true
		}
		time.Sleep(time.Second)
	}
	return cond()
}

func open(boot population.Boot) func(t *testing.T) drivertest.Fixture {
	return func(t *testing.T) drivertest.Fixture {
		ledger := &sim.Ledger{}
		d := sim.New(sim.Options{
			Host: "host-1", Boot: boot, Seed: 1, Ledger: ledger,
			Image: func(digest string) bool { return digest != missing },
		})
		t.Cleanup(func() {
			d.Close()
			for _, v := range ledger.Violations() {
				t.Error(v)
			}
		})
		return drivertest.Fixture{
			Driver: d, Spec: spec, Wait: wait, Missing: missing,
			Reopen: func() compute.Driver { return d },
			Disks:  d.Disks,
			Volume: func(string) func() bool { return func() bool { return true } }, // there is none to remove
			BootID: func(id compute.VMID) string { return strconv.Itoa(d.BootID(id)) },
		}
	}
}

func TestConformsWithSlowGuests(t *testing.T) {
	drivertest.RunVirtual(t, open(population.Default().Boot))
}

func TestConformsWithGuestsThatAreReadyAtOnce(t *testing.T) {
	drivertest.RunVirtual(t, open(population.Boot{}))
}

func TestConformsAsAStory(t *testing.T) {
	fixture := open(population.Boot{})
	drivertest.Run(t, func(t *testing.T) drivertest.Fixture {
		f := fixture(t)
		f.Expensive = true
		f.Wait = func(cond func() bool) bool { return cond() } // nothing takes time
		return f
	})
}
