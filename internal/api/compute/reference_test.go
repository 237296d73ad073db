package compute_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"github.com/muster-vm/muster/internal/access"
	"github.com/muster-vm/muster/internal/arm"
	"github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/store/memstore"
)

const (
	profile = "properties.virtualMachineProfile.networkProfile"
	nics    = profile + ".networkInterfaceConfigurations"
	// inDefault is a card in the default network.
	inDefault = `[{"name":"nic","properties":{"ipConfigurations":[{"name":"ip"}]}}]`
)

// ref is a reference to a resource of Microsoft.Network in rg1.
func ref(path string) string {
	return fmt.Sprintf(`{"id":"%s/resourceGroups/rg1/providers/Microsoft.Network/%s"}`, inSub, path)
}

// card is one card in subnet s of v. Its members, and those of its only IP
// configuration, are JSON with a comma before it.
func card(members, config string) string {
	return `[{"name":"nic","properties":{"primary":true` + members + `,"ipConfigurations":[{"name":"ip","properties":{"subnet":` + ref("virtualNetworks/v/subnets/s") + config + `}}]}}]`
}

// balancer is a load balancer in rg1 with a pool, a NAT pool of three ports, and a
// probe that a rule uses.
func balancer(name string, frontend network.Frontend) network.Resource {
	return network.Resource{ID: inNetwork(network.LoadBalancerKind, name), UID: network.UID("uid-" + name), Kind: network.LoadBalancerKind, Location: "local", LoadBalancer: &network.LoadBalancer{
		Frontends: []network.Frontend{frontend}, Pools: []network.Pool{{Name: "pool"}, {Name: "other"}},
		Probes:   []network.Probe{{Name: "used"}, {Name: "idle"}},
		Rules:    []network.BalancingRule{{Name: "rule", Pools: []string{"pool"}, Probe: "used"}},
		NATPools: []network.NATPool{{Name: "nat", Ports: network.Ports{First: 50000, Last: 50002}}},
	}}
}

func publicFrontend() network.Frontend {
	return network.Frontend{Public: network.NewKey(network.PublicAddressKind, subscription, "rg1", "ip")}
}

// stock adds resources that sets can name.
func (c *cloud) stock() {
	c.putNetwork(balancer("lb", publicFrontend()))
	c.putNetwork(balancer("lb2", publicFrontend()))
	c.putNetwork(balancer("internal", network.Frontend{Subnet: network.Ref{Key: vnet("v", "").Key(), Child: "s"}, Address: netip.MustParseAddr("10.0.0.4")}))
	for kind, name := range map[network.Kind]string{network.SecurityGroupKind: "nsg", network.ApplicationGroupKind: "asg"} {
		c.putNetwork(network.Resource{ID: inNetwork(kind, name), UID: network.UID(name), Kind: kind, Location: "local"})
	}
	c.putNetwork(vnet("far", "eastus", "s"))
	going := vnet("going", "local", "s")
	going.Deleting = true
	c.putNetwork(going)
}

// full names one of everything.
func full() string {
	return card(`,"networkSecurityGroup":`+ref("networkSecurityGroups/nsg"),
		`,"applicationSecurityGroups":[`+ref("applicationSecurityGroups/asg")+`],"loadBalancerBackendAddressPools":[`+ref("loadBalancers/lb/backendAddressPools/POOL")+`,`+
			ref("loadBalancers/internal/backendAddressPools/pool")+`],"loadBalancerInboundNatPools":[`+ref("loadBalancers/lb/inboundNatPools/nat")+`]`)
}

