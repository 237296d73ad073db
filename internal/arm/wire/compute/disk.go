package compute

import (
	"slices"
	"strings"

	"github.com/muster-vm/muster/internal/arm/wire"
	"github.com/muster-vm/muster/internal/disk"
	"github.com/muster-vm/muster/internal/resource"
)

const (
	creationPath = "properties.creationData"
	osDiskPath   = "properties.storageProfile.osDisk"
	sizeMember   = "diskSizeGB"
)

// DiskDraft is a request's document for a managed disk, a snapshot or an image,
// merged into the current one, that has not been checked yet.
type DiskDraft struct {
	kind    disk.Kind
	doc     wire.Document
	current *disk.Disk // nil on create
	uri     string     // of a file to import, with its query
	from    string     // path of the member that names the source
}

// PutDisk merges the body of a PUT into the current document as Put does for a
// scale set.
func PutDisk(kind disk.Kind, current *disk.Disk, body []byte) (*DiskDraft, error) {
	return draftDisk(kind, current, body, diskSchemas[kind].Merge)
}

// PatchDisk merges the body of a PATCH, an RFC 7396 merge patch.
func PatchDisk(kind disk.Kind, current *disk.Disk, body []byte) (*DiskDraft, error) {
	return draftDisk(kind, current, body, func(target, patch wire.Document) wire.Document {
		return wire.MergePatch(target, patch).(map[string]any)
	})
}

func draftDisk(kind disk.Kind, current *disk.Disk, body []byte, merge func(target, body wire.Document) wire.Document) (*DiskDraft, error) {
	schema := diskSchemas[kind]
	patch, err := schema.Decode(body)
	if err != nil {
		return nil, err
	}
	base := wire.Document{}
	if current != nil {
		if base, err = schema.Decode(current.Document); err != nil {
			return nil, err
		}
	}
	d := &DiskDraft{kind: kind, doc: wire.DropNulls(merge(base, patch)).(map[string]any), current: current}
	// What is stored and shown lacks the query of a URI.
	at := []string{"properties", "creationData", "sourceUri"}
	if kind == disk.Image {
		at = []string{"properties", "storageProfile", "osDisk", "blobUri"}
	}
	if d.uri = wire.TextAt(d.doc, at...); d.uri != "" {
		wire.Set(d.doc, disk.Shown(d.uri), at...)
	}
	return d, nil
}

// Location returns the location that the document names, if any.
func (d *DiskDraft) Location() string { return wire.TextAt(d.doc, "location") }

// Source returns what the document says the content comes from: its option, the
// id that is named, and the file. It fails with Invalid; all problems are reported
// together. What the id stands for is for the caller to find out.
func (d *DiskDraft) Source() (disk.Source, error) {
	var p wire.Problems
	var source disk.Source
	if d.kind == disk.Image {
		source = d.imageSource(&p)
	} else {
		source = d.creationSource(&p)
	}
	return source, p.Err()
}

// SourcePath returns where the document names the source that Source returned; empty
// if there is no such place.
func (d *DiskDraft) SourcePath() string { return d.from }

// member is a place in a document that names a source.
type member struct {
	path   string
	option disk.Option
	types  []string // of the ids that it may hold; none for a file
}

// creationMembers are the places in creationData.
var creationMembers = []member{
	{"sourceResourceId", disk.Copy, []string{disk.Managed.Type(), disk.Snapshot.Type()}},
	{"sourceUri", disk.Import, nil},
	{"imageReference.id", disk.FromImage, []string{disk.Image.Type(), versionType}},
}

// versionType is the type of the id of a version in the catalogue of images.
const versionType = "Microsoft.Compute/locations/publishers/artifactTypes/offers/skus/versions"

func (d *DiskDraft) creationSource(p *wire.Problems) (source disk.Source) {
	creation := wire.ObjectAt(d.doc, "properties", "creationData")
	option := wire.TextAt(creation, "createOption")
	if option == "" {
		p.Add(wire.InvalidParameter, creationPath+".createOption", "The required member '%s' is missing.", creationPath+".createOption")
		return source
	}
	source.Option = disk.Option(option)
	for _, m := range creationMembers {
		value, at := wire.TextAt(creation, strings.Split(m.path, ".")...), creationPath+"."+m.path
		switch {
		case m.option == source.Option && value == "":
			p.Add(wire.InvalidParameter, at, "The required member '%s' is missing; createOption is %s.", at, option)
		case m.option == source.Option:
			d.named(p, m, value, at, &source)
		case value != "":
			p.Add(wire.InvalidParameter, at, "'%s' does not go with createOption %s; leave one of them out.", at, option)
		}
	}
	if n, given := wire.NumberAt(creation, "logicalSectorSize"); given && n != 512 {
		p.Add(wire.InvalidParameter, creationPath+".logicalSectorSize", "Disks have sectors of 512 bytes, not of %d; leave logicalSectorSize out.", n)
	}
	return source
}

// imageMembers are the places in an image's properties.
var imageMembers = []member{
	{"storageProfile.osDisk.blobUri", disk.Import, nil},
	{"storageProfile.osDisk.managedDisk.id", disk.Copy, []string{disk.Managed.Type()}},
	{"storageProfile.osDisk.snapshot.id", disk.Copy, []string{disk.Snapshot.Type()}},
	{"sourceVirtualMachine.id", disk.Capture, []string{"Microsoft.Compute/virtualMachineScaleSets/virtualMachines"}},
}

func (d *DiskDraft) imageSource(p *wire.Problems) (source disk.Source) {
	found := ""
	for _, m := range imageMembers {
		value, at := wire.TextAt(d.doc, append([]string{"properties"}, strings.Split(m.path, ".")...)...), "properties."+m.path
		if value == "" {
			continue
		}
		if found != "" {
			p.Add(wire.InvalidParameter, at, "An image has one source; '%s' and '%s' are two.", found, at)
			continue
		}
		found, source.Option = at, m.option
		d.named(p, m, value, at, &source)
	}
	if found == "" {
		p.Add(wire.InvalidParameter, osDiskPath, "An image needs a source: properties.sourceVirtualMachine.id, or blobUri, managedDisk.id or snapshot.id in '%s'.", osDiskPath)
	}
	return source
}

// named reads what a member names. The query of a file's URI is not in the
// document.
func (d *DiskDraft) named(p *wire.Problems, m member, value, at string, source *disk.Source) {
	d.from = at
	if m.types == nil {
		file, err := disk.ParseFile(d.uri)
		p.AddFrom(err, at)
		source.File = file
		return
	}
	id, err := resource.ParseID(value) // its syntax was checked when it was decoded
	if err != nil {
		return
	}
	if !slices.ContainsFunc(m.types, func(t string) bool { return strings.EqualFold(t, id.Type()) }) {
		p.Add(wire.InvalidParameter, at, "'%.256s' is a %s; '%s' takes the id of a %s.", value, id.Type(), at, strings.Join(m.types, " or a "))
	}
	source.ID = id
}
