package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/muster-vm/muster/internal/host/compute"
	"github.com/muster-vm/muster/internal/host/compute/qemu"
	"github.com/muster-vm/muster/internal/host/fabric/bridge"
	"github.com/muster-vm/muster/internal/host/image"
	"github.com/muster-vm/muster/internal/resource"
)

// How long things may take to end.
const (
	evictLimit = 15 * time.Second
	guestGrace = 10 * time.Second
)

// Down ends the server of a state directory, if one runs, and its virtual
// machines, and removes their network. Guests are asked to shut down first.
// Disks and records stay: the next Serve starts the fleet again. Calling it
// twice changes nothing.
func Down(ctx context.Context, c Config, out io.Writer, log *slog.Logger) error {
	if _, err := os.Stat(c.State); errors.Is(err, fs.ErrNotExist) {
		return resource.Errorf(resource.NotFound, "", "There is no state directory %s.", c.State)
	}
	state, err := stateDir(c.State)
	if err != nil {
		return err
	}
	c.State = state
	lock, err := evict(state, evictLimit)
	if err != nil {
		return err
	}
	defer lock.release()
	ended, err := endMachines(ctx, c, log)
	if err == nil {
		err = bridge.Destroy(ctx, networkOptions(c, log))
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "down: %d virtual machines ended, their network is gone; disks and records are kept in %s\n", ended, state)
	return nil
}

// endMachines shuts down and removes every machine, and returns how many there
// were. Their disks stay.
func endMachines(ctx context.Context, c Config, log *slog.Logger) (int, error) {
	dir := filepath.Join(c.State, computeDir)
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	driver, err := qemu.Open(ctx, qemu.Options{Root: dir, Images: files{&image.Catalogue{}}, Log: log})
	if err != nil {
		return 0, err
	}
	defer driver.Close()
	fence := compute.Fence{Lease: driver.Lease()}
	var ids []compute.VMID
	for vm, err := range driver.List(ctx) {
		if err != nil {
			return 0, err
		}
		ids = append(ids, vm.ID)
		if vm.State == compute.Running || vm.State == compute.Stopping {
			if err := driver.Power(ctx, fence, vm.ID, compute.Power{Want: compute.Stopped, Graceful: true, Grace: guestGrace}); err != nil {
				log.WarnContext(ctx, "shut down virtual machine", "virtual_machine", vm.ID.String(), "err", err)
			}
		}
	}
	wait(ctx, driver)
	for _, id := range ids {
		if err := driver.Delete(ctx, fence, id, compute.KeepDisks); err != nil {
			return 0, err
		}
	}
	return len(ids), nil
}

// wait returns when no machine is shutting down any more; the driver cuts the
// power of those that do not.
func wait(ctx context.Context, driver *qemu.Driver) {
	for ctx.Err() == nil {
		busy := false
		for vm, err := range driver.List(ctx) {
			busy = busy || err == nil && vm.State == compute.Stopping
		}
		if !busy {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}
