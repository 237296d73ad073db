package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
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
	args := c.sshArgs(self, filepath.Join(dir, "known_hosts"), *vm.Properties.StorageProfile.OSDisk.Name, user)
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = c.in, c.out, c.err
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	err = cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return nil, &CommandError{Code: max(exit.ExitCode(), exitFailed)} // ssh has said why
	}
	return nil, err
}

// sshArgs is the command line of ssh. Host keys belong to an OS disk: they are
// looked up under its name, so that another disk has others without a warning and
// the same disk may not.
func (c *call) sshArgs(self, knownHosts, disk, user string) []string {
	tunnel := []string{self, "vmss", "tunnel", "--resource-group", c.Group, "--name", c.Name, "--instance-id", c.InstanceID[0],
		"--port", strconv.Itoa(int(c.Port)), "--subscription", c.conn.Subscription, "--only-show-errors"}
	for i, word := range tunnel {
		tunnel[i] = shellQuoted(word)
	}
	args := []string{
		"-o", "ProxyCommand=" + percentFree(strings.Join(tunnel, " ")),
		"-o", "HostKeyAlias=" + disk,
		"-o", `UserKnownHostsFile="` + percentFree(knownHosts) + `"`,
		"-o", "GlobalKnownHostsFile=/dev/null",
		"-o", "StrictHostKeyChecking=accept-new",
		"-o", "ControlPath=none", // another machine may have the same name
		"-l", user,
	}
	for _, key := range c.Identity {
		args = append(args, "-i", key)
	}
	return append(append(args, c.Name+"_"+c.InstanceID[0]), c.rest...)
}

// shellQuoted is a word as shells read it.
func shellQuoted(word string) string { return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'" }

// percentFree keeps ssh from expanding what looks like its tokens.
func percentFree(s string) string { return strings.ReplaceAll(s, "%", "%%") }
