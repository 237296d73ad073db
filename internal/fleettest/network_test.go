package fleettest_test

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/compute/armcompute/v8"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/network/armnetwork/v9"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/resources/armresources"

	"github.com/muster-vm/muster/internal/fleettest"
	"github.com/muster-vm/muster/internal/network"
)

// client is somebody outside.
var client = netip.MustParseAddrPort("203.0.113.9:40000")

// lab is a fleet with virtual networks, and the SDK's clients for it.
type lab struct {
	*testing.T
	ctx context.Context
	f   *fleettest.Fleet
	c   *fleettest.Client
}

// newLab boots a fleet with a resource group.
func newLab(t *testing.T) *lab {
	t.Helper()
	f := fleettest.Boot(t, fleettest.Options{})
	l := &lab{T: t, ctx: t.Context(), f: f, c: f.Client(t)}
	l.ok("group", l.createGroup())
	return l
}

func (l *lab) createGroup() error {
	_, err := l.c.Groups.CreateOrUpdate(l.ctx, "lab", armresources.ResourceGroup{Location: new(fleettest.Location)}, nil)
	return err
}

// end waits for an operation, for a day of the fleet's time at most.
func end[T any](p *runtime.Poller[T], err error) (T, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 24*time.Hour)
	defer cancel()
	return fleettest.Wait(ctx, p, err)
}

func (l *lab) ok(step string, err error) {
	l.Helper()
	if err != nil {
		l.Fatalf("%s: %v", step, err)
	}
}

// refused expects an operation, or the request for it, to fail with Azure's code.
func (l *lab) refused(step string, err error, code string) {
	l.Helper()
	if e, ok := errors.AsType[*azcore.ResponseError](err); !ok || e.ErrorCode != code {
		l.Errorf("%s: got %v, want %s", step, err, code)
	}
}

// id is that of a resource of Microsoft.Network, such as loadBalancers/lb.
func (l *lab) id(path string) *string {
	return new("/subscriptions/" + l.f.Subscription() + "/resourceGroups/lab/providers/Microsoft.Network/" + path)
}

func (l *lab) ref(path string) *armnetwork.SubResource {
	return &armnetwork.SubResource{ID: l.id(path)}
}

// subnet returns one of the network vnet. group is the name of its security group; none if empty.
func (l *lab) subnet(name, prefix, group string) *armnetwork.Subnet {
	s := &armnetwork.Subnet{Name: &name, Properties: &armnetwork.SubnetPropertiesFormat{AddressPrefix: &prefix}}
	if group != "" {
		s.Properties.NetworkSecurityGroup = &armnetwork.SecurityGroup{ID: l.id("networkSecurityGroups/" + group)}
	}
	return s
}

// putNetwork makes the network vnet and returns its UID.
func (l *lab) putNetwork(subnets ...*armnetwork.Subnet) (network.UID, error) {
	res, err := end(l.c.Nets.NewVirtualNetworksClient().BeginCreateOrUpdate(l.ctx, "lab", "vnet", armnetwork.VirtualNetwork{Location: new(fleettest.Location),
		Properties: &armnetwork.VirtualNetworkPropertiesFormat{AddressSpace: &armnetwork.AddressSpace{AddressPrefixes: []*string{new("10.1.0.0/16")}}, Subnets: subnets}}, nil))
	if err != nil {
		return "", err
	}
	return network.UID(*res.Properties.ResourceGUID), nil
}

// allow returns a rule that lets TCP flows from anywhere to a port in.
func allow(name string, priority int32, port string) *armnetwork.SecurityRule {
	return &armnetwork.SecurityRule{Name: &name, Properties: &armnetwork.SecurityRulePropertiesFormat{Priority: &priority,
		Access: new(armnetwork.SecurityRuleAccessAllow), Direction: new(armnetwork.SecurityRuleDirectionInbound), Protocol: new(armnetwork.SecurityRuleProtocolTCP),
		SourceAddressPrefix: new("*"), SourcePortRange: new("*"), DestinationAddressPrefix: new("*"), DestinationPortRange: &port}}
}

func (l *lab) putGroup(name string, rules ...*armnetwork.SecurityRule) error {
	_, err := end(l.c.Nets.NewSecurityGroupsClient().BeginCreateOrUpdate(l.ctx, "lab", name,
		armnetwork.SecurityGroup{Location: new(fleettest.Location), Properties: &armnetwork.SecurityGroupPropertiesFormat{SecurityRules: rules}}, nil))
	return err
}

