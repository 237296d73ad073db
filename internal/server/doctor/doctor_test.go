package doctor_test

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/muster-vm/muster/internal/server/doctor"
	"github.com/muster-vm/muster/internal/store/etcdstore"
)

// well is a machine that lacks nothing.
func well() doctor.Facts {
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	return doctor.Facts{Accel: "kvm", AccelWhy: "a guest booted with it", DiskFree: 100 << 30, DiskAll: 200 << 30, Listen: "127.0.0.1:8443", ClockSynced: true,
		Now: now, StateTime: now.Add(-time.Hour), Images: 2, EtcdMade: true, Etcd: etcdstore.Status{Size: 10 << 20, InUse: 5 << 20, Quota: 8 << 30}, Server: true}
}

func TestChecksSayWhatIsWrongAndWhatToDo(t *testing.T) {
	for _, c := range doctor.Judge(well()) {
		if c.Level != doctor.LevelOK || c.Remedy != "" || c.Finding == "" {
			t.Errorf("of a machine that lacks nothing: %+v", c)
		}
	}
	denied := &fs.PathError{Op: "open", Path: "/x", Err: syscall.EACCES}
	for name, tt := range map[string]struct {
		change func(*doctor.Facts)
		check  string
		level  doctor.Level
		words  []string
	}{
		"a bad price file": {func(f *doctor.Facts) { f.FilesErr = errors.New("no prices in prices.yaml") }, "config files", doctor.LevelFail, []string{"prices.yaml", "does not start"}},
		"no state yet":     {func(f *doctor.Facts) { f.StateErr = &fs.PathError{Op: "stat", Path: "/x", Err: syscall.ENOENT} }, "state directory", doctor.LevelWarn, []string{"muster serve"}},
		"others' state":    {func(f *doctor.Facts) { f.StateErr = denied }, "state directory", doctor.LevelUnknown, []string{"as the user"}},
		"a file as state":  {func(f *doctor.Facts) { f.StateErr = errors.New("/x is not a directory") }, "state directory", doctor.LevelFail, []string{"/x", "--state"}},
		"no tun":           {func(f *doctor.Facts) { f.Taps = errors.New("load the module tun") }, "/dev/net/tun", doctor.LevelFail, []string{"load the module tun"}},
		"tun for root":     {func(f *doctor.Facts) { f.Taps = denied }, "/dev/net/tun", doctor.LevelUnknown, []string{"root"}},
		"not root":         {func(f *doctor.Facts) { f.Unasked, f.Namespaces = true, denied }, "network namespaces", doctor.LevelUnknown, []string{"root", "CAP_NET_ADMIN"}},
		"not root, rules":  {func(f *doctor.Facts) { f.Unasked, f.Namespaces = true, denied }, "nftables", doctor.LevelUnknown, []string{"root"}},
		"no namespaces":    {func(f *doctor.Facts) { f.Namespaces = errors.New("no space") }, "network namespaces", doctor.LevelFail, []string{"no space"}},
		"no translation":   {func(f *doctor.Facts) { f.Networks = errors.New("load nft_nat") }, "virtual networks", doctor.LevelFail, []string{"load nft_nat"}},
		"no nftables":      {func(f *doctor.Facts) { f.Rules = errors.New("load nf_tables") }, "nftables", doctor.LevelFail, []string{"load nf_tables"}},
		"no qemu-img":      {func(f *doctor.Facts) { f.Programs = map[string]error{"qemu-img": fs.ErrNotExist} }, "QEMU", doctor.LevelFail, []string{"qemu-img", "apt install"}},
		"others' disks":    {func(f *doctor.Facts) { f.VolumesErr = denied }, "managed disks", doctor.LevelUnknown, []string{"/x", "as the user"}},
		"no KVM":           {func(f *doctor.Facts) { f.Accel, f.AccelWhy = "tcg", "open /dev/kvm: no such file" }, "KVM", doctor.LevelWarn, []string{"/dev/kvm", "firmware"}},
		"KVM for root":     {func(f *doctor.Facts) { f.Accel, f.AccelWhy = "tcg", "open /dev/kvm: permission denied" }, "KVM", doctor.LevelUnknown, []string{"group kvm"}},
		"KVM of no use": {func(f *doctor.Facts) {
			f.Accel, f.AccelWhy = "tcg", "hardware acceleration does not boot a guest: it hung"
		}, "KVM", doctor.LevelWarn, []string{"it hung", "nested"}},
		"KVM untried":       {func(f *doctor.Facts) { f.Accel, f.AccelWhy = "tcg", "the tiny guest is not built" }, "KVM", doctor.LevelUnknown, []string{"make guest"}},
		"little space":      {func(f *doctor.Facts) { f.DiskFree = 5 << 30 }, "disk space", doctor.LevelWarn, []string{"5.0 GiB of 200.0 GiB", "Free"}},
		"no space":          {func(f *doctor.Facts) { f.DiskFree = 5 << 20 }, "disk space", doctor.LevelFail, []string{"5.0 MiB", "Free"}},
		"space unknown":     {func(f *doctor.Facts) { f.DiskErr = denied }, "disk space", doctor.LevelUnknown, []string{"/x"}},
		"port of another":   {func(f *doctor.Facts) { f.Server, f.ListenErr = false, syscall.EADDRINUSE }, "port", doctor.LevelFail, []string{"127.0.0.1:8443", "--listen"}},
		"own port":          {func(f *doctor.Facts) { f.ListenErr = syscall.EADDRINUSE }, "port", doctor.LevelOK, []string{"a server runs"}},
		"port refused":      {func(f *doctor.Facts) { f.ListenErr = syscall.EACCES }, "port", doctor.LevelFail, []string{"permission denied", "--listen"}},
		"clock adrift":      {func(f *doctor.Facts) { f.ClockSynced = false }, "clock", doctor.LevelWarn, []string{"chrony"}},
		"clock unknown":     {func(f *doctor.Facts) { f.ClockErr = syscall.EPERM }, "clock", doctor.LevelUnknown, []string{"container"}},
		"clock behind":      {func(f *doctor.Facts) { f.StateTime = f.Now.Add(time.Hour) }, "clock", doctor.LevelFail, []string{"2026-11-25T13:00:00Z", "Set the clock"}},
		"image missing":     {func(f *doctor.Facts) { f.ImageFaults = []string{"No tiny guest."} }, "images", doctor.LevelWarn, []string{"No tiny guest.", "catalogue"}},
		"catalogue wrong":   {func(f *doctor.Facts) { f.ImagesErr = errors.New("line 3") }, "images", doctor.LevelFail, []string{"line 3", "images.catalogue"}},
		"etcd damaged":      {func(f *doctor.Facts) { f.EtcdErr = errors.New("cut off") }, "etcd", doctor.LevelFail, []string{"cut off", "docs/backup.md"}},
		"etcd nearly full":  {func(f *doctor.Facts) { f.Etcd.Size = 7 << 30 }, "etcd", doctor.LevelWarn, []string{"7.0 GiB of 8.0 GiB", "restart"}},
		"etcd full":         {func(f *doctor.Facts) { f.Etcd.Alarms = []string{"NOSPACE"} }, "etcd", doctor.LevelFail, []string{"NOSPACE", "delete resources"}},
		"etcd without word": {func(f *doctor.Facts) { f.Server, f.Etcd.InUse = false, 0 }, "etcd", doctor.LevelOK, []string{"No server runs"}},
		"no records":        {func(f *doctor.Facts) { f.EtcdMade = false }, "etcd", doctor.LevelOK, []string{"no records"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := well()
			tt.change(&f)
			all := doctor.Judge(f)
			c := all[slices.IndexFunc(all, func(c doctor.Check) bool { return c.Name == tt.check })]
			if c.Level != tt.level || (c.Remedy == "") != (c.Level == doctor.LevelOK) {
				t.Errorf("%+v, want level %s", c, tt.level)
			}
			for _, w := range tt.words {
				if !strings.Contains(c.Finding+" "+c.Remedy, w) {
					t.Errorf("%+v does not say %q", c, w)
				}
			}
			if want := tt.level == doctor.LevelFail; (doctor.Failures(all) > 0) != want {
				t.Errorf("%d failures", doctor.Failures(all))
			}
		})
	}
}
