//go:build e2e

// Package e2e runs the product as its users do: the real binary, real virtual
// machines under QEMU, the real az. Everything happens inside namespaces of the
// test's own, so that nothing of it survives, whatever goes wrong.
package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

const insideEnv = "MUSTER_E2E_INSIDE"

// inside runs in a fresh network, mount and process namespace: when the shell
// that is process 1 in there ends, every machine ends with it.
const inside = `mkdir -p /run/netns && mount -t tmpfs none /run/netns && ip link set lo up && "$0" "$@"`

func TestMain(m *testing.M) {
	if os.Getenv(insideEnv) != "" {
		os.Exit(m.Run())
	}
	if why := unable(); why != "" {
		fmt.Println("skip: end-to-end tests:", why)
		return
	}
	args := append([]string{"--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "--", "/bin/sh", "-c", inside, os.Args[0]}, os.Args[1:]...)
	cmd := exec.Command("unshare", args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = nil, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), insideEnv+"=1")
	if err := cmd.Run(); err != nil {
		exit := &exec.ExitError{}
		if errors.As(err, &exit) {
			os.Exit(exit.ExitCode())
		}
		fmt.Fprintln(os.Stderr, "enter the namespaces of the test:", err)
		os.Exit(1)
	}
}

// unable says in one line what this machine lacks.
func unable() string {
	if os.Geteuid() != 0 {
		return "they need root, for namespaces and taps"
	}
	for _, tool := range []string{"unshare", "ip", "qemu-system-x86_64", "qemu-img"} {
		if _, err := exec.LookPath(tool); err != nil {
			return tool + " is not installed (scripts/install-deps.sh test)"
		}
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		return "there is no /dev/net/tun"
	}
	if _, err := os.Stat(filepath.Join(tiny(), "manifest.json")); err != nil {
		return "the tiny guest is not built (make guest)"
	}
	if _, err := os.Stat(binary()); err != nil {
		return "the binary is not built (make build)"
	}
	return ""
}

// root is the top of the repository.
func root() string {
	dir, err := filepath.Abs("../..")
	if err != nil {
		panic(err)
	}
	return dir
}

func tiny() string   { return filepath.Join(root(), ".cache", "tiny") }
func binary() string { return filepath.Join(root(), "bin", "muster") }
