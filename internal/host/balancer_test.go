package host

import (
	"context"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/muster-vm/muster/internal/host/fabric"
	fabricsim "github.com/muster-vm/muster/internal/host/fabric/sim"
	"github.com/muster-vm/muster/internal/metrics"
	"github.com/muster-vm/muster/internal/network"
)

// counted is a fabric whose frontends have had this traffic.
type counted struct {
	*fabricsim.Fabric
	traffic []fabric.FrontendTraffic
}

func (c *counted) Traffic(context.Context, network.UID) ([]fabric.FrontendTraffic, error) {
	return c.traffic, nil
}

func TestLoadBalancersAreMeasuredByWhatPassedSinceTheRoundBefore(t *testing.T) {
	front, well, sick := netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("10.0.0.4"), netip.MustParseAddr("10.0.0.5")
	probe := network.Probe{Protocol: network.ProbeTCP, Port: 8080}
	program := network.Program{Network: "net", Services: []network.Service{{Balancer: "lb", Rule: "web", Address: front, Port: 80, Probe: probe,
		Pool: []netip.Addr{well, sick}, Members: []netip.AddrPort{netip.AddrPortFrom(well, 8080)}}}}
	var got map[metrics.BalancerMetric]map[netip.Addr]float64
	on := &counted{traffic: []fabric.FrontendTraffic{{Balancer: "lb", Rule: "web", Bytes: 1000, Packets: 10, SYNs: 1}}}
	m := BalancerMeter{Fabric: on, Log: slog.New(slog.DiscardHandler), Programs: func() []network.Program { return []network.Program{program} },
		Healthy: func(t network.Target) (bool, bool) { return t.Address == well, true },
		Record: func(uid string, _ time.Time, all []metrics.BalancerSample) {
			if uid != "lb" {
				t.Errorf("a sample of %q", uid)
			}
			got = map[metrics.BalancerMetric]map[netip.Addr]float64{}
			for _, s := range all {
				if got[s.Metric] == nil {
					got[s.Metric] = map[netip.Addr]float64{}
				}
				got[s.Metric][s.Backend] = s.Value
				if s.Frontend != front || s.FrontendPort != 80 {
					t.Errorf("%s is of %s port %d", s.Metric, s.Frontend, s.FrontendPort)
				}
			}
		}}
	none := netip.Addr{}
	health := map[metrics.BalancerMetric]map[netip.Addr]float64{metrics.VipAvailability: {none: 100}, metrics.DipAvailability: {well: 100, sick: 0}}
	expect := func(what string, bytes, packets, syns float64) {
		t.Helper()
		m.round(t.Context(), time.Now())
		want := map[metrics.BalancerMetric]map[netip.Addr]float64{metrics.VipAvailability: health[metrics.VipAvailability], metrics.DipAvailability: health[metrics.DipAvailability]}
		if packets > 0 {
			want[metrics.ByteCount], want[metrics.PacketCount], want[metrics.SYNCount] = map[netip.Addr]float64{none: bytes}, map[netip.Addr]float64{none: packets}, map[netip.Addr]float64{none: syns}
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	expect("the first round knows of no round before", 0, 0, 0)
	on.traffic[0] = fabric.FrontendTraffic{Balancer: "lb", Rule: "web", Bytes: 1500, Packets: 14, SYNs: 3}
	expect("the second", 500, 4, 2)
	on.traffic[0] = fabric.FrontendTraffic{Balancer: "lb", Rule: "web", Bytes: 70, Packets: 1, SYNs: 1}
	expect("after the counters began anew", 70, 1, 1)
	program.Services[0].Members = nil
	health[metrics.VipAvailability] = map[netip.Addr]float64{none: 0}
	on.traffic = nil
	expect("without a member that is well", 0, 0, 0)
}
