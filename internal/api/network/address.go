package network

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	noun "github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
)

// giveOut plans what is given out with a resource, and given back: its public
// address, those that it begins or ceases to use, and the addresses of internal
// frontends.
func (a *API) giveOut(e *edit, next *noun.Resource) error {
	switch {
	case next.PublicAddress != nil:
		if err := a.checkLabel(*next); err != nil {
			return err
		}
		return a.assign(e, next)
	case next.LoadBalancer != nil:
		if err := a.giveFrontends(e, next); err != nil {
			return err
		}
	}
	return a.giveDynamic(e, *next)
}

// assign gives a public address out to a resource that needs it: a static one from
// the start, a dynamic one while something uses it.
func (a *API) assign(e *edit, next *noun.Resource) error {
	p := next.PublicAddress
	if p.Address.IsValid() || !p.Static && len(a.users(part{Key: next.Key()})) == 0 {
		return nil
	}
	address, err := a.freePublic(&e.changes)
	if err != nil {
		return err
	}
	p.Address = address
	e.reserve(noun.PublicSpace, address, noun.Reservation{By: next.ID.Key(), Static: p.Static})
	return nil
}

// freePublic returns the lowest public address that nobody has. It fails with
// Exhausted, code PublicIPAddressPoolExhausted.
func (a *API) freePublic(c *changes) (netip.Addr, error) {
	taken := c.taken(noun.PublicSpace)
	for address := a.Public.Addr().Next(); a.Public.Contains(address.Next()); address = address.Next() {
		if !taken(address) {
			return address, nil
		}
	}
	return netip.Addr{}, resource.Errorf(resource.Exhausted, "PublicIPAddressPoolExhausted",
		"All public addresses of %s are in use. Delete some, or give the server a larger network.publicPrefix.", a.Public)
}

// giveDynamic gives dynamic public addresses out that the resource begins to use,
// and back those that it does not use any more.
func (a *API) giveDynamic(e *edit, next noun.Resource) error {
	used := map[noun.Key]bool{}
	for _, u := range noun.Uses(next) {
		used[u.Of.Key] = true
		public, ok := store.Get(a.Store, store.Networks, u.Of.Key)
		if !ok || public.Value.PublicAddress == nil || public.Value.PublicAddress.Address.IsValid() {
			continue
		}
		address, err := a.freePublic(&e.changes)
		if err != nil {
			return err
		}
		e.readdress(public, address)
		e.reserve(noun.PublicSpace, address, noun.Reservation{By: public.Value.ID.Key()})
	}
	if e.Value == nil {
		return nil
	}
	for _, u := range noun.Uses(*e.Value) {
		public, ok := store.Get(a.Store, store.Networks, u.Of.Key)
		if !ok || used[u.Of.Key] || public.Value.PublicAddress == nil || public.Value.PublicAddress.Static || !public.Value.PublicAddress.Address.IsValid() {
			continue
		}
		e.release(noun.PublicSpace, public.Value.PublicAddress.Address)
		e.readdress(public, netip.Addr{})
	}
	return nil
}

// readdress writes a public address with what is given out to it.
func (c *changes) readdress(public entry, address netip.Addr) {
	next, inside := *public.Value, *public.Value.PublicAddress
	inside.Address = address
	next.PublicAddress = &inside
	c.write(next, public.Revision)
}

// frontendID is who has the address of an internal frontend.
func frontendID(r noun.Resource, f noun.Frontend) string {
	return r.ID.Key() + "/frontendipconfigurations/" + strings.ToLower(f.Name)
}

// giveFrontends gives internal frontends their addresses: those that they have
// already, those that the user chose, or the lowest that are free. It writes them
// into the resource.
func (a *API) giveFrontends(e *edit, next *noun.Resource) error {
	all := next.LoadBalancer.Frontends
	a.takeBack(e, *next)
	for _, static := range []bool{true, false} { // what users chose comes first
		for i := range all {
			if all[i].Subnet == (noun.Ref{}) || all[i].Static != static {
				continue
			}
			if err := a.giveFrontend(e, *next, &all[i], i); err != nil {
				return err
			}
		}
	}
	return nil
}

func (a *API) giveFrontend(e *edit, next noun.Resource, f *noun.Frontend, i int) error {
	net, ok := store.Get(a.Store, store.Networks, f.Subnet.Key)
	if !ok {
		return resource.Errorf(resource.Conflict, store.CodeConflict, "'%s' was deleted meanwhile.", f.Subnet.Name)
	}
	subnet, _ := net.Value.VirtualNetwork.Subnet(f.Subnet.Child)
	space := noun.AddressSpace(net.Value.UID)
	if has, ok := e.space(space)[f.Address.String()]; ok && has.Value.By == frontendID(next, *f) {
		return nil
	}
	var err error
	if f.Static {
		err = noun.CheckStatic(subnet.Name, subnet.Prefix, f.Address, e.taken(space))
	} else {
		f.Address, err = noun.Allocate(subnet.Name, subnet.Prefix, netip.Addr{}, e.taken(space))
	}
	if err != nil {
		return placed(err, frontendPath(i))
	}
	e.reserve(space, f.Address, noun.Reservation{By: frontendID(next, *f), Subnet: strings.ToLower(subnet.Name), Static: f.Static})
	return nil
}

// takeBack gives back the addresses of internal frontends that are gone, that are
// somewhere else now, or whose user chose another one.
func (a *API) takeBack(e *edit, next noun.Resource) {
	if e.Value == nil {
		return
	}
	for _, was := range e.Value.LoadBalancer.Frontends {
		net, ok := store.Get(a.Store, store.Networks, was.Subnet.Key)
		if !ok || was.Subnet == (noun.Ref{}) {
			continue
		}
		stays := slices.ContainsFunc(next.LoadBalancer.Frontends, func(f noun.Frontend) bool {
			return strings.EqualFold(f.Name, was.Name) && f.Subnet == was.Subnet && f.Address == was.Address
		})
		if !stays {
			e.release(noun.AddressSpace(net.Value.UID), was.Address)
		}
	}
}

// frontendPath is where the address of a frontend is.
func frontendPath(i int) string {
	return fmt.Sprintf("properties.frontendIPConfigurations[%d].properties.privateIPAddress", i)
}

// placed names the JSON path at fault.
func placed(err error, path string) error {
	if e, ok := err.(*resource.Error); ok { //nolint:errorlint // the rules do not wrap
		return e.At(path)
	}
	return err
}
