package network_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	noun "github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/vmss"
)

func TestAPutIsAnOperationThatIsPolledWhereAzureHasIt(t *testing.T) {
	c := newCloud(t)
	a := c.ask("PUT", vnet, subnetBody(""))
	at := a.Header().Get("Azure-AsyncOperation")
	if a.Code != 201 || a.text("properties.provisioningState") != "Updating" || a.text("properties.subnets.0.properties.provisioningState") != "Updating" ||
		!strings.Contains(at, inSub+"/providers/Microsoft.Network/locations/local/operations/") || !strings.HasSuffix(at, "?api-version=2022-01-01") || a.Header().Get("Location") != "" {
		t.Fatalf("%d %v %s", a.Code, a.Header(), a.Body)
	}
	if p := c.ask("GET", at, ""); p.Body.String() != `{"status":"InProgress"}` {
		t.Errorf("polled: %s", p.Body)
	}
	c.settle()
	if p := c.ask("GET", at, ""); p.Body.String() != `{"status":"Succeeded"}` {
		t.Errorf("polled: %s", p.Body)
	}
	got := c.ask("GET", vnet, "")
	if got.text("properties.provisioningState") != "Succeeded" || got.Header().Get("ETag") != got.text("etag") || !strings.HasPrefix(got.text("etag"), `W/"`) ||
		got.text("properties.subnets.0.etag") != got.text("etag") || got.text("properties.resourceGuid") == "" {
		t.Errorf("%v %s", got.Header(), got.Body)
	}
	if again := c.ask("PUT", vnet, subnetBody("")); again.Code != 200 {
		t.Errorf("the second PUT: %d", again.Code)
	}
}

func TestADeleteIsPolledToTheEndAndThen204(t *testing.T) {
	c := newCloud(t)
	c.must(201, "PUT", nsg, `{"location":"local"}`)
	a := c.ask("DELETE", nsg, "")
	to := a.Header().Get("Location")
	if a.Code != 202 || a.Body.Len() != 0 || !strings.Contains(to, "/locations/local/operationResults/") || a.Header().Get("Azure-AsyncOperation") == "" {
		t.Fatalf("%d %v", a.Code, a.Header())
	}
	if got := c.ask("GET", nsg, ""); got.text("properties.provisioningState") != "Deleting" {
		t.Errorf("%s", got.Body)
	}
	if again := c.ask("DELETE", nsg, ""); again.Header().Get("Location") != to {
		t.Errorf("asked again: %v, want the same operation", again.Header())
	}
	c.refused(409, "AnotherOperationInProgress", "", "PUT", nsg, `{"location":"local"}`)
	if p := c.ask("GET", to, ""); p.Code != 202 || p.Header().Get("Location") != to {
		t.Errorf("while it goes: %d %v", p.Code, p.Header())
	}
	c.settle()
	if p := c.ask("GET", to, ""); p.Code != 204 || p.Body.Len() != 0 {
		t.Errorf("at the end: %d %s", p.Code, p.Body)
	}
	c.refused(404, "ResourceNotFound", "", "GET", nsg, "")
	if a := c.ask("DELETE", nsg, ""); a.Code != 204 {
		t.Errorf("what is not there: %d", a.Code)
	}
}

func TestChildrenAreWrittenOneByOne(t *testing.T) {
	c := newCloud(t)
	c.must(201, "PUT", vnet, subnetBody(""))
	made := c.must(201, "PUT", vnet+"/subnets/Two", `{"name":"x","properties":{"addressPrefix":"10.0.1.0/24","defaultOutboundAccess":false}}`)
	if made.text("name") != "Two" || made.text("id") != strings.Replace(vnet, "rg1", "RG1", 1)+"/subnets/Two" || made.text("type") != "Microsoft.Network/virtualNetworks/subnets" || made.at("properties.defaultOutboundAccess") != false {
		t.Errorf("%s", made.Body)
	}
	if changed := c.must(200, "PUT", vnet+"/subnets/two", `{"properties":{"addressPrefix":"10.0.2.0/24"}}`); changed.text("name") != "Two" || changed.text("properties.addressPrefix") != "10.0.2.0/24" || changed.at("properties.defaultOutboundAccess") != nil {
		t.Errorf("%s", changed.Body)
	}
	if got := c.must(200, "GET", vnet+"/subnets/TWO", ""); got.Header().Get("ETag") != got.text("etag") {
		t.Errorf("%v", got.Header())
	}
	c.refused(400, "NetcfgSubnetRangesOverlap", "properties.addressPrefix", "PUT", vnet+"/subnets/three", `{"properties":{"addressPrefix":"10.0.0.0/25"}}`)
	c.refused(404, "ResourceNotFound", "", "PUT", vnet+"x/subnets/two", `{"properties":{"addressPrefix":"10.0.2.0/24"}}`)
	c.refused(404, "NotFound", "", "GET", vnet+"/subnets/none", "")
	if all := c.must(200, "GET", vnet+"/subnets", ""); all.text("value.1.name") != "Two" || all.at("value.2") != nil {
		t.Errorf("%s", all.Body)
	}
	gone := c.ask("DELETE", vnet+"/subnets/two", "")
	if gone.Code != 202 || !strings.Contains(gone.Header().Get("Location"), "operationResults") {
		t.Errorf("%d %v", gone.Code, gone.Header())
	}
	c.settle()
	if a := c.ask("GET", gone.Header().Get("Location"), ""); a.Code != 204 {
		t.Errorf("the result: %d", a.Code)
	}
	c.must(204, "DELETE", vnet+"/subnets/two", "")
	if got := c.must(200, "GET", vnet, ""); got.at("properties.subnets.1") != nil {
		t.Errorf("%s", got.Body)
	}
}

