package network

import (
	_ "embed" // the ledgers
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/muster-vm/muster/internal/arm/wire"
	"github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/resource"
)

//go:embed ledger/loadbalancer.txt
var loadBalancerLedger string

// The lists of a load balancer's children.
const (
	frontendList = "frontendIPConfigurations"
	poolList     = "backendAddressPools"
	ruleList     = "loadBalancingRules"
	probeList    = "probes"
	natRuleList  = "inboundNatRules"
	outboundList = "outboundRules"
	natPoolList  = "inboundNatPools"
)

var balancerLists = []string{frontendList, poolList, ruleList, probeList, natRuleList, outboundList, natPoolList}

var loadBalancer = newKind(loadBalancerLedger, parseLoadBalancer, showLoadBalancer, balancerLists...)

// parseLoadBalancer keeps the addresses that internal frontends were given.
func parseLoadBalancer(p *parser, out *network.Resource) {
	if out.SKU == "" {
		out.SKU = network.Basic
	}
	sku := sub(p.doc, "sku")
	sku["name"] = string(out.SKU)
	fill(sku, "tier", "Regional")
	b := balancerParser{parser: p, id: out.ID, sku: out.SKU, was: &network.LoadBalancer{}, names: map[string]string{}}
	if p.was != nil {
		b.was = p.was.LoadBalancer
	}
	b.kept = b.dropGenerated()
	for _, list := range balancerLists {
		for i, doc := range wire.ObjectsAt(p.props, list) {
			name := p.name(doc, b.path(list, i))
			b.names[list+"/"+strings.ToLower(name)] = name
		}
	}
	b.frontends()
	b.pools()
	b.probes()
	b.rules()
	b.natPools()
	b.natRules()
	b.outbound()
	b.scope()
	b.lists()
	for _, err := range b.out.Check(out.SKU) {
		p.AddError(err.At(b.original(err.Target)))
	}
	out.LoadBalancer = &b.out
}

// balancerParser reads one load balancer.
type balancerParser struct {
	*parser
	id    resource.ID
	sku   network.SKU
	was   *network.LoadBalancer
	names map[string]string // of children as they are written, by list and name in lower case
	kept  []int             // indices in the request of the NAT rules that are the user's
	out   network.LoadBalancer
}

// path is that of a child in the request.
func (b *balancerParser) path(list string, i int) string {
	if list == natRuleList {
		i = b.kept[i]
	}
	return elementPath(list, i)
}

// element is one child in the document.
type element struct {
	name, path string // path is that of its properties
	props      wire.Document
}

func (b *balancerParser) children(list string) []element {
	all := wire.ObjectsAt(b.props, list)
	out := make([]element, len(all))
	for i, doc := range all {
		out[i] = element{wire.TextAt(doc, "name"), b.path(list, i) + ".properties", sub(doc, "properties")}
	}
	return out
}

// dropGenerated removes what an answer shows and no user writes: the rules of NAT
// pools, one for each card. Clients send them back. It returns the indices of the
// rules that are left.
func (b *balancerParser) dropGenerated() (kept []int) {
	rules, given := b.props[natRuleList].([]any)
	if !given {
		return nil
	}
	pools, rest := b.generators(), []any{}
	for i, v := range rules {
		if rule, ok := v.(map[string]any); !ok || !generated(rule, pools) {
			rest, kept = append(rest, v), append(kept, i)
		}
	}
	b.props[natRuleList] = rest
	return kept
}

// generator is a NAT pool that makes rules.
type generator struct{ first, last, backend int }

// generators are the NAT pools that there are and that there were, by their names
// in lower case.
func (b *balancerParser) generators() map[string][]generator {
	pools := map[string][]generator{}
	add := func(name string, g generator) {
		pools[strings.ToLower(name)] = append(pools[strings.ToLower(name)], g)
	}
	for _, pool := range wire.ObjectsAt(b.props, natPoolList) {
		first, _ := wire.NumberAt(pool, "properties", "frontendPortRangeStart")
		last, _ := wire.NumberAt(pool, "properties", "frontendPortRangeEnd")
		backend, _ := wire.NumberAt(pool, "properties", "backendPort")
		add(wire.TextAt(pool, "name"), generator{first, last, backend})
	}
	for _, pool := range b.was.NATPools {
		add(pool.Name, generator{int(pool.Ports.First), int(pool.Ports.Last), int(pool.BackendPort)})
	}
	return pools
}

