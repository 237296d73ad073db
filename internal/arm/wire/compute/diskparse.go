package compute

import (
	"slices"
	"strings"

	"github.com/muster-vm/muster/internal/arm/wire"
	"github.com/muster-vm/muster/internal/disk"
	"github.com/muster-vm/muster/internal/resource"
)

// DiskInput is what Parse needs beside the document.
type DiskInput struct {
	ID     resource.ID
	Source disk.Source // with what its id stands for; ignored unless the disk is new
	SizeGB int         // of the source, or of the disk if it is not new; 0 if it is not known yet
	OSType string      // of what the source holds, if known
	Zones  []string    // the zones there are; nil means 1, 2 and 3
}

// Parse checks the document and reads it. Members that requests do not write (UID,
// Created, Deleting) come from the current disk and are zero on create. It fails
// with Invalid, or with Conflict, code PropertyChangeNotAllowed, where something
// changed that cannot; all problems are reported together.
func (d *DiskDraft) Parse(in DiskInput) (disk.Disk, error) {
	p := &diskParser{doc: wire.Clone(d.doc), in: in, kind: d.kind}
	out := disk.Disk{ID: in.ID, Kind: d.kind, Source: in.Source}
	if d.current != nil {
		out = *d.current
		p.was = d.current
	}
	p.AddFrom(disk.CheckName(d.kind, in.ID.Name()), "name")
	p.common(&out)
	if d.kind == disk.Image {
		p.image(&out)
	} else {
		p.disk(&out)
	}
	p.unchangeable()
	if err := p.Err(); err != nil {
		return disk.Disk{}, err
	}
	out.Document = diskSchemas[d.kind].Encode(p.doc)
	return out, nil
}

// diskParser walks a merged document.
type diskParser struct {
	wire.Problems
	kind disk.Kind
	in   DiskInput
	doc  wire.Document
	was  *disk.Disk // nil on create
}

// common reads what all kinds have.
func (p *diskParser) common(out *disk.Disk) {
	if wire.TextAt(p.doc, "location") == "" {
		p.Add(wire.InvalidParameter, "location", "The required member 'location' is missing.")
	}
	out.Location = plainLocation(wire.TextAt(p.doc, "location"))
	p.doc["location"] = out.Location
	q := parser{Problems: p.Problems, doc: p.doc, in: Input{Zones: p.in.Zones}}
	out.Tags, out.Zones = q.tags(), q.zones()
	p.Problems = q.Problems
	if len(out.Zones) > 1 {
		p.Add(wire.InvalidParameter, "zones", "A disk is in one zone; %d were given.", len(out.Zones))
	}
}

// had is the size of a disk that there is.
func (p *diskParser) had() int { return max(p.was.SizeGB, p.in.SizeGB) }

// size reads diskSizeGB, which may be left out where there is a source.
func (p *diskParser) size(doc wire.Document, path string, out *disk.Disk) {
	size, given := wire.NumberAt(doc, sizeMember)
	if !given {
		if out.Source.Option == disk.Empty && p.was == nil {
			p.Add(wire.InvalidParameter, path, "The required member '%s' is missing; an Empty disk has a size.", path)
		}
		return
	}
	p.AddFrom(disk.CheckSize(size), path)
	switch {
	case p.was == nil && size < p.in.SizeGB:
		p.Add(wire.InvalidParameter, path, "The source has %d GB; a copy cannot have %d.", p.in.SizeGB, size)
	case p.was != nil && size < p.had():
		p.AddError(resource.Errorf(resource.Conflict, "OperationNotAllowed", "Disks grow only: it has %d GB and cannot have %d. Copy what it holds to a smaller disk instead.", p.had(), size).At(path))
	case p.was != nil && p.kind != disk.Managed && size > p.had() && p.had() > 0:
		p.AddError(resource.Errorf(resource.Conflict, "PropertyChangeNotAllowed", "Changing property '%s' is not allowed: what a snapshot or image holds stays as it is. Make a larger disk of it instead.", path).At(path))
	}
	out.SizeGB = size
}

// disk reads a managed disk or a snapshot.
func (p *diskParser) disk(out *disk.Disk) {
	props := sub(p.doc, "properties")
	p.size(props, "properties."+sizeMember, out)
	sku, err := disk.ParseSKU(p.kind, wire.TextAt(p.doc, "sku", "name"))
	p.AddFrom(err, "sku.name")
	out.SKU = sku
	sub(p.doc, "sku")["name"] = sku
	if os := wire.TextAt(props, "osType"); os != "" || p.was != nil {
		out.OSType = os
	} else {
		out.OSType = p.in.OSType
	}
	fillIf(props, "osType", out.OSType)
	if out.OSType != "" {
		fill(props, "hyperVGeneration", "V1")
	}
	if p.kind == disk.Managed && err == nil {
		p.limit(props, out)
	}
}

