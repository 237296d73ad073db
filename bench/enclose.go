package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// dirEnv tells the enclosed process its directory.
const dirEnv = "MUSTER_BENCH_DIR"

// inside runs in a fresh network, mount and process namespace: when the shell
// that is process 1 in there ends, every process ends with it.
const inside = `mkdir -p /run/netns && mount -t tmpfs none /run/netns && ip link set lo up && "$0" "$@"`

// unable is why a target cannot be measured on this machine.
type unable string

// Error implements error.
func (u unable) Error() string { return string(u) }

// enclose runs this program again with a directory of its own and, where that
// is possible, in namespaces of its own, and removes the directory afterwards:
// nothing of a benchmark survives it. It returns the exit code.
func enclose(ctx context.Context) int {
	dir, err := os.MkdirTemp("", "muster-bench-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory
	self, err := os.Executable()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	args := append([]string{self}, os.Args[1:]...)
	if enclosable() == "" {
		args = append([]string{"unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "--", "/bin/sh", "-c", inside}, args...)
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...) //nolint:gosec // this program
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), dirEnv+"="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	err = cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() > 0 {
		return exit.ExitCode()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	return 0
}

// enclosable says in a line why namespaces cannot be had here, and nothing if
// they can.
func enclosable() string {
	if os.Geteuid() != 0 {
		return "namespaces and taps need root"
	}
	for _, tool := range []string{"unshare", "ip"} {
		if _, err := exec.LookPath(tool); err != nil {
			return tool + " is not installed (scripts/install-deps.sh bench)"
		}
	}
	return ""
}