// generated reports whether a NAT rule is one of a NAT pool.
func generated(rule wire.Document, pools map[string][]generator) bool {
	name := wire.TextAt(rule, "name")
	dot := strings.LastIndexByte(name, '.')
	if dot < 0 || strings.Trim(name[dot+1:], "0123456789") != "" {
		return false
	}
	frontend, _ := wire.NumberAt(rule, "properties", "frontendPort")
	backend, _ := wire.NumberAt(rule, "properties", "backendPort")
	return slices.ContainsFunc(pools[strings.ToLower(name[:dot])], func(g generator) bool {
		return g.first <= frontend && frontend <= g.last && backend == g.backend
	})
}

// original returns the path in the request for one of what was read.
func (b *balancerParser) original(path string) string {
	rest, ok := strings.CutPrefix(path, "properties."+natRuleList+"[")
	if !ok {
		return path
	}
	index, after, _ := strings.Cut(rest, "]")
	i, err := strconv.Atoi(index)
	if err != nil || i >= len(b.kept) {
		return path
	}
	return b.path(natRuleList, i) + after
}

func (b *balancerParser) need(path string) {
	b.Add(wire.InvalidParameter, path, "The required member '%s' is missing.", path)
}

// port reads a port of at least least; 0 if there is none or it is wrong.
func (b *balancerParser) port(c element, name string, least int) uint16 {
	n, given := wire.NumberAt(c.props, name)
	switch {
	case !given:
		b.need(c.path + "." + name)
	case n < least || n > 65535:
		b.Add(wire.InvalidParameter, c.path+"."+name, "'%s' is %d; a port is a number between %d and 65535.", c.path+"."+name, n, least)
	default:
		return uint16(n)
	}
	return 0
}

func (b *balancerParser) ports(c element) network.Ports {
	return network.Ports{First: b.port(c, "frontendPortRangeStart", 1), Last: b.port(c, "frontendPortRangeEnd", 1)}
}

// shared reads what all rules have, and fills in what Azure shows.
func (b *balancerParser) shared(c element) (idle int, reset bool) {
	fill(c.props, "idleTimeoutInMinutes", int64(network.DefaultIdle))
	fill(c.props, "enableTcpReset", false)
	idle, _ = wire.NumberAt(c.props, "idleTimeoutInMinutes")
	return idle, wire.FlagAt(c.props, "enableTcpReset")
}

// translated fills in what rules for flows from outside show beyond that.
func translated(c element) {
	for _, name := range []string{"enableFloatingIP", "enableDestinationServiceEndpoint", "allowBackendPortConflict"} {
		fill(c.props, name, false)
	}
}

// protocol reads a protocol; in JSON, any is All.
func (b *balancerParser) protocol(c element) network.Protocol {
	switch s := wire.TextAt(c.props, "protocol"); s {
	case "":
		b.need(c.path + ".protocol")
		return ""
	case "All":
		return network.AnyProtocol
	default:
		return network.Protocol(s)
	}
}

// local reads a reference to another child of the same balancer, and writes its id
// as Azure does. It returns the child's name in lower case; empty if there is no
// id, or none of this balancer.
func (b *balancerParser) local(ref wire.Document, path, list string) string {
	given := wire.TextAt(ref, "id")
	if given == "" {
		return ""
	}
	id, err := resource.ParseID(given)
	if err != nil {
		b.AddFrom(err, path+".id")
		return ""
	}
	name := strings.ToLower(id.Name())
	if !id.Equal(b.id.Child(list, name)) {
		b.Add("InvalidResourceReference", path+".id", "'%.256s' is no member of %s of this load balancer, %s.", given, list, b.id)
		return ""
	}
	if written, ok := b.names[list+"/"+name]; ok {
		ref["id"] = b.id.Child(list, written).String()
	}
	return name
}

