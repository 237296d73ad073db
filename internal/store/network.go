package store

import (
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/vmss"
)

// storedNetwork is a network.Resource as it is stored. Names must not change.
type storedNetwork struct {
	ID             resource.ID             `json:"id"`
	UID            network.UID             `json:"uid"`
	Kind           network.Kind            `json:"kind"`
	Location       string                  `json:"location"`
	Zones          []string                `json:"zones,omitempty"`
	Tags           map[string]string       `json:"tags,omitempty"`
	Created        time.Time               `json:"created"`
	SKU            network.SKU             `json:"sku,omitempty"`
	VirtualNetwork *network.VirtualNetwork `json:"virtualNetwork,omitempty"`
	SecurityGroup  *network.SecurityGroup  `json:"securityGroup,omitempty"`
	PublicAddress  *network.PublicAddress  `json:"publicAddress,omitempty"`
	LoadBalancer   *network.LoadBalancer   `json:"loadBalancer,omitempty"`
	NATGateway     *network.NATGateway     `json:"natGateway,omitempty"`
	Document       []byte                  `json:"document,omitempty"`
	Deleting       bool                    `json:"deleting,omitempty"`
}

var networkCodec = stored(
	func(r network.Resource) storedNetwork { return storedNetwork(r) },
	func(s storedNetwork) network.Resource { return network.Resource(s) })

// storedReservation is a network.Reservation as it is stored.
type storedReservation struct {
	By       string `json:"by,omitempty"`
	Set      string `json:"set,omitempty"`
	Instance int64  `json:"instance,omitempty"`
	NIC      string `json:"nic,omitempty"`
	Config   string `json:"config,omitempty"`
	Subnet   string `json:"subnet,omitempty"`
	Static   bool   `json:"static,omitempty"`
}

var reservationCodec = stored(
	func(r network.Reservation) storedReservation { return storedReservation(r) },
	func(s storedReservation) network.Reservation { return network.Reservation(s) })

// Networks are the resources of Microsoft.Network.
var Networks = Kind[network.Key, network.Resource]{"networks/",
	func(k network.Key) string {
		return string(k.Kind) + "/" + k.Subscription + "/" + k.Group + "/" + k.Name
	},
	func(s string) (network.Key, bool) {
		part := strings.Split(s, "/")
		if len(part) != 4 {
			return network.Key{}, false
		}
		return network.Key{Kind: network.Kind(part[0]), Subscription: part[1], Group: part[2], Name: part[3]}, true
	},
	networkCodec, func(c *cache) table[network.Key, network.Resource] { return networkTable{c} }}

// Reservations are what is given out once.
var Reservations = Kind[network.ReservationKey, network.Reservation]{"reservations/",
	func(k network.ReservationKey) string { return string(k.Space) + "/" + k.Name },
	func(s string) (network.ReservationKey, bool) {
		space, name, ok := strings.Cut(s, "/")
		return network.ReservationKey{Space: network.Space(space), Name: name}, ok
	},
	reservationCodec, func(c *cache) table[network.ReservationKey, network.Reservation] { return reservationTable{c} }}

// networkTable holds resources, and finds them by UID.
type networkTable struct{ *cache }

func (t networkTable) get(k network.Key) (Entry[network.Resource], bool)    { return t.networks.get(k) }
func (t networkTable) all() iter.Seq2[network.Key, Entry[network.Resource]] { return t.networks.all() }

func (t networkTable) put(k network.Key, e Entry[network.Resource]) {
	t.remove(k)
	t.networks[k] = e
	t.networkOf[e.Value.UID] = k
}

func (t networkTable) remove(k network.Key) {
	if old, ok := t.networks[k]; ok {
		delete(t.networkOf, old.Value.UID)
		delete(t.networks, k)
	}
}

// NetworkByUID returns the resource of Microsoft.Network with this UID.
func (s *Store) NetworkByUID(uid network.UID) (Entry[network.Resource], bool) {
	s.cache.mu.RLock()
	defer s.cache.mu.RUnlock()
	key, ok := s.cache.networkOf[uid]
	if !ok {
		return Entry[network.Resource]{}, false
	}
	return s.cache.networks.get(key)
}

// reservationTable holds reservations by space, and finds those of an instance.
type reservationTable struct{ *cache }

func (t reservationTable) get(k network.ReservationKey) (Entry[network.Reservation], bool) {
	e, ok := t.reserved[k.Space][k.Name]
	return e, ok
}

func (t reservationTable) all() iter.Seq2[network.ReservationKey, Entry[network.Reservation]] {
	return func(yield func(network.ReservationKey, Entry[network.Reservation]) bool) {
		for space, names := range t.reserved {
			for name, e := range names {
				if !yield(network.ReservationKey{Space: space, Name: name}, e) {
					return
				}
			}
		}
	}
}

func (t reservationTable) put(k network.ReservationKey, e Entry[network.Reservation]) {
	t.remove(k)
	if t.reserved[k.Space] == nil {
		t.reserved[k.Space] = map[string]Entry[network.Reservation]{}
	}
	t.reserved[k.Space][k.Name] = e
	if owner, ok := holderOf(e.Value); ok {
		t.holders[owner] = append(t.holders[owner], k)
	}
}

func (t reservationTable) remove(k network.ReservationKey) {
	old, ok := t.get(k)
	if !ok {
		return
	}
	if delete(t.reserved[k.Space], k.Name); len(t.reserved[k.Space]) == 0 {
		delete(t.reserved, k.Space)
	}
	if owner, ok := holderOf(old.Value); ok {
		rest := slices.DeleteFunc(t.holders[owner], func(h network.ReservationKey) bool { return h == k })
		if t.holders[owner] = rest; len(rest) == 0 {
			delete(t.holders, owner)
		}
	}
}

// holderOf returns the instance that has the reservation.
func holderOf(r *network.Reservation) (vmss.InstanceKey, bool) {
	return vmss.InstanceKey{Set: vmss.UID(r.Set), ID: vmss.InstanceID(r.Instance)}, r.Set != ""
}

// Reserved returns everything that is given out in a space, by name.
func (s *Store) Reserved(space network.Space) map[string]Entry[network.Reservation] {
	s.cache.mu.RLock()
	defer s.cache.mu.RUnlock()
	return maps.Clone(s.cache.reserved[space])
}

// IsReserved reports whether somebody has the name in the space.
func (s *Store) IsReserved(k network.ReservationKey) bool {
	s.cache.mu.RLock()
	defer s.cache.mu.RUnlock()
	_, ok := s.cache.reserved[k.Space][k.Name]
	return ok
}

// ReservedBy returns what an instance has, in no order.
func (s *Store) ReservedBy(instance vmss.InstanceKey) []network.ReservationKey {
	s.cache.mu.RLock()
	defer s.cache.mu.RUnlock()
	return slices.Clone(s.cache.holders[instance])
}
