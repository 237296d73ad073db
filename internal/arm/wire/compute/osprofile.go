package compute

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/muster-vm/muster/internal/arm/wire"
	"github.com/muster-vm/muster/internal/vmss"
)

const osPath = profilePath + ".osProfile"

func (p *parser) osProfile(vm wire.Document) vmss.OSProfile {
	os := wire.ObjectAt(vm, "osProfile")
	out := vmss.OSProfile{
		ComputerNamePrefix: wire.TextAt(os, "computerNamePrefix"),
		AdminUsername:      wire.TextAt(os, "adminUsername"),
		Secrets: vmss.Secrets{
			AdminPassword: wire.TextAt(os, "adminPassword"),
			CustomData:    p.blob(wire.TextAt(os, "customData"), osPath+".customData"),
			UserData:      p.blob(wire.TextAt(vm, "userData"), profilePath+".userData"),
		},
	}
	p.AddFrom(vmss.CheckComputerNamePrefix(out.ComputerNamePrefix), osPath+".computerNamePrefix")
	if p.in.Image.OSType == windows {
		p.windows(os, out)
		return out
	}
	if os["windowsConfiguration"] != nil {
		p.Add(wire.InvalidParameter, osPath+".windowsConfiguration", "windowsConfiguration needs a Windows image; leave it out.")
	}
	linux := wire.ObjectAt(os, "linuxConfiguration")
	out.PasswordLogin = !wire.FlagAt(linux, "disablePasswordAuthentication")
	out.SSHKeys = p.sshKeys(linux, out.AdminUsername)
	p.linux(out)
	return out
}

// maxBlob bounds customData and userData, decoded.
const maxBlob = 65535

func (p *parser) blob(encoded, path string) []byte {
	if encoded == "" {
		return nil
	}
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		p.Add(wire.InvalidParameter, path, "'%s' is not base64.", path)
	}
	if len(raw) > maxBlob {
		p.Add(wire.InvalidParameter, path, "'%s' holds %d bytes; at most %d fit.", path, len(raw), maxBlob)
	}
	return raw
}

func (p *parser) linux(os vmss.OSProfile) {
	hasPassword, hasKey := os.Secrets.AdminPassword != "", len(os.SSHKeys) > 0
	p.adminUsername(os.AdminUsername, maxLinuxUser, p.in.Image.NeedsCredentials || hasPassword || hasKey)
	if hasPassword {
		p.password(os.Secrets.AdminPassword, 6, 72)
	}
	if !p.in.Image.NeedsCredentials {
		return
	}
	switch {
	case os.PasswordLogin && !hasPassword:
		p.Add(wire.InvalidParameter, osPath+".adminPassword", "The image needs a way in: give adminPassword, or SSH keys with linuxConfiguration.disablePasswordAuthentication set to true.")
	case !os.PasswordLogin && !hasKey:
		p.Add(wire.InvalidParameter, osPath+".linuxConfiguration.ssh.publicKeys", "Password login is disabled, so the image needs an SSH key to have a way in.")
	}
}

func (p *parser) windows(doc wire.Document, os vmss.OSProfile) {
	if doc["linuxConfiguration"] != nil {
		p.Add(wire.InvalidParameter, osPath+".linuxConfiguration", "linuxConfiguration needs a Linux image; leave it out.")
	}
	p.adminUsername(os.AdminUsername, maxWindowsUser, p.in.Image.NeedsCredentials)
	if os.Secrets.AdminPassword != "" {
		p.password(os.Secrets.AdminPassword, 8, 123)
	} else if p.in.Image.NeedsCredentials {
		p.Add(wire.InvalidParameter, osPath+".adminPassword", "The required member '%s' is missing.", osPath+".adminPassword")
	}
}

const (
	maxLinuxUser   = 64
	maxWindowsUser = 20
)

// disallowedUsers are the admin user names that Azure refuses.
//
// Source: https://learn.microsoft.com/azure/virtual-machines/linux/faq
var disallowedUsers = []string{
	"1", "123", "a", "actuser", "adm", "admin", "admin1", "admin2", "administrator", "aspnet", "backup", "console",
	"david", "guest", "john", "owner", "root", "server", "sql", "support", "support_388945a0", "sys", "test", "test1",
	"test2", "test3", "user", "user1", "user2", "user3", "user4", "user5", "video",
}