func TestWhatASetNamesMustBeThereInItsLocation(t *testing.T) {
	c := newCloud(t)
	c.stock()
	const config = nics + "[0].properties.ipConfigurations[0].properties"
	subnet := func(path string) string {
		return `[{"name":"nic","properties":{"ipConfigurations":[{"name":"ip","properties":{"subnet":` + ref(path) + `}}]}}]`
	}
	for _, tt := range []struct{ cards, target string }{
		{subnet("virtualNetworks/none/subnets/s"), config + ".subnet.id"},
		{subnet("virtualNetworks/v/subnets/none"), config + ".subnet.id"},
		{subnet("virtualNetworks/far/subnets/s"), config + ".subnet.id"},
		{subnet("virtualNetworks/going/subnets/s"), config + ".subnet.id"},
		{card(`,"networkSecurityGroup":`+ref("networkSecurityGroups/none"), ""), nics + "[0].properties.networkSecurityGroup.id"},
		{card("", `,"applicationSecurityGroups":[`+ref("applicationSecurityGroups/asg")+`,`+ref("applicationSecurityGroups/none")+`]`), config + ".applicationSecurityGroups[1].id"},
		{card("", `,"loadBalancerBackendAddressPools":[`+ref("loadBalancers/lb/backendAddressPools/nat")+`]`), config + ".loadBalancerBackendAddressPools[0].id"},
		{card("", `,"loadBalancerInboundNatPools":[`+ref("loadBalancers/lb/inboundNatPools/pool")+`]`), config + ".loadBalancerInboundNatPools[0].id"},
	} {
		w := c.ask("PUT", web, body(t, nics, tt.cards))
		if w.Code != 400 || w.code() != "InvalidResourceReference" || w.text("error.target") != tt.target || !strings.Contains(w.text("error.message"), "same region") {
			t.Errorf("%s: %d %s", tt.cards, w.Code, w.Body)
		}
	}
	c.must(201, "PUT", web, body(t, nics, full()))
}

func TestWhatASetNamesAlreadyIsNotLookedAtAgain(t *testing.T) {
	c := newCloud(t)
	c.must(201, "PUT", web, body(t))
	c.commit(store.Delete(store.Networks, vnet("v", "").Key(), store.Any))
	c.must(200, "PUT", web, body(t, "tags", `{"a":"b"}`, "sku.capacity", "5"))
	c.must(200, "PATCH", web, `{"sku":{"capacity":3}}`)
	if w := c.ask("PUT", inGroup+"/two", body(t)); w.code() != "InvalidResourceReference" {
		t.Errorf("another set got in: %d %s", w.Code, w.Body)
	}
}

func TestLoadBalancersSuitTheSet(t *testing.T) {
	c := newCloud(t)
	c.stock()
	pools := func(paths ...string) string {
		for i := range paths {
			paths[i] = ref("loadBalancers/" + paths[i])
		}
		return card("", `,"loadBalancerBackendAddressPools":[`+strings.Join(paths, ",")+`]`)
	}
	nat := card("", `,"loadBalancerInboundNatPools":[`+ref("loadBalancers/lb/inboundNatPools/nat")+`]`)
	probe := func(name string) string { return ref("loadBalancers/lb/probes/" + name) }
	const config = nics + "[0].properties.ipConfigurations[0].properties"
	for _, tt := range []struct {
		edits        []string
		code, target string
	}{
		{[]string{nics, pools("lb/backendAddressPools/pool", "lb2/backendAddressPools/pool")}, "VMScaleSetCannotUseMultipleLoadBalancersOfSameType", config + ".loadBalancerBackendAddressPools[1].id"},
		{[]string{nics, nat, "sku.capacity", "4"}, "InboundNatPoolFrontendPortRangeSmallerThanRequestedPorts", config + ".loadBalancerInboundNatPools[0].id"},
		{[]string{nics, pools("lb/backendAddressPools/pool"), profile + ".healthProbe", probe("idle")}, "CannotUseInactiveHealthProbe", profile + ".healthProbe.id"},
		{[]string{nics, pools("lb/backendAddressPools/other"), profile + ".healthProbe", probe("used")}, "CannotUseInactiveHealthProbe", profile + ".healthProbe.id"},
		{[]string{nics, pools("internal/backendAddressPools/pool"), profile + ".healthProbe", probe("used")}, "InvalidParameter", profile + ".healthProbe.id"},
		{[]string{nics, pools("lb/backendAddressPools/pool"), profile + ".healthProbe", probe("none")}, "InvalidResourceReference", profile + ".healthProbe.id"},
	} {
		if w := c.ask("PUT", web, body(t, tt.edits...)); w.Code != 400 || w.text("error.target") != tt.target || w.code() != tt.code {
			t.Errorf("%q: %d %s", tt.edits, w.Code, w.Body)
		}
	}
	c.must(201, "PUT", inGroup+"/both", body(t, nics, pools("lb/backendAddressPools/pool", "internal/backendAddressPools/pool"), profile+".healthProbe", probe("used")))
	c.must(201, "PUT", web, body(t, nics, nat, "sku.capacity", "3"))
	w := c.ask("PATCH", web, `{"sku":{"capacity":4}}`)
	if w.Code != 400 || !strings.Contains(w.text("error.message"), "has 3 ports, but the scale set asks for 4 instances") {
		t.Errorf("a fourth instance got in: %d %s", w.Code, w.Body)
	}
	c.must(200, "PATCH", web, `{"sku":{"capacity":1}}`)
}

