package vmss

import (
	"fmt"
	"time"

	"github.com/muster-vm/muster/internal/resource"
)

// RevisionNumber counts a scale set's model revisions from 1.
type RevisionNumber int64

// RevisionKey finds a revision.
type RevisionKey struct {
	Set    UID
	Number RevisionNumber
}

// Revision is one accepted model of a scale set. It never changes.
type Revision struct {
	Number  RevisionNumber
	Created time.Time
	Model   Model
}

// Model is what instances are made from: the virtualMachineProfile and the
// size.
type Model struct {
	Size      string // VM size, from sku.name
	Image     Image
	OS        OSProfile
	OSDisk    Disk
	DataDisks []Disk
	NICs      []NIC
	Document  []byte // virtualMachineProfile as canonical JSON, without secrets
}

// Image is the image reference of a model, resolved when the model was
// accepted.
type Image struct {
	Publisher, Offer, SKU, Version string // marketplace form
	ID                             string // resource form, of an image or gallery image version
	Exact                          string // the version that "latest" meant
	Digest                         string // names the image's files on hosts, "sha256:..."
	OSType                         string // "Linux" or "Windows"
	SizeGB                         int    // of its OS disk, rounded up
	NeedsCredentials               bool   // the guest has no way in of its own
}

// URN returns publisher:offer:sku:version of a marketplace image.
func (i Image) URN() string {
	return i.Publisher + ":" + i.Offer + ":" + i.SKU + ":" + i.Version
}

// OSProfile is how the guest is set up at first boot.
type OSProfile struct {
	ComputerNamePrefix string
	AdminUsername      string
	SSHKeys            []SSHKey
	PasswordLogin      bool // disablePasswordAuthentication is false
	Secrets            Secrets
}

// SSHKey is an authorised key of the admin user.
type SSHKey struct{ Path, Data string }

// Secrets are the members that are never shown again.
type Secrets struct {
	AdminPassword string
	CustomData    []byte // decoded
	UserData      []byte // decoded
}

// Format hides the secrets from every fmt verb, and so from text logs.
func (Secrets) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[hidden]") }

// Disk is an OS disk or a data disk.
type Disk struct {
	LUN         int // data disks only
	SizeGB      int // 0 for an OS disk means the image's size
	Caching     string
	StorageType string // such as Premium_LRS: it bounds what the disk may do
	ID          string // the managed disk that is attached, if it is not from the model
	// Attached is the number of the operation that attached the disk to one
	// instance alone; 0 for a disk of the model.
	Attached int64 `json:",omitzero"`
	// Volume is the UID of the managed disk that is attached, whose content is
	// not the instance's; empty for a disk of the instance's own.
	Volume string `json:",omitzero"`
	// Ephemeral says that an OS disk is on the host's own storage: it survives no
	// deallocation, so there is none, and what it has written need not be durable.
	Ephemeral bool `json:",omitzero"`
	// IOPS and MBps are asked-for limits; 0 follows from type and size.
	IOPS, MBps int `json:",omitzero"`
}

// NIC is a network interface configuration. Resource ids are as given.
type NIC struct {
	Name          string
	Primary       bool
	IPConfigs     []IPConfig
	SecurityGroup string   `json:",omitzero"` // resource id
	DNS           []string `json:",omitzero"` // addresses of resolvers, instead of the virtual network's
	Forwarding    bool     `json:",omitzero"` // may send from addresses that are not its own
}

// IPConfig is one address of a NIC.
type IPConfig struct {
	Name      string
	Primary   bool
	Subnet    string          // resource id; empty for the host's default network
	AppGroups []string        `json:",omitzero"` // resource ids of application security groups
	Pools     []string        `json:",omitzero"` // of backend pools of load balancers
	NATPools  []string        `json:",omitzero"` // of inbound NAT pools
	PublicIP  *PublicIPConfig `json:",omitzero"` // a public address for each instance
}

// PublicIPConfig is the public address that each instance gets.
type PublicIPConfig struct {
	Name     string
	Idle     int    // minutes
	Label    string // domainNameLabel; the instance's id is added to it
	Standard bool   // the SKU is Standard and not Basic
}

// KeepRevisions is how many of the newest revisions are kept; those that a row
// uses are kept too.
const KeepRevisions = 20

// ErrNoRevision is the answer when a revision is not kept any more.
func ErrNoRevision(n RevisionNumber) error {
	return resource.Errorf(resource.NotFound, "RevisionNotFound", "Model revision %d is not kept any more.", n)
}
