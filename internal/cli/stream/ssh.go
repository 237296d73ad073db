package stream

import "strings"

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

// shellQuoted is a word as shells read it.
func shellQuoted(word string) string { return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'" }

// percentFree keeps ssh from expanding what looks like its tokens.
func percentFree(s string) string { return strings.ReplaceAll(s, "%", "%%") }
