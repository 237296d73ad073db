package server

import (
	"errors"
	"net/netip"
	"os"

	"github.com/muster-vm/muster/internal/host/compute/sim"
	simfabric "github.com/muster-vm/muster/internal/host/fabric/sim"
	"github.com/muster-vm/muster/internal/host/image"
	"github.com/muster-vm/muster/internal/population"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/vmss"
)

// loadPopulation reads the simulated fleet that the config names.
func loadPopulation(file string) (population.Population, error) {
	if file == "" {
		return population.Default(), nil
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return population.Population{}, resource.Errorf(resource.Invalid, "InvalidConfig",
			"The file of the simulated fleet cannot be read: %v. Name another as simulation in the config, or none for the default fleet.", err).At("simulation")
	}
	fleet, err := population.Parse(raw)
	if err != nil {
		invalid := resource.Errorf(resource.Invalid, "InvalidConfig", "The simulated fleet in %s is not valid:", file).At("simulation")
		invalid.Details = problemsOf(err)
		return fleet, invalid
	}
	return fleet, nil
}

// problemsOf lists what was joined to one error.
func problemsOf(err error) (all []*resource.Error) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, part := range joined.Unwrap() {
			all = append(all, problemsOf(part)...)
		}
		return all
	}
	if e, ok := errors.AsType[*resource.Error](err); ok {
		all = append(all, e)
	}
	return all
}

// SimulatedHosts makes the hosts of a population, which share one network. The
// ledger, if there is one, hears of everything that happens to machines.
func SimulatedHosts(c Config, p population.Population, images *image.Catalogue, ledger *sim.Ledger) []HostPart {
	fabric := simfabric.New(netip.MustParsePrefix(c.Network.Prefix))
	var parts []HostPart
	for _, h := range p.Hosts {
		opts := sim.Of(p, h.Name)
		opts.Image, opts.Ledger = images.Has, ledger
		place := vmss.Host{Name: h.Name, FaultDomain: h.FaultDomain, VCPUs: h.VCPUs, MemoryMB: h.MemoryMB}
		if h.Zone != "" {
			place.Zones = []string{h.Zone}
		}
		parts = append(parts, HostPart{Place: place, Driver: sim.New(opts), Fabric: fabric})
	}
	return parts
}
