package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/muster-vm/muster/internal/store/etcdstore"
)

// well is a machine that lacks nothing.
func well() facts {
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	return facts{Accel: "kvm", AccelWhy: "a guest booted with it", DiskFree: 100 << 30, DiskAll: 200 << 30, Listen: "127.0.0.1:8443", ClockSynced: true,
		Now: now, StateTime: now.Add(-time.Hour), Images: 2, EtcdMade: true, Etcd: etcdstore.Status{Size: 10 << 20, InUse: 5 << 20, Quota: 8 << 30}, Server: true}
}

func TestChecksSayWhatIsWrongAndWhatToDo(t *testing.T) {
	for _, c := range judge(well()) {
		if c.Level != LevelOK || c.Remedy != "" || c.Finding == "" {
			t.Errorf("of a machine that lacks nothing: %+v", c)
		}
	}
	denied := &fs.PathError{Op: "open", Path: "/x", Err: syscall.EACCES}
	for name, tt := range map[string]struct {
		change func(*facts)
		check  string
		level  Level
		words  []string
	}{
		"a bad price file":  {func(f *facts) { f.FilesErr = errors.New("no prices in prices.yaml") }, "config files", LevelFail, []string{"prices.yaml", "does not start"}},
		"no state yet":      {func(f *facts) { f.StateErr = &fs.PathError{Op: "stat", Path: "/x", Err: syscall.ENOENT} }, "state directory", LevelWarn, []string{"muster serve"}},
		"others' state":     {func(f *facts) { f.StateErr = denied }, "state directory", LevelUnknown, []string{"as the user"}},
		"a file as state":   {func(f *facts) { f.StateErr = errors.New("/x is not a directory") }, "state directory", LevelFail, []string{"/x", "--state"}},
		"no tun":            {func(f *facts) { f.Taps = errors.New("load the module tun") }, "/dev/net/tun", LevelFail, []string{"load the module tun"}},
		"tun for root":      {func(f *facts) { f.Taps = denied }, "/dev/net/tun", LevelUnknown, []string{"root"}},
		"not root":          {func(f *facts) { f.Unasked, f.Namespaces = true, denied }, "network namespaces", LevelUnknown, []string{"root", "CAP_NET_ADMIN"}},
		"not root, rules":   {func(f *facts) { f.Unasked, f.Namespaces = true, denied }, "nftables", LevelUnknown, []string{"root"}},
		"no namespaces":     {func(f *facts) { f.Namespaces = errors.New("no space") }, "network namespaces", LevelFail, []string{"no space"}},
		"no nftables":       {func(f *facts) { f.Rules = errors.New("load nf_tables") }, "nftables", LevelFail, []string{"load nf_tables"}},
		"no qemu-img":       {func(f *facts) { f.Programs = map[string]error{"qemu-img": fs.ErrNotExist} }, "QEMU", LevelFail, []string{"qemu-img", "apt install"}},
		"others' disks":     {func(f *facts) { f.VolumesErr = denied }, "managed disks", LevelUnknown, []string{"/x", "as the user"}},
		"no KVM":            {func(f *facts) { f.Accel, f.AccelWhy = "tcg", "open /dev/kvm: no such file" }, "KVM", LevelWarn, []string{"/dev/kvm", "firmware"}},
		"KVM for root":      {func(f *facts) { f.Accel, f.AccelWhy = "tcg", "open /dev/kvm: permission denied" }, "KVM", LevelUnknown, []string{"group kvm"}},
		"KVM of no use":     {func(f *facts) { f.Accel, f.AccelWhy = "tcg", "hardware acceleration does not boot a guest: it hung" }, "KVM", LevelWarn, []string{"it hung", "nested"}},
		"KVM untried":       {func(f *facts) { f.Accel, f.AccelWhy = "tcg", "the tiny guest is not built" }, "KVM", LevelUnknown, []string{"make guest"}},
		"little space":      {func(f *facts) { f.DiskFree = 5 << 30 }, "disk space", LevelWarn, []string{"5.0 GiB of 200.0 GiB", "Free"}},
		"no space":          {func(f *facts) { f.DiskFree = 5 << 20 }, "disk space", LevelFail, []string{"5.0 MiB", "Free"}},
		"space unknown":     {func(f *facts) { f.DiskErr = denied }, "disk space", LevelUnknown, []string{"/x"}},
		"port of another":   {func(f *facts) { f.Server, f.ListenErr = false, syscall.EADDRINUSE }, "port", LevelFail, []string{"127.0.0.1:8443", "--listen"}},
		"own port":          {func(f *facts) { f.ListenErr = syscall.EADDRINUSE }, "port", LevelOK, []string{"a server runs"}},
		"port refused":      {func(f *facts) { f.ListenErr = syscall.EACCES }, "port", LevelFail, []string{"permission denied", "--listen"}},
		"clock adrift":      {func(f *facts) { f.ClockSynced = false }, "clock", LevelWarn, []string{"chrony"}},
		"clock unknown":     {func(f *facts) { f.ClockErr = syscall.EPERM }, "clock", LevelUnknown, []string{"container"}},
		"clock behind":      {func(f *facts) { f.StateTime = f.Now.Add(time.Hour) }, "clock", LevelFail, []string{"2026-11-25T13:00:00Z", "Set the clock"}},
		"image missing":     {func(f *facts) { f.ImageFaults = []string{"No tiny guest."} }, "images", LevelWarn, []string{"No tiny guest.", "catalogue"}},
		"catalogue wrong":   {func(f *facts) { f.ImagesErr = errors.New("line 3") }, "images", LevelFail, []string{"line 3", "images.catalogue"}},
		"etcd damaged":      {func(f *facts) { f.EtcdErr = errors.New("cut off") }, "etcd", LevelFail, []string{"cut off", "docs/backup.md"}},
		"etcd nearly full":  {func(f *facts) { f.Etcd.Size = 7 << 30 }, "etcd", LevelWarn, []string{"7.0 GiB of 8.0 GiB", "restart"}},
		"etcd full":         {func(f *facts) { f.Etcd.Alarms = []string{"NOSPACE"} }, "etcd", LevelFail, []string{"NOSPACE", "delete resources"}},
		"etcd without word": {func(f *facts) { f.Server, f.Etcd.InUse = false, 0 }, "etcd", LevelOK, []string{"No server runs"}},
		"no records":        {func(f *facts) { f.EtcdMade = false }, "etcd", LevelOK, []string{"no records"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := well()
			tt.change(&f)
			all := judge(f)
			c := all[slices.IndexFunc(all, func(c Check) bool { return c.Name == tt.check })]
			if c.Level != tt.level || (c.Remedy == "") != (c.Level == LevelOK) {
				t.Errorf("%+v, want level %s", c, tt.level)
			}
			for _, w := range tt.words {
				if !strings.Contains(c.Finding+" "+c.Remedy, w) {
					t.Errorf("%+v does not say %q", c, w)
				}
			}
			if want := tt.level == LevelFail; (failures(all) > 0) != want {
				t.Errorf("%d failures", failures(all))
			}
		})
	}
}

