package telemetry

import (
	"math"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/muster-vm/muster/internal/metrics"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/vmss"
)

// Fleet looks up how scale sets and hosts stand.
type Fleet struct {
	Store   *store.Store
	Metrics *metrics.Recorder
	Hosts   func() []Host
}

// Host is how full a host is.
type Host struct {
	Name                 string
	VCPUs, TakenVCPUs    int
	MemoryMB, TakenMemMB int
}

func described(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

var (
	capacity   = described("muster_scale_set_capacity", "Instances that a scale set shall have.", "resource_group", "scale_set")
	power      = described("muster_scale_set_instances", "Instances of a scale set, by power state.", "resource_group", "scale_set", "power_state")
	provision  = described("muster_scale_set_provisioning", "Instances of a scale set, by provisioning state.", "resource_group", "scale_set", "provisioning_state")
	operations = described("muster_scale_set_operations_in_progress", "Operations on a scale set that have not ended.", "resource_group", "scale_set")
	metric     = described("muster_scale_set_metric", "The last whole minute of a metric, over all instances of a scale set.", "resource_group", "scale_set", "metric", "unit", "aggregation")
	vcpus      = described("muster_host_vcpus", "vCPU that a host gives to instances, overcommit included; what is offered, and what of it is taken.", "host", "kind")
	memory     = described("muster_host_memory_bytes", "Memory that a host gives to instances, overcommit included; what is offered, and what of it is taken.", "host", "kind")
)

// Describe implements prometheus.Collector.
func (f *Fleet) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{capacity, power, provision, operations, metric, vcpus, memory} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (f *Fleet) Collect(to chan<- prometheus.Metric) {
	for _, e := range store.All(f.Store, store.ScaleSets) {
		f.set(to, *e.Value)
	}
	for _, h := range f.Hosts() {
		gauge(to, vcpus, float64(h.VCPUs), h.Name, "offered")
		gauge(to, vcpus, float64(h.TakenVCPUs), h.Name, "taken")
		gauge(to, memory, float64(h.MemoryMB)*(1<<20), h.Name, "offered")
		gauge(to, memory, float64(h.TakenMemMB)*(1<<20), h.Name, "taken")
	}
}

func gauge(to chan<- prometheus.Metric, d *prometheus.Desc, v float64, labels ...string) {
	to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func (f *Fleet) set(to chan<- prometheus.Metric, set vmss.ScaleSet) {
	of := []string{strings.ToLower(set.ID.Group), set.ID.Name()}
	gauge(to, capacity, float64(set.SKU.Capacity), of...)
	gauge(to, operations, float64(len(f.Store.OpenOperations(set.UID))), of...)
	powers, states := map[vmss.PowerState]int{}, map[vmss.ProvisioningState]int{}
	for _, rec := range f.Store.Instances(set.UID, -1, 0) {
		seen := vmss.Observation{}
		if rec.Seen != nil {
			seen = *rec.Seen
		}
		powers[seen.Power]++
		states[vmss.Provisioning(*rec.Row.Value, seen)]++
	}
	for state, n := range powers {
		if state == vmss.PowerUnknown {
			state = "unknown"
		}
		gauge(to, power, float64(n), append(of[:2:2], string(state))...)
	}
	for state, n := range states {
		gauge(to, provision, float64(n), append(of[:2:2], string(state))...)
	}
	newest, ok := f.Metrics.Newest(set.UID, time.Now())
	if !ok {
		return
	}
	for _, m := range metrics.All() {
		p, d := newest.Points[m], m.Definition()
		for _, a := range metrics.Aggregations() {
			if v := p.Value(a); p.Count > 0 && !math.IsNaN(v) {
				gauge(to, metric, v, append(of[:2:2], d.Name, d.Unit, string(a))...)
			}
		}
	}
}
