package nic

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"

	"github.com/muster-vm/muster/internal/arm/wire"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/vmss"
)

// Where a scale set says what cards its instances have, as JSON paths.
const (
	profilePath = "properties.virtualMachineProfile.networkProfile"
	Path        = profilePath + ".networkInterfaceConfigurations"
	probePath   = profilePath + ".healthProbe.id"
)

// Limits and defaults.
const (
	maxNICs = 8
	minIdle = 4 // minutes; the default too
	maxIdle = 30
)

// label is what a domainNameLabel looks like.
//
// Source: https://learn.microsoft.com/azure/virtual-network/ip-services/public-ip-addresses#domain-name-label
var label = regexp.MustCompile(`^[a-z][a-z0-9-]{1,61}[a-z0-9]$`)

// reader reads a profile. It collects problems instead of stopping.
type reader struct{ *wire.Problems }

// Read reads the cards of a networkProfile, nil for none, whose members have
// canonical names and types. Problems go to p, at JSON paths of the scale set.
func Read(p *wire.Problems, profile wire.Document) []vmss.NIC {
	r := reader{p}
	list := wire.ObjectsAt(profile, "networkInterfaceConfigurations")
	if len(list) > maxNICs {
		r.Add(wire.InvalidParameter, Path, "An instance has at most %d network interfaces; %d were given.", maxNICs, len(list))
	}
	var out []vmss.NIC
	names, primary := map[string]bool{}, 0
	for i, card := range list {
		at := fmt.Sprintf("%s[%d]", Path, i)
		n := r.card(card, at)
		r.uniqueName(names, n.Name, at+".name")
		if n.Primary {
			primary++
		}
		out = append(out, n)
	}
	if profile != nil && primary != 1 {
		r.Add(wire.InvalidParameter, Path, "Exactly one network interface must be primary; %d are.", primary)
	}
	r.oneNetwork(out)
	r.healthProbe(wire.TextAt(profile, "healthProbe", "id"), out)
	return out
}

func (r reader) card(card wire.Document, at string) vmss.NIC {
	props := wire.ObjectAt(card, "properties")
	at += ".properties"
	n := vmss.NIC{
		Name: wire.TextAt(card, "name"), Primary: wire.FlagAt(props, "primary"), Forwarding: wire.FlagAt(props, "enableIPForwarding"),
		SecurityGroup: wire.TextAt(props, "networkSecurityGroup", "id"), DNS: wire.TextsAt(props, "dnsSettings", "dnsServers"),
	}
	r.isOf(securityGroup, n.SecurityGroup, at+".networkSecurityGroup.id")
	for i, server := range n.DNS {
		if a, err := netip.ParseAddr(server); err != nil || !a.Is4() {
			r.Add(wire.InvalidParameter, fmt.Sprintf("%s.dnsSettings.dnsServers[%d]", at, i), "The DNS server '%.64s' is not an IPv4 address.", server)
		}
	}
	n.IPConfigs = r.configs(wire.ObjectsAt(props, "ipConfigurations"), at+".ipConfigurations")
	return n
}

// configs reads the addresses of a card. One that names no subnet is in the
// default network of its host: that is ours, Azure requires a subnet.
func (r reader) configs(list []wire.Document, path string) []vmss.IPConfig {
	if len(list) == 0 {
		r.Add(wire.InvalidParameter, path, "A network interface needs an IP configuration.")
	}
	var out []vmss.IPConfig
	names, primary := map[string]bool{}, 0
	for i, ip := range list {
		at := fmt.Sprintf("%s[%d]", path, i)
		c := r.config(ip, at)
		c.Primary = c.Primary || len(list) == 1 && wire.Get(ip, "properties", "primary") == nil
		r.uniqueName(names, c.Name, at+".name")
		if c.Primary {
			primary++
		}
		out = append(out, c)
	}
	if len(list) > 0 && primary != 1 {
		r.Add(wire.InvalidParameter, path, "Exactly one IP configuration must be primary; %d are.", primary)
	}
	return out
}

func (r reader) config(ip wire.Document, at string) vmss.IPConfig {
	props := wire.ObjectAt(ip, "properties")
	at += ".properties"
	c := vmss.IPConfig{Name: wire.TextAt(ip, "name"), Primary: wire.FlagAt(props, "primary"), Subnet: wire.TextAt(props, "subnet", "id")}
	r.isOf(subnet, c.Subnet, at+".subnet.id")
	c.AppGroups = r.ids(appGroup, props, "applicationSecurityGroups", at)
	c.Pools = r.ids(pool, props, "loadBalancerBackendAddressPools", at)
	c.NATPools = r.ids(natPool, props, "loadBalancerInboundNatPools", at)
	c.PublicIP = r.public(wire.ObjectAt(props, "publicIPAddressConfiguration"), at+".publicIPAddressConfiguration")
	return c
}

// ids reads a list of references.
func (r reader) ids(k kind, props wire.Document, member, at string) []string {
	var out []string
	seen := map[string]bool{}
	for i, ref := range wire.ObjectsAt(props, member) {
		id, path := wire.TextAt(ref, "id"), fmt.Sprintf("%s.%s[%d].id", at, member, i)
		r.isOf(k, id, path)
		r.unique(seen, id, path, "'%s' is named twice.")
		out = append(out, id)
	}
	return out
}

// isOf checks that an id, if there is one, is of the kind. Its syntax was checked
// when it was decoded.
func (r reader) isOf(k kind, id, path string) {
	if parsed, err := resource.ParseID(id); err == nil && !strings.EqualFold(parsed.Type(), k.typ) {
		r.Add(wire.InvalidParameter, path, "'%s' is not the id of %s but of a %s%s.", id, k.word, parsed.Type(), k.hint)
	}
}

func (r reader) public(config wire.Document, at string) *vmss.PublicIPConfig {
	if config == nil {
		return nil
	}
	out := &vmss.PublicIPConfig{
		Name: wire.TextAt(config, "name"), Idle: minIdle, Label: wire.TextAt(config, "properties", "dnsSettings", "domainNameLabel"),
		Standard: wire.TextAt(config, "sku", "name") == "Standard",
	}
	if out.Name == "" {
		r.missing(at + ".name")
	}
	if idle, given := wire.NumberAt(config, "properties", "idleTimeoutInMinutes"); given {
		if out.Idle = idle; idle < minIdle || idle > maxIdle {
			r.Add(wire.InvalidParameter, at+".properties.idleTimeoutInMinutes", "The idle timeout of %d minutes is not between %d and %d.", idle, minIdle, maxIdle)
		}
	}
	if out.Label != "" && !label.MatchString(out.Label) {
		r.Add("InvalidDomainNameLabel", at+".properties.dnsSettings.domainNameLabel",
			"The domain name label %.64s is invalid. It must conform to the following regular expression: %s.", out.Label, label)
	}
	return out
}

func (r reader) uniqueName(seen map[string]bool, name, path string) {
	r.unique(seen, name, path, "The name '%s' is used twice.")
}

// unique checks that a text is there and was not seen before, in any letter case.
func (r reader) unique(seen map[string]bool, text, path, twice string) {
	switch folded := strings.ToLower(text); {
	case text == "":
		r.missing(path)
	case seen[folded]:
		r.Add(wire.InvalidParameter, path, twice, text)
	default:
		seen[folded] = true
	}
}

func (r reader) missing(path string) {
	r.Add(wire.InvalidParameter, path, "The required member '%s' is missing.", path)
}
