package guest

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/muster-vm/muster/internal/resource"
)

// Ping returns nil if the agent answers.
func (a *Agent) Ping(ctx context.Context) error { return a.call(ctx, "guest-ping", nil, nil) }

// Version returns the agent's version, such as "7.2.22".
func (a *Agent) Version(ctx context.Context) (string, error) {
	var r struct{ Version string }
	err := a.call(ctx, "guest-info", nil, &r)
	return r.Version, err
}

// HostName returns the guest's host name.
func (a *Agent) HostName(ctx context.Context) (string, error) {
	var r struct {
		Name string `json:"host-name"`
	}
	err := a.call(ctx, "guest-get-host-name", nil, &r)
	return r.Name, err
}

// OS is the guest's operating system.
type OS struct {
	Name    string // such as "Debian GNU/Linux"
	Version string // such as "12"
	Kernel  string // its release
}

// OSInfo returns the guest's operating system. Members the guest does not tell
// are empty.
func (a *Agent) OSInfo(ctx context.Context) (OS, error) {
	var r struct {
		Name, Version string
		ID            string
		VersionID     string `json:"version-id"`
		KernelRelease string `json:"kernel-release"`
	}
	err := a.call(ctx, "guest-get-osinfo", nil, &r)
	return OS{Name: cmp.Or(r.Name, r.ID), Version: cmp.Or(r.VersionID, r.Version), Kernel: r.KernelRelease}, err
}

// Interface is a network interface of the guest, as the guest tells it.
type Interface struct {
	Name, MAC string
	Addresses []netip.Prefix
}

// Interfaces lists the guest's network interfaces. Addresses that do not parse
// are left out.
func (a *Agent) Interfaces(ctx context.Context) ([]Interface, error) {
	var found []struct {
		Name      string
		MAC       string `json:"hardware-address"`
		Addresses []struct {
			Address string `json:"ip-address"`
			Prefix  int
		} `json:"ip-addresses"`
	}
	if err := a.call(ctx, "guest-network-get-interfaces", nil, &found); err != nil {
		return nil, err
	}
	var all []Interface
	for _, f := range found {
		i := Interface{Name: f.Name, MAC: f.MAC}
		for _, p := range f.Addresses {
			addr, err := netip.ParseAddr(p.Address)
			if prefix := netip.PrefixFrom(addr, p.Prefix); err == nil && prefix.IsValid() {
				i.Addresses = append(i.Addresses, prefix)
			}
		}
		all = append(all, i)
	}
	return all, nil
}

// Shutdown is a way to end a guest's run.
type Shutdown string

// The ways to end a guest's run.
const (
	PowerDown Shutdown = "powerdown"
	Halt      Shutdown = "halt"
	Reboot    Shutdown = "reboot"
)

// refusalWait is how long a refusal of a shutdown may take. A shutdown that
// goes ahead is not answered at all.
const refusalWait = 2 * time.Second

// Shutdown asks the guest to shut down and returns when it was asked. That the
// guest obeys is for the caller to see.
func (a *Agent) Shutdown(ctx context.Context, how Shutdown) error {
	args := map[string]Shutdown{"mode": how}
	return a.exchange(ctx, "guest-shutdown", args, func() error {
		if err := a.conn.SetReadDeadline(time.Now().Add(refusalWait)); err != nil {
			return err
		}
		err := a.receive("guest-shutdown", maxAnswer, nil)
		if resource.Is(err, resource.Invalid) {
			return errors.Join(err, a.conn.SetReadDeadline(time.Time{}))
		}
		a.drop() // the guest is going, or a late refusal would be taken for the next answer
		return ctx.Err()
	})
}

// Command is a program to run in a guest.
type Command struct {
	Path  string // absolute, or looked up by the agent
	Args  []string
	Env   []string // "NAME=value"; empty for the agent's own
	Stdin []byte
}

// Result is what a program left behind.
type Result struct {
	Stdout, Stderr []byte
	Truncated      bool // the agent kept the first 16 MiB of a stream
	ExitCode       int
	Signal         int // that ended it; 0 if none did
}

// Exec runs a program in the guest and waits for its end. If ctx ends first
// the program goes on. A program that cannot be started is Invalid with code
// GuestCommandFailed; one that fails is a Result.
func (a *Agent) Exec(ctx context.Context, c Command) (Result, error) {
	var started struct{ PID int64 }
	if err := a.call(ctx, "guest-exec", execArgs(c), &started); err != nil {
		return Result{}, err
	}
	pause := time.NewTimer(0)
	defer pause.Stop()
	for wait := 20 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		select {
		case <-ctx.Done():
			return Result{}, resource.Errorf(resource.Unavailable, "GuestCommandTimedOut",
				"%s did not end in time. It goes on in the guest.", c.Path).Because(ctx.Err())
		case <-pause.C:
		}
		done, result, err := a.execStatus(ctx, started.PID)
		if err != nil || done {
			return result, err
		}
		pause.Reset(wait)
	}
}

type execArguments struct {
	Path    string   `json:"path"`
	Args    []string `json:"arg,omitempty"`
	Env     []string `json:"env,omitempty"`
	Stdin   []byte   `json:"input-data,omitempty"` // base64, as JSON has it
	Capture bool     `json:"capture-output"`
}

func execArgs(c Command) execArguments {
	return execArguments{Path: c.Path, Args: c.Args, Env: c.Env, Stdin: c.Stdin, Capture: true}
}

func (a *Agent) execStatus(ctx context.Context, pid int64) (done bool, _ Result, err error) {
	var s struct {
		Exited       bool
		ExitCode     int
		Signal       int
		Stdout       []byte `json:"out-data"`
		Stderr       []byte `json:"err-data"`
		OutTruncated bool   `json:"out-truncated"`
		ErrTruncated bool   `json:"err-truncated"`
	}
	const command = "guest-exec-status"
	err = a.exchange(ctx, command, map[string]int64{"pid": pid}, func() error {
		return a.receive(command, maxOutput, &s)
	})
	return s.Exited, Result{
		Stdout: s.Stdout, Stderr: s.Stderr, Truncated: s.OutTruncated || s.ErrTruncated,
		ExitCode: s.ExitCode, Signal: s.Signal,
	}, err
}
