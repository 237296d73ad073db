package network

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/muster-vm/muster/internal/resource"
)

// Limits of a load balancer.
//
// Source: https://learn.microsoft.com/azure/azure-resource-manager/management/azure-subscription-service-limits#load-balancer
const (
	minIdle         = 4 // minutes
	maxIdleBasic    = 30
	maxIdleStandard = 100

	maxRulesBasic    = 250 // of all kinds together
	maxRulesStandard = 1500
	maxOthers        = 1500 // frontends, pools and probes together

	minProbeInterval = 5 * time.Second
)

// DefaultIdle is how many minutes a flow may be silent where nothing is said.
const DefaultIdle = 4

// Check returns what is wrong with a load balancer of this SKU, at JSON paths from
// "properties". An index in a path is one of this value's lists. Names of other
// children that are empty were refused when they were read. Codes are Azure's
// where it has one.
func (b LoadBalancer) Check(sku SKU) []*resource.Error {
	c := balancerCheck{LoadBalancer: b, sku: sku}
	if n, most := len(b.Rules)+len(b.NATRules)+len(b.NATPools)+len(b.Outbound), c.most(maxRulesBasic, maxRulesStandard); n > most {
		c.add("properties", "LoadBalancerRuleLimitReached", "The load balancer has %d rules of all kinds; one of SKU %s can have %d.", n, sku, most)
		return c.all
	}
	if n := len(b.Frontends) + len(b.Pools) + len(b.Probes); n > maxOthers {
		c.add("properties", "LoadBalancerChildLimitReached", "The load balancer has %d frontend IP configurations, backend address pools and probes; it can have %d.", n, maxOthers)
		return c.all
	}
	c.names()
	c.frontends()
	c.pools()
	for i, p := range b.Probes {
		c.probe(at("probes", i), p)
	}
	for i, r := range b.Rules {
		c.rule(at("loadBalancingRules", i), r)
	}
	c.natPools()
	c.natRules()
	for i, o := range b.Outbound {
		c.outbound(at("outboundRules", i), o)
	}
	c.frontendPorts()
	c.backendPorts()
	return c.all
}

type balancerCheck struct {
	LoadBalancer
	sku SKU
	all []*resource.Error
}

func at(list string, i int) string { return fmt.Sprintf("properties.%s[%d]", list, i) }

func (c *balancerCheck) add(path, code, format string, args ...any) {
	c.all = append(c.all, resource.Errorf(resource.Invalid, code, format, args...).At(path))
}

func (c *balancerCheck) most(basic, standard int) int {
	if c.sku == Basic {
		return basic
	}
	return standard
}

// standard refuses what a Basic balancer cannot do.
func (c *balancerCheck) standard(path, what string) {
	if c.sku == Basic {
		c.add(path, "FeatureNotSupportedBySku", "A load balancer of SKU Basic does not have %s. Make one of SKU Standard (az: --sku Standard).", what)
	}
}

// names checks that no two children of a list have one name.
func (c *balancerCheck) names() {
	list := func(name string, n int, of func(int) string) {
		seen := map[string]bool{}
		for i := range n {
			path, child := at(name, i)+".name", of(i)
			key := strings.ToLower(child)
			if child != "" && seen[key] {
				c.add(path, "DuplicateResourceName", "The load balancer has two child resources with the same name (%s) in %s.", child, name)
			}
			seen[key] = true
		}
	}
	list("frontendIPConfigurations", len(c.Frontends), func(i int) string { return c.Frontends[i].Name })
	list("backendAddressPools", len(c.Pools), func(i int) string { return c.Pools[i].Name })
	list("probes", len(c.Probes), func(i int) string { return c.Probes[i].Name })
	list("loadBalancingRules", len(c.Rules), func(i int) string { return c.Rules[i].Name })
	list("inboundNatPools", len(c.NATPools), func(i int) string { return c.NATPools[i].Name })
	list("inboundNatRules", len(c.NATRules), func(i int) string { return c.NATRules[i].Name })
	list("outboundRules", len(c.Outbound), func(i int) string { return c.Outbound[i].Name })
}

