// Package doctor judges what was found out about a machine that is to run Muster:
// each finding with its remedy. It looks at nothing itself, and is pure.
package doctor

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/muster-vm/muster/internal/host/volume"
	"github.com/muster-vm/muster/internal/store/etcdstore"
)

// Level says how a check came out.
type Level string

// The levels. Unknown is what could not be looked at.
const (
	LevelOK      Level = "ok"
	LevelWarn    Level = "warn"
	LevelFail    Level = "fail"
	LevelUnknown Level = "unknown"
)

// Check is one finding about this machine, or a state directory on it.
type Check struct {
	Name    string `json:"name"`
	Level   Level  `json:"level"`
	Finding string `json:"finding"`
	Remedy  string `json:"remedy,omitempty"` // of all but LevelOK
}

func ok(name, format string, args ...any) Check {
	return Check{Name: name, Level: LevelOK, Finding: fmt.Sprintf(format, args...)}
}

// Facts are what was found out about a machine. Errors are worded for people.
type Facts struct {
	Simulated bool // driver "sim": no machine is run
	Server    bool // a server runs on the state directory

	StateErr error // why the state directory cannot be used

	Taps, Namespaces, Rules, Networks error
	Unasked                           bool // no right to try namespaces and rules

	Programs map[string]error // that must be there
	Accel    string           // that machines would run with
	AccelWhy string

	DiskErr           error
	DiskFree, DiskAll uint64 // bytes

	Listen    string
	ListenErr error

	ClockErr    error // why the kernel does not tell
	ClockSynced bool
	Now         time.Time
	StateTime   time.Time // when the state was last written; zero if never

	VolumesErr  error
	Volumes     int    // disks, snapshots and images that have a content
	VolumeBytes uint64 // that they take
	FilesErr    error  // what is wrong with other files that the config names

	ImagesErr   error
	ImageFaults []string
	Images      int

	EtcdErr  error
	Etcd     etcdstore.Status
	EtcdMade bool // there are records
	EtcdOwn  bool // at endpoints of the operator's
}

// Judge returns a finding for everything that was looked at.
func Judge(f Facts) []Check {
	all := []Check{checkState(f)}
	if !f.Simulated {
		all = append(all, checkTaps(f), checkNamespaces(f), checkRules(f), checkNetworks(f), checkPrograms(f), checkAccel(f))
	}
	return append(all, checkDisk(f), checkPort(f), checkClock(f), checkFiles(f), checkImages(f), checkVolumes(f), checkEtcd(f))
}

func checkState(f Facts) Check {
	const name = "state directory"
	switch {
	case errors.Is(f.StateErr, fs.ErrNotExist):
		return Check{name, LevelWarn, "There is none yet.", "muster serve makes it."}
	case errors.Is(f.StateErr, fs.ErrPermission):
		return Check{name, LevelUnknown, "It belongs to somebody else: " + f.StateErr.Error() + ".", "Run muster doctor as the user that runs muster serve."}
	case f.StateErr != nil:
		return Check{name, LevelFail, f.StateErr.Error() + ".", "Choose another with --state, or mend this one."}
	case f.Server:
		return ok(name, "A server runs on it.")
	}
	return ok(name, "It can be used; no server runs on it.")
}

func checkTaps(f Facts) Check {
	const name = "/dev/net/tun"
	switch {
	case f.Taps == nil:
		return ok(name, "Taps can be made.")
	case errors.Is(f.Taps, fs.ErrPermission):
		return Check{name, LevelUnknown, "It is there, and not for this user.", "Run muster doctor as root to look closer."}
	}
	return Check{name, LevelFail, "Taps cannot be made.", f.Taps.Error()}
}

const asRoot = "Run muster doctor as root, or with CAP_NET_ADMIN and CAP_SYS_ADMIN, to look; muster serve needs the same for driver qemu."

func checkNamespaces(f Facts) Check {
	const name = "network namespaces"
	switch {
	case f.Unasked:
		return Check{name, LevelUnknown, "This user may not make one.", asRoot}
	case f.Namespaces != nil:
		return Check{name, LevelFail, "None can be made.", f.Namespaces.Error()}
	}
	return ok(name, "One was made, and removed.")
}