// putPublic makes the static public address pip and returns it.
func (l *lab) putPublic() (netip.Addr, error) {
	res, err := end(l.c.Nets.NewPublicIPAddressesClient().BeginCreateOrUpdate(l.ctx, "lab", "pip", armnetwork.PublicIPAddress{Location: new(fleettest.Location),
		SKU:        &armnetwork.PublicIPAddressSKU{Name: new(armnetwork.PublicIPAddressSKUNameStandard)},
		Properties: &armnetwork.PublicIPAddressPropertiesFormat{PublicIPAllocationMethod: new(armnetwork.IPAllocationMethodStatic)}}, nil))
	if err != nil {
		return netip.Addr{}, err
	}
	return netip.ParseAddr(*res.Properties.IPAddress)
}

// balancer returns the Standard load balancer lb: port 80 of pip goes to port 8080
// of the pool's members, ports from 50000 on to SSH of one member each. drain is
// the pool's drain period in seconds; 0 leaves it out.
func (l *lab) balancer(drain int32) armnetwork.LoadBalancer {
	front := l.ref("loadBalancers/lb/frontendIPConfigurations/front")
	pool := &armnetwork.BackendAddressPool{Name: new("pool"), Properties: &armnetwork.BackendAddressPoolPropertiesFormat{}}
	if drain > 0 {
		pool.Properties.DrainPeriodInSeconds = &drain
	}
	return armnetwork.LoadBalancer{Location: new(fleettest.Location), SKU: &armnetwork.LoadBalancerSKU{Name: new(armnetwork.LoadBalancerSKUNameStandard)},
		Properties: &armnetwork.LoadBalancerPropertiesFormat{
			FrontendIPConfigurations: []*armnetwork.FrontendIPConfiguration{{Name: new("front"),
				Properties: &armnetwork.FrontendIPConfigurationPropertiesFormat{PublicIPAddress: &armnetwork.PublicIPAddress{ID: l.id("publicIPAddresses/pip")}}}},
			BackendAddressPools: []*armnetwork.BackendAddressPool{pool},
			Probes: []*armnetwork.Probe{{Name: new("alive"), Properties: &armnetwork.ProbePropertiesFormat{Protocol: new(armnetwork.ProbeProtocolTCP),
				Port: new(int32(8080)), IntervalInSeconds: new(int32(5)), NumberOfProbes: new(int32(1))}}},
			LoadBalancingRules: []*armnetwork.LoadBalancingRule{{Name: new("web"), Properties: &armnetwork.LoadBalancingRulePropertiesFormat{FrontendIPConfiguration: front,
				BackendAddressPool: l.ref("loadBalancers/lb/backendAddressPools/pool"), Probe: l.ref("loadBalancers/lb/probes/alive"),
				Protocol: new(armnetwork.TransportProtocolTCP), FrontendPort: new(int32(80)), BackendPort: new(int32(8080))}}},
			InboundNatPools: []*armnetwork.InboundNatPool{{Name: new("ssh"), Properties: &armnetwork.InboundNatPoolPropertiesFormat{FrontendIPConfiguration: front,
				Protocol: new(armnetwork.TransportProtocolTCP), FrontendPortRangeStart: new(int32(50000)), FrontendPortRangeEnd: new(int32(50099)), BackendPort: new(int32(22))}}},
		}}
}

func (l *lab) putBalancer(lb armnetwork.LoadBalancer) error {
	_, err := end(l.c.Nets.NewLoadBalancersClient().BeginCreateOrUpdate(l.ctx, "lab", "lb", lb, nil))
	return err
}

// site makes everything that a set behind a load balancer needs: the security
// group nsg, which lets HTTP and SSH in, the subnet web in vnet, the address pip and
// the load balancer lb.
func (l *lab) site(drain int32) (uid network.UID, public netip.Addr) {
	l.Helper()
	l.ok("security group", l.putGroup("nsg", allow("http", 200, "8080"), allow("ssh", 210, "22")))
	uid, err := l.putNetwork(l.subnet("web", "10.1.0.0/24", "nsg"))
	l.ok("network", err)
	public, err = l.putPublic()
	l.ok("public address", err)
	l.ok("load balancer", l.putBalancer(l.balancer(drain)))
	return uid, public
}

// in returns a set in a subnet of vnet, named by itself.
func (l *lab) in(subnet string, n int64) armcompute.VirtualMachineScaleSet {
	set := fleettest.Model(n)
	ip := set.Properties.VirtualMachineProfile.NetworkProfile.NetworkInterfaceConfigurations[0].Properties.IPConfigurations[0]
	ip.Properties = &armcompute.VirtualMachineScaleSetIPConfigurationProperties{Subnet: &armcompute.APIEntityReference{ID: l.id("virtualNetworks/vnet/subnets/" + subnet)}}
	return set
}

