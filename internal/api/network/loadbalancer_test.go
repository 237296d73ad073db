package network_test

import (
	"strings"
	"testing"

	noun "github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
)

const (
	lb  = inGroup + "/loadBalancers/lb"
	pip = inGroup + "/publicIPAddresses/pip"
)

// balancer is the body of a load balancer with these frontends, a pool and a NAT
// pool.
func balancer(frontends ...string) string {
	return `{"location":"local","properties":{"frontendIPConfigurations":[` + strings.Join(frontends, ",") + `],"backendAddressPools":[{"name":"be"}],
 "inboundNatPools":[{"name":"np","properties":{"frontendIPConfiguration":{"id":"` + lb + `/frontendIPConfigurations/fe"},"protocol":"Tcp","frontendPortRangeStart":50000,"frontendPortRangeEnd":50119,"backendPort":22}}]}}`
}

func public(name, address string) string {
	return `{"name":"` + name + `","properties":{"publicIPAddress":{"id":"` + address + `"}}}`
}

func internal(name, members string) string {
	return `{"name":"` + name + `","properties":{"subnet":{"id":"` + vnet + `/subnets/sn"}` + members + `}}`
}

func TestALoadBalancerSucceedsAtOnceAndIsStillPolled(t *testing.T) {
	c := newCloud(t)
	c.must(201, "PUT", pip, `{"location":"local"}`)
	a := c.ask("PUT", lb, balancer(public("fe", pip)))
	if a.Code != 201 || a.text("properties.provisioningState") != "Succeeded" || a.Header().Get("Azure-AsyncOperation") == "" {
		t.Errorf("%d %v %s", a.Code, a.Header(), a.Body)
	}
}

func TestADynamicAddressIsGivenOutWhileItIsUsed(t *testing.T) {
	c := newCloud(t)
	c.must(201, "PUT", pip, `{"location":"local"}`)
	if a := c.must(200, "GET", pip, ""); a.at("properties.ipAddress") != nil {
		t.Errorf("before: %s", a.Body)
	}
	c.must(201, "PUT", lb, balancer(public("fe", pip)))
	a := c.must(200, "GET", pip, "")
	if a.text("properties.ipAddress") != "198.51.100.1" || !strings.HasSuffix(a.text("properties.ipConfiguration.id"), "/loadBalancers/lb/frontendIPConfigurations/fe") {
		t.Errorf("used: %s", a.Body)
	}
	c.refused(400, "PublicIPAddressCannotBeDeleted", "", "DELETE", pip, "")
	c.refused(400, "PublicIPAddressInUse", "properties.frontendIPConfigurations[0].properties.publicIPAddress.id", "PUT", inGroup+"/loadBalancers/other", strings.ReplaceAll(balancer(public("fe", pip)), "/lb/", "/other/"))
	c.must(201, "PUT", vnet, subnetBody(""))
	c.must(200, "PUT", lb, balancer(internal("fe", "")))
	if a := c.must(200, "GET", pip, ""); a.at("properties.ipAddress") != nil || a.at("properties.ipConfiguration") != nil {
		t.Errorf("after: %s", a.Body)
	}
	if _, taken := c.store.Reserved(noun.PublicSpace)["198.51.100.1"]; taken {
		t.Error("the address is still given out")
	}
}