func checkRules(f Facts) Check {
	const name = "nftables"
	switch {
	case f.Unasked, f.Namespaces != nil:
		return Check{name, LevelUnknown, "It could not be tried without a network namespace.", asRoot}
	case f.Rules != nil:
		return Check{name, LevelFail, "The kernel does not take the rules.", f.Rules.Error()}
	}
	return ok(name, "The kernel took the rules, in a trial namespace.")
}

func checkNetworks(f Facts) Check {
	const name = "virtual networks"
	switch {
	case f.Unasked, f.Namespaces != nil, f.Rules != nil:
		return Check{name, LevelUnknown, "They could not be tried without network namespaces and nftables.", asRoot}
	case f.Networks != nil:
		return Check{name, LevelFail, "The kernel cannot carry virtual networks and load balancers.", f.Networks.Error()}
	}
	return ok(name, "Isolated ports, address translation and connection tracking work, in a trial namespace.")
}

func checkPrograms(f Facts) Check {
	const name = "QEMU"
	var missing []string
	for _, p := range Programs {
		if f.Programs[p] != nil {
			missing = append(missing, p)
		}
	}
	if len(missing) > 0 {
		return Check{name, LevelFail, "Not installed: " + strings.Join(missing, ", ") + ".", "Install it (Debian: apt install qemu-system-x86 qemu-utils util-linux)."}
	}
	return ok(name, "%s are installed.", strings.Join(Programs, ", "))
}

// Programs are what driver qemu runs.
var Programs = append([]string{"qemu-system-x86_64"}, volume.Programs()...)

func checkAccel(f Facts) Check {
	const name = "KVM"
	if f.Accel == "kvm" {
		return ok(name, "Machines run with it: %s.", f.AccelWhy)
	}
	finding := "Machines are emulated: " + strings.TrimRight(f.AccelWhy, ".") + "."
	switch {
	case strings.Contains(f.AccelWhy, "permission denied"):
		return Check{name, LevelUnknown, finding, "Run muster doctor as root, or as a member of the group kvm, to try it."}
	case strings.Contains(f.AccelWhy, "not boot a guest"):
		return Check{name, LevelWarn, finding, "Emulated machines work, five to ten times slower. KVM is there and does not work, as in some nested clouds: use a machine with nested virtualization, or a bare one."}
	case strings.Contains(f.AccelWhy, "guest is not built"):
		return Check{name, LevelUnknown, finding, "Build the tiny guest (make guest) and name its directory as images.tiny."}
	}
	return Check{name, LevelWarn, finding, "Emulated machines work, five to ten times slower. For KVM, turn on virtualization in the firmware, or nested virtualization on the machine below, and load kvm_intel or kvm_amd."}
}

// Space below which a disk is worth a word.
const (
	diskWarn = 10 << 30
	diskFail = 1 << 30
)

func checkDisk(f Facts) Check {
	const name = "disk space"
	if f.DiskErr != nil {
		return Check{name, LevelUnknown, f.DiskErr.Error() + ".", "Run muster doctor as the user that runs muster serve."}
	}
	finding := fmt.Sprintf("%s of %s are free for the state directory.", bytesText(f.DiskFree), bytesText(f.DiskAll))
	const remedy = "Free some space, or move the state directory to a larger disk: without space neither records nor machines' disks can be written."
	switch {
	case f.DiskFree < diskFail:
		return Check{name, LevelFail, finding, remedy}
	case f.DiskFree < diskWarn:
		return Check{name, LevelWarn, finding, remedy}
	}
	return ok(name, "%s", finding)
}

