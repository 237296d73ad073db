package fleettest_test

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/compute/armcompute/v8"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/network/armnetwork/v9"

	"github.com/muster-vm/muster/internal/fleettest"
	"github.com/muster-vm/muster/internal/network"
)

// upgrade brings all instances of the set web to its newest model.
func (l *lab) upgrade() error {
	_, err := end(l.c.Sets.BeginUpdateInstances(l.ctx, "lab", "web", armcompute.VirtualMachineScaleSetVMInstanceRequiredIDs{InstanceIDs: []*string{new("*")}}, nil))
	return err
}

// TestASetLeavesItsLoadBalancerAndComesBack changes the model, upgrades, and can then
// delete the load balancer.
func TestASetLeavesItsLoadBalancerAndComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		uid, public := l.site(0)
		l.ok("create", l.putSet("web", l.behind(3)))
		before := l.members(uid, public, 3)
		l.ok("leave", l.putSet("web", l.in("web", 3)))
		l.members(uid, public, 3) // until the upgrade
		_, err := end(l.c.Nets.NewLoadBalancersClient().BeginDelete(l.ctx, "lab", "lb", nil))
		l.refused("delete before the upgrade", err, "LoadBalancerInUseByVirtualMachineScaleSet")
		l.ok("upgrade", l.upgrade())
		if ports := l.reserved("lb:"); len(ports) > 0 || len(l.natPorts()) > 0 {
			t.Errorf("ports are still given out: %v", ports)
		}
		if v := l.send(uid, client, public, 80); v.Allowed {
			t.Errorf("the balancer still has members: %+v", v)
		}
		_, err = end(l.c.Nets.NewLoadBalancersClient().BeginDelete(l.ctx, "lab", "lb", nil))
		l.ok("delete", err)
		l.ok("load balancer", l.putBalancer(l.balancer(0)))
		l.ok("come back", l.putSet("web", l.behind(3)))
		l.ok("upgrade", l.upgrade())
		for id, address := range l.members(uid, public, 3) {
			if before[id] != address {
				t.Errorf("instance %s had %s and has %s", id, before[id], address)
			}
		}
	})
}

// TestADeallocatedInstanceKeepsItsAddressAndTakesNoFlows starts it again, too.
func TestADeallocatedInstanceKeepsItsAddressAndTakesNoFlows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		uid, public := l.site(0)
		l.ok("create", l.putSet("web", l.behind(2)))
		before := l.members(uid, public, 2)
		_, err := end(l.c.VMs.BeginDeallocate(l.ctx, "lab", "web", "0", nil))
		l.ok("deallocate", err)
		for port := range uint16(100) {
			if v := l.send(uid, netip.AddrPortFrom(client.Addr(), 40000+port), public, 80); v.To.Addr() != before["1"] {
				t.Fatalf("a flow ends at %+v", v)
			}
		}
		_, err = end(l.c.VMs.BeginStart(l.ctx, "lab", "web", "0", nil))
		l.ok("start", err)
		if after := l.members(uid, public, 2); after["0"] != before["0"] {
			t.Errorf("the instance had %s and has %s", before["0"], after["0"])
		}
	})
}

