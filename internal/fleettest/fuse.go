package fleettest

import (
	"context"
	"errors"
	"iter"
	"net/netip"
	"sync"

	"github.com/muster-vm/muster/internal/disk"
	"github.com/muster-vm/muster/internal/host/compute"
	"github.com/muster-vm/muster/internal/host/fabric"
	"github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/server"
	"github.com/muster-vm/muster/internal/store"
)

// Fuse kills a control plane at its n-th call of the store, a driver, the vault or the
// fabric: from then on every call fails, and so does every request of its clients.
// Wire it into Options by Backend, Driver, Vault, Fabric and Dead. Once blown it can be mended, for the
// next start.
type Fuse struct {
	After bool // the fatal call has its effect, only its answer is lost

	mu    sync.Mutex
	left  int // calls until it blows; negative when it never will
	calls int
	blown bool
}

// NewFuse returns a fuse that blows at the n-th call.
func NewFuse(n int, after bool) *Fuse { return &Fuse{left: n, After: after} }

// errDead is what a dead process sees of the world.
var errDead = errors.New("the process is dead")

// Dead reports whether the process was killed.
func (f *Fuse) Dead() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.blown
}

// Mend lets a new process live for ever.
func (f *Fuse) Mend() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.blown, f.left = false, -1
}

// Calls returns how many calls there were.
func (f *Fuse) Calls() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls
}

// do makes one call, unless the process is dead or dies of it.
func (f *Fuse) do(call func() error) error {
	f.mu.Lock()
	if f.blown {
		f.mu.Unlock()
		return errDead
	}
	f.calls++
	f.left--
	fatal := f.left == 0
	f.blown = fatal
	f.mu.Unlock()
	if fatal && !f.After {
		return errDead
	}
	err := call()
	if fatal {
		return errDead
	}
	return err
}

// Backend returns a store that burns the fuse.
func (f *Fuse) Backend(b store.Backend) store.Backend { return fusedBackend{b, f} }

type fusedBackend struct {
	store.Backend
	fuse *Fuse
}

// Commit implements store.Backend.
func (b fusedBackend) Commit(ctx context.Context, ops []store.Op) (rev int64, err error) {
	err = b.fuse.do(func() error { rev, err = b.Backend.Commit(ctx, ops); return err })
	return rev, err
}

// Driver returns a driver that burns the fuse.
func (f *Fuse) Driver(d compute.Driver) compute.Driver {
	return fusedDriver{d, d.(compute.Getter), d.(compute.Notifier), f}
}

type fusedDriver struct {
	compute.Driver
	getter   compute.Getter
	notifier compute.Notifier
	fuse     *Fuse
}

var (
	_ compute.Getter   = fusedDriver{}
	_ compute.Notifier = fusedDriver{}
)

// Create implements compute.Driver.
func (d fusedDriver) Create(ctx context.Context, fence compute.Fence, spec compute.Spec) error {
	return d.fuse.do(func() error { return d.Driver.Create(ctx, fence, spec) })
}

// Delete implements compute.Driver.
func (d fusedDriver) Delete(ctx context.Context, fence compute.Fence, id compute.VMID, disposal compute.Disposal) error {
	return d.fuse.do(func() error { return d.Driver.Delete(ctx, fence, id, disposal) })
}

// Power implements compute.Driver.
func (d fusedDriver) Power(ctx context.Context, fence compute.Fence, id compute.VMID, want compute.Power) error {
	return d.fuse.do(func() error { return d.Driver.Power(ctx, fence, id, want) })
}

// Refit implements compute.Driver.
func (d fusedDriver) Refit(ctx context.Context, fence compute.Fence, spec compute.Spec) error {
	return d.fuse.do(func() error { return d.Driver.Refit(ctx, fence, spec) })
}

// List implements compute.Driver.
func (d fusedDriver) List(ctx context.Context) iter.Seq2[compute.VM, error] {
	return func(yield func(compute.VM, error) bool) {
		if d.fuse.Dead() {
			yield(compute.VM{}, errDead)
			return
		}
		d.Driver.List(ctx)(yield)
	}
}

// Get implements compute.Getter.
func (d fusedDriver) Get(ctx context.Context, id compute.VMID) (vm compute.VM, err error) {
	if d.fuse.Dead() {
		return vm, errDead
	}
	return d.getter.Get(ctx, id)
}

// Notify implements compute.Notifier.
func (d fusedDriver) Notify(f func(compute.VMID)) { d.notifier.Notify(f) }

// Vault returns a vault that burns the fuse.
func (f *Fuse) Vault(v server.Vault) server.Vault { return fusedVault{v, f} }

type fusedVault struct {
	server.Vault
	fuse *Fuse
}

// Make implements server.Vault.
func (v fusedVault) Make(ctx context.Context, o disk.Order) (made disk.Made, err error) {
	err = v.fuse.do(func() error { made, err = v.Vault.Make(ctx, o); return err })
	return made, err
}

// Grow implements server.Vault.
func (v fusedVault) Grow(ctx context.Context, uid disk.UID, sizeGB int, at *disk.Attachment) error {
	return v.fuse.do(func() error { return v.Vault.Grow(ctx, uid, sizeGB, at) })
}

// SetAside implements server.Vault.
func (v fusedVault) SetAside(ctx context.Context, uid disk.UID) error {
	return v.fuse.do(func() error { return v.Vault.SetAside(ctx, uid) })
}

// Remove implements server.Vault.
func (v fusedVault) Remove(ctx context.Context, uid disk.UID) error {
	return v.fuse.do(func() error { return v.Vault.Remove(ctx, uid) })
}

// Fabric returns a fabric that burns the fuse. Calls that change nothing do not.
func (f *Fuse) Fabric(w Fabric) Fabric { return fusedFabric{w, f} }

type fusedFabric struct {
	Fabric
	fuse *Fuse
}

// Attach implements fabric.Fabric.
func (w fusedFabric) Attach(ctx context.Context, port fabric.Port) (lease fabric.Lease, err error) {
	err = w.fuse.do(func() error { lease, err = w.Fabric.Attach(ctx, port); return err })
	return lease, err
}

// Detach implements fabric.Fabric.
func (w fusedFabric) Detach(ctx context.Context, name string) error {
	return w.fuse.do(func() error { return w.Fabric.Detach(ctx, name) })
}

// Apply implements fabric.Networks.
func (w fusedFabric) Apply(ctx context.Context, p network.Program) error {
	return w.fuse.do(func() error { return w.Fabric.Apply(ctx, p) })
}

// Remove implements fabric.Networks.
func (w fusedFabric) Remove(ctx context.Context, uid network.UID) error {
	return w.fuse.do(func() error { return w.Fabric.Remove(ctx, uid) })
}

// Cut implements fabric.Networks.
func (w fusedFabric) Cut(ctx context.Context, uid network.UID, card netip.Addr) error {
	return w.fuse.do(func() error { return w.Fabric.Cut(ctx, uid, card) })
}