func TestSecurityRulesAndTheDefaultOnes(t *testing.T) {
	c := newCloud(t)
	c.must(201, "PUT", nsg, `{"location":"local"}`)
	rule := func(edit string) string {
		return `{"properties":{"access":"allow","direction":"Inbound","protocol":"tcp","priority":100,"sourceAddressPrefix":"*","sourcePortRange":"*","destinationAddressPrefix":"1234","destinationPortRange":"22"` + edit + `}}`
	}
	a := c.must(201, "PUT", nsg+"/securityRules/ssh", rule(""))
	if a.text("properties.access") != "Allow" || a.text("properties.protocol") != "Tcp" || a.text("type") != "Microsoft.Network/networkSecurityGroups/securityRules" {
		t.Errorf("%s", a.Body)
	}
	c.refused(400, "SecurityRuleConflict", "properties.priority", "PUT", nsg+"/securityRules/other", rule(""))
	c.refused(400, "SecurityRuleInvalidAddressPrefix", "properties.sourceAddressPrefix", "PUT", nsg+"/securityRules/ssh", strings.Replace(rule(""), `"*"`, `"AzureCloud"`, 1))
	if d := c.must(200, "GET", nsg+"/defaultSecurityRules/denyallinbound", ""); d.text("properties.description") != "Deny all inbound traffic" || d.at("properties.priority") != 65500. {
		t.Errorf("%s", d.Body)
	}
	if all := c.must(200, "GET", nsg+"/defaultSecurityRules", ""); all.at("value.5") == nil || all.at("value.6") != nil {
		t.Errorf("%s", all.Body)
	}
	if a := c.ask("PUT", nsg+"/defaultSecurityRules/x", `{}`); a.Code != 405 {
		t.Errorf("default rules are written: %d", a.Code)
	}
	c.must(200, "PUT", nsg, `{"location":"local"}`)
	if all := c.must(200, "GET", nsg+"/securityRules", ""); all.Body.String() != `{"value":[]}` {
		t.Errorf("a PUT without rules keeps them: %s", all.Body)
	}
}

