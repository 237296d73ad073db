package fleettest_test

import (
	"net/netip"
	"testing"
	"testing/synctest"

	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/compute/armcompute/v8"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/network/armnetwork/v9"

	"github.com/muster-vm/muster/internal/fleettest"
)

// TestARuleIsInForceWhenItsOperationEnds denies what was allowed, takes the denial
// back, and takes the security group away.
func TestARuleIsInForceWhenItsOperationEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		uid, public := l.site(0)
		l.ok("create", l.putSet("web", l.behind(1)))
		expect := func(step string, allowed bool, by string) {
			t.Helper()
			v := l.send(uid, client, public, 80)
			if last := v.Steps[len(v.Steps)-1]; v.Allowed != allowed || last.Rule != by {
				t.Errorf("%s: allowed %t, steps %+v; want %t by rule %q", step, v.Allowed, v.Steps, allowed, by)
			}
		}
		expect("at first", true, "http")
		rules := l.c.Nets.NewSecurityRulesClient()
		deny := allow("closed", 100, "8080")
		deny.Properties.Access = new(armnetwork.SecurityRuleAccessDeny)
		_, err := end(rules.BeginCreateOrUpdate(l.ctx, "lab", "nsg", "closed", *deny, nil))
		l.ok("deny", err)
		expect("denied", false, "closed")
		_, err = end(rules.BeginDelete(l.ctx, "lab", "nsg", "closed", nil))
		l.ok("allow again", err)
		expect("allowed again", true, "http")
		l.ok("whole group", l.putGroup("nsg", allow("ssh", 110, "22")))
		expect("without the rule", false, "DenyAllInBound")
		_, err = end(l.c.Nets.NewSubnetsClient().BeginCreateOrUpdate(l.ctx, "lab", "vnet", "web", *l.subnet("web", "10.1.0.0/24", ""), nil))
		l.ok("no security group", err)
		expect("a Standard frontend without a security group", false, "")
	})
}

// TestAnApplicationGroupLetsOnlyItsCardsIn has two sets in two subnets: only those
// of the group front reach the port of those of the group back.
func TestAnApplicationGroupLetsOnlyItsCardsIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		for _, name := range []string{"front", "back"} {
			_, err := end(l.c.Nets.NewApplicationSecurityGroupsClient().BeginCreateOrUpdate(l.ctx, "lab", name, armnetwork.ApplicationSecurityGroup{Location: l.location()}, nil))
			l.ok(name, err)
		}
		in := allow("front-to-back", 100, "5432")
		in.Properties.SourceAddressPrefix, in.Properties.DestinationAddressPrefix = nil, nil
		in.Properties.SourceApplicationSecurityGroups = []*armnetwork.ApplicationSecurityGroup{{ID: l.id("applicationSecurityGroups/front")}}
		in.Properties.DestinationApplicationSecurityGroups = []*armnetwork.ApplicationSecurityGroup{{ID: l.id("applicationSecurityGroups/back")}}
		deny := allow("closed", 200, "*")
		deny.Properties.Access = new(armnetwork.SecurityRuleAccessDeny)
		l.ok("security group", l.putGroup("nsg", in, deny))
		uid, err := l.putNetwork(l.subnet("front", "10.1.0.0/24", ""), l.subnet("back", "10.1.1.0/24", "nsg"))
		l.ok("network", err)
		grouped := func(name, subnet, app string, n int64) map[string]netip.Addr {
			set := l.in(subnet, n)
			ip := set.Properties.VirtualMachineProfile.NetworkProfile.NetworkInterfaceConfigurations[0].Properties.IPConfigurations[0].Properties
			if app != "" {
				ip.ApplicationSecurityGroups = []*armcompute.SubResource{{ID: l.id("applicationSecurityGroups/" + app)}}
			}
			l.ok(name, l.putSet(name, set))
			return l.addresses(name)
		}
		fronts, backs := grouped("front", "front", "front", 2), grouped("back", "back", "back", 2)
		others, plain := grouped("other", "front", "", 1), grouped("plain", "back", "", 1)
		expect := func(what string, from, to map[string]netip.Addr, port uint16, want bool) {
			t.Helper()
			for _, a := range from {
				for _, b := range to {
					if v := l.send(uid, netip.AddrPortFrom(a, 40000), b, port); v.Allowed != want {
						t.Errorf("%s, %s to %s port %d: %+v", what, a, b, port, v)
					}
				}
			}
		}
		expect("front to back", fronts, backs, 5432, true)
		expect("front to back, another port", fronts, backs, 22, false)
		expect("who is not in the group", others, backs, 5432, false)
		expect("back to back", backs, plain, 5432, false)
		expect("front to who is not in the group", fronts, plain, 5432, false)
		expect("back to front, where nothing is closed", backs, fronts, 22, true)
		l.ok("scale out", l.putSet("front", fleettest.Capacity(3)))
		expect("front to back, scaled out", l.addresses("front"), backs, 5432, true)
	})
}
