package sim_test

import (
	"testing"
	"testing/synctest"

	"github.com/muster-vm/muster/internal/disk"
	"github.com/muster-vm/muster/internal/host/volume/sim"
	"github.com/muster-vm/muster/internal/host/volume/volumetest"
)

func TestTheSimulatedVaultDoesWhatVaultsDo(t *testing.T) {
	for _, c := range volumetest.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				known := map[string]bool{"sha256:tiny": true}
				v := sim.New(sim.Options{Image: func(digest string) bool { return known[digest] }, Keep: func(digest string) { known[digest] = true }})
				c.Check(t, volumetest.Fixture{Vault: v, ImageGB: 3,
					Image:   disk.Source{Option: disk.FromImage, Digest: "sha256:tiny"},
					Import:  disk.Source{Option: disk.Import, File: disk.File{URI: "https://example.org/disk.qcow2"}},
					Capture: disk.Source{Option: disk.Capture, Instance: disk.Instance{Set: "web", OS: true}}})
			})
		})
	}
}