// one is local for a member that holds one reference. One without an id asks for
// nothing and is removed.
func (b *balancerParser) one(c element, member, list string) string {
	ref, _ := c.props[member].(map[string]any)
	if wire.TextAt(ref, "id") == "" {
		delete(c.props, member)
		return ""
	}
	return b.local(ref, c.path+"."+member, list)
}

// needed is one for a member that must be there.
func (b *balancerParser) needed(c element, member, list string) string {
	if wire.TextAt(c.props, member, "id") == "" {
		b.need(c.path + "." + member + ".id")
	}
	return b.one(c, member, list)
}

// several reads an array of references.
func (b *balancerParser) several(c element, member, list string) (names []string) {
	for i, ref := range wire.ObjectsAt(c.props, member) {
		path := fmt.Sprintf("%s.%s[%d]", c.path, member, i)
		if wire.TextAt(ref, "id") == "" {
			b.need(path + ".id")
		}
		if name := b.local(ref, path, list); name != "" {
			names = append(names, name)
		}
	}
	return names
}

func (b *balancerParser) frontends() {
	for _, c := range b.children(frontendList) {
		f := network.Frontend{Name: c.name, Static: wire.TextAt(c.props, "privateIPAllocationMethod") == "Static"}
		fill(c.props, "privateIPAllocationMethod", "Dynamic")
		f.Public = b.ref(c.props, "publicIPAddress", c.path, network.PublicAddressKind, "").Key
		f.Subnet = b.ref(c.props, "subnet", c.path, network.VirtualNetworkKind, "subnets")
		if f.Subnet != (network.Ref{}) {
			fill(c.props, "privateIPAddressVersion", "IPv4")
		} else {
			delete(c.props, "privateIPAddressVersion") // Azure does not show it of public frontends, even where it was given
		}
		b.address(c, &f)
		b.out.Frontends = append(b.out.Frontends, f)
	}
}

// address reads the address of a frontend in a subnet. One that the platform chose
// stays as long as the subnet does.
func (b *balancerParser) address(c element, f *network.Frontend) {
	path := c.path + ".privateIPAddress"
	given := wire.TextAt(c.props, "privateIPAddress")
	if !f.Static {
		delete(c.props, "privateIPAddress")
		for _, was := range b.was.Frontends {
			if strings.EqualFold(was.Name, f.Name) && was.Subnet == f.Subnet && f.Subnet != (network.Ref{}) {
				f.Address = was.Address
			}
		}
		return
	}
	addr, err := netip.ParseAddr(given)
	switch {
	case given == "":
		b.need(path)
	case err != nil || !addr.Is4():
		b.Add("InvalidIPAddressFormat", path, "'%.64s' is not an IPv4 address.", given)
	case f.Subnet == (network.Ref{}):
		b.Add(wire.InvalidParameter, path, "A frontend without a subnet has no private address; leave privateIPAddress out.")
	default:
		f.Address = addr
	}
}

func (b *balancerParser) pools() {
	for _, c := range b.children(poolList) {
		pool := network.Pool{Name: c.name}
		if n, given := wire.NumberAt(c.props, "drainPeriodInSeconds"); given && n < 0 {
			b.Add(wire.InvalidParameter, c.path+".drainPeriodInSeconds", "drainPeriodInSeconds is %d; it must be 0 or more.", n)
		} else {
			pool.Drain = time.Duration(n) * time.Second
		}
		b.poolNetwork(&pool, c.props, c.path)
		b.addresses(c, &pool)
		b.out.Pools = append(b.out.Pools, pool)
	}
}

