package telemetry

import (
	"cmp"
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
	Quotas  map[string]int           // limits by name, such as "cores"
	State   func() (StateSize, bool) // nil, or false, if it is not known
}

// StateSize is how large the state store is, in bytes.
type StateSize struct{ Size, InUse, Quota int64 }

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
	usage      = described("muster_quota_usage", "What is taken of a quota of a location.", "location", "quota")
	limit      = described("muster_quota_limit", "The limit of a quota of a location.", "location", "quota")
	rings      = described("muster_metrics_rings", "Instances whose samples are in memory.")
	ringBytes  = described("muster_metrics_ring_bytes", "About how much memory samples of instances take.")
	state      = described("muster_state_store_bytes", "How large etcd's file is, what of it is in use, and its quota, at which it takes no more.", "kind")
	memory     = described("muster_host_memory_bytes", "Memory that a host gives to instances, overcommit included; what is offered, and what of it is taken.", "host", "kind")
)

// Describe implements prometheus.Collector.
func (f *Fleet) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{capacity, power, provision, operations, metric, usage, limit, rings, ringBytes, state, vcpus, memory} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (f *Fleet) Collect(to chan<- prometheus.Metric) {
	demands := map[string][]vmss.Demand{} // by location
	for _, e := range store.All(f.Store, store.ScaleSets) {
		f.set(to, *e.Value)
		demands[e.Value.Location] = append(demands[e.Value.Location], f.demand(*e.Value))
	}
	for location, all := range demands {
		for _, u := range vmss.Usages(all, f.Quotas) {
			gauge(to, usage, float64(u.Current), location, u.Name)
			gauge(to, limit, float64(u.Limit), location, u.Name)
		}
	}
	for _, h := range f.Hosts() {
		gauge(to, vcpus, float64(h.VCPUs), h.Name, "offered")
		gauge(to, vcpus, float64(h.TakenVCPUs), h.Name, "taken")
		gauge(to, memory, float64(h.MemoryMB)*(1<<20), h.Name, "offered")
		gauge(to, memory, float64(h.TakenMemMB)*(1<<20), h.Name, "taken")
	}
	n, bytes := f.Metrics.Size()
	gauge(to, rings, float64(n))
	gauge(to, ringBytes, float64(bytes))
	if f.State == nil {
		return
	}
	if s, ok := f.State(); ok {
		gauge(to, state, float64(s.Size), "size")
		gauge(to, state, float64(s.InUse), "in_use")
		gauge(to, state, float64(s.Quota), "quota")
	}
}

// demand is what a set asks of its location.
func (f *Fleet) demand(set vmss.ScaleSet) vmss.Demand {
	size, _ := vmss.SizeNamed(set.SKU.Name)
	t := f.Store.Tally(set.UID)
	return vmss.DemandOf(set, size, t.Rows, t.Deallocated)
}

var (
	powerStates = []vmss.PowerState{vmss.PowerUnknown, vmss.PowerStarting, vmss.PowerRunning, vmss.PowerStopping, vmss.PowerStopped,
		vmss.PowerDeallocating, vmss.PowerDeallocated}
	provisioningStates = []vmss.ProvisioningState{vmss.Creating, vmss.Updating, vmss.Succeeded, vmss.Failed, vmss.Deleting}
)

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
	for _, s := range powerStates { // those with none, too: a rule can ask for 0
		gauge(to, power, float64(powers[s]), append(of[:2:2], cmp.Or(string(s), "unknown"))...)
	}
	for _, s := range provisioningStates {
		gauge(to, provision, float64(states[s]), append(of[:2:2], string(s))...)
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
