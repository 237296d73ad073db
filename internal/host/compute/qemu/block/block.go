// Package block says to a QEMU process what there is to say about its disks, over
// the control protocol: what is plugged in, what is open, limits, copies. It decides
// nothing.
package block

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/muster-vm/muster/internal/host/compute"
)

// Command runs a command of the control protocol. Arguments and result may be nil.
type Command func(ctx context.Context, name string, arguments, result any) error

type object = map[string]any

// Drive is a disk that a process has plugged in.
type Drive struct {
	Path  string // of the device in QEMU's object tree, its backend's suffix included
	Node  string // name of what is open
	File  string
	Bytes int64
	Limit Limit
}

// Device names what device_del takes.
func (d Drive) Device() string { return strings.TrimSuffix(d.Path, "/virtio-backend") }

// Drives lists what is plugged in.
func (do Command) Drives(ctx context.Context) ([]Drive, error) {
	var all []struct {
		QDev     string
		Inserted *struct {
			Limit
			Node  string `json:"node-name"`
			File  string
			Image struct {
				Bytes int64 `json:"virtual-size"`
			}
		}
	}
	if err := do(ctx, "query-block", nil, &all); err != nil {
		return nil, err
	}
	var drives []Drive
	for _, b := range all {
		if i := b.Inserted; i != nil && b.QDev != "" {
			drives = append(drives, Drive{b.QDev, i.Node, i.File, i.Image.Bytes, i.Limit})
		}
	}
	return drives, nil
}

// Find returns the index of the drive with this node, and -1 without one.
func Find(drives []Drive, node string) int {
	return slices.IndexFunc(drives, func(d Drive) bool { return d.Node == node })
}

// Nodes lists what is open, plugged in or not.
func (do Command) Nodes(ctx context.Context) ([]string, error) {
	var all []struct {
		Node string `json:"node-name"`
	}
	if err := do(ctx, "query-named-block-nodes", object{"flat": true}, &all); err != nil {
		return nil, err
	}
	names := make([]string, len(all))
	for i, n := range all {
		names[i] = n.Node
	}
	return names, nil
}

// QEMU says that a device is gone a moment before it lets go of its file.
const (
	closeAgain = 10 * time.Millisecond
	closeLimit = 2 * time.Second
)

// Close closes what is open and not plugged in. It waits a little for a device that
// has just gone.
func (do Command) Close(ctx context.Context, node string) error {
	again := time.NewTicker(closeAgain)
	defer again.Stop()
	for begin := time.Now(); ; {
		err := do(ctx, "blockdev-del", object{"node-name": node}, nil)
		if err == nil || !strings.Contains(err.Error(), " is in use") || time.Since(begin) > closeLimit {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-again.C:
		}
	}
}

// Unplug asks the guest to let go of a disk. Asking again does no harm.
func (do Command) Unplug(ctx context.Context, d Drive) error {
	err := do(ctx, "device_del", object{"id": d.Device()}, nil)
	if err != nil && strings.Contains(err.Error(), "in the process of unplug") {
		return nil
	}
	return err
}

// Resize gives a disk another size, which its guest sees.
func (do Command) Resize(ctx context.Context, d Drive, bytes int64) error {
	return do(ctx, "block_resize", object{"node-name": d.Node, "size": bytes}, nil)
}

// Limit is what QEMU bounds a drive by, in bytes and operations a second: always,
// and while it has not used up what it may do beyond that.
type Limit struct {
	Bytes           int64 `json:"bps"`
	Operations      int64 `json:"iops"`
	BurstBytes      int64 `json:"bps_max"`
	BurstOperations int64 `json:"iops_max"`
}

// burst is how long a drive may do what it may not always do.
const burst = 30 * time.Minute

// LimitOf writes a limit as QEMU does.
func LimitOf(l compute.Limit) Limit {
	n := Limit{Bytes: int64(l.MBps) * 1_000_000, Operations: int64(l.IOPS)}
	if l.MBps > 0 && l.BurstMBps > l.MBps {
		n.BurstBytes = int64(l.BurstMBps) * 1_000_000
	}
	if l.IOPS > 0 && l.BurstIOPS > l.IOPS {
		n.BurstOperations = int64(l.BurstIOPS)
	}
	return n
}

// Bound sets the limit of a drive.
func (do Command) Bound(ctx context.Context, d Drive, l Limit) error {
	t := object{"id": d.Path, "bps": l.Bytes, "bps_rd": 0, "bps_wr": 0, "iops": l.Operations, "iops_rd": 0, "iops_wr": 0}
	if l.BurstBytes > 0 {
		t["bps_max"], t["bps_max_length"] = l.BurstBytes, int64(burst/time.Second)
	}
	if l.BurstOperations > 0 {
		t["iops_max"], t["iops_max_length"] = l.BurstOperations, int64(burst/time.Second)
	}
	return do(ctx, "block_set_io_throttle", t, nil)
}