// addresses reads the addresses that a pool lists. An element without one is what an
// answer shows of a card, which is not the user's to say.
func (b *balancerParser) addresses(c element, pool *network.Pool) {
	const member = "loadBalancerBackendAddresses"
	list, _ := c.props[member].([]any)
	rest, names := []any{}, map[string]bool{}
	for i, v := range list {
		doc, _ := v.(map[string]any)
		props, path := sub(doc, "properties"), fmt.Sprintf("%s.%s[%d]", c.path, member, i)
		given, netGiven := wire.TextAt(props, "ipAddress"), wire.TextAt(props, "virtualNetwork", "id") != ""
		if given == "" && !netGiven {
			continue
		}
		name := strings.ToLower(wire.TextAt(doc, "name"))
		addr, err := netip.ParseAddr(given)
		switch {
		case given == "":
			b.need(path + ".properties.ipAddress")
		case err != nil || !addr.Is4():
			b.Add("InvalidIPAddressFormat", path+".properties.ipAddress", "'%.64s' is not an IPv4 address.", given)
		case name == "" || strings.ContainsRune(name, '/'):
			b.Add("InvalidResourceName", path+".name", "A backend address needs a name without slashes.")
		case names[name]:
			b.Add("DuplicateResourceName", path+".name", "Two backend addresses of pool '%s' are called '%s'.", c.name, name)
		default:
			pool.Addresses = append(pool.Addresses, addr)
		}
		names[name] = true
		b.poolNetwork(pool, props, path+".properties")
		rest = append(rest, v)
	}
	if delete(c.props, member); len(rest) > 0 {
		c.props[member] = rest
	}
}

// poolNetwork reads a reference to the network of a pool. All must be the same.
func (b *balancerParser) poolNetwork(pool *network.Pool, in wire.Document, at string) {
	switch to := b.ref(in, "virtualNetwork", at, network.VirtualNetworkKind, ""); {
	case to == (network.Ref{}): // none, or said
	case pool.Network != (network.Key{}) && pool.Network != to.Key:
		b.Add(wire.InvalidParameter, at+".virtualNetwork.id", "The addresses of backend address pool '%s' are in the virtual networks %s and %s; those of one pool are in one.", pool.Name, pool.Network.Name, to.Name)
	default:
		pool.Network = to.Key
	}
}

func (b *balancerParser) probes() {
	for _, c := range b.children(probeList) {
		fill(c.props, "intervalInSeconds", int64(15))
		fill(c.props, "numberOfProbes", int64(2))
		fill(c.props, "probeThreshold", int64(1))
		interval, _ := wire.NumberAt(c.props, "intervalInSeconds")
		threshold, _ := wire.NumberAt(c.props, "probeThreshold")
		protocol := wire.TextAt(c.props, "protocol")
		if protocol == "" {
			b.need(c.path + ".protocol")
			protocol = string(network.ProbeTCP)
		}
		b.out.Probes = append(b.out.Probes, network.Probe{
			Name: c.name, Protocol: network.ProbeProtocol(protocol), Port: b.port(c, "port", 1), Path: wire.TextAt(c.props, "requestPath"),
			Interval: time.Duration(interval) * time.Second, Threshold: threshold,
		})
	}
}

func (b *balancerParser) rules() {
	for _, c := range b.children(ruleList) {
		r := network.BalancingRule{Name: c.name, Frontend: b.needed(c, "frontendIPConfiguration", frontendList), Protocol: b.protocol(c)}
		r.Idle, r.Reset = b.shared(c)
		translated(c)
		r.FrontendPort = b.port(c, "frontendPort", 0)
		fill(c.props, "backendPort", int64(r.FrontendPort))
		r.BackendPort = b.port(c, "backendPort", 0)
		fill(c.props, "loadDistribution", string(network.FiveTuple))
		r.Distribution = network.Distribution(wire.TextAt(c.props, "loadDistribution"))
		if b.sku != network.Basic {
			fill(c.props, "disableOutboundSnat", false)
		}
		r.NoOutbound = wire.FlagAt(c.props, "disableOutboundSnat")
		r.Pools = b.rulePools(c)
		r.Probe = b.one(c, "probe", probeList)
		b.out.Rules = append(b.out.Rules, r)
	}
}

// rulePools reads the pool of a rule, which is in two members: clients write one
// and send both back.
func (b *balancerParser) rulePools(c element) []string {
	one, all := b.one(c, "backendAddressPool", poolList), b.several(c, "backendAddressPools", poolList)
	switch {
	case one == "" && len(all) == 0:
		delete(c.props, "backendAddressPools")
		return nil
	case one == "":
		c.props["backendAddressPool"] = map[string]any{"id": wire.TextAt(wire.ObjectsAt(c.props, "backendAddressPools")[0], "id")}
	case len(all) == 0:
		all = []string{one}
		c.props["backendAddressPools"] = []any{map[string]any{"id": wire.TextAt(c.props, "backendAddressPool", "id")}}
	case all[0] != one:
		b.Add(wire.InvalidParameter, c.path+".backendAddressPools", "backendAddressPool of load balancing rule '%s' is '%s', and backendAddressPools says '%s'; send one of them.", c.name, one, all[0])
	}
	return all
}

