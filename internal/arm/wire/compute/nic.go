package compute

import (
	"strings"

	"github.com/muster-vm/muster/internal/arm/wire"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/vmss"
)

// RenderNICs writes the network interfaces of an instance, in the model's
// order. The primary one shows the address and MAC that its host reported.
func (r *InstanceRenderer) RenderNICs(in InstanceInput) ([][]byte, error) {
	vm, err := storedDocument(r.model.Document)
	if err != nil {
		return nil, err
	}
	var out [][]byte
	for _, nic := range objects(vm, "networkProfile", "networkInterfaceConfigurations") {
		out = append(out, r.nic(in, nic))
	}
	return out, nil
}

// RenderNIC writes the network interface of that name, in any letter case. It
// fails with NotFound if the model has none.
func (r *InstanceRenderer) RenderNIC(in InstanceInput, name string) ([]byte, error) {
	all, err := r.RenderNICs(in)
	if err != nil {
		return nil, err
	}
	for i, nic := range r.model.NICs {
		if strings.EqualFold(nic.Name, name) && i < len(all) {
			return all[i], nil
		}
	}
	return nil, resource.Errorf(resource.NotFound, "NotFound", "Instance %s has no network interface '%s'.", in.Row.ID, name)
}

func (r *InstanceRenderer) nic(in InstanceInput, nic wire.Document) []byte {
	instance := r.id + in.Row.ID.String()
	name := text(nic, "name")
	id := instance + "/networkInterfaces/" + name
	props := object(nic, "properties")
	guid := vmss.GUID(r.set.UID, "nic", in.Row.ID.String(), name)
	etag := `W/"` + guid + `"`
	b := appendText(nil, `{"name":`, name)
	b = appendText(b, `,"id":`, id)
	b = appendText(b, `,"etag":`, etag)
	b = append(b, `,"properties":{"provisioningState":"Succeeded"`...)
	b = appendText(b, `,"resourceGuid":`, guid)
	b = append(b, `,"ipConfigurations":[`...)
	primary := flag(props, "primary")
	ips := objects(props, "ipConfigurations")
	for i, ip := range ips {
		if i > 0 {
			b = append(b, ',')
		}
		main := len(ips) == 1 || flag(ip, "properties", "primary")
		address := ""
		if primary && main {
			address = in.Seen.Address
		}
		b = appendIPConfig(b, ip, ipView{id: id, etag: etag, primary: main, address: address})
	}
	b = append(b, `],"dnsSettings":{"dnsServers":`...)
	b = anyNode.Append(b, orEmpty(wire.Get(props, "dnsSettings", "dnsServers")))
	b = append(b, `,"appliedDnsServers":[]}`...)
	if primary {
		b = appendTextIf(b, `,"macAddress":`, macOf(in.Seen.MAC))
	}
	b = appendBool(append(b, `,"enableIPForwarding":`...), flag(props, "enableIPForwarding"))
	b = appendBool(append(b, `,"primary":`...), primary)
	if nsg := object(props, "networkSecurityGroup"); nsg != nil {
		b = anyNode.Append(append(b, `,"networkSecurityGroup":`...), nsg)
	}
	b = appendText(b, `,"virtualMachine":{"id":`, instance)
	b = append(append(b, `}},"location":`...), r.location...)
	return append(b, '}')
}

// ipView is what an IP configuration's answer shows beside its document.
type ipView struct {
	id, etag string // of the network interface
	primary  bool
	address  string // empty while it is not known
}

func appendIPConfig(b []byte, ip wire.Document, view ipView) []byte {
	name, props := text(ip, "name"), object(ip, "properties")
	b = appendText(b, `{"name":`, name)
	b = appendText(b, `,"id":`, view.id+"/ipConfigurations/"+name)
	b = appendText(b, `,"etag":`, view.etag)
	b = append(b, `,"properties":{"provisioningState":"Succeeded"`...)
	b = appendTextIf(b, `,"privateIPAddress":`, view.address)
	b = append(b, `,"privateIPAllocationMethod":"Dynamic"`...)
	for _, member := range []string{"subnet", "loadBalancerBackendAddressPools", "applicationGatewayBackendAddressPools", "applicationSecurityGroups"} {
		if props[member] != nil {
			b = append(append(append(b, `,"`...), member...), `":`...)
			b = anyNode.Append(b, props[member])
		}
	}
	b = appendBool(append(b, `,"primary":`...), view.primary)
	version := text(props, "privateIPAddressVersion")
	if version == "" {
		version = "IPv4"
	}
	return append(appendText(b, `,"privateIPAddressVersion":`, version), '}', '}')
}

// anyNode writes a value without a ledger.
var anyNode = &wire.Node{Type: wire.Any}

func orEmpty(v any) any {
	if v == nil {
		return []any{}
	}
	return v
}
