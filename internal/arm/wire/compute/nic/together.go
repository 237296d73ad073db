package nic

import (
	"fmt"

	"github.com/muster-vm/muster/internal/arm/wire"
	"github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/vmss"
)

// refOf returns what an id refers to; false for none, and for what is no id of
// Microsoft.Network.
func refOf(id string) (network.Ref, bool) {
	parsed, err := resource.ParseID(id)
	if err != nil {
		return network.Ref{}, false
	}
	return network.RefOf(parsed)
}

// oneNetwork checks that all addresses are in one virtual network, or all in the
// default one, where nothing else can be asked for.
func (r reader) oneNetwork(cards []vmss.NIC) {
	var first network.Key
	var named string // the subnet of the first address; empty for the default network
	for i, n := range cards {
		for j, c := range n.IPConfigs {
			at := fmt.Sprintf("%s[%d].properties.ipConfigurations[%d].properties", Path, i, j)
			ref, ok := refOf(c.Subnet)
			switch {
			case c.Subnet != "" && !ok: // said when it was read
				return
			case i == 0 && j == 0:
				first, named = ref.Key, c.Subnet
			case ref.Key != first:
				r.Add("SubnetsNotInSameVnet", at+".subnet.id", "Subnets '%s' and '%s' are not in the same virtual network. All network interfaces of a scale set must be in one.", orDefault(named), orDefault(c.Subnet))
				return
			}
			if c.Subnet == "" {
				r.plain(c, at)
			}
		}
		if len(n.IPConfigs) > 0 && n.IPConfigs[0].Subnet == "" {
			at := fmt.Sprintf("%s[%d].properties", Path, i)
			r.needsSubnet(n.SecurityGroup != "", at+".networkSecurityGroup.id")
			r.needsSubnet(len(n.DNS) > 0, at+".dnsSettings.dnsServers")
			r.needsSubnet(n.Forwarding, at+".enableIPForwarding")
		}
	}
}

// orDefault names a subnet for users.
func orDefault(id string) string {
	if id == "" {
		return "default network"
	}
	return id
}

// plain checks that an address in the default network asks for nothing more.
func (r reader) plain(c vmss.IPConfig, at string) {
	r.needsSubnet(len(c.AppGroups) > 0, at+".applicationSecurityGroups")
	r.needsSubnet(len(c.Pools) > 0, at+".loadBalancerBackendAddressPools")
	r.needsSubnet(len(c.NATPools) > 0, at+".loadBalancerInboundNatPools")
	r.needsSubnet(c.PublicIP != nil, at+".publicIPAddressConfiguration")
}

func (r reader) needsSubnet(given bool, path string) {
	if given {
		r.Add(wire.InvalidParameter, path, "'%s' acts in a virtual network only. Name a subnet, or leave it out for the default network.", path)
	}
}

// healthProbe checks that a probe, if one is named, is of a load balancer that
// has the instances in a pool.
func (r reader) healthProbe(id string, cards []vmss.NIC) {
	before := r.Len()
	r.isOf(probe, id, probePath)
	ref, ok := refOf(id)
	if !ok || r.Len() > before {
		return
	}
	for _, c := range configsOf(cards) {
		for _, p := range c.Pools {
			if in, ok := refOf(p); ok && in.Key == ref.Key {
				return
			}
		}
	}
	r.Add(wire.InvalidParameter, probePath, "The health probe '%s' is of a load balancer that has none of the scale set's network interfaces in a backend pool.", id)
}

// configsOf lists all IP configurations.
func configsOf(cards []vmss.NIC) []vmss.IPConfig {
	var all []vmss.IPConfig
	for _, n := range cards {
		all = append(all, n.IPConfigs...)
	}
	return all
}