// frontends checks that they are of one kind, and that none has what is another's.
func (c *balancerCheck) frontends() {
	for i, f := range c.Frontends {
		path := at("frontendIPConfigurations", i) + ".properties"
		public, internal := f.Public != (Key{}), f.Subnet != (Ref{})
		if public == internal {
			c.add(path, "InvalidRequestFormat", "Frontend IP configuration '%s' needs either publicIPAddress.id or subnet.id.", f.Name)
			continue
		}
		for _, other := range c.Frontends[:i] {
			switch {
			case public && other.Subnet != (Ref{}) || internal && other.Public != (Key{}):
				c.add(path, "LoadBalancerFrontendIPConfigurationsMustBeOfOneType", "Frontend IP configurations '%s' and '%s' are a public and an internal one; a load balancer has one kind. Make a load balancer for each.", other.Name, f.Name)
				return
			case public && other.Public == f.Public:
				c.add(path+".publicIPAddress.id", "PublicIPReferencedByMultipleIPConfigs", "Public IP address %s is referenced by multiple ipconfigs of the load balancer: '%s' and '%s'.", f.Public.Name, other.Name, f.Name)
			case internal && other.Subnet != (Ref{}) && other.Subnet.Key != f.Subnet.Key:
				c.add(path+".subnet.id", "InternalLoadBalancerFrontendsMustUseSameVnet", "Frontend IP configurations '%s' and '%s' are in the virtual networks %s and %s; those of one load balancer are in one.", other.Name, f.Name, other.Subnet.Name, f.Subnet.Name)
			case internal && f.Address.IsValid() && other.Address == f.Address:
				c.add(path+".privateIPAddress", "PrivateIPAddressInUse", "Frontend IP configurations '%s' and '%s' have the same address %s.", other.Name, f.Name, f.Address)
			}
		}
	}
}

// pools checks the ones that list addresses.
func (c *balancerCheck) pools() {
	for i, p := range c.Pools {
		path := at("backendAddressPools", i) + ".properties"
		if len(p.Addresses) == 0 {
			continue
		}
		c.standard(path+".loadBalancerBackendAddresses", "backend pools of addresses")
		if p.Network == (Key{}) {
			c.add(path+".virtualNetwork.id", "InvalidRequestFormat", "The addresses of backend address pool '%s' need the virtual network that they are in: virtualNetwork.id.", p.Name)
		}
		seen := map[netip.Addr]bool{}
		for _, a := range p.Addresses {
			if seen[a] {
				c.add(path+".loadBalancerBackendAddresses", "DuplicateBackendAddress", "Backend address pool '%s' lists the address %s twice.", p.Name, a)
			}
			seen[a] = true
		}
		if k := slices.IndexFunc(c.Frontends, func(f Frontend) bool { return f.Subnet != (Ref{}) && f.Subnet.Key != p.Network }); k >= 0 && p.Network != (Key{}) {
			c.add(path+".virtualNetwork.id", "NetworkInterfaceAndInternalLoadBalancerMustUseSameVnet", "Backend address pool '%s' is in virtual network %s, and frontend IP configuration '%s' in %s; those of an internal load balancer are in one.", p.Name, p.Network.Name, c.Frontends[k].Name, c.Frontends[k].Subnet.Name)
		}
	}
}

func (c *balancerCheck) probe(path string, p Probe) {
	if p.Protocol == ProbeHTTPS {
		c.standard(path+".properties.protocol", "HTTPS probes")
	}
	path += ".properties"
	switch {
	case p.Protocol == ProbeTCP && p.Path != "":
		c.add(path+".requestPath", "InvalidRequestFormat", "Probe '%s' asks by TCP, which has no path; leave requestPath out, or use Http.", p.Name)
	case p.Protocol != ProbeTCP && p.Path == "":
		c.add(path+".requestPath", "InvalidRequestFormat", "Probe '%s' asks by %s and needs a requestPath, such as /.", p.Name, p.Protocol)
	}
	if p.Interval < minProbeInterval {
		c.add(path+".intervalInSeconds", "InvalidRequestFormat", "Probe '%s' cannot ask every %d s; intervalInSeconds is %d or more.", p.Name, int(p.Interval.Seconds()), int(minProbeInterval.Seconds()))
	}
	if p.Threshold < 1 {
		c.add(path+".probeThreshold", "InvalidRequestFormat", "probeThreshold of probe '%s' is %d; it must be 1 or more.", p.Name, p.Threshold)
	}
}

