// Package backup writes everything that a state directory holds, but disks, to
// one file, and puts it back. The file is a gzipped tar: a member that names the
// format, the records at one revision, the files, and a manifest with the
// SHA-256 of each. It holds every secret of the server, so only its owner may
// read it.
//
// What records mean is not this package's business, and neither is how a
// backend is opened.
package backup

import (
	"path"
	"strings"
	"time"

	"github.com/muster-vm/muster/internal/resource"
)

// Format is the version of the files that are written. Older ones are read for
// ever.
const Format = 1

// Manifest says what a backup holds.
type Manifest struct {
	Format   int       `json:"format"`
	Muster   string    `json:"muster"` // the version that wrote it
	Taken    time.Time `json:"taken"`
	Tenant   string    `json:"tenant"`
	Revision int64     `json:"revision"` // at which the records were read
	Records  int       `json:"records"`
	Members  []Member  `json:"members"` // all before the manifest, in order
}

// Member is one file in a backup.
type Member struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// Members of a backup. Records are lines of a key, a tab and a value, which is
// JSON and so has no line breaks.
const (
	formatMember   = "muster-backup"
	recordsMember  = "records/" // and a number
	filesMember    = "state/"   // and a path in the state directory
	manifestMember = "manifest.json"

	chunkBytes  = 4 << 20  // of records, before a member ends
	memberBytes = 64 << 20 // that a member may have
)

// leasesFile is what the network remembers of addresses.
const leasesFile = "network/leases.json"

// kept reports whether a file of a state directory, by its path in there, is
// part of a backup: who may log in, the keys and certificates, the addresses.
func kept(name string) bool {
	ext := path.Ext(name)
	return name == leasesFile || !strings.Contains(name, "/") && !strings.HasPrefix(name, ".") && (ext == ".pem" || ext == ".json")
}

func errDamaged(file, what string) *resource.Error {
	return resource.Errorf(resource.Invalid, "BackupDamaged", "The backup %s is damaged or cut off: %s. Use another one; nothing was changed.", file, what)
}

func errForeign(file string) error {
	return resource.Errorf(resource.Invalid, "NotABackup", "The file %s is not a backup of Muster's. Nothing was changed.", file)
}
