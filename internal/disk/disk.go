package disk

import (
	"strings"
	"time"

	"github.com/muster-vm/muster/internal/resource"
)

// Kind says what a Disk is for. It is the last segment of its ARM type.
type Kind string

// The kinds.
const (
	Managed  Kind = "disks"     // can be attached to an instance
	Snapshot Kind = "snapshots" // a copy that does not change
	Image    Kind = "images"    // what instances are made from
)

// Kinds lists the kinds.
func Kinds() []Kind { return []Kind{Managed, Snapshot, Image} }

// Type returns the ARM type of the kind.
func (k Kind) Type() string { return "Microsoft.Compute/" + string(k) }

// KindOf returns which kind of disk an id names.
func KindOf(id resource.ID) (Kind, bool) {
	for _, k := range Kinds() {
		if strings.EqualFold(id.Type(), k.Type()) {
			return k, true
		}
	}
	return "", false
}

// Key finds a disk by name. The parts but Kind are in lower case; make it with
// NewKey or KeyOf.
type Key struct {
	Kind                      Kind
	Subscription, Group, Name string
}

// NewKey returns the key of the disk with these names, in any letter case.
func NewKey(kind Kind, subscription, group, name string) Key {
	return Key{kind, strings.ToLower(subscription), strings.ToLower(group), strings.ToLower(name)}
}

// KeyOf returns the key of the disk that id names, and false if it names none.
func KeyOf(id resource.ID) (Key, bool) {
	kind, ok := KindOf(id)
	if !ok {
		return Key{}, false
	}
	return NewKey(kind, id.Subscription, id.Group, id.Name()), true
}

// UID is the GUID that a disk gets at creation (uniqueId). A disk that is deleted
// and made again under the same name has another one.
type UID string

// Disk is what the user said of a managed disk, a snapshot or an image. The API
// alone writes it.
type Disk struct {
	ID       resource.ID
	UID      UID
	Kind     Kind
	Location string
	Zones    []string
	Tags     map[string]string
	Created  time.Time

	Source Source
	SizeGB int    // wanted; 0 takes the source's size
	OSType string // "Linux", "Windows", or empty for one that does not boot
	SKU    string // such as Premium_LRS
	Limit  Limit  // asked for; zero follows from SKU and size

	Document []byte // canonical JSON of what else was given, to be shown again
	Deleting bool
}

// Key returns the disk's key.
func (d Disk) Key() Key { return NewKey(d.Kind, d.ID.Subscription, d.ID.Group, d.ID.Name()) }

// Option says what the content of a disk is made from.
type Option string

// The options.
const (
	Empty     Option = "Empty"     // nothing: zeros
	Copy      Option = "Copy"      // the disk Source.Disk
	Import    Option = "Import"    // a file: Source.URI
	FromImage Option = "FromImage" // the image with Source.Digest
	Capture   Option = "Capture"   // a disk of an instance: Source.Instance
)

// Source is what the content of a disk comes from.
type Source struct {
	Option   Option
	ID       resource.ID // as the user named it: the disk, image or instance
	Disk     UID         // with Copy
	Digest   string      // with FromImage
	Instance Instance    // with Capture
	File     File        // with Import
}

// Instance is a disk of an instance. Managed disks that are attached to one are
// named by their own UID instead.
type Instance struct {
	Set        string // the scale set's UID
	Instance   int64
	OS         bool  // the OS disk, or else the data disk at LUN
	LUN        int   //
	Generation int64 // of the OS disk, or of the data disk
}

// File is a file to import.
type File struct {
	URI    string // file:///path or http(s)://...; without fragment, and without credentials
	SHA256 string // lower-case hex that the file must have; empty takes any
	Format string // "qcow2", "raw" or "vhd"; empty finds out
	Agent  bool   // guests made of it run the QEMU guest agent
}

// Limit bounds what a disk may do in a second. Zero members bound nothing.
type Limit struct {
	IOPS int // operations
	MBps int // 10^6 bytes
}

// State is what was made of a disk. The disk reconciler alone writes it; while
// there is none, nothing was tried.
type State struct {
	Ready   bool   // the content is there
	SizeGB  int    // that the content has
	Bytes   int64  // SizeGB in bytes, or less where the source's size is no whole GB
	Digest  string // of an image: names its files, "sha256:..."
	Failure *Failure
	Grown   time.Time // when it last became larger; zero for never
}

// Failure is why a disk is not what was asked for.
type Failure struct {
	Code     string // ARM code
	Message  string // a sentence for users
	Since    time.Time
	Attempts int
	RetryAt  time.Time // zero if trying again will not help
}

// Attachment says which instance has a managed disk. There is at most one: the
// API writes it, guarded by its absence, when the disk is attached, and the disk
// reconciler deletes it once the instance has let go.
type Attachment struct {
	Set      string // the scale set's UID
	Instance int64
	LUN      int
	Since    time.Time
}
