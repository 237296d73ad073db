package qemu

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/muster-vm/muster/internal/host/compute"
	"github.com/muster-vm/muster/internal/host/compute/qemu/args"
	"github.com/muster-vm/muster/internal/host/guest"
	"github.com/muster-vm/muster/internal/resource"
)

// DefaultAccel is how machines run where the hardware does not help. The small
// translation buffer keeps a process 20 MB leaner; larger machines get a larger one.
const DefaultAccel = emulation + ",tb-size=32"

const emulation = "tcg,thread=multi"

// DefaultBinary is the program that runs a machine, looked up in $PATH.
const DefaultBinary = "qemu-system-x86_64"

// Image is an image's files on this host. Paths are absolute.
type Image struct {
	Disk, Format   string // the OS disk's file, "qcow2" or "raw"; never written to
	Kernel, Initrd string // for images that are booted without a boot loader
	CommandLine    string // of Kernel
	Agent          bool   // its guests run the QEMU guest agent
}

// Images finds images by digest. NotFound if the host does not have one.
type Images interface {
	Image(ctx context.Context, digest string) (Image, error)
}

// Taps opens the host's end of a network card by the name of its port.
type Taps interface {
	Open(ctx context.Context, port string) (*os.File, error)
}

// Traffic is what Taps may be too: it counts the bytes that the guests' cards
// have received and sent, by the name of the port.
type Traffic interface {
	Bytes(ctx context.Context) (map[string][2]int64, error)
}

// Volumes finds the contents of managed disks by their UID: qcow2 files that the
// driver neither makes nor removes. NotFound if there is none.
type Volumes interface {
	Volume(ctx context.Context, uid string) (path string, err error)
}

// Options are what a driver needs. Root and Images are required.
type Options struct {
	Root    string // directory for machines and their disks; made if missing
	Images  Images
	Taps    Taps         // nil leaves network cards unplugged
	Accel   string       // empty for DefaultAccel; see ProbeAccel
	Binary  string       // empty for DefaultBinary
	Volumes Volumes      // nil for a host that has no managed disks
	Log     *slog.Logger // nil for none
}

// Driver runs virtual machines as QEMU processes. It implements
// compute.Driver, compute.Getter, compute.Notifier, compute.Meter,
// compute.DiskCopier and compute.Console. At most one driver may use a root at a time.
type Driver struct {
	opts  Options
	root  root
	world world
	crash func(step string) error // in tests: an error stands for the process having died

	ctx  context.Context //nolint:containedctx // ends with Close; what runs beside the calls stops then
	stop context.CancelFunc
	work sync.WaitGroup

	mu        sync.Mutex
	lease     int64
	machines  map[string]*machine // by instance
	listeners []func(compute.VMID)
}

var (
	_ compute.Driver     = (*Driver)(nil)
	_ compute.Getter     = (*Driver)(nil)
	_ compute.Notifier   = (*Driver)(nil)
	_ compute.Meter      = (*Driver)(nil)
	_ compute.DiskCopier = (*Driver)(nil)
	_ compute.Console    = (*Driver)(nil)
)

// Open returns a driver over the machines under opts.Root. Processes that run
// already are adopted, and power requests that were under way go on.
func Open(ctx context.Context, opts Options) (*Driver, error) {
	return open(ctx, opts, &host{binary: cmp.Or(opts.Binary, DefaultBinary)}, nil)
}

func open(ctx context.Context, opts Options, w world, crash func(string) error) (*Driver, error) {
	opts.Accel = cmp.Or(opts.Accel, DefaultAccel)
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	dir, err := realDir(opts.Root)
	if err != nil {
		return nil, errDisk(opts.Root, err, "")
	}
	d := &Driver{opts: opts, root: root(dir), world: w, crash: crash, machines: map[string]*machine{}}
	d.ctx, d.stop = context.WithCancel(context.WithoutCancel(ctx))
	if err := d.load(); err != nil {
		d.stop()
		return nil, errDisk(opts.Root, err, "")
	}
	for _, m := range d.machines {
		m.begin()
	}
	return d, nil
}

// realDir makes a directory and returns its path as a process that runs in it
// sees it.
func realDir(dir string) (string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return "", err
	}
	return filepath.Abs(dir)
}

