package sim_test

import (
	"context"
	"net/netip"
	"testing"

	"github.com/muster-vm/muster/internal/host/fabric"
	"github.com/muster-vm/muster/internal/host/fabric/fabrictest"
	"github.com/muster-vm/muster/internal/host/fabric/sim"
	"github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/resource"
)

func TestConformance(t *testing.T) {
	fabrictest.Run(t, func(*testing.T) fabrictest.Fabric { return sim.New(netip.MustParsePrefix("10.240.0.0/16")) })
}

func TestACardDoesNotWaitForItsNetwork(t *testing.T) {
	f := sim.New(netip.MustParsePrefix("10.240.0.0/16"))
	p := fabric.Port{Name: "a", Network: "net", Address: netip.MustParseAddr("10.0.0.4")}
	if lease, err := f.Attach(t.Context(), p); err != nil || lease.Address.String() != "10.0.0.4/32" || lease.Gateway.IsValid() {
		t.Errorf("got %v, %v", lease, err)
	}
	if err := f.Apply(t.Context(), network.Program{Network: "net", Subnets: []network.SubnetProgram{{Name: "web", Prefix: netip.MustParsePrefix("10.0.0.0/24")}}}); err != nil {
		t.Fatal(err)
	}
	if lease, err := f.Attach(t.Context(), p); err != nil || lease.Address.String() != "10.0.0.4/24" || lease.Gateway.String() != "10.0.0.1" {
		t.Errorf("got %v, %v", lease, err)
	}
	if err := f.Remove(t.Context(), "net"); err != nil {
		t.Fatal(err)
	}
	if ports, _ := f.Ports(t.Context()); len(ports) != 0 {
		t.Errorf("ports are left: %v", ports)
	}
}

func TestFlowsAreThoseThatATestHolds(t *testing.T) {
	f, card := sim.New(netip.MustParsePrefix("10.240.0.0/16")), netip.MustParseAddr("10.0.0.4")
	if err := f.Apply(t.Context(), network.Program{Network: "net"}); err != nil {
		t.Fatal(err)
	}
	f.Hold("net", card, 3)
	if n, err := f.Flows(t.Context(), "net", card); n != 3 || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
	if err := f.Cut(t.Context(), "net", card); err != nil {
		t.Fatal(err)
	}
	if n, err := f.Flows(t.Context(), "net", card); n != 0 || err != nil {
		t.Errorf("got %d, %v after they were cut", n, err)
	}
}

func TestPacketsDoWhatTheProgramSays(t *testing.T) {
	f := sim.New(netip.MustParsePrefix("10.240.0.0/16"))
	a, b := netip.MustParseAddr("10.0.0.4"), netip.MustParseAddr("10.0.0.5")
	flow := network.Flow{Protocol: network.TCP, From: netip.AddrPortFrom(a, 50000), To: netip.AddrPortFrom(b, 80)}
	if v := f.Send("net", flow); v.Allowed {
		t.Errorf("a network that is not there takes a flow: %+v", v)
	}
	p := network.Program{Network: "net", Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16")},
		Cards: []network.Card{{Port: network.Port{Address: a}}, {Port: network.Port{Address: b}}}}
	if err := f.Apply(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if v := f.Send("net", flow); !v.Allowed || v.To != flow.To || v.Source != a {
		t.Errorf("got %+v", v)
	}
}

func TestNobodyAnswersAndCanceledRequestsDoNothing(t *testing.T) {
	f := sim.New(netip.MustParsePrefix("10.240.0.0/16"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.Apply(ctx, network.Program{Network: "net"}); !resource.Is(err, resource.Canceled) {
		t.Errorf("got %v", err)
	}
	if err := f.Apply(t.Context(), network.Program{Network: "net"}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.DialInside(t.Context(), "net", netip.MustParseAddrPort("10.0.0.4:80")); !resource.Is(err, resource.Unavailable) {
		t.Errorf("got %v", err)
	}
}
