package nic

import (
	"encoding/json"
	"strings"

	"github.com/muster-vm/muster/internal/arm/wire"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/vmss"
)

// Renderer writes the network interfaces of the instances of one set that have
// one model. It is safe for concurrent use.
type Renderer struct {
	set         vmss.ScaleSet
	nics        []vmss.NIC
	accelerated []bool // as it was asked for, by interface
	version     string // the request's api-version: what is younger is left out
}

// Place is an IP configuration of an instance, by names in lower case.
type Place struct{ NIC, Config string }

// PlaceOf returns the place with these names, in any letter case.
func PlaceOf(nic, config string) Place { return Place{strings.ToLower(nic), strings.ToLower(config)} }

// Holding is what an IP configuration was given. What it has not yet is empty.
type Holding struct {
	Private  string   // address in the virtual network
	Public   string   // address
	NATRules []string // ids of the rules that forward ports to it, in order
}

// Input is one instance to write.
type Input struct {
	ID   vmss.InstanceID
	Seen vmss.Observation
	Held map[Place]Holding
	// Domain is that of the names in its virtual network; empty while it is in none.
	Domain string
}

// NewRenderer prepares the instances of a set that have a model. It fails only if
// what is stored is no JSON.
func NewRenderer(set vmss.ScaleSet, model vmss.Model, version string) (*Renderer, error) {
	profile, err := profileOf(model)
	if err != nil {
		return nil, err
	}
	r := &Renderer{set: set, nics: model.NICs, version: version, accelerated: make([]bool, len(model.NICs))}
	for i, card := range wire.ObjectsAt(profile, "networkInterfaceConfigurations") {
		if i < len(r.accelerated) {
			r.accelerated[i] = wire.FlagAt(card, "properties", "enableAcceleratedNetworking")
		}
	}
	return r, nil
}

// The answers. Members are in the order in which Azure's recorded answers have
// them.
type (
	idJSON struct {
		ID string `json:"id"`
	}
	nicJSON struct {
		Name       string            `json:"name"`
		ID         string            `json:"id"`
		ETag       string            `json:"etag"`
		Properties nicPropertiesJSON `json:"properties"`
		Location   string            `json:"location"`
	}
	nicPropertiesJSON struct {
		ProvisioningState string       `json:"provisioningState"`
		ResourceGUID      string       `json:"resourceGuid"`
		IPConfigurations  []configJSON `json:"ipConfigurations"`
		DNSSettings       dnsJSON      `json:"dnsSettings"`
		MACAddress        string       `json:"macAddress,omitempty"`
		Accelerated       *bool        `json:"enableAcceleratedNetworking,omitempty"`
		Forwarding        bool         `json:"enableIPForwarding"`
		SecurityGroup     *idJSON      `json:"networkSecurityGroup,omitempty"`
		Primary           bool         `json:"primary"`
		VirtualMachine    idJSON       `json:"virtualMachine"`
	}
	dnsJSON struct {
		Servers []string `json:"dnsServers"`
		Applied []string `json:"appliedDnsServers"`
		Domain  string   `json:"internalDomainNameSuffix,omitempty"`
	}
	configJSON struct {
		Name       string               `json:"name"`
		ID         string               `json:"id"`
		ETag       string               `json:"etag"`
		Properties configPropertiesJSON `json:"properties"`
	}
	configPropertiesJSON struct {
		ProvisioningState string   `json:"provisioningState"`
		Private           string   `json:"privateIPAddress,omitempty"`
		Allocation        string   `json:"privateIPAllocationMethod"`
		Subnet            *idJSON  `json:"subnet,omitempty"`
		Primary           bool     `json:"primary"`
		PublicIPAddress   *idJSON  `json:"publicIPAddress,omitempty"`
		Version           string   `json:"privateIPAddressVersion"`
		AppGroups         []idJSON `json:"applicationSecurityGroups,omitempty"`
		Pools             []idJSON `json:"loadBalancerBackendAddressPools,omitempty"`
		NATRules          []idJSON `json:"loadBalancerInboundNatRules,omitempty"`
	}
)

const succeeded = "Succeeded"

func marshal(v any) []byte {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err) // plain values only
	}
	return raw
}

func idOf(id string) *idJSON {
	if id == "" {
		return nil
	}
	return &idJSON{id}
}

func idsOf(ids []string) []idJSON {
	var out []idJSON
	for _, id := range ids {
		out = append(out, idJSON{id})
	}
	return out
}

// NICs writes the network interfaces of an instance, in the model's order.
func (r *Renderer) NICs(in Input) [][]byte {
	var out [][]byte
	for i := range r.nics {
		out = append(out, marshal(r.nic(in, i)))
	}
	return out
}

// NIC writes the network interface of that name, in any letter case. It fails
// with NotFound if the model has none.
func (r *Renderer) NIC(in Input, name string) ([]byte, error) {
	i, err := r.find(in, name)
	if err != nil {
		return nil, err
	}
	return marshal(r.nic(in, i)), nil
}