// TestARuleOverAPoolForwardsAPortToEachMember is about the newer kind of NAT rule,
// added while members are there.
func TestARuleOverAPoolForwardsAPortToEachMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		uid, public := l.site(0)
		lb := l.balancer(0)
		lb.Properties.InboundNatPools = nil
		l.ok("load balancer without a NAT pool", l.putBalancer(lb))
		set := l.behind(2)
		set.Properties.VirtualMachineProfile.NetworkProfile.NetworkInterfaceConfigurations[0].Properties.IPConfigurations[0].Properties.LoadBalancerInboundNatPools = nil
		l.ok("create", l.putSet("web", set))
		rules := l.c.Nets.NewInboundNatRulesClient()
		rule := armnetwork.InboundNatRule{Properties: &armnetwork.InboundNatRulePropertiesFormat{FrontendIPConfiguration: l.ref("loadBalancers/lb/frontendIPConfigurations/front"),
			BackendAddressPool: l.ref("loadBalancers/lb/backendAddressPools/pool"), Protocol: new(armnetwork.TransportProtocolTCP),
			FrontendPortRangeStart: new(int32(50000)), FrontendPortRangeEnd: new(int32(50009)), BackendPort: new(int32(22))}}
		_, err := end(rules.BeginCreateOrUpdate(l.ctx, "lab", "lb", "ssh", rule, nil))
		l.ok("rule", err)
		time.Sleep(time.Minute)
		l.forwarded(uid, public, 2)
		l.ok("scale out", l.putSet("web", fleettest.Capacity(4)))
		l.forwarded(uid, public, 4)
		l.ok("scale in", l.putSet("web", fleettest.Capacity(1)))
		l.forwarded(uid, public, 1)
		_, err = end(rules.BeginDelete(l.ctx, "lab", "lb", "ssh", nil))
		l.ok("delete the rule", err)
		if v := l.send(uid, client, public, 50000); v.Allowed {
			t.Errorf("a port without a rule is forwarded: %+v", v)
		}
		time.Sleep(10 * time.Minute) // ports that nobody wants are given back at a resync
		l.forwarded(uid, public, 0)
		l.ok("delete", l.deleteGroup())
		l.nothing()
	})
}

// forwarded checks that n ports of the frontend are forwarded, each to another of the
// instances.
func (l *lab) forwarded(uid network.UID, public netip.Addr, n int) {
	l.Helper()
	ends := map[netip.AddrPort]bool{}
	open := 0
	for port := uint16(50000); port < 50010; port++ {
		if v := l.send(uid, client, public, port); v.Allowed {
			open++
			ends[v.To] = true
		}
	}
	if open != n || len(ends) != n || len(l.reserved("lb:")) != n {
		l.Errorf("%d ports are forwarded to %v, and given out are %v, want %d", open, ends, l.reserved("lb:"), n)
	}
}

// TestInstancesWithPublicAddressesOfTheirOwnGiveThemBack asks for one address for
// each instance.
func TestInstancesWithPublicAddressesOfTheirOwnGiveThemBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		l.ok("security group", l.putGroup("nsg", allow("ssh", 200, "22")))
		uid, err := l.putNetwork(l.subnet("web", "10.1.0.0/24", "nsg"))
		l.ok("network", err)
		set := l.in("web", 3)
		ip := set.Properties.VirtualMachineProfile.NetworkProfile.NetworkInterfaceConfigurations[0].Properties.IPConfigurations[0].Properties
		ip.PublicIPAddressConfiguration = &armcompute.VirtualMachineScaleSetPublicIPAddressConfiguration{Name: new("pub")}
		l.ok("create", l.putSet("web", set))
		cards := values(l.addresses("web"))
		ends := map[netip.Addr]bool{}
		for _, key := range l.reserved("public") {
			own := netip.MustParseAddr(key[strings.LastIndex(key, "/")+1:])
			if v := l.send(uid, client, own, 22); v.Allowed {
				ends[v.To.Addr()] = true
			}
		}
		if len(ends) != 3 || len(cards) != 3 {
			t.Errorf("the public addresses %v lead to %v, want one for each of %v", l.reserved("public"), ends, cards)
		}
		l.ok("scale in", l.putSet("web", fleettest.Capacity(1)))
		if left := l.reserved("public"); len(left) != 1 {
			t.Errorf("one instance has the public addresses %v", left)
		}
		l.ok("delete", l.deleteGroup())
		l.nothing()
	})
}

// TestASetMovesIntoANetworkByAnUpgrade begins in the hosts' own network.
func TestASetMovesIntoANetworkByAnUpgrade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		l.ok("create", l.putSet("web", fleettest.Model(2)))
		uid, public := l.site(0)
		l.ok("move", l.putSet("web", l.behind(2)))
		l.ok("upgrade", l.upgrade())
		l.members(uid, public, 2)
		l.ok("move back", l.putSet("web", fleettest.Model(2)))
		l.ok("upgrade", l.upgrade())
		if left := append(l.reserved("net:"), l.reserved("lb:")...); len(left) > 0 {
			t.Errorf("instances outside of the network still have %v", left)
		}
		_, err := end(l.c.Nets.NewVirtualNetworksClient().BeginDelete(l.ctx, "lab", "vnet", nil))
		l.ok("delete the network", err)
	})
}
