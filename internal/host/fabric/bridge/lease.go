package bridge

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"

	"github.com/muster-vm/muster/internal/durable"
	"github.com/muster-vm/muster/internal/host/fabric"
	"github.com/muster-vm/muster/internal/host/fabric/bridge/tables"
	"github.com/muster-vm/muster/internal/resource"
)

// lease is what a port holds. Port names, MACs and addresses are unique.
type lease struct {
	Port     string     `json:"port"`
	MAC      string     `json:"mac"` // as net.HardwareAddr writes it
	HostName string     `json:"hostName,omitempty"`
	Address  netip.Addr `json:"address"`
}

func (l lease) member() tables.Member {
	mac, err := net.ParseMAC(l.MAC)
	if err != nil {
		panic(err) // checked when the lease was made or read
	}
	return tables.Member{Tap: tapOf(l.Port), MAC: mac, Address: l.Address}
}

// leases is the table of all leases, kept in a file. It is not safe for
// concurrent use.
type leases struct {
	file  string
	pool  *fabric.Pool
	ports map[string]lease
	macs  map[string]string // MAC to port
}

// leaseFile is the file's shape; the names must not change.
type leaseFile struct {
	Version int          `json:"version"` // 1
	Prefix  netip.Prefix `json:"prefix"`
	Leases  []lease      `json:"leases"` // by port name
}

const leaseVersion = 1

// readLeases reads the table, which is empty if there is no file. Conflict if
// the leases are of another prefix.
func readLeases(file string, prefix netip.Prefix) (*leases, error) {
	pool, err := fabric.NewPool(prefix)
	if err != nil {
		return nil, err
	}
	t := &leases{file: file, pool: pool, ports: map[string]lease{}, macs: map[string]string{}}
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return t, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read leases: %w", err)
	}
	var stored leaseFile
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&stored); err != nil || stored.Version != leaseVersion {
		return nil, resource.Errorf(resource.Unavailable, "",
			"The file %s is not a lease file of this version; restore it, or delete it together with all instances of the host.", file).Because(err)
	}
	if len(stored.Leases) > 0 && stored.Prefix != pool.Prefix() {
		return nil, resource.Errorf(resource.Conflict, "",
			"Instances hold addresses of the network %s; delete them before the network becomes %s.", stored.Prefix, pool.Prefix())
	}
	for _, l := range stored.Leases {
		mac, err := net.ParseMAC(l.MAC)
		if err != nil || mac.String() != l.MAC || t.macs[l.MAC] != "" || !pool.Claim(l.Address) {
			return nil, resource.Errorf(resource.Unavailable, "", "The file %s holds a lease that cannot be (port %s).", file, l.Port).Because(err)
		}
		t.ports[l.Port], t.macs[l.MAC] = l, l.Port
	}
	return t, nil
}

// attach gives a port its lease. The file holds it when attach returns.
func (t *leases) attach(p fabric.Port) (lease, error) {
	mac, err := net.ParseMAC(p.MAC)
	if err != nil || len(mac) != 6 || p.Name == "" {
		return lease{}, resource.Errorf(resource.Invalid, "InvalidParameter", "The port %q with the MAC %q is not valid.", p.Name, p.MAC).Because(err)
	}
	if other, ok := t.macs[mac.String()]; ok && other != p.Name {
		return lease{}, resource.Errorf(resource.Conflict, "", "The port %s has the MAC %s already.", other, mac)
	}
	before, had := t.ports[p.Name]
	l := lease{Port: p.Name, MAC: mac.String(), HostName: p.HostName, Address: before.Address}
	if had && l == before {
		return l, nil
	}
	if !had {
		if l.Address, err = t.pool.Take(); err != nil {
			return lease{}, err
		}
	}
	t.put(l, before)
	if err := t.write(); err != nil {
		t.drop(l)
		if had {
			t.put(before, lease{})
		} else {
			t.pool.Release(l.Address)
		}
		return lease{}, err
	}
	return l, nil
}

// detach frees a port's address.
func (t *leases) detach(name string) error {
	l, ok := t.ports[name]
	if !ok {
		return nil
	}
	t.drop(l)
	if err := t.write(); err != nil {
		t.put(l, lease{})
		return err
	}
	t.pool.Release(l.Address)
	return nil
}

func (t *leases) put(l, before lease) {
	delete(t.macs, before.MAC)
	t.ports[l.Port], t.macs[l.MAC] = l, l.Port
}

func (t *leases) drop(l lease) {
	delete(t.ports, l.Port)
	delete(t.macs, l.MAC)
}

// sorted returns all leases by port name.
func (t *leases) sorted() []lease {
	all := make([]lease, 0, len(t.ports))
	for _, name := range slices.Sorted(maps.Keys(t.ports)) {
		all = append(all, t.ports[name])
	}
	return all
}

// write replaces the file: either the old or the new table survives a crash.
func (t *leases) write() error {
	data, err := json.MarshalIndent(leaseFile{Version: leaseVersion, Prefix: t.pool.Prefix(), Leases: t.sorted()}, "", " ")
	if err != nil {
		return fmt.Errorf("encode leases: %w", err)
	}
	if err := durable.Write(t.file, append(data, '\n')); err != nil {
		return resource.Errorf(resource.Unavailable, "", "The leases could not be saved in %s; is its disk full?", t.file).Because(err)
	}
	return nil
}
