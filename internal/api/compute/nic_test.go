package compute_test

import (
	"strings"
	"testing"
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

func TestThereAreNoPublicAddresses(t *testing.T) {
	y := newYard(t, 1)
	for _, path := range []string{"/publicipaddresses", "/virtualMachines/0/networkInterfaces/nic/ipconfigurations/ip/publicipaddresses"} {
		if w := y.ask("GET", path+"?api-version=2018-10-01", ""); w.Code != 200 || w.Body.String() != `{"value":[]}` {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}
