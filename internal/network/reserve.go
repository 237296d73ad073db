package network

import (
	"encoding/binary"
	"net/netip"
	"strconv"

	"github.com/muster-vm/muster/internal/resource"
)

// Want is one name that an IP configuration of an instance's card must have out of
// a space: an address within a prefix, or one of the ports.
type Want struct {
	Space  Space
	For    Reservation  // who gets it, as it is written down
	Within netip.Prefix // of an address; the zero Prefix has none to give
	Ports  Ports        // of a frontend port
	Of     string       // name of the subnet, NAT pool or rule, for users
}

// Held is a name that an instance has.
type Held struct {
	ReservationKey
	For      Reservation
	Revision int64 // of the record
}

// Match compares what an instance wants with what it has. names has, for each want,
// the name that it keeps, and "" where one has to be chosen; what nothing asks for
// is surplus.
func Match(wants []Want, has []Held) (names []string, surplus []Held) {
	names = make([]string, len(wants))
	for _, h := range has {
		kept := false
		for i, w := range wants {
			if kept = names[i] == "" && w.isMetBy(h); kept {
				names[i] = h.Name
				break
			}
		}
		if !kept {
			surplus = append(surplus, h)
		}
	}
	return names, surplus
}

// isMetBy reports whether the name is one that the want asks for.
func (w Want) isMetBy(h Held) bool {
	if w.Space != h.Space || w.For != h.For {
		return false
	}
	if a, err := netip.ParseAddr(h.Name); err == nil {
		return w.Within.Contains(a)
	}
	port, err := strconv.ParseUint(h.Name, 10, 16)
	return err == nil && w.Ports.Holds(uint16(port))
}

// Place orders the names of a space: an IPv4 address as a number, or a port.
type Place uint32

// PlaceOf returns the place of a name; false if it is neither an IPv4 address nor a
// port.
func PlaceOf(name string) (Place, bool) {
	if a, err := netip.ParseAddr(name); err == nil && a.Is4() {
		b := a.As4()
		return Place(binary.BigEndian.Uint32(b[:])), true
	}
	port, err := strconv.ParseUint(name, 10, 16)
	return Place(port), err == nil
}

// Choose returns the lowest name of the range that is not taken, and its place. from
// is where to start, for callers who know that everything below is taken; 0 starts
// at the beginning. It fails with Exhausted: code SubnetIsFull,
// PublicIPCountLimitReached or NatPoolPortsExhausted.
func (w Want) Choose(from Place, taken func(name string) bool) (string, Place, error) {
	switch {
	case w.Space == PublicSpace && !w.Within.IsValid():
		return "", 0, resource.Errorf(resource.Exhausted, publicCode, "The host has no public addresses to give out. Name a prefix of them in the server's config.")
	case w.Space == PublicSpace:
		name, at, err := w.address(from, taken)
		if err != nil {
			err = resource.Errorf(resource.Exhausted, publicCode, "All %d public addresses of %s are in use. Delete what is not needed, or give the host a larger prefix.", Capacity(w.Within), w.Within)
		}
		return name, at, err
	case w.Within.IsValid():
		return w.address(from, taken)
	}
	port, err := AllocatePort(w.Of, w.Ports, uint16(min(from, 1<<16-1)), func(p uint16) bool { return taken(portName(p)) })
	return portName(port), Place(port), err
}

// publicCode is Azure's code for too many public addresses.
const publicCode = "PublicIPCountLimitReached"

func (w Want) address(from Place, taken func(name string) bool) (string, Place, error) {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], uint32(from))
	a, err := Allocate(w.Of, w.Within, netip.AddrFrom4(b), func(a netip.Addr) bool { return taken(a.String()) })
	if err != nil {
		return "", 0, err
	}
	at, _ := PlaceOf(a.String())
	return a.String(), at, nil
}

func portName(port uint16) string { return strconv.FormatUint(uint64(port), 10) }

// AllocatePort returns the lowest port of the range that is not taken, from the port
// from on. name is that of the inbound NAT pool or rule whose range it is. It fails
// with Exhausted, code NatPoolPortsExhausted.
func AllocatePort(name string, ports Ports, from uint16, taken func(uint16) bool) (uint16, error) {
	for p := int(max(ports.First, from)); p <= int(ports.Last); p++ {
		if !taken(uint16(p)) {
			return uint16(p), nil
		}
	}
	return 0, resource.Errorf(resource.Exhausted, "NatPoolPortsExhausted",
		"All frontend ports of %s, %d to %d, are in use: each member needs one of its own. Enlarge the range, or delete instances.", name, ports.First, ports.Last)
}
