// Package population says what a simulated fleet is: its hosts, how long a boot
// takes, and which calls fail. It holds values and their JSON reading only; the
// simulated compute driver acts them out. It is pure.
package population

import (
	"path"
	"strconv"
	"time"

	"github.com/muster-vm/muster/internal/resource"
)

// Population is a simulated fleet. The same population and the same calls give
// the same fleet: all randomness comes from Seed.
type Population struct {
	Hosts  []Host
	Boot   Boot
	Copy   time.Duration // that making the content of a disk, snapshot or image takes; 0 stands for two seconds
	Faults []Fault       // the first that applies to a call is taken
	Load   Load
	Seed   uint64
}

// Host is a machine that instances run on.
type Host struct {
	Name        string
	Zone        string // empty for a host outside zones
	FaultDomain int
	VCPUs       int
	MemoryMB    int
}

// Boot says how long a simulated guest takes. A boot lasts Base, give or take
// at most Jitter; a zero Base and Jitter is a guest that is ready at once.
type Boot struct {
	Base     time.Duration
	Jitter   time.Duration // at most Base
	Shutdown time.Duration // of a guest that is asked to shut down
}

// Load says how busy running guests are. With a Swing the load follows a sine
// of its own phase in each.
type Load struct {
	CPU     float64 // mean percentage of the vCPUs
	Swing   float64 // how far it goes up and down from there
	Period  time.Duration
	Network float64 // bytes a second, in and out alike
	Disk    float64 // bytes a second, read and written alike, in operations of 4 KiB
}

// Op names what a fault strikes.
type Op string

// The ops. The first five refuse a call of the driver; the last two strike a
// guest whose boot was accepted.
const (
	Create Op = "create"
	Delete Op = "delete"
	Power  Op = "power"
	Refit  Op = "refit"
	List   Op = "list"
	NoBoot Op = "boot" // the guest stops with the fault's message instead of coming up
	Hang   Op = "hang" // the guest never reports ready
)

// Effect is what a faulty call has done by the time it reports its error.
type Effect string

// The effects. Half is for Create and Delete: it leaves an incomplete machine.
const (
	Nothing Effect = ""
	Half    Effect = "half"
	Full    Effect = "full" // all was done and the answer got lost
)

// Fault is a rule by which calls fail.
type Fault struct {
	Op          Op
	Match       string  // pattern of path.Match on the machine's name, such as "web_*"; empty for all
	Host        string  // pattern on the host's name; empty for all
	Probability float64 // of each call; 0 means always
	Count       int     // strikes on each host before the rule is spent; 0 for no limit
	Effect      Effect
	Kind        resource.Kind
	Code        string
	Message     string // a full sentence
}

// Applies reports whether the rule is about op on this machine and host. The
// list op has no machine and ignores Match.
func (f Fault) Applies(op Op, host, name string) bool {
	return f.Op == op && (op == List || matches(f.Match, name)) && matches(f.Host, host)
}

func matches(pattern, s string) bool {
	if pattern == "" {
		return true
	}
	ok, err := path.Match(pattern, s)
	return err == nil && ok
}

// Err returns the error that a struck call reports.
func (f Fault) Err() *resource.Error {
	return resource.Errorf(f.Kind, f.Code, "%s", f.Text())
}

// Text returns the rule's message, or a sentence in its place.
func (f Fault) Text() string {
	if f.Message != "" {
		return f.Message
	}
	return "A fault rule of the simulated fleet struck the " + string(f.Op) + "."
}

// Default returns three hosts in three zones, boots of 20 seconds give or take
// five, guests that use a tenth of their vCPUs, and no faults.
func Default() Population {
	return Population{
		Hosts: Hosts(3, Host{Name: "host", VCPUs: 64, MemoryMB: 256 << 10}, "1", "2", "3"),
		Boot:  Boot{Base: 20 * time.Second, Jitter: 5 * time.Second, Shutdown: 5 * time.Second},
		Load:  Load{CPU: 10},
		Seed:  1,
	}
}

// Hosts returns n hosts like the one given, named "{name}-1" and on, dealt over
// the zones in turn; each zone deals its hosts over five fault domains. Without
// zones the host's own zone is kept.
func Hosts(n int, like Host, zones ...string) []Host {
	hosts := make([]Host, n)
	for i := range hosts {
		hosts[i] = like
		hosts[i].Name = like.Name + "-" + strconv.Itoa(i+1)
		hosts[i].FaultDomain = i % 5
		if len(zones) > 0 {
			hosts[i].Zone = zones[i%len(zones)]
			hosts[i].FaultDomain = i / len(zones) % 5
		}
	}
	return hosts
}