func TestWhatIsInUseStays(t *testing.T) {
	c := newCloud(t)
	nat, asg := inGroup+"/natGateways/nat", inGroup+"/applicationSecurityGroups/asg"
	c.must(201, "PUT", nsg, `{"location":"local"}`)
	c.must(201, "PUT", asg, `{"location":"local"}`)
	c.must(201, "PUT", pip, `{"location":"local","sku":{"name":"Standard"},"properties":{"publicIPAllocationMethod":"Static"}}`)
	c.must(201, "PUT", nat, `{"location":"local","properties":{"publicIpAddresses":[{"id":"`+pip+`"}]}}`)
	c.must(201, "PUT", vnet, subnetBody(`,"networkSecurityGroup":{"id":"`+nsg+`"},"natGateway":{"id":"`+nat+`"}`))
	c.refused(400, "InUseNetworkSecurityGroupCannotBeDeleted", "", "DELETE", nsg, "")
	c.refused(400, "CannotDeleteNatGatewayAssociatedToSubnet", "", "DELETE", nat, "")
	c.refused(400, "PublicIPAddressCannotBeDeleted", "", "DELETE", pip, "")
	if got := c.must(200, "GET", nsg, ""); got.text("properties.subnets.0.id") != strings.Replace(vnet, "rg1", "RG1", 1)+"/subnets/sn" {
		t.Errorf("%s", got.Body)
	}
	if got := c.must(200, "GET", pip, ""); !strings.HasSuffix(got.text("properties.natGateway.id"), "/natGateways/nat") || got.text("properties.ipAddress") != "198.51.100.1" {
		t.Errorf("%s", got.Body)
	}

	c.must(200, "PUT", vnet, subnetBody(""))
	c.scaleSet(vnet+"/subnets/sn", nsg, asg)
	c.refused(400, "InUseSubnetCannotBeDeleted", "", "DELETE", vnet, "")
	c.refused(400, "InUseSubnetCannotBeDeleted", "", "DELETE", vnet+"/subnets/sn", "")
	c.refused(400, "InUseSubnetCannotBeDeleted", "", "PUT", vnet, `{"location":"local","properties":{"addressSpace":{"addressPrefixes":["10.0.0.0/16"]},"subnets":[]}}`)
	c.refused(400, "InUsePrefixCannotBeDeleted", "", "PUT", vnet+"/subnets/sn", `{"properties":{"addressPrefix":"10.0.1.0/24"}}`)
	c.refused(400, "InUseNetworkSecurityGroupCannotBeDeleted", "", "DELETE", nsg, "")
	c.refused(400, "InUseApplicationSecurityGroupCannotBeDeleted", "", "DELETE", asg, "")
	const nic = inSub + "/resourceGroups/rg2/providers/Microsoft.Compute/virtualMachineScaleSets/web/virtualMachines/0/networkInterfaces/nic"
	if got := c.must(200, "GET", vnet+"/subnets/sn", ""); got.text("properties.ipConfigurations.0.id") != nic+"/ipConfigurations/ip" {
		t.Errorf("%s", got.Body)
	}
	if got := c.must(200, "GET", nsg, ""); got.text("properties.networkInterfaces.0.id") != nic {
		t.Errorf("%s", got.Body)
	}
	c.dropScaleSet()
	for _, at := range []string{vnet, nat, nsg, asg, pip} {
		c.must(202, "DELETE", at, "")
	}
	if got := c.must(200, "GET", inSub+"/providers/Microsoft.Network/publicIPAddresses", ""); got.Body.String() != `{"value":[]}` {
		t.Errorf("%s", got.Body)
	}
}

func TestReferencesMustBeThereAndStay(t *testing.T) {
	c := newCloud(t)
	const at = "properties.subnets[0].properties.networkSecurityGroup.id"
	body := subnetBody(`,"networkSecurityGroup":{"id":"` + nsg + `"}`)
	c.refused(400, "InvalidResourceReference", at, "PUT", vnet, body)
	c.must(201, "PUT", nsg, `{"location":"eastus"}`)
	c.refused(400, "InvalidResourceReference", at, "PUT", vnet, body)
	c.must(202, "DELETE", nsg, "")
	c.must(201, "PUT", nsg, `{"location":"local"}`)
	if a := c.ask("DELETE", nsg, ""); a.Code != 202 {
		t.Fatal(a.Code)
	}
	c.refused(400, "InvalidResourceReference", at, "PUT", vnet, body)
	c.refused(400, "InvalidResourceReference", at, "PUT", vnet, strings.ReplaceAll(body, "networkSecurityGroups/", "natGateways/"))
	c.refused(400, "LocationNotAvailableForResourceType", "location", "PUT", vnet, strings.Replace(body, "local", "mars", 1))
	c.refused(404, "ResourceGroupNotFound", "", "PUT", strings.Replace(vnet, "rg1", "none", 1), body)
}

func TestPublicAddressesAreGivenOutOnce(t *testing.T) {
	c := newCloud(t)
	at := func(name string) string { return inGroup + "/publicIPAddresses/" + name }
	const static = `{"location":"local","sku":{"name":"Standard"},"properties":{"publicIPAllocationMethod":"Static"}}`
	seen := map[string]bool{}
	for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
		if a := c.must(201, "PUT", at(name), static); a.at("properties.ipAddress") != nil {
			t.Errorf("shown while it is made: %s", a.Body)
		}
		seen[c.must(200, "GET", at(name), "").text("properties.ipAddress")] = true
	}
	if len(seen) != 6 || seen[""] {
		t.Errorf("given out: %v", seen)
	}
	c.refused(409, "PublicIPAddressPoolExhausted", "", "PUT", at("g"), static)
	c.must(201, "PUT", at("dynamic"), `{"location":"local"}`)
	c.must(202, "DELETE", at("c"), "")
	c.must(201, "PUT", at("g"), static)
	if got := c.must(200, "GET", at("g"), "").text("properties.ipAddress"); got != "198.51.100.3" {
		t.Errorf("got %s, want the one that was given back", got)
	}
	if a := c.must(200, "PUT", at("g"), static); a.text("properties.ipAddress") != "198.51.100.3" {
		t.Errorf("a PUT changes the address: %s", a.Body)
	}
	c.refused(409, "PropertyChangeNotAllowed", "sku.name", "PUT", at("g"), `{"location":"local","properties":{"publicIPAllocationMethod":"Static"}}`)
}