// limit reads what a disk may do. The size that counts is the one it will have.
func (p *diskParser) limit(props wire.Document, out *disk.Disk) {
	if n, given := wire.NumberAt(props, "maxShares"); given && n != 1 {
		p.Add(wire.InvalidParameter, "properties.maxShares", "Disks are not shared between instances; set maxShares to 1 or leave it out.")
	}
	if disk.SettableLimits(out.SKU) && out.OSType != "" {
		p.Add(wire.InvalidParameter, "sku.name", "A disk of type %s is for data only; choose another type, or leave osType out.", out.SKU)
	}
	size := max(out.SizeGB, p.in.SizeGB)
	iops, _ := wire.NumberAt(props, "diskIOPSReadWrite")
	mbps, _ := wire.NumberAt(props, "diskMBpsReadWrite")
	asked := disk.Limit{IOPS: iops, MBps: mbps}
	p.dropShown(props, out, &asked)
	p.AddFrom(under("properties", disk.CheckLimit(out.SKU, size, asked)), "properties")
	out.Limit = asked
	tier := wire.TextAt(props, "tier")
	raised, err := disk.LimitOfTier(out.SKU, size, tier)
	if p.was != nil && strings.EqualFold(tier, disk.TierOf(p.was.SKU, p.had())) {
		raised, err = disk.Limit{}, nil // what was shown, maybe before the size or type changed
	}
	p.AddFrom(under("properties", err), "properties.tier")
	if raised == (disk.Limit{}) {
		delete(props, "tier") // it follows
	} else {
		out.Limit = raised
	}
}

// dropShown removes limits that say what an answer showed: what follows from type
// and size, and clients send back when they change those.
func (p *diskParser) dropShown(props wire.Document, out *disk.Disk, asked *disk.Limit) {
	var shown []disk.Limit
	if !disk.SettableLimits(out.SKU) {
		shown = append(shown, disk.LimitOf(out.SKU, max(out.SizeGB, p.in.SizeGB)))
	}
	if p.was != nil && (p.was.SKU != out.SKU || !disk.SettableLimits(out.SKU)) {
		shown = append(shown, p.was.Effective(p.had()))
	}
	for _, l := range shown {
		if asked.IOPS == l.IOPS {
			asked.IOPS = 0
			delete(props, "diskIOPSReadWrite")
		}
		if asked.MBps == l.MBps {
			asked.MBps = 0
			delete(props, "diskMBpsReadWrite")
		}
	}
}

// under moves the target of an error under a path.
func under(path string, err error) error {
	if e, ok := err.(*resource.Error); ok { //nolint:errorlint // the rules do not wrap
		return e.At(path + "." + e.Target)
	}
	return err
}

// image reads an image.
func (p *diskParser) image(out *disk.Disk) {
	props := sub(p.doc, "properties")
	os := sub(sub(props, "storageProfile"), "osDisk")
	p.size(os, osDiskPath+"."+sizeMember, out)
	given := wire.TextAt(os, "osType")
	switch {
	case given == "" && p.in.OSType == "" && p.was == nil:
		p.Add(wire.InvalidParameter, osDiskPath+".osType", "The required member '%s' is missing: Linux or Windows.", osDiskPath+".osType")
	case given != "" && p.in.OSType != "" && given != p.in.OSType:
		p.Add(wire.InvalidParameter, osDiskPath+".osType", "osType is %s, but the source holds %s; leave osType out.", given, p.in.OSType)
	}
	if p.was == nil {
		if out.OSType = given; given == "" {
			out.OSType = p.in.OSType
		}
	}
	fillIf(os, "osType", out.OSType)
	fill(os, "osState", "Generalized")
	fill(props, "hyperVGeneration", "V1")
}

func fillIf(doc wire.Document, name, value string) {
	if value != "" {
		fill(doc, name, value)
	}
}

// unchangeable reports the members that can never change.
func (p *diskParser) unchangeable() {
	if p.was == nil {
		return
	}
	before, err := diskSchemas[p.kind].Decode(p.was.Document)
	if err != nil {
		p.AddFrom(err, "")
		return
	}
	for _, path := range fixedMembers(p.kind) {
		steps := strings.Split(path, ".")
		if !sameText(wire.Get(before, steps...), wire.Get(p.doc, steps...)) {
			p.AddError(resource.Errorf(resource.Conflict, "PropertyChangeNotAllowed", "Changing property '%s' is not allowed. Delete it and make it again, or make another one.", path).At(path))
		}
	}
}

// fixedMembers are the paths of what can never change.
func fixedMembers(kind disk.Kind) []string {
	paths, places, at := []string{"location", "zones", creationPath + ".createOption"}, creationMembers, creationPath
	if kind == disk.Image {
		paths, places, at = []string{"location", osDiskPath + ".osType"}, imageMembers, "properties"
	}
	for _, m := range places {
		paths = append(paths, at+"."+m.path)
	}
	return paths
}

// sameText compares texts, and lists of them, in any letter case.
func sameText(a, b any) bool {
	switch x := a.(type) {
	case string:
		y, _ := b.(string)
		return strings.EqualFold(x, y)
	case []any:
		y, _ := b.([]any)
		return slices.EqualFunc(x, y, sameText)
	}
	list, _ := b.([]any)
	return b == nil || list != nil && len(list) == 0
}
