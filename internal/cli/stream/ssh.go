package stream

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// SSH is how ssh is told to log in to an instance.
type SSH struct {
	Tunnel     []string // the command that connects to the instance's SSH server
	KnownHosts string   // file of host keys
	Disk       string   // name of the OS disk
	User, Host string   // the host is only a name
	Identity   []string // files of private keys
	Rest       []string // further words
}

// Args is the command line of ssh. Host keys belong to an OS disk: they are
// looked up under its name, so that another disk has others without a warning and
// the same disk may not.
func (s SSH) Args() []string {
	tunnel := make([]string, len(s.Tunnel))
	for i, word := range s.Tunnel {
		tunnel[i] = shellQuoted(word)
	}
	args := []string{
		"-o", "ProxyCommand=" + percentFree(strings.Join(tunnel, " ")),
		"-o", "HostKeyAlias=" + s.Disk,
		"-o", `UserKnownHostsFile="` + percentFree(s.KnownHosts) + `"`,
		"-o", "GlobalKnownHostsFile=/dev/null",
		"-o", "StrictHostKeyChecking=accept-new",
		"-o", "ControlPath=none", // another machine may have the same name
		"-l", s.User,
	}
	for _, key := range s.Identity {
		args = append(args, "-i", key)
	}
	return append(append(args, s.Host), s.Rest...)
}

// Run runs ssh and returns its exit code. It is told to end when ctx is done.
func (s SSH) Run(ctx context.Context, program string, in io.Reader, out, errs io.Writer) (code int, err error) {
	cmd := exec.CommandContext(ctx, program, s.Args()...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out, errs
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	err = cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return max(exit.ExitCode(), 1), nil
	}
	return 0, err
}

// shellQuoted is a word as shells read it.
func shellQuoted(word string) string { return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'" }

// percentFree keeps ssh from expanding what looks like its tokens.
func percentFree(s string) string { return strings.ReplaceAll(s, "%", "%%") }
