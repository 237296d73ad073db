package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/muster-vm/muster/internal/host/fabric/bridge"
	"github.com/muster-vm/muster/internal/host/image"
	"github.com/muster-vm/muster/internal/host/volume"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/server/doctor"
	"github.com/muster-vm/muster/internal/store/etcdstore"
)

// facts are gathered by looking at this machine.
type facts struct{ doctor.Facts }

// Diagnose looks at this machine and a state directory, and changes nothing. It
// works without root, and says what it could not look at.
func Diagnose(ctx context.Context, c Config) []doctor.Check {
	f := facts{doctor.Facts{Simulated: c.Driver == "sim", Listen: c.Listen, Now: time.Now(), EtcdOwn: len(c.Etcd.Endpoints) > 0}}
	f.probeState(c)
	status, err := askStatus(ctx, c.State)
	f.Server = err == nil
	f.Etcd = status
	f.probeEtcd(ctx, c)
	f.probeMachine()
	f.probeFiles(c)
	f.probeImages(ctx, c)
	f.probeVolumes(c)
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", c.Listen)
	if f.ListenErr = err; err == nil {
		l.Close()
	}
	return doctor.Judge(f.Facts)
}

func (f *facts) probeState(c Config) {
	info, err := os.Stat(c.State)
	switch {
	case err != nil:
		f.StateErr = err
	case !info.IsDir():
		f.StateErr = fmt.Errorf("%s is not a directory", c.State)
	default:
		f.StateErr = unix.Access(c.State, unix.R_OK|unix.W_OK|unix.X_OK)
	}
	for _, name := range []string{"ca.pem", filepath.Join(etcdDir, "member", "snap", "db")} {
		if info, err := os.Stat(filepath.Join(c.State, name)); err == nil && info.ModTime().After(f.StateTime) {
			f.StateTime = info.ModTime()
		}
	}
	dir := c.State // or the nearest that is there
	for parent := filepath.Dir(dir); errors.Is(exists(dir), fs.ErrNotExist) && parent != dir; parent = filepath.Dir(dir) {
		dir = parent
	}
	var disk unix.Statfs_t
	f.DiskErr = unix.Statfs(dir, &disk)
	f.DiskFree, f.DiskAll = disk.Bavail*uint64(disk.Bsize), disk.Blocks*uint64(disk.Bsize)
}

func exists(path string) error {
	_, err := os.Stat(path)
	return err
}

// askStatus asks the server of a state directory about its etcd. An error means
// that none runs, or that it may not be asked.
func askStatus(ctx context.Context, state string) (s etcdstore.Status, err error) {
	answer, err := askControl(ctx, state, "/status")
	if err != nil {
		return s, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return s, nil // it runs, and cannot tell
	}
	return s, json.NewDecoder(answer.Body).Decode(&s)
}

// probeEtcd looks at the file of records if no server tells.
func (f *facts) probeEtcd(ctx context.Context, c Config) {
	if f.EtcdMade = f.Etcd.Size > 0; f.EtcdMade {
		return
	}
	if f.EtcdOwn {
		etcd, err := etcdstore.Dial(ctx, etcdstore.Options{Endpoints: c.Etcd.Endpoints, CA: c.Etcd.CA, Cert: c.Etcd.Cert, Key: c.Etcd.Key})
		if err == nil {
			f.Etcd, err = etcd.Status(ctx)
			err = errors.Join(err, etcd.Close())
		}
		f.EtcdErr, f.EtcdMade = worded(err), true
		return
	}
	info, err := os.Stat(filepath.Join(c.State, etcdDir, "member", "snap", "db"))
	if err == nil {
		f.EtcdMade, f.Etcd = true, etcdstore.Status{Size: info.Size(), Quota: etcdstore.DefaultQuota}
	}
}

// worded is an error as people are told it.
func worded(err error) error {
	if err == nil {
		return nil
	}
	return errors.New(Explain(err))
}