func TestInternalFrontendsHaveAddressesOfTheirSubnet(t *testing.T) {
	c := newCloud(t)
	c.must(201, "PUT", vnet, subnetBody(""))
	const static = `,"privateIPAllocationMethod":"Static","privateIPAddress":"10.0.0.4"`
	a := c.must(201, "PUT", lb, balancer(internal("fe", ""), internal("two", static)))
	const first, second = "properties.frontendIPConfigurations.0.properties.", "properties.frontendIPConfigurations.1.properties."
	if a.text(first+"privateIPAddress") != "10.0.0.5" || a.text(second+"privateIPAddress") != "10.0.0.4" {
		t.Errorf("%s", a.Body)
	}
	if a := c.must(200, "GET", vnet, ""); !strings.HasSuffix(a.text("properties.subnets.0.properties.ipConfigurations.1.id"), "/frontendIPConfigurations/two") {
		t.Errorf("%s", a.Body)
	}
	c.refused(400, "InUseSubnetCannotBeDeleted", "", "DELETE", vnet+"/subnets/sn", "")
	c.refused(400, "InUsePrefixCannotBeDeleted", "", "PUT", vnet+"/subnets/sn", `{"properties":{"addressPrefix":"10.0.9.0/24"}}`)
	other := strings.ReplaceAll(strings.ReplaceAll(balancer(internal("fe", static)), "/lb/", "/other/"), "np", "x")
	c.refused(409, "PrivateIPAddressIsAllocated", "properties.frontendIPConfigurations[0].properties.privateIPAddress", "PUT", inGroup+"/loadBalancers/other", other)
	c.refused(400, "PrivateIPAddressInReservedRange", "properties.frontendIPConfigurations[0].properties.privateIPAddress", "PUT", inGroup+"/loadBalancers/other", strings.Replace(other, "10.0.0.4", "10.0.0.1", 1))

	// The second one goes, and what it had is the first one's wish.
	a = c.must(200, "PUT", lb, balancer(internal("fe", static)))
	if a.text(first+"privateIPAddress") != "10.0.0.4" || len(c.reserved()) != 1 {
		t.Errorf("%s, given out: %v", a.Body, c.reserved())
	}
	c.must(202, "DELETE", lb, "")
	if len(c.reserved()) != 0 {
		t.Errorf("still given out: %v", c.reserved())
	}
}

// reserved is what is given out in vn.
func (c *cloud) reserved() map[string]store.Entry[noun.Reservation] {
	e, _ := store.Get(c.store, store.Networks, noun.NewKey(noun.VirtualNetworkKind, subscription, "rg1", "vn"))
	return c.store.Reserved(noun.AddressSpace(e.Value.UID))
}

func TestPoolsThatAScaleSetNamesStay(t *testing.T) {
	c := newCloud(t)
	c.must(201, "PUT", pip, `{"location":"local"}`)
	c.must(201, "PUT", lb, balancer(public("fe", pip)))
	c.scaleSet("", "", lb+"/backendAddressPools/BE", lb+"/inboundNatPools/np") // any member that names ids will do
	c.refused(400, "LoadBalancerInUseByVirtualMachineScaleSet", "", "DELETE", lb, "")
	c.refused(400, "LoadBalancerInUseByVirtualMachineScaleSet", "", "DELETE", lb+"/backendAddressPools/be", "")
	c.refused(400, "LoadBalancerInUseByVirtualMachineScaleSet", "", "PUT", lb, strings.Replace(balancer(public("fe", pip)), `"np"`, `"other"`, 1))
	c.must(201, "PUT", lb+"/backendAddressPools/two", `{}`)
	c.must(202, "DELETE", lb+"/backendAddressPools/two", "")
	c.dropScaleSet()
	c.must(202, "DELETE", lb+"/backendAddressPools/be", "")
	c.must(202, "DELETE", lb, "")
}