// gate refuses one action.
type gate struct{ refuses string }

func (g gate) Authorize(_ access.Principal, action, _ string) error {
	if action == g.refuses {
		return resource.Errorf(resource.Forbidden, "AuthorizationFailed", "no")
	}
	return nil
}

func TestNamingSomethingTakesThePermissionToJoinIt(t *testing.T) {
	c := newCloud(t)
	c.stock()
	edits := []string{nics, full(), profile + ".healthProbe", ref("loadBalancers/lb/probes/used")}
	through := func(action string) {
		var err error
		if c.h, err = arm.NewServer(c.api.Routes(), everyone{}, gate{action}, slog.New(slog.DiscardHandler)); err != nil {
			t.Fatal(err)
		}
	}
	for _, action := range []string{"virtualNetworks/subnets/join", "networkSecurityGroups/join", "applicationSecurityGroups/joinIpConfiguration",
		"loadBalancers/backendAddressPools/join", "loadBalancers/inboundNatPools/join", "loadBalancers/probes/join"} {
		action = "Microsoft.Network/" + action + "/action"
		through(action)
		if w := c.ask("PUT", web, body(t, edits...)); w.Code != 403 || w.code() != "LinkedAuthorizationFailed" || !strings.Contains(w.text("error.message"), action) {
			t.Errorf("without %s: %d %s", action, w.Code, w.Body)
		}
	}
	through("")
	c.must(201, "PUT", web, body(t, edits...))
	through("Microsoft.Network/virtualNetworks/subnets/join/action")
	c.must(200, "PATCH", web, `{"sku":{"capacity":1}}`)
}

// racing does something right before the next commit.
type racing struct {
	store.Backend
	before func()
}

// Commit implements store.Backend.
func (r *racing) Commit(ctx context.Context, ops []store.Op) (int64, error) {
	if f := r.before; f != nil {
		r.before = nil
		f()
	}
	return r.Backend.Commit(ctx, ops)
}

func TestASetNamesNothingThatWentMeanwhile(t *testing.T) {
	race := &racing{Backend: memstore.New().Open()}
	y := newYardOn(t, race, 0)
	other := yardNetwork
	other.ID, other.UID = resource.In("s", "rg", "Microsoft.Network", "virtualNetworks", "other"), "33333333-3333-3333-3333-333333333333"
	y.commit(store.Put(store.Networks, other.Key(), other))
	race.before = func() { y.commit(store.Delete(store.Networks, other.Key(), store.Any)) }
	w := y.ask("PATCH", "", `{"properties": {"virtualMachineProfile": {"networkProfile": {"networkInterfaceConfigurations": [{"name": "nic", "properties": {"ipConfigurations": [{"name": "ip",
		"properties": {"subnet": {"id": "`+other.ID.Child("subnets", "a").String()+`"}}}]}}]}}}}`)
	y.refused(w, 400, "InvalidResourceReference", nics+"[0].properties.ipConfigurations[0].properties.subnet.id")
}