func (d *Driver) load() (err error) {
	if err := d.root.open(); err != nil {
		return err
	}
	if d.lease, err = d.root.lease(); err != nil {
		return err
	}
	ids, err := d.root.ids()
	if err != nil {
		return err
	}
	found, err := d.world.processes(d.root.vms())
	if err != nil {
		return err
	}
	for _, id := range ids {
		m := newMachine(d, d.root.load(id))
		if other := d.machines[instanceOf(id)]; other != nil {
			return fmt.Errorf("%s and %s are machines of one instance", other.id, id)
		}
		m.adopt(found[id.String()])
		d.machines[instanceOf(id)] = m
	}
	return nil
}

// Close stops what the driver does beside its calls. Machines run on.
func (d *Driver) Close() {
	d.stop()
	d.mu.Lock()
	all := slices.Collect(maps.Values(d.machines))
	d.mu.Unlock()
	for _, m := range all {
		m.release()
	}
	d.work.Wait()
}

// enter takes the turn of the machine that a spec is about, if the caller may and
// the spec can be carried out. The caller lets the machine go.
func (d *Driver) enter(ctx context.Context, fence compute.Fence, spec compute.Spec) (*machine, error) {
	if err := d.admit(ctx, fence); err != nil {
		return nil, err
	}
	if err := check(spec); err != nil {
		return nil, err
	}
	return d.hold(ctx, spec.ID)
}

// Create implements compute.Driver. It returns when the process runs.
func (d *Driver) Create(ctx context.Context, fence compute.Fence, spec compute.Spec) error {
	m, err := d.enter(ctx, fence, spec)
	if err != nil {
		return err
	}
	defer m.letGo()
	if m.id != spec.ID {
		return errConflict(spec.ID, "cannot be made while "+m.id.String()+" of the same instance exists")
	}
	return m.create(ctx, spec)
}

// hold returns the instance's machine, which may be an empty one, with the
// turn taken. The caller lets go of it.
func (d *Driver) hold(ctx context.Context, id compute.VMID) (*machine, error) {
	for {
		d.mu.Lock()
		m := d.machines[instanceOf(id)]
		if m == nil {
			m = newMachine(d, record{Spec: compute.Spec{ID: id}})
			d.machines[instanceOf(id)] = m
		}
		d.mu.Unlock()
		if err := m.take(ctx); err != nil {
			return nil, err
		}
		if !m.gone {
			return m, nil
		}
		<-m.turn // it was taken out of the map meanwhile
	}
}

// check returns what is wrong with a spec for good.
func check(s compute.Spec) error {
	if id, ok := parseID(s.ID.String()); !ok || id != s.ID || !safeName(s.ID.Set) {
		return resource.Errorf(resource.Invalid, "InvalidParameter", "The id %q cannot name a virtual machine.", s.ID)
	}
	if s.VCPUs <= 0 || s.MemoryMB <= 0 || s.Image == "" {
		return resource.Errorf(resource.Invalid, "InvalidParameter", "A virtual machine needs vCPUs, memory and an image.")
	}
	seen := map[int]bool{}
	for _, disk := range s.DataDisks {
		if disk.SizeGB <= 0 && disk.Volume == "" || disk.LUN < 0 || seen[disk.LUN] {
			return resource.Errorf(resource.Invalid, "InvalidParameter",
				"The data disk at LUN %d has no size, or its LUN is negative or taken.", disk.LUN)
		}
		seen[disk.LUN] = true
	}
	if room := args.Room(len(s.NICs)); len(s.DataDisks) > room {
		return resource.Errorf(resource.Invalid, "OperationNotAllowed",
			"The virtual machine has room for %d data disks beside its network cards, and %d are asked for. Detach some.", room, len(s.DataDisks))
	}
	return nil
}

// safeName reports whether s can be part of a file name.
func safeName(s string) bool {
	for _, r := range s {
		if r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') {
			return false
		}
	}
	return s != ""
}

// Delete implements compute.Driver. It returns when the machine is gone.
func (d *Driver) Delete(ctx context.Context, fence compute.Fence, id compute.VMID, disposal compute.Disposal) error {
	if err := d.admit(ctx, fence); err != nil {
		return err
	}
	if !safeName(id.Set) {
		return nil // no machine has such an id
	}
	m, err := d.hold(ctx, id) // an empty one if there is none: its disks may have been kept
	if err != nil {
		return err
	}
	defer m.letGo()
	if m.id != id {
		return nil // that generation is gone
	}
	return m.remove(ctx, disposal)
}

