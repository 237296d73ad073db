package store

import (
	"iter"
	"maps"
	"strings"
	"time"

	"github.com/muster-vm/muster/internal/disk"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/vmss"
)

// storedDisk is a disk.Disk as it is stored. Names must not change.
type storedDisk struct {
	ID       resource.ID       `json:"id"`
	UID      disk.UID          `json:"uid"`
	Kind     disk.Kind         `json:"kind"`
	Location string            `json:"location"`
	Zones    []string          `json:"zones,omitempty"`
	Tags     map[string]string `json:"tags,omitempty"`
	Created  time.Time         `json:"created"`
	Source   disk.Source       `json:"source"`
	SizeGB   int               `json:"sizeGB,omitempty"`
	OSType   string            `json:"osType,omitempty"`
	SKU      string            `json:"sku,omitempty"`
	Limit    disk.Limit        `json:"limit,omitzero"`
	Document []byte            `json:"document,omitempty"`
	Deleting bool              `json:"deleting,omitempty"`
}

var diskCodec = stored(
	func(d disk.Disk) storedDisk { return storedDisk(d) },
	func(s storedDisk) disk.Disk { return disk.Disk(s) })

// storedDiskState is a disk.State as it is stored.
type storedDiskState struct {
	Ready   bool          `json:"ready,omitempty"`
	SizeGB  int           `json:"sizeGB,omitempty"`
	Bytes   int64         `json:"bytes,omitempty"`
	Digest  string        `json:"digest,omitempty"`
	Failure *disk.Failure `json:"failure,omitempty"`
	Grown   time.Time     `json:"grown,omitzero"`
}

var diskStateCodec = stored(
	func(d disk.State) storedDiskState { return storedDiskState(d) },
	func(s storedDiskState) disk.State { return disk.State(s) })

// storedAttachment is a disk.Attachment as it is stored.
type storedAttachment struct {
	Set      string    `json:"set"`
	Instance int64     `json:"instance"`
	LUN      int       `json:"lun"`
	Since    time.Time `json:"since"`
}

var attachmentCodec = stored(
	func(a disk.Attachment) storedAttachment { return storedAttachment(a) },
	func(s storedAttachment) disk.Attachment { return disk.Attachment(s) })

func readDiskKey(s string) (disk.Key, bool) {
	part := strings.Split(s, "/")
	if len(part) != 4 {
		return disk.Key{}, false
	}
	return disk.Key{Kind: disk.Kind(part[0]), Subscription: part[1], Group: part[2], Name: part[3]}, true
}

// ofDisk is a kind of records that belong to a disk.
func ofDisk[V any](root string, c codec[V], of func(*cache) table[disk.UID, V]) Kind[disk.UID, V] {
	return Kind[disk.UID, V]{root, func(k disk.UID) string { return string(k) }, func(s string) (disk.UID, bool) { return disk.UID(s), s != "" }, c, of}
}

// diskTable holds disks, and finds them by UID.
type diskTable struct{ *cache }

func (t diskTable) get(k disk.Key) (Entry[disk.Disk], bool)    { return t.disks.get(k) }
func (t diskTable) all() iter.Seq2[disk.Key, Entry[disk.Disk]] { return t.disks.all() }

func (t diskTable) put(k disk.Key, e Entry[disk.Disk]) {
	t.remove(k)
	t.disks[k] = e
	t.byUID[e.Value.UID] = k
}

func (t diskTable) remove(k disk.Key) {
	if old, ok := t.disks[k]; ok {
		delete(t.byUID, old.Value.UID)
		delete(t.disks, k)
	}
}

// DiskByUID returns the managed disk, snapshot or image with this UID.
func (s *Store) DiskByUID(uid disk.UID) (Entry[disk.Disk], bool) {
	s.cache.mu.RLock()
	defer s.cache.mu.RUnlock()
	key, ok := s.cache.byUID[uid]
	if !ok {
		return Entry[disk.Disk]{}, false
	}
	return s.cache.disks.get(key)
}

// AttachedTo returns the disks that an instance has, in no order.
func (s *Store) AttachedTo(instance vmss.InstanceKey) (all []disk.UID) {
	s.cache.mu.RLock()
	defer s.cache.mu.RUnlock()
	for uid, e := range s.cache.attachments {
		if e.Value.Set == string(instance.Set) && e.Value.Instance == int64(instance.ID) {
			all = append(all, uid)
		}
	}
	return all
}

// Each yields a copy of all records of a kind with their keys, in no order.
func Each[K comparable, V any](s *Store, kind Kind[K, V]) iter.Seq2[K, Entry[V]] {
	s.cache.mu.RLock()
	defer s.cache.mu.RUnlock()
	return maps.All(maps.Collect(kind.table(s.cache).all()))
}
