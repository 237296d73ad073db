// Package compute is the port to whatever runs virtual machines on one host,
// and the few rules every such driver shares: ids and spec hashes.
package compute

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"time"
)

// VMID names a virtual machine. The control plane chooses it: (scale set,
// instance, disk generation), so a retry collides instead of doubling. At most
// one VM of an instance exists at a time.
type VMID struct {
	Set      string // the scale set's UID (a GUID)
	Instance int64
	Disks    int64 // generation of the OS disk; a reimage makes the next
}

// String returns "{set}-{instance}-{disks}", safe as a file name.
func (id VMID) String() string { return fmt.Sprintf("%s-%d-%d", id.Set, id.Instance, id.Disks) }

// Compare orders ids by set, instance, generation.
func (id VMID) Compare(o VMID) int {
	switch a, b := id.String(), o.String(); {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// Spec is everything a driver needs to make a virtual machine. Specs with the same
// Hash differ at most in what Refit changes.
type Spec struct {
	ID        VMID
	Name      string // for people: "{set}_{instance}"
	VCPUs     int
	MemoryMB  int
	Image     string // digest of the image, "sha256:..."
	OSDiskGB  int    // 0: the image's own size
	Ephemeral bool   `json:",omitzero"` // the OS disk is lost with the host: what it writes need not be durable
	OSLimit   Limit  // of the OS disk; not part of the Hash
	DataDisks []Disk // by LUN; made empty if they are not there yet; others that were kept are removed; not part of the Hash
	NICs      []NIC  // the first is the primary one
	Guest     Guest
	Boots     int64             // the boot number that Create carries out (VM.Boots afterwards); not part of the Hash
	Tags      map[string]string // what users should find when they look at the process: resource id, host name
}

// Disk is a data disk of the instance. It outlives reimages.
type Disk struct {
	LUN        int
	SizeGB     int    // 0 for a Volume, which has its own
	Generation int64  // another one is a new, empty disk (reimageall)
	Volume     string `json:",omitzero"` // names the content of a managed disk, which is made and removed elsewhere
	Limit      Limit
}

// Limit bounds what a disk may do in a second. Zero members bound nothing.
type Limit struct {
	IOPS int // operations
	MBps int // 10^6 bytes

	// What it may do for half an hour after as long a rest, where that is more.
	BurstIOPS, BurstMBps int `json:",omitzero"`
}

// NIC is a network card and the fabric port behind it.
type NIC struct {
	MAC     string
	Port    string // the fabric's name of the port
	Network string `json:",omitzero"` // where in virtual networks it is: elsewhere it is another card; empty in the default network
}

// Guest is what the seed disk tells the guest at first boot.
type Guest struct {
	InstanceID   string // changes with the OS disk, so that first-boot work runs again
	HostName     string
	AdminUser    string
	PasswordHash string // crypt(3); empty for none
	SSHKeys      []string
	CustomData   []byte
}

// Hash returns a digest of everything in the spec that a machine keeps for its
// life: all but Boots and what Fit is about.
func (s Spec) Hash() string {
	s.Boots, s.OSLimit, s.DataDisks = 0, Limit{}, nil
	return digest(s)
}

// Fit returns a digest of what Refit can change: data disks and limits.
func (s Spec) Fit() string { return digest([]any{s.OSLimit, s.DataDisks}) }

func digest(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // plain data: cannot fail
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// State is what a virtual machine is doing.
type State string

// The states of a virtual machine.
const (
	Incomplete  State = "incomplete"  // Create or Delete was cut short; either may be called again
	Starting    State = "starting"    // the process runs, the guest has not reported yet
	Running     State = "running"     // the guest reported ready in this boot (or the image has no agent)
	Stopping    State = "stopping"    // asked to shut down
	Stopped     State = "stopped"     // no process; keeps its disks and its place on the host
	Deallocated State = "deallocated" // no process; keeps its disks only
)

// VM is a virtual machine as its driver sees it.
type VM struct {
	ID                VMID
	Hash              string // of the spec it was made from
	Fit               string // of the spec it was made from or last refitted to
	State             State
	Boots             int64     // the boot number of the last Power or Create that was carried out
	Since             time.Time // of the state
	VCPUs             int
	MemoryMB          int
	Agent             string // version of the guest agent, once it answered
	OSName, OSVersion string // from the guest agent
	Fault             string // why it stopped or does not come up; empty if that was asked for, or is the guest's wish
}

// Disposal says what of a virtual machine goes.
type Disposal int

// The disposals.
const (
	All       Disposal = iota // the VM and all its disks
	KeepData                  // the data disks stay, for the next OS disk
	KeepDisks                 // all disks stay, for the same VM with other hardware
)

// Power is a wanted power state.
type Power struct {
	Want     State // Running, Stopped or Deallocated
	Boots    int64 // with Running: a VM last booted for a lower number is restarted
	Graceful bool  // ask the guest to shut down, and cut the power only when Grace is over
	Grace    time.Duration
}

// A Fence orders calls of writers that may not know of each other. A driver
// refuses a call (Conflict) whose Lease is lower than one it has seen.
type Fence struct {
	Lease      int64 // store revision at which the caller's lease was taken
	Generation int64 // of the instance row
}

// A Driver runs virtual machines on one host. Methods are idempotent and keyed
// by the VMID that the control plane chose; they return when the request is
// durably accepted, not when it is done: List tells. All are safe for
// concurrent use. Errors are *resource.Error: Exhausted for no room or a full
// disk, NotFound for a missing image or VM, Invalid for a spec that no retry
// can mend, Conflict as said, Unavailable when the host is not able now.
type Driver interface {
	// Create makes and starts a VM. nil if it exists with the same spec;
	// Conflict if it exists with another spec, or the instance has a VM of
	// another disk generation. Disks kept by an earlier Delete are used.
	Create(ctx context.Context, fence Fence, spec Spec) error
	// Delete ends a VM at once (no guest shutdown) and removes what disposal
	// says. nil if accepted or already gone.
	Delete(ctx context.Context, fence Fence, id VMID, disposal Disposal) error
	// Power moves a VM to a power state. NotFound if it is gone.
	Power(ctx context.Context, fence Fence, id VMID, want Power) error
	// Refit gives a VM the data disks and limits of the spec, whether it runs or
	// not, without restarting it. It returns when the VM has them. nil if it has
	// them already; NotFound if it is gone; Conflict if the spec's Hash is not the
	// VM's or the VM is incomplete; Unavailable if the guest does not let go of a
	// disk. Disks of the VM's own that the spec does not have are removed.
	Refit(ctx context.Context, fence Fence, spec Spec) error
	// List yields every VM this driver owns, halves included, in any order.
	List(ctx context.Context) iter.Seq2[VM, error]
}

// DiskRef names a disk of a VM: its OS disk, or the data disk at a LUN.
type DiskRef struct {
	OS  bool
	LUN int
}

// A DiskCopier is a driver whose disks can be copied and enlarged by others while a
// VM has them in use.
type DiskCopier interface {
	// CopyDisk copies a disk as it is at one moment into a new qcow2 file, which
	// is complete when it returns nil and may be removed when it does not.
	// progress hears bytes. A VM that runs is not stopped. NotFound if there is no
	// such VM or disk.
	CopyDisk(ctx context.Context, id VMID, disk DiskRef, file string, progress func(done, total int64)) error
	// GrowDisk makes the guest of a VM that runs see that its Volume at a LUN is
	// larger, and enlarges the content. NotFound if the VM does not run or has no
	// such disk: then whoever keeps the content enlarges it.
	GrowDisk(ctx context.Context, id VMID, lun, sizeGB int) error
}

// A Console is a driver that can connect to a VM's serial console.
type Console interface {
	// Console opens the serial console of a VM that runs. What it printed before
	// comes first, at most the last 64 KiB of it. There may be several at once.
	// NotFound if there is no such VM, Conflict if it does not run.
	Console(ctx context.Context, id VMID) (io.ReadWriteCloser, error)
}

// A Getter is a driver that can tell of one VM cheaply. It answers with the
// instance's VM whatever the disk generation in id (there is at most one);
// NotFound if it is gone.
type Getter interface {
	Get(ctx context.Context, id VMID) (VM, error)
}

// A Notifier is a driver that tells when a VM changed by itself or a request
// was carried out. The callback must not block; it may be told too often.
type Notifier interface {
	Notify(func(VMID))
}

// Usage is what a running machine has used since its process came up. The
// counters only grow, until another Run begins; negative is unknown.
type Usage struct {
	ID                    VMID
	Run                   int64     // another number means that the counters began anew
	At                    time.Time // when the machine was asked
	VCPUs                 int
	CPU                   time.Duration // of all vCPUs and what serves them
	AvailableMemory       int64         // bytes, now
	NetworkIn, NetworkOut int64         // bytes, as the guest sees it
	DiskRead, DiskWritten int64         // bytes
	DiskReads, DiskWrites int64         // operations
}

// Unknown is a usage of which nothing but the id could be found out.
func Unknown(id VMID) Usage {
	return Usage{ID: id, CPU: -1, AvailableMemory: -1, NetworkIn: -1, NetworkOut: -1, DiskRead: -1, DiskWritten: -1, DiskReads: -1, DiskWrites: -1}
}

// A Meter is a driver that can tell what its machines use.
type Meter interface {
	// Meter yields the usage of every machine that runs, in any order. What
	// cannot be found out of one is unknown; no machine holds up the others
	// for long.
	Meter(ctx context.Context) iter.Seq[Usage]
}