// TestTheDoctorIsACommand runs it on this machine, with whatever rights there
// are, for the simulator.
func TestTheDoctorIsACommand(t *testing.T) {
	state := filepath.Join(t.TempDir(), "none")
	doctor := func(args ...string) (string, error) {
		var out bytes.Buffer
		cmd := doctorCommand()
		cmd.SilenceErrors, cmd.SilenceUsage = true, true
		cmd.SetOut(&out)
		cmd.SetErr(io.Discard)
		cmd.SetArgs(append([]string{"--driver", "sim", "--state", state}, args...))
		err := cmd.ExecuteContext(t.Context())
		return out.String(), err
	}
	said, err := doctor("--listen", "127.0.0.1:0", "-o", "json")
	if err != nil {
		t.Fatal(Explain(err), said)
	}
	var all []Check
	if err := json.Unmarshal([]byte(said), &all); err != nil || len(all) != 8 {
		t.Errorf("%v\n%s", err, said)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	said, err = doctor("--listen", l.Addr().String())
	if err == nil || !strings.Contains(Explain(err), "1 of 8 checks failed") || !strings.Contains(said, "FAIL") || !strings.Contains(said, "-> Stop it") {
		t.Errorf("%v\n%s", err, said)
	}
	if exists(state) == nil {
		t.Error("it made a state directory")
	}
}
