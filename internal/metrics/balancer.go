package metrics

import (
	"cmp"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// BalancerMetric is one of the things that are measured of a load balancer. The
// set is closed.
type BalancerMetric int

// The metrics of load balancers. Of the first two a sample is a level; of the
// others it is what came to pass since the sample before.
const (
	VipAvailability     BalancerMetric = iota // of a frontend port, 0 to 100
	DipAvailability                           // of a target of a health probe, 0 or 100
	ByteCount                                 // both directions
	PacketCount                               // both directions
	SYNCount                                  // of clients
	SnatConnectionCount                       // new connections to the outside

	BalancerMetrics = iota // how many there are
)

// Dimension is something by which series of a load balancer are told apart.
type Dimension string

// The dimensions.
const (
	FrontendAddress Dimension = "FrontendIPAddress"
	FrontendPort    Dimension = "FrontendPort"
	BackendAddress  Dimension = "BackendIPAddress"
	BackendPort     Dimension = "BackendPort"
	ProtocolType    Dimension = "ProtocolType"
)

// Source: https://learn.microsoft.com/azure/azure-monitor/reference/supported-metrics/microsoft-network-loadbalancers-metrics
var balancerDefinitions = [BalancerMetrics]Definition{
	VipAvailability:     {"VipAvailability", "Average Load Balancer data path availability per time duration", "Count", Average, "Data Path Availability"},
	DipAvailability:     {"DipAvailability", "Average Load Balancer health probe status per time duration", "Count", Average, "Health Probe Status"},
	ByteCount:           {"ByteCount", "Total number of Bytes transmitted within time period", "Bytes", Total, "Byte Count"},
	PacketCount:         {"PacketCount", "Total number of Packets transmitted within time period", "Count", Total, "Packet Count"},
	SYNCount:            {"SYNCount", "Total number of SYN Packets transmitted within time period", "Count", Total, "SYN Count"},
	SnatConnectionCount: {"SnatConnectionCount", "Total number of new SNAT connections created within time period", "Count", Total, "SNAT Connection Count"},
}

// balancerDimensions are Azure's, but for the direction of bytes, packets and SYNs
// and the state of connections, which are not told apart.
var balancerDimensions = [BalancerMetrics][]Dimension{
	VipAvailability:     {FrontendAddress, FrontendPort},
	DipAvailability:     {ProtocolType, BackendPort, FrontendAddress, FrontendPort, BackendAddress},
	ByteCount:           {FrontendAddress, FrontendPort},
	PacketCount:         {FrontendAddress, FrontendPort},
	SYNCount:            {FrontendAddress, FrontendPort},
	SnatConnectionCount: {FrontendAddress, BackendAddress},
}

// Definition returns what the metric is.
func (m BalancerMetric) Definition() Definition { return balancerDefinitions[m] }

// Dimensions returns what tells the metric's series apart.
func (m BalancerMetric) Dimensions() []Dimension { return slices.Clone(balancerDimensions[m]) }

// String returns the metric's name.
func (m BalancerMetric) String() string { return balancerDefinitions[m].Name }

// AllOfBalancers lists the metrics of load balancers, in the order of their
// definitions.
func AllOfBalancers() []BalancerMetric {
	all := make([]BalancerMetric, BalancerMetrics)
	for i := range all {
		all[i] = BalancerMetric(i)
	}
	return all
}

// Part is the part of a load balancer that a sample is of. What is not a dimension
// of the metric is left zero.
type Part struct {
	Frontend     netip.Addr
	FrontendPort uint16 // 0: all ports
	Backend      netip.Addr
	BackendPort  uint16
	Protocol     string // such as Tcp
}

// Value returns a dimension of the part as users write it; empty for an address
// that is not there.
func (p Part) Value(d Dimension) string {
	address := func(a netip.Addr) string {
		if !a.IsValid() {
			return ""
		}
		return a.String()
	}
	port := func(n uint16) string { return strconv.Itoa(int(n)) }
	switch d {
	case FrontendAddress:
		return address(p.Frontend)
	case FrontendPort:
		return port(p.FrontendPort)
	case BackendAddress:
		return address(p.Backend)
	case BackendPort:
		return port(p.BackendPort)
	case ProtocolType:
		return p.Protocol
	}
	return ""
}

// compare orders parts, for answers that are in one order.
func (p Part) compare(o Part) int {
	return cmp.Or(p.Frontend.Compare(o.Frontend), cmp.Compare(p.FrontendPort, o.FrontendPort), p.Backend.Compare(o.Backend),
		cmp.Compare(p.BackendPort, o.BackendPort), strings.Compare(p.Protocol, o.Protocol))
}

// BalancerSample is one value that was measured. What was not has no sample, or NaN.
type BalancerSample struct {
	Part
	Metric BalancerMetric
	Value  float64
}

// BalancerSeries is a metric of one part.
type BalancerSeries struct {
	Part
	Points []Point // in the grains of the window that was asked for
}

// balancers holds the series of load balancers, by the minute. The zero value has
// none.
type balancers struct {
	mu  sync.Mutex
	all map[string]map[partSeries]*minutes
}

// partSeries is what one series is of.
type partSeries struct {
	Part
	metric BalancerMetric
}

// Balancer takes in what was measured of a load balancer at one time, after the
// time before. Series are kept as long as those of instances, in memory.
func (r *Recorder) Balancer(uid string, at time.Time, samples []BalancerSample) {
	b := &r.balancers
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.all == nil {
		b.all = map[string]map[partSeries]*minutes{}
	}
	series := b.all[uid]
	if series == nil {
		series = map[partSeries]*minutes{}
		b.all[uid] = series
	}
	number := numberOf(at)
	for _, s := range samples {
		if math.IsNaN(s.Value) {
			continue
		}
		key := partSeries{s.Part, s.Metric}
		own := series[key]
		if own == nil {
			own = &minutes{}
			series[key] = own
		}
		own.add(number, s.Value)
	}
}

// BalancerSeries returns a metric of a load balancer in the grains of the window,
// which are not finer than Minute: a series of each part that has samples in it,
// in order.
func (r *Recorder) BalancerSeries(uid string, m BalancerMetric, w Window) (all []BalancerSeries) {
	b := &r.balancers
	b.mu.Lock()
	defer b.mu.Unlock()
	for key, own := range b.all[uid] {
		if key.metric != m {
			continue
		}
		if points := Roll(own.points(), w); len(points) > 0 {
			all = append(all, BalancerSeries{Part: key.Part, Points: points})
		}
	}
	slices.SortFunc(all, func(x, y BalancerSeries) int { return x.compare(y.Part) })
	return all
}

// sweep lets go of what is older than is kept.
func (b *balancers) sweep(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	oldest := numberOf(now.Add(-Kept))
	for uid, series := range b.all {
		for key, own := range series {
			if own.last() < oldest {
				delete(series, key)
			}
		}
		if len(series) == 0 {
			delete(b.all, uid)
		}
	}
}

// minutes is a series of at least the last two hours. Minutes that are equal take
// the room of one: a member that is well for hours takes a few bytes.
type minutes struct {
	runs []run // the oldest first
	open minute
}

// run is a minute and how many equal ones follow each other, from it on.
type run struct {
	minute
	times int32
}

// end is the number of the first minute after the run.
func (r run) end() int32 { return r.number + r.times }

func (m *minutes) last() int32 { return m.open.number }

// add counts a sample into its minute. One that comes too late for it is left out.
func (m *minutes) add(number int32, value float64) {
	v := minute{sum: value, number: number, count: 1, min: float32(value), max: float32(value)}
	switch {
	case m.open.count == 0:
		m.open = v
	case number < m.open.number:
	case number > m.open.number:
		m.seal()
		m.open = v
	default:
		m.open.sum += value
		m.open.count++
		m.open.min, m.open.max = min(m.open.min, v.min), max(m.open.max, v.max)
	}
}

// seal makes the open minute one of the runs, and lets go of those that are too
// old.
func (m *minutes) seal() {
	if n := len(m.runs); n > 0 {
		like := m.open
		like.number = m.runs[n-1].number
		if like == m.runs[n-1].minute && m.runs[n-1].end() == m.open.number {
			m.runs[n-1].times++
			return
		}
	}
	oldest, gone := m.open.number-int32(Kept/Minute), 0
	for gone < len(m.runs) && m.runs[gone].end() <= oldest {
		gone++
	}
	m.runs = append(append(m.runs[:0], m.runs[gone:]...), run{m.open, 1})
}

// points returns what is kept, the oldest first.
func (m *minutes) points() (all []Point) {
	oldest := m.open.number - int32(Kept/Minute)
	for _, r := range m.runs {
		for one := r.minute; one.number < r.end(); one.number++ {
			if one.number >= oldest {
				all = append(all, one.point())
			}
		}
	}
	if m.open.count > 0 {
		all = append(all, m.open.point())
	}
	return all
}
