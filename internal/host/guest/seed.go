package guest

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/muster-vm/muster/internal/durable"
)

// Setup is what a guest learns at its first boot.
type Setup struct {
	InstanceID   string // changes with the OS disk, so that first-boot work runs again
	HostName     string
	AdminUser    string
	PasswordHash string // crypt(3); empty for none
	SSHKeys      []string
	CustomData   []byte
}

// Seed writes the seed volume of a guest to path, readable by its owner only
// and replacing what is there in one step. The volume is iso9660 with Rock
// Ridge names and the label "cidata", which cloud-init reads as its NoCloud
// source. The same setup makes the same bytes. It holds
//
//	meta-data, network-config   instance id and host name; DHCP on every e*
//	user-data                   the custom data as it is
//	vendor-data                 the admin user, for cloud-init; user-data may say otherwise
//	muster/hostname             the same as plain text, one value a line, for
//	muster/admin-user           guests without cloud-init; files without a
//	muster/authorized_keys      value are left out
//	muster/password-hash
//	muster/custom-data
//
// Errors of the file system keep their cause, such as ENOSPC.
func Seed(path string, s Setup) error {
	image, err := isoImage("cidata", s.files())
	if err != nil {
		return fmt.Errorf("seed %s: %w", path, err)
	}
	return durable.Write(path, image)
}

// files returns the volume's files by their path in it.
func (s Setup) files() map[string][]byte {
	files := map[string][]byte{
		"meta-data":      fmt.Appendf(nil, "instance-id: %q\nlocal-hostname: %q\n", s.InstanceID, s.HostName),
		"network-config": yaml(networkConfig()),
		"user-data":      s.CustomData,
		"vendor-data":    append([]byte("#cloud-config\n"), yaml(s.cloudConfig())...),
	}
	for name, lines := range map[string][]string{
		"hostname":        {s.HostName},
		"admin-user":      {s.AdminUser},
		"authorized_keys": s.SSHKeys,
		"password-hash":   {s.PasswordHash},
	} {
		if text := strings.Join(lines, "\n"); text != "" {
			files[filepath.Join("muster", name)] = []byte(text + "\n")
		}
	}
	if len(s.CustomData) > 0 {
		files["muster/custom-data"] = s.CustomData
	}
	return files
}

// yaml writes a document as JSON, which is YAML whose strings need no care.
func yaml(document any) []byte {
	b, err := json.MarshalIndent(document, "", "  ")
	if err != nil {
		panic(err) // plain data: cannot fail
	}
	return append(b, '\n')
}

func networkConfig() any {
	type match struct {
		Name string `json:"name"`
	}
	type card struct {
		Match match `json:"match"`
		DHCP4 bool  `json:"dhcp4"`
	}
	return struct {
		Version   int             `json:"version"`
		Ethernets map[string]card `json:"ethernets"`
	}{2, map[string]card{"all": {match{"e*"}, true}}}
}

// cloudConfig is what cloud-init is told beside the custom data, which stays
// the user's own.
type cloudConfig struct {
	Users       []user      `json:"users,omitempty"`
	System      *system     `json:"system_info,omitempty"`
	Passwords   *expiration `json:"chpasswd,omitempty"`
	SSHPassword bool        `json:"ssh_pwauth"`
}

type user struct {
	Name       string   `json:"name"`
	Gecos      string   `json:"gecos"`
	Groups     []string `json:"groups"`
	Sudo       string   `json:"sudo"`
	Shell      string   `json:"shell"`
	LockPasswd bool     `json:"lock_passwd"`
	Password   string   `json:"hashed_passwd,omitempty"`
	Keys       []string `json:"ssh_authorized_keys,omitempty"`
}

type system struct {
	DefaultUser user `json:"default_user"`
}

type expiration struct {
	Expire bool `json:"expire"`
}

// cloudConfig names the admin user twice: in users, where a list in the custom
// data takes its place, and as the default user, which such a list can include
// by the word "default".
func (s Setup) cloudConfig() cloudConfig {
	c := cloudConfig{SSHPassword: s.PasswordHash != ""}
	if s.AdminUser == "" {
		return c
	}
	admin := user{
		Name: s.AdminUser, Gecos: s.AdminUser, Groups: []string{"adm", "sudo"},
		Sudo: "ALL=(ALL) NOPASSWD:ALL", Shell: "/bin/bash",
		LockPasswd: s.PasswordHash == "", Password: s.PasswordHash, Keys: s.SSHKeys,
	}
	c.Users, c.System = []user{admin}, &system{DefaultUser: admin}
	if s.PasswordHash != "" {
		c.Passwords = &expiration{Expire: false}
	}
	return c
}
