package fleettest_test

import (
	"testing"
	"testing/synctest"

	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/network/armnetwork/v9"
)

// TestWhatIsInUseIsNotDeleted tries to delete everything that a set needs, each
// refused as Azure does, and then again in an order that works.
func TestWhatIsInUseIsNotDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		l.site(0)
		l.ok("create", l.putSet("web", l.behind(2)))
		deletes := map[string]func() error{
			"network": func() error {
				_, err := end(l.c.Nets.NewVirtualNetworksClient().BeginDelete(l.ctx, "lab", "vnet", nil))
				return err
			},
			"subnet": func() error {
				_, err := end(l.c.Nets.NewSubnetsClient().BeginDelete(l.ctx, "lab", "vnet", "web", nil))
				return err
			},
			"security group": func() error {
				_, err := end(l.c.Nets.NewSecurityGroupsClient().BeginDelete(l.ctx, "lab", "nsg", nil))
				return err
			},
			"public address": func() error {
				_, err := end(l.c.Nets.NewPublicIPAddressesClient().BeginDelete(l.ctx, "lab", "pip", nil))
				return err
			},
			"load balancer": func() error {
				_, err := end(l.c.Nets.NewLoadBalancersClient().BeginDelete(l.ctx, "lab", "lb", nil))
				return err
			},
			"pool": func() error {
				_, err := end(l.c.Nets.NewLoadBalancerBackendAddressPoolsClient().BeginDelete(l.ctx, "lab", "lb", "pool", nil))
				return err
			},
			"set": func() error { _, err := end(l.c.Sets.BeginDelete(l.ctx, "lab", "web", nil)); return err },
		}
		for what, code := range map[string]string{"network": "InUseSubnetCannotBeDeleted", "subnet": "InUseSubnetCannotBeDeleted", "security group": "InUseNetworkSecurityGroupCannotBeDeleted",
			"public address": "PublicIPAddressCannotBeDeleted", "load balancer": "LoadBalancerInUseByVirtualMachineScaleSet", "pool": "InvalidResourceReference"} {
			l.refused(what, deletes[what](), code)
		}
		for _, what := range []string{"set", "load balancer", "public address", "subnet", "network", "security group"} {
			l.ok(what, deletes[what]())
		}
		if left := l.reserved(""); len(left) > 0 {
			t.Errorf("still given out: %v", left)
		}
		l.ok("group", l.deleteGroup())
		l.nothing()
	})
}

// TestAGroupGoesWithAllThatIsInIt deletes a group with a set, a balancer, a NAT gateway and
// an application group in it.
func TestAGroupGoesWithAllThatIsInIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		l.site(0)
		_, err := end(l.c.Nets.NewApplicationSecurityGroupsClient().BeginCreateOrUpdate(l.ctx, "lab", "app", armnetwork.ApplicationSecurityGroup{Location: l.location()}, nil))
		l.ok("application group", err)
		_, err = end(l.c.Nets.NewNatGatewaysClient().BeginCreateOrUpdate(l.ctx, "lab", "nat", armnetwork.NatGateway{Location: l.location(),
			SKU: &armnetwork.NatGatewaySKU{Name: new(armnetwork.NatGatewaySKUNameStandard)}}, nil))
		l.ok("NAT gateway", err)
		web := l.subnet("web", "10.1.0.0/24", "nsg")
		web.Properties.NatGateway = l.ref("natGateways/nat")
		_, err = end(l.c.Nets.NewSubnetsClient().BeginCreateOrUpdate(l.ctx, "lab", "vnet", "web", *web, nil))
		l.ok("subnet", err)
		l.ok("create", l.putSet("web", l.behind(3)))
		l.ok("delete", l.deleteGroup())
		l.nothing()
	})
}