func TestLabelsAreUniqueInALocation(t *testing.T) {
	c := newCloud(t)
	body := func(location string) string {
		return `{"location":"` + location + `","properties":{"dnsSettings":{"domainNameLabel":"web"}}}`
	}
	if a := c.must(201, "PUT", inGroup+"/publicIPAddresses/a", body("local")); a.text("properties.dnsSettings.fqdn") != "web.local.cloudapp.azure.com" {
		t.Errorf("%s", a.Body)
	}
	c.must(200, "PUT", inGroup+"/publicIPAddresses/a", body("local"))
	c.refused(400, "DnsRecordInUse", "properties.dnsSettings.domainNameLabel", "PUT", inGroup+"/publicIPAddresses/b", body("local"))
	c.must(201, "PUT", inGroup+"/publicIPAddresses/b", body("eastus"))
}

func TestNATGatewaysHaveAddressesOfTheirOwn(t *testing.T) {
	c := newCloud(t)
	nat := `{"location":"local","properties":{"publicIpAddresses":[{"id":"` + pip + `"}]}}`
	c.must(201, "PUT", pip, `{"location":"local","properties":{"publicIPAllocationMethod":"Static"}}`)
	c.refused(400, "NatGatewayAndPublicIPSkuDoNotMatch", "properties.publicIpAddresses[0].id", "PUT", inGroup+"/natGateways/a", nat)
	c.must(202, "DELETE", pip, "")
	c.must(201, "PUT", pip, `{"location":"local","sku":{"name":"Standard"},"properties":{"publicIPAllocationMethod":"Static"}}`)
	c.must(201, "PUT", inGroup+"/natGateways/a", nat)
	c.must(200, "PUT", inGroup+"/natGateways/a", nat)
	c.refused(400, "PublicIPAddressInUse", "properties.publicIpAddresses[0].id", "PUT", inGroup+"/natGateways/b", nat)
}

func TestAPatchReplacesTheTagsAtOnce(t *testing.T) {
	c := newCloud(t)
	c.must(201, "PUT", vnet, subnetBody(""))
	a := c.ask("PATCH", vnet, `{"tags":{"a":"b"}}`)
	if a.Code != 200 || a.text("tags.a") != "b" || a.text("properties.provisioningState") != "Succeeded" || a.Header().Get("Azure-AsyncOperation") != "" {
		t.Errorf("%d %v %s", a.Code, a.Header(), a.Body)
	}
	if a := c.must(200, "PATCH", vnet, `{"tags":{"c":"d"}}`); a.at("tags.a") != nil || a.text("properties.subnets.0.name") != "sn" {
		t.Errorf("%s", a.Body)
	}
	c.refused(400, "InvalidRequestContent", "properties", "PATCH", vnet, `{"properties":{}}`)
}

func TestPreconditionsHold(t *testing.T) {
	c := newCloud(t)
	c.refused(412, "PreconditionFailed", "", "PUT", vnet, subnetBody(""), "If-Match", "*")
	c.must(201, "PUT", vnet, subnetBody(""))
	tag := c.must(200, "GET", vnet, "").text("etag")
	c.must(200, "PUT", vnet, subnetBody(""), "If-Match", tag)
	c.refused(412, "PreconditionFailed", "", "PUT", vnet, subnetBody(""), "If-Match", tag)
	c.refused(412, "PreconditionFailed", "", "PUT", vnet, subnetBody(""), "If-None-Match", "*")
	c.refused(412, "PreconditionFailed", "", "DELETE", vnet, "", "If-Match", tag)
}

