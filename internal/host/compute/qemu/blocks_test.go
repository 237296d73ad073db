package qemu

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// blocks is what an emulator has of disks: files that are open, and devices that
// its guest sees. The emulator's mutex guards it.
type blocks struct {
	nodes   map[string]string // files by node
	devices []blockDevice
	jobs    map[string]*blockJob
	clings  bool                 // the guest does not let go of a disk
	busy    map[string]time.Time // until when nodes of devices that are gone are in use

	copyFault string // that copies end with
}

type blockDevice struct {
	path, node string
	bps, iops  float64
	more       []float64 // bytes and operations of bursts, and how long they may be
	going      bool      // the guest was asked to let go of it
}

// blockJob is a copy of a disk as it was when the job began.
type blockJob struct {
	target  string // node
	content []byte
	status  string
	fault   string
}

// copying is how long a copy takes.
const copying = 5 * time.Second

// letGo is how long a guest takes to let go of a disk.
const letGo = 300 * time.Millisecond

// linger is how long QEMU still has the file of a device that it said is gone.
const linger = 30 * time.Millisecond

// blocksOf reads the disks of a command line. why is not empty if QEMU would end
// over it.
func (f *farm) blocksOf(dir string, argv []string) (b blocks, why string) {
	b = blocks{nodes: map[string]string{}, jobs: map[string]*blockJob{}, busy: map[string]time.Time{}}
	for i, word := range argv {
		values := map[string]string{}
		for pair := range strings.SplitSeq(word, ",") {
			key, value, _ := strings.Cut(pair, "=")
			values[key] = value
		}
		if path := values["file.filename"]; i > 0 && argv[i-1] == "-blockdev" {
			if !filepath.IsAbs(path) {
				path = filepath.Join(dir, path)
			}
			if _, err := os.Stat(path); err != nil {
				f.t.Errorf("a process was started without its disk: %v", err)
			}
			if values["read-only"] == "" && f.locked(path) {
				why = `Failed to get "write" lock`
			}
			b.nodes[values["node-name"]] = path
		}
		if drive := values["drive"]; drive != "" {
			b.devices = append(b.devices, blockDevice{path: "/machine/peripheral/" + values["id"] + "/virtio-backend", node: drive})
		}
	}
	return b, why
}

// locked reports whether a process has a file open.
func (f *farm) locked(path string) bool {
	for _, e := range f.alive() {
		e.mu.Lock()
		open := slices.Contains(slices.Collect(maps.Values(e.nodes)), path)
		e.mu.Unlock()
		if open {
			return true
		}
	}
	return false
}

// block carries out a command about disks, and returns QEMU's sentence if it is
// refused.
func (e *emulator) block(r request) (answer, refused string) {
	text := func(key string) string { s, _ := r.Arguments[key].(string); return s }
	number := func(key string) float64 { n, _ := r.Arguments[key].(float64); return n }
	if r.Execute == "blockdev-add" {
		file, _ := r.Arguments["file"].(map[string]any)["filename"].(string)
		return e.openNode(text("node-name"), file)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	find := func(match func(blockDevice) bool) *blockDevice {
		if i := slices.IndexFunc(e.devices, match); i >= 0 {
			return &e.devices[i]
		}
		return nil
	}
	switch r.Execute {
	case "query-block":
		return e.queryBlock(), ""
	case "query-named-block-nodes":
		var all []map[string]string
		for _, name := range slices.Sorted(maps.Keys(e.nodes)) {
			all = append(all, map[string]string{"node-name": name}, map[string]string{"node-name": "#block" + name})
		}
		return marshal(all), ""
	case "blockdev-del":
		name := text("node-name")
		if _, open := e.nodes[name]; !open {
			return "", "Failed to find node with node-name='" + name + "'"
		}
		if find(func(d blockDevice) bool { return d.node == name }) != nil || time.Now().Before(e.busy[name]) {
			return "", "Node " + name + " is in use"
		}
		for _, j := range e.jobs {
			if j.target == name && j.status == "running" {
				return "", "Node " + name + " is in use"
			}
		}
		delete(e.nodes, name)
	case "device_add":
		path := "/machine/peripheral/" + text("id") + "/virtio-backend"
		if _, open := e.nodes[text("drive")]; !open || find(func(d blockDevice) bool { return d.path == path }) != nil {
			return "", "Duplicate device ID, or no such drive"
		}
		e.devices = append(e.devices, blockDevice{path: path, node: text("drive")})
	case "device_del":
		d := find(func(d blockDevice) bool { return strings.TrimSuffix(d.path, "/virtio-backend") == text("id") })
		switch {
		case d == nil:
			return "", "Device '" + text("id") + "' not found"
		case d.going:
			return "", "Device " + text("id") + " is already in the process of unplug"
		}
		d.going = true
		if !e.clings {
			path := d.path
			time.AfterFunc(letGo, func() { e.unplug(path) })
		}
	case "block_set_io_throttle":
		d := find(func(d blockDevice) bool { return d.path == text("id") })
		if d == nil {
			return "", "Device '" + text("id") + "' not found"
		}
		d.bps, d.iops = number("bps"), number("iops")
		d.more = []float64{number("bps_max"), number("bps_max_length"), number("iops_max"), number("iops_max_length")}
	case "block_resize":
		e.farm.setSize(e.nodes[text("node-name")], int64(number("size")))
	case "blockdev-backup":
		return e.backup(text("job-id"), text("device"), text("target"))
	case "query-jobs":
		var all []map[string]any
		for id, j := range e.jobs {
			all = append(all, map[string]any{"id": id, "status": j.status, "error": j.fault, "current-progress": 1 << 29, "total-progress": 1 << 30})
		}
		return marshal(all), ""
	case "job-cancel":
		j := e.jobs[text("id")]
		if j == nil || j.status != "running" {
			return "", "Job not found, or it cannot accept the command"
		}
		j.status, j.fault = "concluded", "Operation canceled"
	case "job-dismiss":
		if j := e.jobs[text("id")]; j == nil || j.status != "concluded" {
			return "", "Job not found, or it cannot accept the command"
		}
		delete(e.jobs, text("id"))
	default:
		return "", "The command " + r.Execute + " has not been found"
	}
	return "{}", ""
}

func (e *emulator) queryBlock() string {
	var all []map[string]any
	for _, d := range e.devices {
		inserted := map[string]any{"node-name": d.node, "file": e.nodes[d.node], "bps": d.bps, "iops": d.iops, "image": map[string]any{"virtual-size": e.farm.size(e.nodes[d.node])}}
		if d.more != nil {
			inserted["bps_max"], inserted["iops_max"] = d.more[0], d.more[2]
		}
		all = append(all, map[string]any{"device": "", "qdev": d.path, "inserted": inserted})
	}
	return marshal(all)
}

// backup begins a job. Its target is complete when the job has come to its end, and
// not before.
func (e *emulator) backup(id, node, target string) (answer, refused string) {
	content, err := os.ReadFile(e.nodes[node])
	if _, open := e.nodes[target]; err != nil || !open || e.jobs[id] != nil {
		return "", "Job ID '" + id + "' already in use, or no such node"
	}
	j := &blockJob{target: target, content: content, status: "running"}
	e.jobs[id] = j
	time.AfterFunc(copying, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		if j.status != "running" || e.over {
			return
		}
		j.status = "concluded"
		if e.copyFault != "" {
			j.fault = e.copyFault
		} else if err := os.WriteFile(e.nodes[target], j.content, 0o600); err != nil {
			j.fault = err.Error()
		}
	})
	return "{}", ""
}