// probeMachine tries what driver qemu needs of the machine.
func (f *facts) probeMachine() {
	var clock unix.Timex
	state, err := unix.Adjtimex(&clock)
	f.ClockErr, f.ClockSynced = err, state != unix.TIME_ERROR
	if f.Simulated {
		return
	}
	tried := bridge.Probe()
	f.Taps, f.Namespaces, f.Rules, f.Networks, f.Unasked = tried.Taps, tried.Namespaces, tried.Rules, tried.Networks, tried.Unasked
	f.Programs = map[string]error{}
	for _, p := range doctor.Programs {
		_, f.Programs[p] = exec.LookPath(p)
	}
}

// probeFiles reads the files of prices and of the simulated fleet.
func (f *facts) probeFiles(c Config) {
	_, prices := loadPrices(c.Prices)
	if f.FilesErr = worded(prices); prices == nil && f.Simulated {
		_, err := loadPopulation(c.Simulation)
		f.FilesErr = worded(err)
	}
}

// probeImages reads the catalogue, and boots the tiny guest to find out whether
// KVM works.
func (f *facts) probeImages(ctx context.Context, c Config) {
	images, err := image.Open(ctx, image.Options{Tiny: c.Images.Tiny, File: c.Images.Catalogue, Allowed: c.Images.Allowed, Simulated: f.Simulated})
	if err != nil {
		f.ImagesErr, f.AccelWhy, f.Accel = worded(err), "no guest could be tried", "tcg"
		return
	}
	for _, fault := range images.Faults() {
		f.ImageFaults = append(f.ImageFaults, fault.Msg)
	}
	pinned, _ := filepath.Glob(filepath.Join(c.State, imageDir, "sha256-*"))
	f.Images = len(pinned)
	for _, dir := range pinned {
		if errors.Is(exists(filepath.Join(dir, "image.json")), fs.ErrNotExist) {
			f.ImageFaults = append(f.ImageFaults, "The image in "+dir+" is not complete: instances made from it may not start.")
		}
	}
	if !f.Simulated {
		f.Accel, f.AccelWhy = findAccel(ctx, c, images)
	}
}

// probeVolumes looks at the contents of managed disks.
func (f *facts) probeVolumes(c Config) {
	dir := filepath.Join(c.State, volumeDir)
	found, err := volume.Contents(dir)
	f.Volumes, f.VolumesErr = len(found), err
	entries, _ := os.ReadDir(dir) // Contents has met the same error
	for _, e := range entries {
		var at unix.Stat_t
		if unix.Lstat(filepath.Join(dir, e.Name()), &at) == nil {
			f.VolumeBytes += uint64(at.Blocks) * 512
		}
	}
}

func doctorCommand() *cobra.Command {
	var f flags
	var format string
	cmd := &cobra.Command{
		Use:   "doctor --state DIR",
		Short: "Look at what a server needs of this machine; exit code 1 if something would keep it from working",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := f.load()
			if err != nil {
				return err
			}
			if err := c.Validate(); err != nil {
				return err
			}
			if format != "table" && format != "json" {
				return resource.Errorf(resource.Invalid, "", "The output format %q is neither table nor json.", format).At("--output")
			}
			return report(cmd, Diagnose(cmd.Context(), c), format)
		},
	}
	f.registerServe(cmd)
	cmd.Flags().StringVarP(&format, "output", "o", "table", "table or json")
	_ = cmd.MarkFlagRequired("state")
	return cmd
}

// report writes checks, and fails if one did.
func report(cmd *cobra.Command, all []doctor.Check, format string) error {
	var err error
	if format == "json" {
		enc := json.NewEncoder(cmd.OutOrStdout())
		enc.SetIndent("", "  ")
		err = enc.Encode(all)
	} else {
		err = doctor.WriteTable(cmd.OutOrStdout(), all)
	}
	if n := doctor.Failures(all); err == nil && n > 0 {
		return resource.Errorf(resource.Unavailable, "ChecksFailed", "%d of %d checks failed.", n, len(all))
	}
	return err
}
