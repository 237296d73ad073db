package host

import (
	"context"
	"log/slog"
	"time"

	"github.com/muster-vm/muster/internal/host/fabric"
	"github.com/muster-vm/muster/internal/metrics"
	"github.com/muster-vm/muster/internal/network"
)

// BalancerMeter measures what load balancers do: whether their frontends and
// members are well, and what goes through them.
type BalancerMeter struct {
	Fabric   fabric.Networks
	Programs func() []network.Program                                     // what the fabric carries
	Healthy  func(t network.Target) (well, known bool)                    // what probes say; nil: nobody asks
	Record   func(uid string, at time.Time, all []metrics.BalancerSample) // takes samples in
	Step     time.Duration
	Log      *slog.Logger

	last map[port]fabric.FrontendTraffic
}

// port is a frontend port: a rule of a balancer.
type port struct {
	balancer network.UID
	rule     string
}

// Run measures, a Step apart, until ctx is done.
func (m *BalancerMeter) Run(ctx context.Context) {
	tick := time.NewTicker(m.Step)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		m.round(ctx, time.Now())
	}
}

// round takes one sample of everything.
func (m *BalancerMeter) round(ctx context.Context, now time.Time) {
	seen := map[port]fabric.FrontendTraffic{}
	for _, p := range m.Programs() {
		all := map[network.UID][]metrics.BalancerSample{}
		for _, s := range p.Services {
			all[s.Balancer] = append(all[s.Balancer], m.health(p.Network, s)...)
		}
		traffic, err := m.Fabric.Traffic(ctx, p.Network)
		if err != nil && ctx.Err() == nil {
			m.Log.WarnContext(ctx, "the traffic of load balancers cannot be read", "network", p.Name, "err", err)
		}
		parts := frontends(p)
		for _, t := range traffic {
			at := port{t.Balancer, t.Rule}
			seen[at] = t
			if before, ok := m.last[at]; ok {
				all[t.Balancer] = append(all[t.Balancer], passed(parts[at], before, t)...)
			}
		}
		for uid, samples := range all {
			m.Record(string(uid), now, samples)
		}
	}
	m.last = seen
}

// health says whether a frontend port and its members are well. A frontend without
// a member that is well takes no flows.
func (m *BalancerMeter) health(uid network.UID, s network.Service) []metrics.BalancerSample {
	front := metrics.Part{Frontend: s.Address, FrontendPort: s.Port}
	all := []metrics.BalancerSample{{Part: front, Metric: metrics.VipAvailability, Value: percent(len(s.Members) > 0)}}
	if m.Healthy == nil || s.Probe == (network.Probe{}) {
		return all
	}
	for _, member := range s.Pool {
		if well, known := m.Healthy(network.TargetOf(uid, member, s.Probe)); known {
			part := front
			part.Backend, part.BackendPort, part.Protocol = member, s.Probe.Port, string(s.Probe.Protocol)
			all = append(all, metrics.BalancerSample{Part: part, Metric: metrics.DipAvailability, Value: percent(well)})
		}
	}
	return all
}

func percent(well bool) float64 {
	if well {
		return 100
	}
	return 0
}

// frontends finds the addresses and ports of rules. The ports of an inbound NAT
// pool are one.
func frontends(p network.Program) map[port]metrics.Part {
	all := map[port]metrics.Part{}
	for _, f := range p.Forwards {
		all[port{f.Balancer, f.Rule}] = metrics.Part{Frontend: f.Address}
	}
	for _, s := range p.Services {
		all[port{s.Balancer, s.Rule}] = metrics.Part{Frontend: s.Address, FrontendPort: s.Port}
	}
	return all
}

// passed is what went through a frontend port between two readings. Counters that
// began anew tell nothing about the time before.
func passed(part metrics.Part, before, now fabric.FrontendTraffic) (all []metrics.BalancerSample) {
	if now.Bytes < before.Bytes || now.Packets < before.Packets || now.SYNs < before.SYNs {
		before = fabric.FrontendTraffic{}
	}
	for metric, n := range map[metrics.BalancerMetric]int64{metrics.ByteCount: now.Bytes - before.Bytes, metrics.PacketCount: now.Packets - before.Packets,
		metrics.SYNCount: now.SYNs - before.SYNs} {
		all = append(all, metrics.BalancerSample{Part: part, Metric: metric, Value: float64(n)})
	}
	return all
}
