package network

import (
	"strings"
	"time"

	"github.com/muster-vm/muster/internal/resource"
)

// Kind says what a Resource is. It is the last segment of its ARM type.
type Kind string

// The kinds.
const (
	VirtualNetworkKind   Kind = "virtualNetworks"
	SecurityGroupKind    Kind = "networkSecurityGroups"
	ApplicationGroupKind Kind = "applicationSecurityGroups"
	PublicAddressKind    Kind = "publicIPAddresses"
	LoadBalancerKind     Kind = "loadBalancers"
	NATGatewayKind       Kind = "natGateways"
)

// Kinds lists the kinds. What one refers to comes after it, so that deleting in
// this order meets nothing in use.
func Kinds() []Kind {
	return []Kind{LoadBalancerKind, VirtualNetworkKind, NATGatewayKind, SecurityGroupKind, ApplicationGroupKind, PublicAddressKind}
}

// Type returns the ARM type of the kind.
func (k Kind) Type() string { return "Microsoft.Network/" + string(k) }

// Key finds a resource by name. The parts but Kind are in lower case; make it with
// NewKey or KeyOf. The zero Key stands for none.
type Key struct {
	Kind                      Kind
	Subscription, Group, Name string
}

// NewKey returns the key of the resource with these names, in any letter case.
func NewKey(kind Kind, subscription, group, name string) Key {
	return Key{kind, strings.ToLower(subscription), strings.ToLower(group), strings.ToLower(name)}
}

// KeyOf returns the key of the resource that id names or is a child of, and false
// if that is none of this package's kinds.
func KeyOf(id resource.ID) (Key, bool) {
	first, _, _ := strings.Cut(id.Type()[strings.Index(id.Type(), "/")+1:], "/")
	for _, k := range Kinds() {
		if strings.EqualFold(id.Provider, "Microsoft.Network") && strings.EqualFold(first, string(k)) && len(id.Names) > 0 {
			return NewKey(k, id.Subscription, id.Group, id.Names[0]), true
		}
	}
	return Key{}, false
}

// UID is the GUID that a resource gets at creation (resourceGuid). One that is
// deleted and made again under the same name has another one.
type UID string

// Resource is what the user said of one resource. The API alone writes it, but for
// Deleting, which the reconciler of groups sets when a user deletes the group, and
// its removal. Exactly one of the pointers is set, by Kind; an application
// security group has nothing of its own.
type Resource struct {
	ID       resource.ID
	UID      UID
	Kind     Kind
	Location string
	Zones    []string
	Tags     map[string]string
	Created  time.Time
	SKU      SKU

	VirtualNetwork *VirtualNetwork
	SecurityGroup  *SecurityGroup
	PublicAddress  *PublicAddress
	LoadBalancer   *LoadBalancer
	NATGateway     *NATGateway

	Document []byte // canonical JSON of what was given, to be shown again
	Deleting bool
}

// Key returns the resource's key.
func (r Resource) Key() Key { return NewKey(r.Kind, r.ID.Subscription, r.ID.Group, r.ID.Name()) }

// SKU is the tier of a load balancer or public address.
type SKU string

// The SKUs.
const (
	Basic    SKU = "Basic"
	Standard SKU = "Standard" // closed to the outside unless a security group opens it
)

// Ref names a resource, or a child of it by name: a subnet of a virtual network, a
// pool of a load balancer. The zero Ref stands for none.
type Ref struct {
	Key
	Child string // in lower case; empty for the resource itself
}

// RefOf returns what id refers to; false if it is no resource of this package's
// kinds. A child is named by the last of its names: no kind has two children of
// one name that could be confused where a Ref is used.
func RefOf(id resource.ID) (Ref, bool) {
	key, ok := KeyOf(id)
	if !ok {
		return Ref{}, false
	}
	r := Ref{Key: key}
	if len(id.Names) > 1 {
		r.Child = strings.ToLower(id.Names[len(id.Names)-1])
	}
	return r, true
}

// Is reports whether a child with this name is the one that is named, in any
// letter case.
func (r Ref) Is(child string) bool { return r.Child != "" && strings.EqualFold(r.Child, child) }