func bytesText(n uint64) string {
	if n < 1<<30 {
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
}

func checkPort(f Facts) Check {
	const name = "port"
	switch {
	case f.ListenErr == nil:
		return ok(name, "%s is free.", f.Listen)
	case errors.Is(f.ListenErr, syscall.EADDRINUSE) && f.Server:
		return ok(name, "%s is in use, and a server runs on the state directory.", f.Listen)
	case errors.Is(f.ListenErr, syscall.EADDRINUSE):
		return Check{name, LevelFail, "Another program listens on " + f.Listen + ".", "Stop it, or choose another address with --listen."}
	}
	return Check{name, LevelFail, f.ListenErr.Error() + ".", "Choose another address with --listen."}
}

func checkClock(f Facts) Check {
	const name = "clock"
	switch {
	case f.StateTime.After(f.Now.Add(time.Minute)):
		return Check{name, LevelFail, fmt.Sprintf("It says %s, and the state was written at %s.", f.Now.UTC().Format(time.RFC3339), f.StateTime.UTC().Format(time.RFC3339)),
			"Set the clock: tokens, certificates and pauses between steps go by it."}
	case f.ClockErr != nil:
		return Check{name, LevelUnknown, "The kernel does not tell whether it is synchronized: " + f.ClockErr.Error() + ".", "Run muster doctor outside the container."}
	case !f.ClockSynced:
		return Check{name, LevelWarn, "Nothing keeps it in step.", "Run a time service such as chrony or systemd-timesyncd; in a virtual machine the host may do it."}
	}
	return ok(name, "It is synchronized.")
}

func checkFiles(f Facts) Check {
	const name = "config files"
	if f.FilesErr != nil {
		return Check{name, LevelFail, f.FilesErr.Error(), "Mend the file: muster serve does not start with it."}
	}
	return ok(name, "Those that the config names can be read.")
}

func checkImages(f Facts) Check {
	const name = "images"
	switch {
	case f.ImagesErr != nil:
		return Check{name, LevelFail, f.ImagesErr.Error(), "Mend the catalogue that images.catalogue names."}
	case len(f.ImageFaults) > 0:
		return Check{name, LevelWarn, strings.Join(f.ImageFaults, " "), "Put the files in place, or take the images out of the catalogue; the others can be used."}
	}
	return ok(name, "All can be used; %d are kept for instances.", f.Images)
}

func checkVolumes(f Facts) Check {
	const name = "managed disks"
	if f.VolumesErr != nil {
		return Check{name, LevelUnknown, f.VolumesErr.Error() + ".", "Run muster doctor as the user that runs muster serve."}
	}
	return ok(name, "The contents of %d disks, snapshots and images take %s.", f.Volumes, bytesText(f.VolumeBytes))
}

func checkEtcd(f Facts) Check {
	const name = "etcd"
	switch {
	case f.EtcdErr != nil:
		return Check{name, LevelFail, f.EtcdErr.Error(), "See the server's log; restore a backup if the state is damaged (docs/backup.md)."}
	case !f.EtcdMade:
		return ok(name, "There are no records yet.")
	}
	finding := fmt.Sprintf("%s of %s are used.", bytesText(uint64(f.Etcd.Size)), bytesText(uint64(f.Etcd.Quota)))
	if f.Etcd.InUse > 0 {
		finding = fmt.Sprintf("It answers. %s of %s are used, %s by records.", bytesText(uint64(f.Etcd.Size)), bytesText(uint64(f.Etcd.Quota)), bytesText(uint64(f.Etcd.InUse)))
	}
	switch {
	case len(f.Etcd.Alarms) > 0:
		return Check{name, LevelFail, finding + " It has raised the alarm " + strings.Join(f.Etcd.Alarms, ", ") + ".", "A full store takes no writes: delete resources, then restart the server. CORRUPT: restore a backup (docs/backup.md)."}
	case f.Etcd.Size > f.Etcd.Quota/4*3:
		return Check{name, LevelWarn, finding, "Delete resources that are not needed, and restart the server: a start defragments."}
	case !f.Server && !f.EtcdOwn:
		return ok(name, "%s No server runs that could tell more.", finding)
	}
	return ok(name, "%s", finding)
}

// Failures counts the checks that failed.
func Failures(all []Check) (n int) {
	for _, c := range all {
		if c.Level == LevelFail {
			n++
		}
	}
	return n
}

// WriteTable writes checks for people.
func WriteTable(out io.Writer, all []Check) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, c := range all {
		fmt.Fprintf(w, "%s\t%s\t%s\n", strings.ToUpper(string(c.Level)), c.Name, c.Finding)
		if c.Remedy != "" {
			fmt.Fprintf(w, "\t\t-> %s\n", c.Remedy)
		}
	}
	return w.Flush()
}