// behind returns a set in the subnet web, behind the load balancer lb.
func (l *lab) behind(n int64) armcompute.VirtualMachineScaleSet {
	set := l.in("web", n)
	ip := set.Properties.VirtualMachineProfile.NetworkProfile.NetworkInterfaceConfigurations[0].Properties.IPConfigurations[0].Properties
	ip.LoadBalancerBackendAddressPools = []*armcompute.SubResource{{ID: l.id("loadBalancers/lb/backendAddressPools/pool")}}
	ip.LoadBalancerInboundNatPools = []*armcompute.SubResource{{ID: l.id("loadBalancers/lb/inboundNatPools/ssh")}}
	return set
}

func (l *lab) putSet(name string, set armcompute.VirtualMachineScaleSet) error {
	_, err := end(l.c.Sets.BeginCreateOrUpdate(l.ctx, "lab", name, set, nil))
	return err
}

func (l *lab) deleteGroup() error {
	_, err := end(l.c.Groups.BeginDelete(l.ctx, "lab", nil))
	return err
}

// addresses returns the address of each instance's card, by the instance's id.
func (l *lab) addresses(set string) map[string]netip.Addr {
	l.Helper()
	all := map[string]netip.Addr{}
	for pager := l.c.Nets.NewInterfacesClient().NewListVirtualMachineScaleSetNetworkInterfacesPager("lab", set, nil); pager.More(); {
		page, err := pager.NextPage(l.ctx)
		l.ok("list network cards", err)
		for _, nic := range page.Value {
			address, err := netip.ParseAddr(*nic.Properties.IPConfigurations[0].Properties.PrivateIPAddress)
			l.ok(*nic.ID, err)
			all[instanceOf(*nic.ID)] = address
		}
	}
	return all
}

// instanceOf returns the id of the instance that a card, or a part of it, is of.
func instanceOf(id string) string {
	_, after, _ := strings.Cut(id, "/virtualMachines/")
	instance, _, _ := strings.Cut(after, "/")
	return instance
}

// natPorts returns the frontend port of each instance, by the instance's id.
func (l *lab) natPorts() map[string]uint16 {
	l.Helper()
	lb, err := l.c.Nets.NewLoadBalancersClient().Get(l.ctx, "lab", "lb", nil)
	l.ok("read load balancer", err)
	all := map[string]uint16{}
	for _, r := range lb.Properties.InboundNatRules {
		all[instanceOf(*r.Properties.BackendIPConfiguration.ID)] = uint16(*r.Properties.FrontendPort)
	}
	return all
}

// send asks what becomes of a TCP flow.
func (l *lab) send(uid network.UID, from netip.AddrPort, to netip.Addr, port uint16) network.Verdict {
	return l.f.Fabric().Send(uid, network.Flow{Protocol: network.TCP, From: from, To: netip.AddrPortFrom(to, port)})
}

// reserved lists what is given out, without what begins with no such prefix: "net:"
// for addresses in networks, "lb:" for ports, "public".
func (l *lab) reserved(prefix string) (all []string) {
	l.Helper()
	left, err := l.f.Records(l.ctx)
	l.ok("records", err)
	for _, key := range left {
		if name, ok := strings.CutPrefix(key, "reservations/"); ok && strings.HasPrefix(name, prefix) {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return all
}

// nothing checks that there is no record, machine, port or network any more.
func (l *lab) nothing() {
	l.Helper()
	left, err := l.f.Records(l.ctx)
	ports, portsErr := l.f.Fabric().Ports(l.ctx)
	networks, networksErr := l.f.Fabric().Networks(l.ctx)
	if err := errors.Join(err, portsErr, networksErr); err != nil || len(left)+len(ports)+len(networks)+l.f.Machines() > 0 {
		l.Errorf("there are still %d machines, records %v, ports %v, networks %v (%v)", l.f.Machines(), left, ports, networks, err)
	}
	for _, v := range l.f.Ledger.Violations() {
		l.Error(v)
	}
}

// values returns the values of a map, sorted and without repetitions.
func values(all map[string]netip.Addr) []netip.Addr {
	return slices.Compact(slices.SortedFunc(maps.Values(all), netip.Addr.Compare))
}

// location is where everything is.
func (l *lab) location() *string { return new(fleettest.Location) }
