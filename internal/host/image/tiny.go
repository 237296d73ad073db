package image

import (
	"cmp"
	"encoding/json"
	"os"
	"path/filepath"

	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/vmss"
)

// tinyName is the image of the built-in guest.
var tinyName = vmss.Image{Publisher: "muster", Offer: "tiny", SKU: "debian", OSType: linux}

const (
	tinyRemedy = "Build the guest with `make guest`, name its directory as images.tiny in the server's config, and start the server again."
	// simulatedTiny is the version where nobody built the guest.
	simulatedTiny = "1.0.0"
)

// manifest is what guest/tiny/build.sh says about the image that it made.
type manifest struct {
	Version          string `json:"version"`
	Agent            bool   `json:"agent"`
	NeedsCredentials bool   `json:"needsCredentials"`
	Files            map[string]struct {
		SHA256 string `json:"sha256"`
	} `json:"files"`
}

// tiny returns the built-in guest. It has no version if it is not there, which
// its fault explains.
func tiny(opts Options) *entry {
	e := &entry{image: tinyName, files: Files{Agent: true, Format: qcow2}}
	e.fault = e.build(opts.Tiny)
	if opts.Simulated {
		e.image.Version, e.image.SizeGB = cmp.Or(e.image.Version, simulatedTiny), 1
	}
	return e
}

// build fills the image in from its directory.
func (e *entry) build(dir string) *resource.Error {
	urn := tinyName.URN() + latest
	if dir == "" {
		return notFound("The image %s is not here: the server's config does not say where the built-in guest is. %s", urn, tinyRemedy)
	}
	m, err := readManifest(filepath.Join(dir, "manifest.json"))
	if err != nil {
		return notFound("The image %s is not here: the directory %s does not hold the built-in guest. %s", urn, dir, tinyRemedy).Because(err)
	}
	e.image.Version, e.image.NeedsCredentials, e.files.Agent = m.Version, m.NeedsCredentials, m.Agent
	locate := newLocator(dir, []string{dir})
	for _, f := range []struct {
		name, role string
		to         *string
	}{{"vmlinux", kernel, &e.files.Kernel}, {"initrd", initrd, &e.files.Initrd}, {"disk.qcow2", disk, &e.files.Disk}} {
		p := &part{role: f.role, want: m.Files[f.name].SHA256, remedy: tinyRemedy}
		var fault string
		if p.path, fault = locate.real(f.name); fault == "" && !sums.MatchString(p.want) {
			fault = "has no SHA-256 in manifest.json"
		}
		if fault != "" {
			return e.unusable(p, fault)
		}
		*f.to = p.path
		e.parts = append(e.parts, p)
	}
	return e.readCommandLine(filepath.Join(dir, "cmdline"), m.Files["cmdline"].SHA256)
}

func (e *entry) readCommandLine(path, want string) *resource.Error {
	p := &part{path: path, remedy: tinyRemedy}
	text, err := os.ReadFile(path)
	if err != nil {
		return e.unusable(p, faultOf(err)).Because(err)
	}
	if textSum(string(text)) != want {
		return e.unusable(p, "does not have the SHA-256 that manifest.json says")
	}
	e.files.CommandLine = string(text)
	return nil
}

func readManifest(path string) (manifest, error) {
	var m manifest
	text, err := os.ReadFile(path)
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return m, err
	}
	if !versions.MatchString(m.Version) {
		return m, resource.Errorf(resource.Invalid, "", "The version %q is not numbers with dots between.", m.Version)
	}
	return m, nil
}
