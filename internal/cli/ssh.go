package cli

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"github.com/muster-vm/muster/internal/cli/stream"
)

// secureShell runs the system's ssh through a tunnel.
func secureShell(ctx context.Context, c *call) (any, error) {
	program, err := exec.LookPath("ssh")
	if err != nil {
		return nil, problem("ssh is not installed. Install OpenSSH's client (Debian: apt install openssh-client), or have another client connect to what `muster vmss tunnel %s %s --listen 2222` listens on.",
			c.Name, c.InstanceID[0])
	}
	if err := c.findGroup(ctx); err != nil {
		return nil, err
	}
	vm, err := c.vms().Get(ctx, c.Group, c.Name, c.InstanceID[0], nil)
	if err != nil {
		return nil, err
	}
	user := c.Login
	if p := vm.Properties; user == "" && p.OSProfile != nil && p.OSProfile.AdminUsername != nil {
		user = *p.OSProfile.AdminUsername
	}
	if user == "" {
		return nil, usage("The model names no administrator. Say who logs in with --login/-l.")
	}
	if p := vm.Properties.StorageProfile; p == nil || p.OSDisk == nil || p.OSDisk.Name == nil {
		return nil, problem("The server does not tell the name of the instance's OS disk, which its host keys belong to.")
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program, for ssh to run it: %w", err)
	}
	dir := filepath.Dir(c.accounts.file)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	login := stream.SSH{KnownHosts: filepath.Join(dir, "known_hosts"), Disk: *vm.Properties.StorageProfile.OSDisk.Name, User: user,
		Host: c.Name + "_" + c.InstanceID[0], Identity: c.Identity, Rest: c.rest, Tunnel: []string{self, "vmss", "tunnel", "--resource-group", c.Group, "--name", c.Name,
			"--instance-id", c.InstanceID[0], "--port", strconv.Itoa(int(c.Port)), "--subscription", c.conn.Subscription, "--only-show-errors"}}
	code, err := login.Run(ctx, program, c.in, c.out, c.err)
	if code != 0 {
		return nil, &CommandError{Code: code} // ssh has said why
	}
	return nil, err
}