// Power implements compute.Driver. A start is carried out before it returns.
func (d *Driver) Power(ctx context.Context, fence compute.Fence, id compute.VMID, want compute.Power) error {
	if err := d.admit(ctx, fence); err != nil {
		return err
	}
	if want.Want != compute.Running && want.Want != compute.Stopped && want.Want != compute.Deallocated {
		return resource.Errorf(resource.Invalid, "InvalidParameter", "%q is not a power state that can be asked for.", want.Want)
	}
	m, err := d.hold(ctx, id)
	if err != nil {
		return err
	}
	defer m.letGo()
	if m.id != id || m.rec.Phase == "" {
		return errNotFound(id)
	}
	return m.power(ctx, want)
}

// Refit implements compute.Driver.
func (d *Driver) Refit(ctx context.Context, fence compute.Fence, spec compute.Spec) error {
	m, err := d.enter(ctx, fence, spec)
	if err != nil {
		return err
	}
	defer m.letGo()
	if m.id != spec.ID || m.rec.Phase == "" {
		return errNotFound(spec.ID)
	}
	return m.refit(ctx, spec)
}

// List implements compute.Driver.
func (d *Driver) List(ctx context.Context) iter.Seq2[compute.VM, error] {
	return func(yield func(compute.VM, error) bool) {
		for _, m := range d.sorted() {
			if err := ctx.Err(); err != nil {
				yield(compute.VM{}, canceled(err))
				return
			}
			if vm, ok := m.snapshot(); ok && !yield(vm, nil) {
				return
			}
		}
	}
}

func (d *Driver) sorted() []*machine {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.SortedFunc(maps.Values(d.machines), func(a, b *machine) int { return a.id.Compare(b.id) })
}

// Get implements compute.Getter.
func (d *Driver) Get(ctx context.Context, id compute.VMID) (compute.VM, error) {
	if err := ctx.Err(); err != nil {
		return compute.VM{}, canceled(err)
	}
	if m := d.find(id); m != nil {
		if vm, ok := m.snapshot(); ok {
			return vm, nil
		}
	}
	return compute.VM{}, errNotFound(id)
}

// Notify implements compute.Notifier.
func (d *Driver) Notify(f func(compute.VMID)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.listeners = append(d.listeners, f)
}

// Agent returns the guest agent of a machine whose process runs; others must
// not connect to its socket. NotFound without one.
func (d *Driver) Agent(id compute.VMID) (*guest.Agent, error) {
	if m := d.find(id); m != nil && m.id == id {
		if a := m.guestAgent(); a != nil {
			return a, nil
		}
	}
	return nil, errNotFound(id)
}

// SerialLog returns the path of the file that the machine's serial console is
// written to; the oldest part may be cut off. NotFound without one.
func (d *Driver) SerialLog(id compute.VMID) (string, error) {
	path := filepath.Join(d.root.vm(id), serialFile)
	if _, err := os.Stat(path); err != nil || !safeName(id.Set) {
		return "", errNotFound(id)
	}
	return path, nil
}

func (d *Driver) find(id compute.VMID) *machine {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.machines[instanceOf(id)]
}

func (d *Driver) tell(id compute.VMID) {
	d.mu.Lock()
	listeners := slices.Clone(d.listeners)
	d.mu.Unlock()
	for _, f := range listeners {
		f(id)
	}
}

// admit refuses calls of writers whose time is over.
func (d *Driver) admit(ctx context.Context, fence compute.Fence) error {
	if err := ctx.Err(); err != nil {
		return canceled(err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if fence.Lease < d.lease {
		return resource.Errorf(resource.Conflict, "LeaseLost",
			"The host serves a newer lease (%d) than the caller's (%d).", d.lease, fence.Lease)
	}
	if fence.Lease == d.lease {
		return nil
	}
	if err := d.root.saveLease(fence.Lease); err != nil {
		return errDisk(d.root.leaseFile(), err, "")
	}
	d.lease = fence.Lease
	return nil
}

// Lease returns the highest lease that a caller came with.
func (d *Driver) Lease() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.lease
}

// effect is one step that a crash can come before or after.
type effect struct {
	name string
	do   func() error
}

// perform carries out effects in order, up to the first that fails.
func (d *Driver) perform(ctx context.Context, effects ...effect) error {
	for _, e := range effects {
		if err := ctx.Err(); err != nil {
			return canceled(err)
		}
		if err := d.survive(e.name); err != nil {
			return err
		}
		if err := e.do(); err != nil {
			return err
		}
	}
	return nil
}

// survive is where a test may have the process die.
func (d *Driver) survive(step string) error {
	if d.crash == nil {
		return nil
	}
	return d.crash(step)
}

func canceled(err error) error {
	if _, ok := errors.AsType[*resource.Error](err); ok {
		return err
	}
	return resource.Errorf(resource.Canceled, "", "The request was canceled.").Because(err)
}