func (c *balancerCheck) rule(path string, r BalancingRule) {
	who := "load balancing rule '" + r.Name + "'"
	path += ".properties"
	frontend := c.needFrontend(path+".frontendIPConfiguration.id", r.Frontend, who)
	for _, p := range r.Pools {
		c.needPool(path+".backendAddressPool.id", p, who)
	}
	if len(r.Pools) > 1 {
		c.add(path+".backendAddressPools", "InvalidRequestFormat", "Several backend address pools are for gateway load balancers; %s can have one.", who)
	}
	if r.Probe != "" && !slices.ContainsFunc(c.Probes, func(p Probe) bool { return strings.EqualFold(p.Name, r.Probe) }) {
		c.missing(path+".probe.id", "probe", r.Probe, who)
	}
	c.idle(path, r.Idle, who)
	c.reset(path, r.Reset)
	if r.NoOutbound {
		c.standard(path+".disableOutboundSnat", "outbound rules, and disableOutboundSnat with them,")
	}
	every := r.FrontendPort == 0 && r.BackendPort == 0
	switch {
	case r.Protocol != AnyProtocol && (r.FrontendPort == 0 || r.BackendPort == 0):
		c.add(path+".frontendPort", "InvalidRequestFormat", "Ports of %s cannot be 0 with protocol %s. Port 0 means every port and needs protocol All.", who, r.Protocol)
	case r.Protocol == AnyProtocol && !every:
		c.add(path+".frontendPort", "InvalidRequestFormat", "%s is for protocol All, which needs frontendPort and backendPort 0: every port.", who)
	case r.Protocol == AnyProtocol && c.sku == Basic:
		c.standard(path+".protocol", "rules for all ports")
	case r.Protocol == AnyProtocol && frontend != nil && frontend.Public != (Key{}):
		c.add(path+".protocol", "InvalidRequestFormat", "%s is for all ports, which needs an internal frontend; '%s' is public.", who, frontend.Name)
	}
	if !r.NoOutbound && slices.ContainsFunc(c.Outbound, func(o OutboundRule) bool { return r.Frontend != "" && slices.Contains(o.Frontends, r.Frontend) }) {
		c.add(path+".disableOutboundSnat", "LoadBalancingRuleMustDisableSNATSinceSameFrontendIPConfigurationIsReferencedByOutboundRule", "%s must disable SNAT (disableOutboundSnat true) since the same frontend IP configuration is referenced by an outbound rule.", who)
	}
}

func (c *balancerCheck) natPools() {
	for i, p := range c.NATPools {
		who, path := "inbound NAT pool '"+p.Name+"'", at("inboundNatPools", i)+".properties"
		c.needFrontend(path+".frontendIPConfiguration.id", p.Frontend, who)
		c.idle(path, p.Idle, who)
		c.reset(path, p.Reset)
		c.portRange(path, p.Ports, who)
	}
}

// names reports whether a rule of this name is one that the pool makes: pool.instance.
func (p NATPool) names(rule string) bool {
	dot := strings.LastIndexByte(rule, '.')
	return dot >= 0 && strings.EqualFold(rule[:dot], p.Name) && strings.Trim(rule[dot+1:], "0123456789") == ""
}

func (c *balancerCheck) natRules() {
	for i, r := range c.NATRules {
		who, path := "inbound NAT rule '"+r.Name+"'", at("inboundNatRules", i)+".properties"
		c.needFrontend(path+".frontendIPConfiguration.id", r.Frontend, who)
		c.idle(path, r.Idle, who)
		c.reset(path, r.Reset)
		if k := slices.IndexFunc(c.NATPools, func(p NATPool) bool { return p.names(r.Name) }); k >= 0 {
			c.add(at("inboundNatRules", i)+".name", "DuplicateResourceName", "The name '%s' is that of a rule which inbound NAT pool '%s' makes for an instance. Choose another one.", r.Name, c.NATPools[k].Name)
		}
		if r.Pool == "" {
			continue
		}
		c.needPool(path+".backendAddressPool.id", r.Pool, who)
		c.portRange(path, r.Ports, who)
		if slices.ContainsFunc(c.NATPools, func(p NATPool) bool { return strings.EqualFold(p.Name, r.Name) }) {
			c.add(at("inboundNatRules", i)+".name", "DuplicateResourceName", "An inbound NAT pool is called '%s' as well; give the inbound NAT rule over a pool another name.", r.Name)
		}
	}
}

func (c *balancerCheck) outbound(path string, o OutboundRule) {
	who := "outbound rule '" + o.Name + "'"
	c.standard(path, "outbound rules")
	path += ".properties"
	c.needPool(path+".backendAddressPool.id", o.Pool, who)
	c.idle(path, o.Idle, who)
	for i, name := range o.Frontends {
		place := fmt.Sprintf("%s.frontendIPConfigurations[%d].id", path, i)
		if f := c.needFrontend(place, name, who); f != nil && f.Public == (Key{}) {
			c.add(place, "InvalidRequestFormat", "%s needs public frontends; '%s' is internal.", who, f.Name)
		}
	}
}