// growDisk implements world.
func (f *farm) growDisk(_ context.Context, path string, bytes int64) error {
	if f.locked(path) {
		f.t.Errorf("%s is enlarged beside a process that has it open", path)
	}
	if f.size(path) < bytes {
		f.setSize(path, bytes)
	}
	return nil
}

// copyDisk implements world.
func (f *farm) copyDisk(ctx context.Context, from, to string, progress func(done, total int64)) error {
	if f.locked(from) {
		f.t.Errorf("%s is copied beside a process that has it open", from)
	}
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	progress(1<<29, 1<<30)
	select {
	case <-ctx.Done():
		return canceled(ctx.Err())
	case <-time.After(copying):
	}
	return os.WriteFile(to, b, 0o600)
}

// size returns how large a disk is for its guest.
func (f *farm) size(path string) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return max(f.sizes[path], 1<<30)
}

func (f *farm) setSize(path string, bytes int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.sizes == nil {
		f.sizes = map[string]int64{}
	}
	f.sizes[path] = bytes
}

func (e *emulator) openNode(name, file string) (answer, refused string) {
	locked := e.farm.locked(file)
	_, err := os.Stat(file)
	e.mu.Lock()
	defer e.mu.Unlock()
	switch _, open := e.nodes[name]; {
	case open:
		return "", "Duplicate nodes with node-name='" + name + "'"
	case err != nil:
		return "", "Could not open '" + file + "': No such file or directory"
	case locked:
		return "", `Failed to get "write" lock`
	}
	e.nodes[name] = file
	return "{}", ""
}

// unplug is the guest letting go of a disk.
func (e *emulator) unplug(path string) {
	e.mu.Lock()
	for _, d := range e.devices {
		if d.path == path {
			e.busy[d.node] = time.Now().Add(linger)
		}
	}
	e.devices = slices.DeleteFunc(e.devices, func(d blockDevice) bool { return d.path == path })
	e.mu.Unlock()
	e.event("DEVICE_DELETED", fmt.Sprintf(`{"path": %q}`, path))
}

// plugged describes the disks that the guest has, and what is open beside them.
func (e *emulator) plugged() (all []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	spare := maps.Clone(e.nodes)
	for _, d := range e.devices {
		all = append(all, fmt.Sprintf("%s has %s of %d GB, %v bytes and %v operations a second", d.node, filepath.Base(e.nodes[d.node]), e.farm.size(e.nodes[d.node])>>30, d.bps, d.iops))
		if d.more != nil && d.more[0]+d.more[2] > 0 {
			all = append(all, fmt.Sprintf("%s may do more: %v", d.node, d.more))
		}
		delete(spare, d.node)
	}
	for node := range spare {
		all = append(all, node+" is open and not plugged in")
	}
	slices.Sort(all)
	return all
}

func marshal(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // plain data
	}
	return string(b)
}