func (b *balancerParser) natPools() {
	for _, c := range b.children(natPoolList) {
		idle, reset := b.shared(c)
		translated(c)
		b.out.NATPools = append(b.out.NATPools, network.NATPool{
			Name: c.name, Frontend: b.needed(c, "frontendIPConfiguration", frontendList), Protocol: b.protocol(c),
			Ports: b.ports(c), BackendPort: b.port(c, "backendPort", 1), Idle: idle, Reset: reset,
		})
	}
}

func (b *balancerParser) natRules() {
	for _, c := range b.children(natRuleList) {
		fill(c.props, "protocol", string(network.TCP))
		idle, reset := b.shared(c)
		translated(c)
		r := network.NATRule{
			Name: c.name, Frontend: b.needed(c, "frontendIPConfiguration", frontendList), Protocol: b.protocol(c),
			BackendPort: b.port(c, "backendPort", 1), Idle: idle, Reset: reset,
		}
		port, _ := wire.NumberAt(c.props, "frontendPort")
		first, ranged := wire.NumberAt(c.props, "frontendPortRangeStart")
		r.Pool = b.one(c, "backendAddressPool", poolList)
		switch {
		case r.Pool != "" && port != 0:
			b.Add(wire.InvalidParameter, c.path+".frontendPort", "Inbound NAT rule '%s' is over a backend address pool and has a range of ports; leave frontendPort out.", c.name)
		case r.Pool != "":
			fill(c.props, "frontendPort", int64(0))
			r.Ports = b.ports(c)
		case ranged && first != 0:
			b.Add(wire.InvalidParameter, c.path+".frontendPortRangeStart", "Inbound NAT rule '%s' is over no backend address pool and has one frontendPort; leave frontendPortRangeStart out, or name a pool by backendAddressPool.id.", c.name)
		default:
			one := b.port(c, "frontendPort", 1)
			r.Ports = network.Ports{First: one, Last: one}
		}
		b.out.NATRules = append(b.out.NATRules, r)
	}
}

func (b *balancerParser) outbound() {
	for _, c := range b.children(outboundList) {
		fill(c.props, "allocatedOutboundPorts", int64(0))
		if n, _ := wire.NumberAt(c.props, "allocatedOutboundPorts"); n < 0 || n > 64000 || n%8 != 0 {
			b.Add(wire.InvalidParameter, c.path+".allocatedOutboundPorts", "allocatedOutboundPorts is %d; it must be a multiple of 8 between 0 and 64000.", n)
		}
		o := network.OutboundRule{Name: c.name, Pool: b.needed(c, "backendAddressPool", poolList), Protocol: b.protocol(c)}
		o.Idle, _ = b.shared(c)
		if len(wire.ObjectsAt(c.props, "frontendIPConfigurations")) == 0 {
			b.need(c.path + ".frontendIPConfigurations")
		}
		o.Frontends = b.several(c, "frontendIPConfigurations", frontendList)
		b.out.Outbound = append(b.out.Outbound, o)
	}
}

// scope checks what the user says the frontends are.
func (b *balancerParser) scope() {
	said := wire.TextAt(b.props, "scope")
	for _, f := range b.out.Frontends {
		if is := map[bool]string{true: "Private", false: "Public"}[f.Subnet != (network.Ref{})]; said != "" && said != is {
			b.Add(wire.InvalidParameter, "properties.scope", "scope is %s, but frontend IP configuration '%s' is %s; leave scope out.", said, f.Name, strings.ToLower(is))
			return
		}
	}
}

// lists fills in the lists that answers always show. A Basic balancer has no
// outbound rules.
func (b *balancerParser) lists() {
	for _, list := range balancerLists {
		if len(wire.ObjectsAt(b.props, list)) > 0 {
			continue
		}
		if b.props[list] = []any{}; list == outboundList && b.sku == network.Basic {
			delete(b.props, list)
		}
	}
}
