package compute_test

import (
	"strings"
	"testing"

	"github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/vmss"
)

// nicList is a page of network interfaces.
type nicList struct {
	Value []struct {
		Name, ID   string
		Properties struct {
			IPConfigurations []struct {
				Properties struct{ PrivateIPAddress string }
			}
		}
	}
	NextLink string
}

func TestNetworkInterfacesAreAskedForWithVersionsOfMicrosoftNetwork(t *testing.T) {
	y := newYard(t, 2)
	for _, version := range []string{"2016-03-30", "2018-10-01"} {
		var all, one nicList
		y.get("/networkInterfaces?api-version="+version, &all)
		y.get("/virtualMachines/1/networkInterfaces?api-version="+version, &one)
		if len(all.Value) != 2 || len(one.Value) != 1 || all.Value[1].ID != one.Value[0].ID || one.Value[0].Properties.IPConfigurations[0].Properties.PrivateIPAddress != "10.0.0.1" {
			t.Errorf("%s: %+v and %+v", version, all, one)
		}
	}
	y.refused(y.ask("GET", "/networkInterfaces?api-version=2024-11-01", ""), 400, "NoRegisteredProviderFound", "")
}

func TestANetworkInterfaceIsFoundInAnyLetterCase(t *testing.T) {
	y := newYard(t, 1)
	var nic struct{ ID string }
	if y.get("/virtualMachines/0/networkInterfaces/NIC?api-version=2018-10-01", &nic); !strings.HasSuffix(nic.ID, "/virtualMachines/0/networkInterfaces/nic") {
		t.Errorf("%+v", nic)
	}
	y.refused(y.ask("GET", "/virtualMachines/0/networkInterfaces/other?api-version=2018-10-01", ""), 404, "NotFound", "")
	y.refused(y.ask("GET", "/virtualMachines/1/networkInterfaces/nic?api-version=2018-10-01", ""), 404, "NotFound", "")
}

func TestNetworkInterfacesOfASetComeInPages(t *testing.T) {
	y := newYard(t, 120)
	var first, second nicList
	y.get("/networkInterfaces?api-version=2018-10-01", &first)
	y.get(first.NextLink, &second)
	if len(first.Value) != 100 || len(second.Value) != 20 || second.NextLink != "" {
		t.Errorf("%d, then %d and %q", len(first.Value), len(second.Value), second.NextLink)
	}
}

func TestWithoutAConfigurationThereAreNoPublicAddresses(t *testing.T) {
	y := newYard(t, 1)
	for _, path := range []string{"/publicipaddresses", "/virtualMachines/0/networkInterfaces/nic/ipconfigurations/ip/publicipaddresses"} {
		if w := y.ask("GET", path+"?api-version=2018-10-01", ""); w.Code != 200 || w.Body.String() != `{"value":[]}` {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	y.refused(y.ask("GET", "/virtualMachines/0/networkInterfaces/nic/ipconfigurations/ip/publicipaddresses/p?api-version=2018-10-01", ""), 404, "NotFound", "")
	y.refused(y.ask("GET", "/virtualMachines/0/networkInterfaces/nic/ipconfigurations/other?api-version=2018-10-01", ""), 404, "NotFound", "")
}

// furnish gives the yard's set a load balancer with a NAT pool and public addresses.
func (y *yard) furnish() network.Resource {
	y.Helper()
	lb := network.Resource{ID: resource.In("s", "rg", "Microsoft.Network", "loadBalancers", "LB"), UID: "44444444-4444-4444-4444-444444444444", Kind: network.LoadBalancerKind,
		Location: "local", LoadBalancer: &network.LoadBalancer{NATPools: []network.NATPool{{Name: "Nat", Ports: network.Ports{First: 50000, Last: 50100}}}}}
	y.commit(store.Put(store.Networks, lb.Key(), lb))
	w := y.ask("PATCH", "", `{"properties": {"virtualMachineProfile": {"networkProfile": {"networkInterfaceConfigurations": [{"name": "nic", "properties": {"ipConfigurations": [{"name": "ip",
		"properties": {"subnet": {"id": "`+yardNetwork.ID.Child("subnets", "a").String()+`"}, "loadBalancerInboundNatPools": [{"id": "`+lb.ID.Child("inboundNatPools", "Nat").String()+`"}],
		"publicIPAddressConfiguration": {"name": "own", "properties": {"dnsSettings": {"domainNameLabel": "shop"}}}}}]}}]}}}}`)
	if w.Code != 200 {
		y.Fatalf("%d %s", w.Code, w.Body)
	}
	return lb
}

func TestNetworkInterfacesShowWhatInstancesWereGiven(t *testing.T) {
	y := newYard(t, 0)
	lb := y.furnish()
	y.seedRows(0, 3, func(i int) (vmss.Instance, vmss.Observation) { return upRow(i, 2) })
	y.commit(y.reservation(network.PublicSpace, "203.0.113.7", 1), y.reservation(network.PortSpace(lb.UID, "nat"), "50001", 1))
	const config = "/virtualMachines/1/networkInterfaces/nic/ipConfigurations"
	type shown struct {
		ID         string
		Properties struct {
			PrivateIPAddress            string
			IPAddress                   string
			LoadBalancerInboundNatRules []struct{ ID string }
			DNSSettings                 struct{ FQDN string }
		}
	}
	var one, own, none shown
	y.get(config+"/IP?api-version=2018-10-01", &one)
	rule := lb.ID.String() + "/inboundNatRules/Nat.1"
	if p := one.Properties; p.PrivateIPAddress != "10.0.0.1" || len(p.LoadBalancerInboundNatRules) != 1 || p.LoadBalancerInboundNatRules[0].ID != rule {
		t.Errorf("%+v, want rule %s", one, rule)
	}
	y.get(config+"/ip/publicIPAddresses/OWN?api-version=2018-10-01", &own)
	if p := own.Properties; p.IPAddress != "203.0.113.7" || p.DNSSettings.FQDN != "vm1.shop.local.cloudapp.azure.com" {
		t.Errorf("%+v", own)
	}
	y.get("/virtualMachines/2/networkInterfaces/nic/ipConfigurations/ip/publicIPAddresses/own?api-version=2018-10-01", &none)
	if none.Properties.IPAddress != "" {
		t.Errorf("an address that nobody reserved: %+v", none)
	}
	var configs, of, all struct{ Value []shown }
	y.get(config+"?api-version=2018-10-01", &configs)
	y.get(config+"/ip/publicipaddresses?api-version=2018-10-01", &of)
	y.get(strings.Replace(yardSet, "Microsoft.Compute", "microsoft.compute", 1)+"/publicipaddresses?api-version=2018-10-01", &all)
	if len(configs.Value) != 1 || configs.Value[0].ID != one.ID || len(of.Value) != 1 || of.Value[0].ID != own.ID || len(all.Value) != 3 || all.Value[1].ID != own.ID {
		t.Errorf("lists: %+v, %+v and %+v", configs, of, all)
	}
}
