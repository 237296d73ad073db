package store

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/muster-vm/muster/internal/disk"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/vmss"
)

// Kind is one kind of records: values V under keys K. The kinds are the
// variables of this package.
type Kind[K comparable, V any] struct {
	root  string // of its keys, with a slash at the end
	write func(K) string
	read  func(string) (K, bool)
	codec codec[V]
	table func(*cache) table[K, V]
}

// GroupKey finds a resource group. Both parts are in lower case.
type GroupKey struct{ Subscription, Name string }

// GroupKeyOf returns the key of the group with these names, in any case.
func GroupKeyOf(subscription, name string) GroupKey {
	return GroupKey{strings.ToLower(subscription), strings.ToLower(name)}
}

// The kinds.
var (
	Groups = Kind[GroupKey, resource.Group]{"groups/",
		func(k GroupKey) string { return k.Subscription + "/" + k.Name },
		func(s string) (GroupKey, bool) {
			sub, name, ok := strings.Cut(s, "/")
			return GroupKey{sub, name}, ok
		},
		groupCodec, func(c *cache) table[GroupKey, resource.Group] { return c.groups }}

	ScaleSets = Kind[vmss.Key, vmss.ScaleSet]{"scalesets/",
		func(k vmss.Key) string { return k.Subscription + "/" + k.Group + "/" + k.Name }, readSetKey,
		scaleSetCodec, func(c *cache) table[vmss.Key, vmss.ScaleSet] { return setTable{c} }}

	States = Kind[vmss.UID, vmss.State]{"states/", func(k vmss.UID) string { return string(k) },
		func(s string) (vmss.UID, bool) { return vmss.UID(s), true },
		stateCodec, func(c *cache) table[vmss.UID, vmss.State] { return c.states }}

	Revisions = Kind[vmss.RevisionKey, vmss.Revision]{"revisions/",
		func(k vmss.RevisionKey) string { return numbered(k.Set, int64(k.Number)) },
		func(s string) (vmss.RevisionKey, bool) {
			uid, n, ok := readNumbered(s)
			return vmss.RevisionKey{Set: uid, Number: vmss.RevisionNumber(n)}, ok
		},
		revisionCodec, func(c *cache) table[vmss.RevisionKey, vmss.Revision] { return revisionTable{c} }}

	Instances      = ofInstance("instances/", instanceCodec, func(c *cache) table[vmss.InstanceKey, vmss.Instance] { return rowTable{c} })
	Observations   = ofInstance("observations/", observationCodec, func(c *cache) table[vmss.InstanceKey, vmss.Observation] { return seenTable{c} })
	Customizations = ofInstance("customizations/", customizationCodec, func(c *cache) table[vmss.InstanceKey, vmss.Customization] { return customTable{c} })

	Operations = ofOperation("operations/", operationCodec, func(c *cache) table[vmss.OperationKey, vmss.Operation] { return operationTable{c} })
	Outcomes   = ofOperation("outcomes/", outcomeCodec, func(c *cache) table[vmss.OperationKey, vmss.Outcome] { return outcomeTable{c} })

	// Counters count operations, by the UID of their set.
	Counters = Kind[string, int64]{"counters/", func(k string) string { return k }, func(s string) (string, bool) { return s, true },
		counterCodec, func(c *cache) table[string, int64] { return c.counters }}

	// Disks are managed disks, snapshots and images.
	Disks = Kind[disk.Key, disk.Disk]{"disks/",
		func(k disk.Key) string { return string(k.Kind) + "/" + k.Subscription + "/" + k.Group + "/" + k.Name }, readDiskKey,
		diskCodec, func(c *cache) table[disk.Key, disk.Disk] { return diskTable{c} }}
	DiskStates  = ofDisk("diskstates/", diskStateCodec, func(c *cache) table[disk.UID, disk.State] { return c.diskStates })
	Attachments = ofDisk("attachments/", attachmentCodec, func(c *cache) table[disk.UID, disk.Attachment] { return c.attachments })
)

func ofInstance[V any](root string, c codec[V], of func(*cache) table[vmss.InstanceKey, V]) Kind[vmss.InstanceKey, V] {
	return Kind[vmss.InstanceKey, V]{root, func(k vmss.InstanceKey) string { return numbered(k.Set, int64(k.ID)) },
		func(s string) (vmss.InstanceKey, bool) {
			uid, n, ok := readNumbered(s)
			return vmss.InstanceKey{Set: uid, ID: vmss.InstanceID(n)}, ok
		}, c, of}
}

func ofOperation[V any](root string, c codec[V], of func(*cache) table[vmss.OperationKey, V]) Kind[vmss.OperationKey, V] {
	return Kind[vmss.OperationKey, V]{root, func(k vmss.OperationKey) string { return numbered(k.Set, k.Sequence) },
		func(s string) (vmss.OperationKey, bool) {
			uid, n, ok := readNumbered(s)
			return vmss.OperationKey{Set: uid, Sequence: n}, ok
		}, c, of}
}

// numbered writes a key below a set, so that every range is bounded by one set
// and in the order of the numbers.
func numbered(uid vmss.UID, n int64) string { return fmt.Sprintf("%s/%019d", uid, n) }

func readNumbered(s string) (vmss.UID, int64, bool) {
	uid, digits, ok := strings.Cut(s, "/")
	n, err := strconv.ParseInt(digits, 10, 64)
	return vmss.UID(uid), n, ok && err == nil
}

func readSetKey(s string) (vmss.Key, bool) {
	part := strings.Split(s, "/")
	if len(part) != 3 {
		return vmss.Key{}, false
	}
	return vmss.Key{Subscription: part[0], Group: part[1], Name: part[2]}, true
}

// reader is a Kind whose types do not matter: it reads items.
type reader interface {
	// read returns what the item, whose key continues with rest, changes in a
	// cache.
	decode(rest string, item Item) (func(*cache), error)
	// stale lists, in full, the keys of the kind that a cache has and present
	// does not.
	stale(c *cache, present map[string]bool) []string
}

// readers finds the kind of a key by its first segment.
var readers = map[string]reader{
	"groups": Groups, "scalesets": ScaleSets, "states": States, "revisions": Revisions, "instances": Instances,
	"observations": Observations, "customizations": Customizations, "operations": Operations, "outcomes": Outcomes, "counters": Counters,
	"disks": Disks, "diskstates": DiskStates, "attachments": Attachments,
	"networks": Networks, "reservations": Reservations,
}

func (k Kind[K, V]) decode(rest string, item Item) (func(*cache), error) {
	key, ok := k.read(rest)
	if !ok {
		return nil, fmt.Errorf("record %q has a malformed key", item.Key)
	}
	if item.Value == nil {
		return func(c *cache) { k.table(c).remove(key) }, nil
	}
	v, err := k.codec.decode(item.Value)
	if err != nil {
		return nil, fmt.Errorf("record %q: %w", item.Key, err)
	}
	return func(c *cache) { k.table(c).put(key, Entry[V]{&v, item.Revision}) }, nil
}

func (k Kind[K, V]) stale(c *cache, present map[string]bool) []string {
	var gone []string
	for key := range k.table(c).all() {
		if full := k.root + k.write(key); !present[full] {
			gone = append(gone, full)
		}
	}
	return gone
}