func TestNATPoolsShowTheirRulesAndMembersTheirPorts(t *testing.T) {
	c := newCloud(t)
	c.must(201, "PUT", vnet, subnetBody(""))
	c.must(201, "PUT", pip, `{"location":"local","sku":{"name":"Standard"},"properties":{"publicIPAllocationMethod":"Static"}}`)
	c.must(201, "PUT", lb, strings.Replace(balancer(public("fe", pip)), `{"location"`, `{"sku":{"name":"Standard"},"location"`, 1))
	c.must(201, "PUT", lb+"/inboundNatRules/ssh", `{"properties":{"frontendIPConfiguration":{"id":"`+lb+`/frontendIPConfigurations/fe"},"backendAddressPool":{"id":"`+lb+`/backendAddressPools/be"},
 "protocol":"Tcp","frontendPortRangeStart":40000,"frontendPortRangeEnd":40010,"backendPort":22}}`)
	c.scaleSet(vnet+"/subnets/sn", "", lb+"/backendAddressPools/be", lb+"/inboundNatPools/np")
	e, _ := store.Get(c.store, store.Networks, noun.NewKey(noun.LoadBalancerKind, subscription, "rg1", "lb"))
	for name, port := range map[string]string{"np": "50003", "ssh": "40002"} {
		c.commit(store.Put(store.Reservations, noun.ReservationKey{Space: noun.PortSpace(e.Value.UID, name), Name: port}, noun.Reservation{Set: setUID, NIC: "nic", Config: "ip"}))
	}
	const card = inSub + "/resourceGroups/rg2/providers/Microsoft.Compute/virtualMachineScaleSets/web/virtualMachines/0/networkInterfaces/nic/ipConfigurations/ip"
	a := c.must(200, "GET", lb, "")
	if a.text("properties.backendAddressPools.0.properties.backendIPConfigurations.0.id") != card {
		t.Errorf("%s", a.Body)
	}
	if a := c.must(200, "GET", lb+"/inboundNatRules/np.0", ""); a.at("properties.frontendPort") != 50003. || a.text("properties.backendIPConfiguration.id") != card {
		t.Errorf("%s", a.Body)
	}
	for _, query := range []string{`{"ipConfiguration":{"id":"` + card + `"}}`, `{"ipAddress":"10.0.0.4"}`} {
		a := c.must(200, "POST", lb+"/backendAddressPools/be/queryInboundNatRulePortMapping", query)
		if a.at("inboundNatRulePortMappings.0.frontendPort") != 40002. || a.text("inboundNatRulePortMappings.0.inboundNatRuleName") != "ssh" {
			t.Errorf("%s", a.Body)
		}
	}
	c.must(200, "PUT", lb, a.Body.String()) // with the rule of the NAT pool, as clients do
}

func TestChildrenThatAreNotWrittenAloneAreRead(t *testing.T) {
	c := newCloud(t)
	c.must(201, "PUT", pip, `{"location":"local"}`)
	c.must(201, "PUT", lb, balancer(public("fe", pip)))
	if a := c.must(200, "GET", lb+"/frontendIPConfigurations/FE", ""); a.text("name") != "fe" {
		t.Errorf("%s", a.Body)
	}
	for _, name := range []string{"loadBalancingRules", "outboundRules", "probes"} {
		if a := c.must(200, "GET", lb+"/"+name, ""); a.Body.String() != `{"value":[]}` {
			t.Errorf("%s: %s", name, a.Body)
		}
	}
}

func TestAGroupWhoseNetworkAnotherGroupUsesIsNotDeleted(t *testing.T) {
	c := newCloud(t)
	c.must(201, "PUT", vnet, subnetBody(""))
	if err := c.api.CheckGroup(subscription, "rg1"); err != nil {
		t.Errorf("unused: %v", err)
	}
	c.scaleSet(vnet+"/subnets/sn", "")
	if err := c.api.CheckGroup(subscription, "RG1"); !resource.Is(err, resource.Conflict) || !strings.Contains(err.Error(), "virtualMachineScaleSets/web") {
		t.Errorf("used from rg2: %v", err)
	}
	if err := c.api.CheckGroup(subscription, "rg2"); err != nil {
		t.Errorf("the user's group: %v", err)
	}
}

func TestTagsAreReadAndChangedByID(t *testing.T) {
	c := newCloud(t)
	c.must(201, "PUT", vnet, subnetBody(""))
	id, err := resource.ParseID(vnet)
	if err != nil {
		t.Fatal(err)
	}
	change := func(tags map[string]string) (map[string]string, error) { tags["a"] = "b"; return tags, nil }
	if tags, err := c.api.Tag(t.Context(), id, change); err != nil || tags["a"] != "b" {
		t.Errorf("%v, %v", tags, err)
	}
	all := c.api.Resources(t.Context())
	if len(all) != 1 || all[0].Tags["a"] != "b" || all[0].State != "Succeeded" {
		t.Errorf("%+v", all)
	}
	if _, err := c.api.Tag(t.Context(), id.Child("subnets", "sn"), nil); !resource.Is(err, resource.NotFound) {
		t.Errorf("of a subnet: %v", err)
	}
}