func TestAddressesAreCheckedAsAzureDoes(t *testing.T) {
	c := newCloud(t)
	c.must(201, "PUT", vnet, subnetBody(""))
	for ip, want := range map[string]string{
		"10.0.0.50": `{"available":true,"isPlatformReserved":false}`,
		"10.0.0.0":  `{"available":false,"availableIPAddresses":["10.0.0.4","10.0.0.5","10.0.0.6","10.0.0.7","10.0.0.8"],"isPlatformReserved":true}`,
	} {
		if got := c.must(200, "GET", vnet+"/CheckIPAddressAvailability?ipAddress="+ip, "").Body.String(); got != want {
			t.Error(cmp.Diff(want, got))
		}
	}
	c.refused(400, "PrivateIPAddressNotInAnySubnet", "ipAddress", "GET", vnet+"/CheckIPAddressAvailability?ipAddress=10.9.0.1", "")
	c.scaleSet(vnet+"/subnets/sn", "")
	if got := c.must(200, "GET", vnet+"/CheckIPAddressAvailability?ipAddress=10.0.0.4", ""); got.at("available") != false || got.text("availableIPAddresses.0") != "10.0.0.5" {
		t.Errorf("%s", got.Body)
	}
	if got := c.must(200, "GET", vnet+"/usages", ""); got.at("value.0.currentValue") != 1. || got.at("value.0.limit") != 251. {
		t.Errorf("%s", got.Body)
	}
}

func TestListsAndUsagesCountWhatThereIs(t *testing.T) {
	c := newCloud(t)
	c.must(201, "PUT", vnet, subnetBody(""))
	c.must(201, "PUT", strings.Replace(vnet, "rg1", "rg2", 1), subnetBody(""))
	for at, want := range map[string]int{inGroup: 1, inSub + "/providers/Microsoft.Network": 2} {
		list, _ := c.must(200, "GET", at+"/virtualNetworks", "").at("value").([]any)
		if len(list) != want {
			t.Errorf("%s: %d, want %d", at, len(list), want)
		}
	}
	got := c.must(http.StatusOK, "GET", inSub+"/providers/Microsoft.Network/locations/local/usages", "")
	if got.text("value.0.name.value") != "VirtualNetworks" || got.at("value.0.currentValue") != 2. {
		t.Errorf("%s", got.Body)
	}
}

func TestAFailedOperationIsShownWithItsReason(t *testing.T) {
	c := newCloud(t)
	a := c.ask("PUT", vnet, subnetBody(""))
	e, _ := store.Get(c.store, store.Networks, noun.NewKey(noun.VirtualNetworkKind, subscription, "rg1", "vn"))
	for _, op := range c.store.OpenOperations(vmss.UID(e.Value.UID)) {
		c.commit(store.Put(store.Outcomes, op.Key(), vmss.Outcome{Status: vmss.OperationFailed, Finished: time.Unix(1e9, 0).UTC(),
			Error: &vmss.OperationError{Code: "NoNft", Message: "Install nft."}}))
	}
	if got := c.ask("GET", vnet, "").text("properties.provisioningState"); got != "Failed" {
		t.Errorf("the state is %s", got)
	}
	want := `{"error":{"code":"NoNft","details":[],"message":"Install nft."},"status":"Failed"}`
	if got := c.ask("GET", a.Header().Get("Azure-AsyncOperation"), "").Body.String(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestNothingRefersIntoAGroupThatGoes(t *testing.T) {
	c := newCloud(t)
	foreign := strings.Replace(nsg, "rg1", "rg2", 1)
	c.must(201, "PUT", foreign, `{"location":"local"}`)
	body := subnetBody(`,"networkSecurityGroup":{"id":"` + foreign + `"}`)
	c.commit(store.Put(store.Groups, store.GroupKeyOf(subscription, "rg2"), resource.Group{Subscription: subscription, Name: "rg2", Deleting: true}))
	c.refused(400, "InvalidResourceReference", "properties.subnets[0].properties.networkSecurityGroup.id", "PUT", vnet, body)
	c.commit(store.Put(store.Groups, store.GroupKeyOf(subscription, "rg2"), resource.Group{Subscription: subscription, Name: "rg2"}))
	c.must(201, "PUT", vnet, body)
}

func TestChangesWaitForWhoHoldsTheNetworks(t *testing.T) {
	c := newCloud(t)
	give, err := c.api.Hold(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan int)
	go func() { done <- c.ask("PUT", vnet, subnetBody("")).Code }()
	if _, ok := store.Get(c.store, store.Networks, noun.NewKey(noun.VirtualNetworkKind, subscription, "rg1", "vn")); ok {
		t.Error("there is a network while somebody holds them")
	}
	give()
	if code := <-done; code != 201 {
		t.Errorf("then: %d", code)
	}
}
