package bridge

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"github.com/vishvananda/netlink"

	"github.com/muster-vm/muster/internal/host/fabric"
	"github.com/muster-vm/muster/internal/host/fabric/bridge/ruleset"
	"github.com/muster-vm/muster/internal/host/fabric/bridge/tables"
	"github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/resource"
)

var _ fabric.Networks = (*Fabric)(nil)

// adopt finds the virtual networks that an earlier server left, serves their guests,
// and removes those that nothing is written of. One that cannot be served waits for
// Apply.
func (f *Fabric) adopt(ctx context.Context) error {
	records, err := readRecords(f.opts.Dir)
	if err != nil {
		return err
	}
	for _, r := range records {
		v := newVirtual(f.opts, r.UID)
		t := transit(r.Transit)
		v.block.Store(&t)
		v.stored = r.raw
		f.networks[r.UID] = v
	}
	keys, err := traces(f.opts)
	if err != nil {
		return explain(err, "look for virtual networks")
	}
	for _, key := range keys {
		if slices.ContainsFunc(records, func(r record) bool { return keyOf(r.UID) == key }) {
			continue
		}
		f.opts.Log.WarnContext(ctx, "removing a virtual network that nothing is written of", "key", key)
		if err := removeNetwork(f.opts, key); err != nil {
			return err
		}
	}
	for _, r := range records {
		p, ok := r.program()
		if !ok {
			continue
		}
		if err := f.Apply(ctx, p); err != nil {
			f.opts.Log.ErrorContext(ctx, "a virtual network is not served until it is applied again", "network", r.UID, "err", err)
		}
	}
	return nil
}

// Remove implements fabric.Networks. nil if there is no such network. Hypervisors
// that hold taps in it lose them.
func (f *Fabric) Remove(ctx context.Context, uid network.UID) error {
	v, err := f.hold(ctx, uid)
	if resource.Is(err, resource.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer v.mu.Unlock()
	v.stop()
	if err := removeNetwork(f.opts, keyOf(uid)); err != nil {
		return err
	}
	f.drop(v)
	return nil
}

// removeNetwork removes everything of a virtual network that nobody has open, also
// if only a part of it is there. Its file goes last.
func removeNetwork(opts Options, key string) error {
	n := namesOfNetwork(opts.Name, key)
	err := errors.Join(
		explain(clearNamespace(n.namespace), "clear network namespace "+n.namespace),
		explain(deleteLink(n.veth), "remove "+n.veth),
		explain(removeNamespace(n.namespace), "remove network namespace "+n.namespace),
		explainRules(tables.Remove(n.table), "of the host"),
	)
	if err != nil {
		return err
	}
	if err := os.Remove(recordFile(opts.Dir, key)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return explain(err, "remove a virtual network's file")
	}
	return nil
}

// clearNamespace deletes the links of a namespace that somebody may hold for longer:
// a hypervisor has a tap.
func clearNamespace(name string) error {
	if !isNamespace(filepath.Join(namespaces, name)) {
		return nil
	}
	ns, err := openNamespace(name)
	if err != nil {
		return err
	}
	defer ns.Close() //nolint:errcheck // a handle that was only read
	return inside(ns, func() error {
		links, err := whole(netlink.LinkList)
		if err != nil {
			return err
		}
		for _, l := range links {
			if l.Attrs().Name == "lo" {
				continue
			}
			if err := deleteLink(l.Attrs().Name); err != nil && !isGone(err) && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		return nil
	})
}

// Networks implements fabric.Networks. A network is listed from its first Apply,
// even one that failed midway, to the end of its Remove.
func (f *Fabric) Networks(ctx context.Context) ([]network.UID, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.ready(ctx); err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(f.networks)), nil
}

// Flows implements fabric.Networks.
func (f *Fabric) Flows(ctx context.Context, uid network.UID, card netip.Addr) (n int, err error) {
	err = f.within(ctx, uid, "count flows", func(*virtual) (err error) {
		n, err = ruleset.Flows(card)
		return err
	})
	return n, err
}

// Cut implements fabric.Networks.
func (f *Fabric) Cut(ctx context.Context, uid network.UID, card netip.Addr) error {
	return f.within(ctx, uid, "cut flows", func(*virtual) error { return ruleset.Cut(card) })
}

// Traffic implements fabric.Networks.
func (f *Fabric) Traffic(ctx context.Context, uid network.UID) (all []fabric.FrontendTraffic, err error) {
	err = f.within(ctx, uid, "read counters", func(v *virtual) (err error) {
		all, err = ruleset.Traffic(v.known.Load().program)
		return err
	})
	return all, err
}

// within runs do in the namespace of a virtual network that was applied.
func (f *Fabric) within(ctx context.Context, uid network.UID, attempt string, do func(*virtual) error) error {
	v, err := f.hold(ctx, uid)
	if err != nil {
		return err
	}
	defer v.mu.Unlock()
	if v.known.Load() == nil {
		return errNoNetwork(uid)
	}
	return explain(v.inside(func() error { return do(v) }), attempt)
}