// Configs writes the IP configurations of a network interface. It fails with
// NotFound if the model has none of that name.
func (r *Renderer) Configs(in Input, name string) ([][]byte, error) {
	i, err := r.find(in, name)
	if err != nil {
		return nil, err
	}
	var out [][]byte
	for _, c := range r.nics[i].IPConfigs {
		out = append(out, marshal(r.config(in, r.nics[i], c)))
	}
	return out, nil
}

// Config writes one IP configuration of a network interface. It fails with
// NotFound if the model has none of these names.
func (r *Renderer) Config(in Input, name, config string) ([]byte, error) {
	n, c, err := r.findConfig(in, name, config)
	if err != nil {
		return nil, err
	}
	return marshal(r.config(in, n, c)), nil
}

func (r *Renderer) find(in Input, name string) (int, error) {
	for i, n := range r.nics {
		if strings.EqualFold(n.Name, name) {
			return i, nil
		}
	}
	return 0, resource.Errorf(resource.NotFound, "NotFound", "Instance %s has no network interface '%s'.", in.ID, name)
}

func (r *Renderer) findConfig(in Input, name, config string) (vmss.NIC, vmss.IPConfig, error) {
	i, err := r.find(in, name)
	if err != nil {
		return vmss.NIC{}, vmss.IPConfig{}, err
	}
	for _, c := range r.nics[i].IPConfigs {
		if strings.EqualFold(c.Name, config) {
			return r.nics[i], c, nil
		}
	}
	return vmss.NIC{}, vmss.IPConfig{}, resource.Errorf(resource.NotFound, "NotFound", "Network interface '%s' of instance %s has no IP configuration '%s'.", name, in.ID, config)
}

// instanceID is the resource id of an instance.
func (r *Renderer) instanceID(in Input) string {
	return r.set.ID.Child("virtualMachines", in.ID.String()).String()
}

func (r *Renderer) nicID(in Input, n vmss.NIC) string {
	return r.instanceID(in) + "/networkInterfaces/" + n.Name
}

// nicGUID is the resourceGuid of a network interface.
func (r *Renderer) nicGUID(in Input, n vmss.NIC) string {
	return vmss.GUID(r.set.UID, "nic", in.ID.String(), n.Name)
}

func quoted(guid string) string { return `W/"` + guid + `"` }

func (r *Renderer) nic(in Input, i int) nicJSON {
	n := r.nics[i]
	guid := r.nicGUID(in, n)
	p := nicPropertiesJSON{
		ProvisioningState: succeeded, ResourceGUID: guid, Forwarding: n.Forwarding, Primary: n.Primary, VirtualMachine: idJSON{r.instanceID(in)},
		DNSSettings: dnsJSON{Servers: append([]string{}, n.DNS...), Applied: []string{}, Domain: in.Domain}, SecurityGroup: idOf(n.SecurityGroup),
	}
	if in.Seen.MAC != "" { // there are cards
		p.MACAddress = macOf(vmss.MAC(r.set.UID, in.ID, i))
	}
	if r.shows("2016-09-01") {
		p.Accelerated = &r.accelerated[i]
	}
	for _, c := range n.IPConfigs {
		p.IPConfigurations = append(p.IPConfigurations, r.config(in, n, c))
	}
	return nicJSON{n.Name, r.nicID(in, n), quoted(guid), p, r.set.Location}
}

// shows reports whether the request's api-version is this one or younger.
func (r *Renderer) shows(since string) bool { return r.version == "" || r.version >= since }

func (r *Renderer) config(in Input, n vmss.NIC, c vmss.IPConfig) configJSON {
	has := in.Held[PlaceOf(n.Name, c.Name)]
	if c.Subnet == "" && n.Primary && c.Primary {
		has.Private = in.Seen.Address // the default network is the host's to give out
	}
	p := configPropertiesJSON{
		ProvisioningState: succeeded, Private: has.Private, Allocation: "Dynamic", Subnet: idOf(c.Subnet), Primary: c.Primary, Version: "IPv4",
		AppGroups: idsOf(c.AppGroups), Pools: idsOf(c.Pools), NATRules: idsOf(has.NATRules),
	}
	if c.PublicIP != nil {
		p.PublicIPAddress = &idJSON{r.addressID(in, n, c)}
	}
	return configJSON{c.Name, r.configID(in, n, c), quoted(r.nicGUID(in, n)), p}
}

func (r *Renderer) configID(in Input, n vmss.NIC, c vmss.IPConfig) string {
	return r.nicID(in, n) + "/ipConfigurations/" + c.Name
}

// macOf writes a MAC address as Azure does: upper case with hyphens.
func macOf(mac string) string { return strings.ToUpper(strings.ReplaceAll(mac, ":", "-")) }
