package disk

import (
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/muster-vm/muster/internal/resource"
)

// formats are the formats of files that can be imported.
var formats = []string{"qcow2", "raw", "vhd"}

// ParseFile reads the URI of a file to import:
//
//	file:///images/debian.qcow2
//	https://example.org/debian.img#sha256=9f86d0...&format=raw&agent=true
//
// What comes after the # is said to this server and never sent to another one:
// the checksum that the file must have, its format, and whether guests made of it
// run the QEMU guest agent. It fails with Invalid, and repeats nothing of a URI
// with credentials.
func ParseFile(uri string) (File, error) {
	bad := func(format string, args ...any) (File, error) {
		return File{}, resource.Errorf(resource.Invalid, "InvalidParameter", format, args...)
	}
	u, err := url.Parse(uri)
	if err != nil {
		return bad("This is not the URI of a file: use file:///path or http(s)://host/path.")
	}
	if u.User != nil {
		return bad("A URI with a user name or password in it is refused, for it would be shown to everyone who may read the resource; fetch the file yourself and use file:///path.")
	}
	switch u.Scheme {
	case "file":
		if u.Host != "" || u.RawQuery != "" || !path.IsAbs(u.Path) || path.Clean(u.Path) != u.Path {
			return bad("'%.128s' does not name a file of this machine: use file:/// and the absolute path, without dots.", Shown(uri))
		}
	case "http", "https":
		if u.Host == "" || u.Path == "" || strings.HasSuffix(u.Path, "/") {
			return bad("'%.128s' does not name a file: it has no host or no path.", Shown(uri))
		}
	default:
		return bad("Files can be imported from file:///path and http(s)://host/path, not from '%.32s:'.", u.Scheme)
	}
	file := File{}
	if err := file.read(u.EscapedFragment()); err != nil {
		return File{}, err
	}
	u.Fragment, u.RawFragment = "", ""
	file.URI = u.String()
	return file, nil
}

// read takes in what the fragment says.
func (f *File) read(fragment string) error {
	bad := func(format string, args ...any) error {
		return resource.Errorf(resource.Invalid, "InvalidParameter", format, args...)
	}
	said, err := url.ParseQuery(fragment)
	if err != nil {
		return bad("What comes after the # of the URI is not key=value pairs with & between them.")
	}
	for key, values := range said {
		value := strings.ToLower(values[0])
		switch {
		case len(values) > 1:
			return bad("The URI says '%.32s' twice after its #.", key)
		case key == "sha256":
			if len(value) != 64 || strings.Trim(value, "0123456789abcdef") != "" {
				return bad("sha256 after the # of the URI is not the 64 hex digits that sha256sum prints.")
			}
			f.SHA256 = value
		case key == "format":
			if !slices.Contains(formats, value) {
				return bad("'%.16s' is not a format of files that can be imported; use %s, or leave it out.", value, strings.Join(formats, ", "))
			}
			f.Format = value
		case key == "agent":
			if value != "true" && value != "false" {
				return bad("agent after the # of the URI is true or false, not '%.16s'.", value)
			}
			f.Agent = value == "true"
		default:
			return bad("There is no '%.32s' to say after the # of a URI; use sha256, format and agent.", key)
		}
	}
	return nil
}

// Shown is a URI as it may be shown to everyone who may read the resource: the
// query is left out, for it may carry a signature.
func Shown(uri string) string {
	rest, fragment, found := strings.Cut(uri, "#")
	rest, _, _ = strings.Cut(rest, "?")
	if !found {
		return rest
	}
	return rest + "#" + fragment
}
