package metrics

import (
	"cmp"
	"math"
	"slices"
	"strings"
)

// Metric is one of the things that are measured. The set is closed.
type Metric int

// The metrics. Of the first two and the last two a sample is a level; of the
// others it is what came to pass since the sample before.
const (
	PercentageCPU   Metric = iota // of all vCPUs, 0 to 100
	AvailableMemory               // bytes
	NetworkIn                     // bytes
	NetworkOut                    // bytes
	DiskReadBytes
	DiskWriteBytes
	DiskReadOperations // a second
	DiskWriteOperations

	Metrics = iota // how many there are
)

// Aggregation is a way to make one number of many samples.
type Aggregation string

// The aggregations. Total adds up, Count is the number of samples.
const (
	Average Aggregation = "Average"
	Minimum Aggregation = "Minimum"
	Maximum Aggregation = "Maximum"
	Total   Aggregation = "Total"
	Count   Aggregation = "Count"
)

// Aggregations lists all aggregations.
func Aggregations() []Aggregation {
	return []Aggregation{Average, Minimum, Maximum, Total, Count}
}

// ParseAggregation reads an aggregation in any letter case.
func ParseAggregation(s string) (Aggregation, bool) {
	all := Aggregations()
	i := slices.IndexFunc(all, func(a Aggregation) bool { return strings.EqualFold(string(a), s) })
	if i < 0 {
		return "", false
	}
	return all[i], true
}

// Definition says what a metric is. Names and units are Azure's.
type Definition struct {
	Name        string
	Description string
	Unit        string
	Primary     Aggregation // taken where none is asked for
	Display     string      // what people are shown for the name; empty if that is the name
}

// Shown returns the name that people are shown.
func (d Definition) Shown() string { return cmp.Or(d.Display, d.Name) }

// Source: https://learn.microsoft.com/azure/azure-monitor/reference/supported-metrics/microsoft-compute-virtualmachinescalesets-metrics
var definitions = [Metrics]Definition{
	PercentageCPU:       {"Percentage CPU", "The percentage of allocated compute units that are currently in use by the virtual machines.", "Percent", Average, ""},
	AvailableMemory:     {"Available Memory Bytes", "Memory that is immediately available to processes or the system in the guest.", "Bytes", Average, ""},
	NetworkIn:           {"Network In Total", "The number of bytes received on all network interfaces by the virtual machines.", "Bytes", Total, ""},
	NetworkOut:          {"Network Out Total", "The number of bytes sent on all network interfaces by the virtual machines.", "Bytes", Total, ""},
	DiskReadBytes:       {"Disk Read Bytes", "Bytes read from disks by the virtual machines.", "Bytes", Total, ""},
	DiskWriteBytes:      {"Disk Write Bytes", "Bytes written to disks by the virtual machines.", "Bytes", Total, ""},
	DiskReadOperations:  {"Disk Read Operations/Sec", "Disk read operations a second.", "CountPerSecond", Average, ""},
	DiskWriteOperations: {"Disk Write Operations/Sec", "Disk write operations a second.", "CountPerSecond", Average, ""},
}

// Definition returns what the metric is.
func (m Metric) Definition() Definition { return definitions[m] }

// String returns the metric's name.
func (m Metric) String() string { return definitions[m].Name }

// All lists the metrics, in the order of their definitions.
func All() []Metric {
	all := make([]Metric, Metrics)
	for i := range all {
		all[i] = Metric(i)
	}
	return all
}

// Named finds a metric by name, in any letter case.
func Named(name string) (Metric, bool) {
	i := slices.IndexFunc(definitions[:], func(d Definition) bool { return strings.EqualFold(d.Name, name) })
	return Metric(i), i >= 0
}

// Values are one sample of every metric; NaN for what could not be measured.
type Values [Metrics]float32

// Nothing returns values of which none was measured.
func Nothing() (v Values) {
	for i := range v {
		v[i] = float32(math.NaN())
	}
	return v
}