// needFrontend returns the frontend that who refers to. A missing one is reported.
func (c *balancerCheck) needFrontend(path, name, who string) *Frontend {
	i := slices.IndexFunc(c.Frontends, func(f Frontend) bool { return strings.EqualFold(f.Name, name) })
	if i >= 0 {
		return &c.Frontends[i]
	}
	c.missing(path, "frontend IP configuration", name, who)
	return nil
}

func (c *balancerCheck) needPool(path, name, who string) {
	if !slices.ContainsFunc(c.Pools, func(p Pool) bool { return strings.EqualFold(p.Name, name) }) {
		c.missing(path, "backend address pool", name, who)
	}
}

func (c *balancerCheck) missing(path, what, name, who string) {
	if name != "" {
		c.add(path, "InvalidResourceReference", "The %s '%s' referenced by %s was not found. Please make sure that the referenced resource exists in the same load balancer.", what, name, who)
	}
}

func (c *balancerCheck) idle(path string, minutes int, who string) {
	if most := c.most(maxIdleBasic, maxIdleStandard); minutes < minIdle || minutes > most {
		c.add(path+".idleTimeoutInMinutes", "InvalidRequestFormat", "idleTimeoutInMinutes of %s is %d; it must be between %d and %d with SKU %s.", who, minutes, minIdle, most, c.sku)
	}
}

func (c *balancerCheck) reset(path string, reset bool) {
	if reset {
		c.standard(path+".enableTcpReset", "TCP resets at idle timeouts")
	}
}

func (c *balancerCheck) portRange(path string, p Ports, who string) {
	if p.First > p.Last {
		c.add(path+".frontendPortRangeEnd", "InvalidRequestFormat", "The frontend ports of %s end with %d, before they start with %d.", who, p.Last, p.First)
	}
}

// claim is what a rule takes of a frontend.
type claim struct {
	path, who string
	frontend  string
	protocol  Protocol
	ports     Ports
}

func (c claim) clashes(o claim) bool {
	return c.frontend != "" && c.frontend == o.frontend &&
		(c.protocol == o.protocol || c.protocol == AnyProtocol || o.protocol == AnyProtocol) &&
		c.ports.First <= o.ports.Last && o.ports.First <= c.ports.Last
}

// frontendPorts checks that nothing claims a port of a frontend twice.
func (c *balancerCheck) frontendPorts() {
	var claims []claim
	for i, r := range c.Rules {
		ports := Ports{r.FrontendPort, r.FrontendPort}
		if r.Protocol == AnyProtocol {
			ports = AllPorts
		}
		claims = append(claims, claim{at("loadBalancingRules", i) + ".properties.frontendPort", "load balancing rule '" + r.Name + "'", r.Frontend, r.Protocol, ports})
	}
	for i, p := range c.NATPools {
		claims = append(claims, claim{at("inboundNatPools", i) + ".properties.frontendPortRangeStart", "inbound NAT pool '" + p.Name + "'", p.Frontend, p.Protocol, p.Ports})
	}
	for i, r := range c.NATRules {
		member := ".properties.frontendPort"
		if r.Pool != "" {
			member = ".properties.frontendPortRangeStart"
		}
		claims = append(claims, claim{at("inboundNatRules", i) + member, "inbound NAT rule '" + r.Name + "'", r.Frontend, r.Protocol, r.Ports})
	}
	for i, now := range claims {
		if k := slices.IndexFunc(claims[:i], now.clashes); k >= 0 {
			port := max(now.ports.First, claims[k].ports.First)
			c.add(now.path, "RulesUseSameFrontendPortProtocolAndIPConfig", "%s and %s use the same frontend port %d and protocol and must not be used with the same frontend IP configuration '%s'.", claims[k].who, now.who, port, now.frontend)
		}
	}
}

// backendPorts checks that no two rules send to one port of one pool.
func (c *balancerCheck) backendPorts() {
	type target struct {
		pool     string
		protocol Protocol
		port     uint16
	}
	seen := map[target]string{}
	for i, r := range c.Rules {
		for _, p := range r.Pools {
			to := target{p, r.Protocol, r.BackendPort}
			if other, twice := seen[to]; twice && p != "" {
				c.add(at("loadBalancingRules", i)+".properties.backendPort", "RulesUseSameBackendPortProtocolAndPool", "Load balancing rules '%s' and '%s' with floating IP disabled use the same protocol and backend port %d, and must not be used with the same backend address pool '%s'.", other, r.Name, r.BackendPort, p)
				continue
			}
			seen[to] = r.Name
		}
	}
}
