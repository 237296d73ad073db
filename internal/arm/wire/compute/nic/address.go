package nic

import (
	"cmp"
	"strings"

	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/vmss"
)

// The public addresses of instances.
type (
	addressJSON struct {
		Name       string                `json:"name"`
		ID         string                `json:"id"`
		ETag       string                `json:"etag"`
		Properties addressPropertiesJSON `json:"properties"`
		SKU        skuJSON               `json:"sku"`
	}
	addressPropertiesJSON struct {
		ProvisioningState string     `json:"provisioningState"`
		ResourceGUID      string     `json:"resourceGuid"`
		IPAddress         string     `json:"ipAddress,omitempty"`
		Version           string     `json:"publicIPAddressVersion"`
		Allocation        string     `json:"publicIPAllocationMethod"`
		Idle              int        `json:"idleTimeoutInMinutes"`
		DNSSettings       *labelJSON `json:"dnsSettings,omitempty"`
		IPTags            []string   `json:"ipTags"`
		IPConfiguration   idJSON     `json:"ipConfiguration"`
	}
	labelJSON struct {
		Label string `json:"domainNameLabel"`
		FQDN  string `json:"fqdn"`
	}
	skuJSON struct {
		Name string `json:"name"`
	}
)

func (r *Renderer) addressID(in Input, n vmss.NIC, c vmss.IPConfig) string {
	return r.configID(in, n, c) + "/publicIPAddresses/" + c.PublicIP.Name
}

// address writes the public address of an IP configuration that has one.
func (r *Renderer) address(in Input, n vmss.NIC, c vmss.IPConfig) []byte {
	guid := vmss.GUID(r.set.UID, "publicip", in.ID.String(), n.Name, c.Name)
	p := addressPropertiesJSON{
		ProvisioningState: succeeded, ResourceGUID: guid, IPAddress: in.Held[PlaceOf(n.Name, c.Name)].Public, Version: "IPv4", Allocation: "Dynamic",
		Idle: cmp.Or(c.PublicIP.Idle, minIdle), IPTags: []string{}, IPConfiguration: idJSON{r.configID(in, n, c)},
	}
	sku := "Basic"
	if c.PublicIP.Standard {
		sku, p.Allocation = "Standard", "Static" // a standard address is never dynamic
	}
	if c.PublicIP.Label != "" {
		name := "vm" + in.ID.String() + "." + c.PublicIP.Label
		p.DNSSettings = &labelJSON{name, name + "." + r.set.Location + ".cloudapp.azure.com"}
	}
	return marshal(addressJSON{c.PublicIP.Name, r.addressID(in, n, c), quoted(guid), p, skuJSON{sku}})
}

// Addresses writes the public addresses of an instance.
func (r *Renderer) Addresses(in Input) [][]byte {
	var out [][]byte
	for _, n := range r.nics {
		for _, c := range n.IPConfigs {
			if c.PublicIP != nil {
				out = append(out, r.address(in, n, c))
			}
		}
	}
	return out
}

// AddressesOf writes the public addresses of an IP configuration: one or none. It
// fails with NotFound if the model has no such configuration.
func (r *Renderer) AddressesOf(in Input, name, config string) ([][]byte, error) {
	n, c, err := r.findConfig(in, name, config)
	if err != nil || c.PublicIP == nil {
		return nil, err
	}
	return [][]byte{r.address(in, n, c)}, nil
}

// Address writes the public address of an IP configuration. It fails with NotFound
// if it has none of that name.
func (r *Renderer) Address(in Input, name, config, address string) ([]byte, error) {
	n, c, err := r.findConfig(in, name, config)
	if err != nil {
		return nil, err
	}
	if c.PublicIP == nil || !strings.EqualFold(c.PublicIP.Name, address) {
		return nil, resource.Errorf(resource.NotFound, "NotFound", "IP configuration '%s' of instance %s has no public address '%s'.", config, in.ID, address)
	}
	return r.address(in, n, c), nil
}
