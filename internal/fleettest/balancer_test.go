package fleettest_test

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/muster-vm/muster/internal/fleettest"
	"github.com/muster-vm/muster/internal/network"
)

// TestMembersOfALoadBalancerFollowTheSet makes a set behind a load balancer, scales
// it out and in, and asks each time what becomes of flows.
func TestMembersOfALoadBalancerFollowTheSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		uid, public := l.site(0)
		l.ok("create", l.putSet("web", l.behind(3)))
		first := l.members(uid, public, 3)
		l.ok("scale out", l.putSet("web", fleettest.Capacity(5)))
		second := l.members(uid, public, 5)
		for id, address := range first {
			if second[id] != address {
				t.Errorf("instance %s had %s and has %s", id, address, second[id])
			}
		}
		l.ok("scale in", l.scaleInWatched(2))
		third := l.members(uid, public, 2)
		l.ok("scale out again", l.putSet("web", fleettest.Capacity(5)))
		fourth := l.members(uid, public, 5)
		if got, want := values(fourth), values(second); !slices.Equal(got, want) {
			t.Errorf("the addresses of those that left are not given out again: %v, then %v, then %v", want, values(third), got)
		}
		l.ok("delete", l.deleteGroup())
		l.nothing()
	})
}

// members checks that n instances have addresses and ports of their own, that they
// are the members, and where flows end. It returns the addresses.
func (l *lab) members(uid network.UID, public netip.Addr, n int) map[string]netip.Addr {
	l.Helper()
	cards, ports := l.addresses("web"), l.natPorts()
	if len(values(cards)) != n || len(ports) != n || len(l.reserved("net:")) != n || len(l.reserved("lb:")) != n {
		l.Fatalf("%d instances have the addresses %v and ports %v; given out are %v and %v", n, cards, ports, l.reserved("net:"), l.reserved("lb:"))
	}
	ends := map[netip.Addr]bool{}
	for port := range uint16(200) {
		v := l.send(uid, netip.AddrPortFrom(client.Addr(), 40000+port), public, 80)
		if !v.Allowed || v.To.Port() != 8080 {
			l.Fatalf("a flow to the frontend: %+v", v)
		}
		ends[v.To.Addr()] = true
	}
	if got := slices.SortedFunc(maps.Keys(ends), netip.Addr.Compare); !slices.Equal(got, values(cards)) {
		l.Errorf("flows end at %v, want %v", got, values(cards))
	}
	for id, port := range ports {
		if v := l.send(uid, client, public, port); !v.Allowed || v.To != netip.AddrPortFrom(cards[id], 22) {
			l.Errorf("port %d of instance %s, which has %s: %+v", port, id, cards[id], v)
		}
	}
	if v := l.send(uid, client, public, 81); v.Allowed {
		l.Errorf("port 81 is open: %+v", v)
	}
	l.shown(cards)
	return cards
}

// shown checks that the pool shows the cards as its members, and each card the pool.
func (l *lab) shown(cards map[string]netip.Addr) {
	l.Helper()
	pool, err := l.c.Nets.NewLoadBalancerBackendAddressPoolsClient().Get(l.ctx, "lab", "lb", "pool", nil)
	l.ok("read pool", err)
	if len(pool.Properties.BackendIPConfigurations) != len(cards) {
		l.Errorf("the pool shows %d members, want %d", len(pool.Properties.BackendIPConfigurations), len(cards))
	}
	for _, config := range pool.Properties.BackendIPConfigurations {
		instance := instanceOf(*config.ID)
		nic, err := l.c.Nets.NewInterfacesClient().GetVirtualMachineScaleSetNetworkInterface(l.ctx, "lab", "web", instance, "nic", nil)
		l.ok("read network card", err)
		ip := nic.Properties.IPConfigurations[0].Properties
		if *ip.PrivateIPAddress != cards[instance].String() || !strings.EqualFold(*ip.Subnet.ID, *l.id("virtualNetworks/vnet/subnets/web")) ||
			len(ip.LoadBalancerBackendAddressPools) != 1 || len(ip.LoadBalancerInboundNatRules) != 1 {
			l.Errorf("the card of instance %s shows address %s and not all that it is in", instance, *ip.PrivateIPAddress)
		}
	}
}

// scaleInWatched scales the set in, and looks meanwhile whether machines have
// lost their addresses or ports.
func (l *lab) scaleInWatched(n int64) error {
	l.Helper()
	p, err := l.c.Sets.BeginCreateOrUpdate(l.ctx, "lab", "web", fleettest.Capacity(n), nil)
	if err != nil {
		return err
	}
	for began := time.Now(); time.Since(began) < time.Minute; time.Sleep(100 * time.Millisecond) {
		synctest.Wait()
		machines := l.f.Machines() // before the look at what is given out
		if a, p := len(l.reserved("net:")), len(l.reserved("lb:")); a < machines || p < machines {
			l.Fatalf("%s after it began, %d machines have %d addresses and %d ports", time.Since(began), machines, a, p)
		}
	}
	_, err = fleettest.Wait(l.ctx, p, nil)
	return err
}