func (p *parser) adminUsername(name string, limit int, required bool) {
	const path = osPath + ".adminUsername"
	switch {
	case name == "" && required:
		p.Add(wire.InvalidParameter, path, "The required member '%s' is missing.", path)
	case name == "":
	case len(name) > limit:
		p.Add(wire.InvalidParameter, path, "The admin user name has %d characters; at most %d are allowed.", len(name), limit)
	case slices.Contains(disallowedUsers, strings.ToLower(name)):
		p.Add(wire.InvalidParameter, path, "The admin user name '%s' is not allowed, for it is the first that an attacker tries; choose another.", name)
	case strings.ContainsFunc(name, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }),
		strings.ContainsAny(name, `\/"'[]:|<>+=;,?*@#()!$&^%`+"`"), strings.HasSuffix(name, "."), strings.HasPrefix(name, "-"),
		limit == maxLinuxUser && strings.ContainsFunc(name, func(r rune) bool { return r > unicode.MaxASCII }): // useradd refuses it
		p.Add(wire.InvalidParameter, path, "The admin user name has characters that are not allowed: use letters, digits, hyphens and underscores.")
	}
}

// password applies Azure's rule: a length, and three of lower case, upper case,
// digits and others.
func (p *parser) password(password string, low, high int) {
	const path = osPath + ".adminPassword"
	if n := len([]rune(password)); n < low || n > high {
		p.Add(wire.InvalidParameter, path, "The admin password must have %d to %d characters.", low, high)
		return
	}
	var lower, upper, digit, other int
	for _, r := range password {
		switch {
		case unicode.IsLower(r):
			lower = 1
		case unicode.IsUpper(r):
			upper = 1
		case unicode.IsDigit(r):
			digit = 1
		default:
			other = 1
		}
	}
	if lower+upper+digit+other < 3 {
		p.Add(wire.InvalidParameter, path, "The admin password must have three of these: a lower-case letter, an upper-case letter, a digit, another character.")
	}
}

func (p *parser) sshKeys(linux wire.Document, user string) []vmss.SSHKey {
	var out []vmss.SSHKey
	for i, key := range wire.ObjectsAt(linux, "ssh", "publicKeys") {
		at := fmt.Sprintf("%s.linuxConfiguration.ssh.publicKeys[%d]", osPath, i)
		k := vmss.SSHKey{Path: wire.TextAt(key, "path"), Data: strings.TrimSpace(wire.TextAt(key, "keyData"))}
		if k.Path != authorizedKeys(user) {
			p.Add(wire.InvalidParameter, at+".path", "The path '%s' is not supported: SSH keys go to %s.", k.Path, authorizedKeys(user))
		}
		if !validSSHKey(k.Data) {
			p.Add(wire.InvalidParameter, at+".keyData", "'%s.keyData' is not an SSH public key in OpenSSH's format, such as 'ssh-ed25519 AAAA... me@home'.", at)
		}
		out = append(out, k)
	}
	return out
}

// sshKeyTypes are the types of keys that guests accept. Certificates and keys
// of security tokens are passed through by no image.
var sshKeyTypes = []string{"ssh-rsa", "ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"}

// validSSHKey checks a line of an authorized_keys file: a type, and a blob in
// base64 that starts with that type.
//
// Source: https://www.rfc-editor.org/rfc/rfc4253#section-6.6
func validSSHKey(line string) bool {
	fields := strings.Fields(line)
	if len(fields) < 2 || strings.ContainsAny(line, "\r\n\x00") || !slices.Contains(sshKeyTypes, fields[0]) {
		return false
	}
	blob, err := base64.StdEncoding.DecodeString(fields[1])
	if err != nil || len(blob) < 4 {
		return false
	}
	n := binary.BigEndian.Uint32(blob)
	return int64(n) <= int64(len(blob)-4) && string(blob[4:4+n]) == fields[0]
}
