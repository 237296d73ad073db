package compute

import (
	"bytes"
	"reflect"
	"slices"
	"strings"

	"github.com/muster-vm/muster/internal/arm/wire"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/vmss"
)

// Limits of a scale set.
const (
	DefaultMaxCapacity      = 1000
	MaxSinglePlacementGroup = 100 // instances of a set with one
)

// Input is what Parse needs beside the document.
type Input struct {
	ID       resource.ID
	Location string // where the set goes if the document names no location
	Image    vmss.Image
	// MaxDataDisks is what the size can attach; zero means 64.
	MaxDataDisks int
	MaxCapacity  int      // zero means DefaultMaxCapacity
	Zones        []string // the zones there are; nil means 1, 2 and 3
}

// parser walks a merged document. It collects problems instead of stopping.
type parser struct {
	wire.Problems
	in      Input
	doc     wire.Document
	current *Current
}

// Parse fills in the defaults, checks the document and reads it. Members of the
// returned set that requests do not write (UID, Created, Revision, Deleting)
// come from the current one and are zero on create. The image in the model is
// in.Image. It fails with Invalid, or with Conflict, code
// PropertyChangeNotAllowed, where something changed that cannot; all problems
// are reported together. The same draft may be parsed again.
func (d *Draft) Parse(in Input) (vmss.ScaleSet, vmss.Model, error) {
	p := &parser{in: in, doc: wire.Clone(d.doc), current: d.current}
	p.AddFrom(vmss.CheckName(in.ID.Name()), "name")
	fill(p.doc, "location", in.Location)
	p.required()
	if p.current != nil {
		keepUnchangeable(p.doc, p.current)
	}
	fillDefaults(p.doc, in.ID.Name(), in.Image.OSType == windows)
	set := p.set()
	model := p.model()
	p.unchangeable()
	if err := p.Err(); err != nil {
		return vmss.ScaleSet{}, vmss.Model{}, err
	}
	p.split(&set, &model)
	return set, model, nil
}

const windows = "Windows"

// required reports the members that nothing can stand in for.
func (p *parser) required() {
	for _, path := range []string{
		"location", "sku.name", "sku.capacity", "properties.upgradePolicy", "properties.upgradePolicy.mode",
		"properties.virtualMachineProfile", "properties.virtualMachineProfile.storageProfile",
		"properties.virtualMachineProfile.storageProfile.imageReference", "properties.virtualMachineProfile.networkProfile",
	} {
		steps := strings.Split(path, ".")
		parentMissing := len(steps) > 1 && path != "sku.name" && path != "sku.capacity" &&
			steps[len(steps)-2] != "properties" && wire.Get(p.doc, steps[:len(steps)-1]...) == nil
		if v := wire.Get(p.doc, steps...); (v == nil || v == "") && !parentMissing {
			p.Add(wire.InvalidParameter, path, "The required member '%s' is missing.", path)
		}
	}
}

func (p *parser) set() vmss.ScaleSet {
	var set vmss.ScaleSet
	if p.current != nil {
		set = p.current.Set
	} else {
		set.ID = p.in.ID
	}
	props := wire.ObjectAt(p.doc, "properties")
	set.Location = plainLocation(wire.TextAt(p.doc, "location"))
	p.doc["location"] = set.Location
	set.Tags = p.tags()
	set.SKU = p.sku()
	set.Zones, set.ZoneBalance, set.SinglePlacementGroup = p.zones(), wire.FlagAt(props, "zoneBalance"), wire.FlagAt(props, "singlePlacementGroup")
	set.FaultDomains = p.faultDomains(set)
	set.Overprovision = wire.FlagAt(props, "overprovision")
	set.Upgrade = vmss.UpgradePolicy{Mode: vmss.UpgradeMode(wire.TextAt(props, "upgradePolicy", "mode"))}
	set.ScaleIn = p.scaleIn(wire.ObjectAt(props, "scaleInPolicy"))
	p.placement(set)
	p.rolling(wire.ObjectAt(props, "upgradePolicy", "rollingUpgradePolicy"))
	return set
}

func (p *parser) tags() map[string]string {
	given := wire.ObjectAt(p.doc, "tags")
	if given == nil {
		return nil
	}
	tags := make(map[string]string, len(given))
	for name, v := range given {
		tags[name], _ = v.(string)
	}
	p.AddFrom(resource.CheckTags(tags), "tags")
	return tags
}

func (p *parser) sku() vmss.SKU {
	capacity, _ := wire.NumberAt(p.doc, "sku", "capacity")
	limit := p.in.MaxCapacity
	if limit == 0 {
		limit = DefaultMaxCapacity
	}
	if capacity < 0 || capacity > limit {
		p.Add(wire.InvalidParameter, "sku.capacity", "The capacity %d is not between 0 and %d.", capacity, limit)
	}
	sku := wire.ObjectAt(p.doc, "sku")
	tier := wire.TextAt(sku, "tier")
	for _, known := range []string{"Standard", "Basic"} {
		if strings.EqualFold(tier, known) {
			tier, sku["tier"] = known, known
		}
	}
	if tier != "Standard" && tier != "Basic" {
		p.Add(wire.InvalidParameter, "sku.tier", "The tier '%s' is not Standard or Basic.", tier)
	}
	return vmss.SKU{Name: wire.TextAt(sku, "name"), Tier: tier, Capacity: capacity}
}

func (p *parser) scaleIn(policy wire.Document) vmss.ScaleInPolicy {
	out := vmss.ScaleInPolicy{
		Rule: vmss.ScaleInDefault, ForceDeletion: wire.FlagAt(policy, "forceDeletion"),
		PrioritizeUnhealthyVM: wire.FlagAt(policy, "prioritizeUnhealthyVMs"),
	}
	rules := wire.TextsAt(policy, "rules")
	if len(rules) > 1 {
		p.Add(wire.InvalidParameter, "properties.scaleInPolicy.rules", "A scale set has one scale-in rule; %d were given.", len(rules))
	}
	if len(rules) > 0 {
		out.Rule = vmss.ScaleInRule(rules[0])
	}
	return out
}

// rolling checks the ranges of what a later change to mode Rolling would use.
func (p *parser) rolling(policy wire.Document) {
	for name, low := range map[string]int{"maxBatchInstancePercent": 5, "maxUnhealthyInstancePercent": 5, "maxUnhealthyUpgradedInstancePercent": 0} {
		if n, given := wire.NumberAt(policy, name); given && (n < low || n > 100) {
			path := "properties.upgradePolicy.rollingUpgradePolicy." + name
			p.Add(wire.InvalidParameter, path, "'%s' must be between %d and 100.", path, low)
		}
	}
}

// split makes the two stored documents of the whole one.
func (p *parser) split(set *vmss.ScaleSet, model *vmss.Model) {
	public := ScaleSet.WithoutSecrets(p.doc)
	model.Document = profile.Append(nil, wire.Get(public, "properties", "virtualMachineProfile"))
	wire.Remove(public, "properties", "virtualMachineProfile")
	wire.Remove(public, "sku", "capacity")
	set.Document = ScaleSet.Encode(public)
}

// SameModel reports whether instances made from either model would be alike: no
// new revision is needed. What "latest" of an image means now does not matter;
// a set keeps the version it resolved until its image reference changes.
func SameModel(a, b vmss.Model) bool {
	as, bs := a.OS.Secrets, b.OS.Secrets
	return a.Size == b.Size && bytes.Equal(a.Document, b.Document) && reflect.DeepEqual(a.NICs, b.NICs) && as.AdminPassword == bs.AdminPassword &&
		bytes.Equal(as.CustomData, bs.CustomData) && bytes.Equal(as.UserData, bs.UserData)
}

// unchangeable reports the members that can never change.
func (p *parser) unchangeable() {
	if p.current == nil {
		return
	}
	was := p.current
	change := func(path string, changed bool, hint string) {
		if changed {
			p.AddError(resource.Errorf(resource.Conflict, "PropertyChangeNotAllowed",
				"Changing property '%s' is not allowed. %s", path, hint).At(path))
		}
	}
	const again = "Create another scale set instead."
	change("location", wire.TextAt(p.doc, "location") != plainLocation(was.Set.Location), again)
	if n, given := wire.NumberAt(p.doc, "properties", "platformFaultDomainCount"); given {
		change("properties.platformFaultDomainCount", n != was.Set.FaultDomains, again)
	}
	change("properties.singlePlacementGroup", wire.FlagAt(p.doc, "properties", "singlePlacementGroup") && !was.Set.SinglePlacementGroup,
		"It can be changed from true to false only.")
	for _, zone := range was.Set.Zones {
		if !slices.Contains(wire.TextsAt(p.doc, "zones"), zone) {
			change("zones", true, "Zones can be added, not removed: zone "+zone+" is missing.")
			break
		}
	}
	vm := wire.ObjectAt(p.doc, "properties", "virtualMachineProfile")
	change("properties.virtualMachineProfile.osProfile.computerNamePrefix",
		wire.TextAt(vm, "osProfile", "computerNamePrefix") != was.Model.OS.ComputerNamePrefix, again)
	change("properties.virtualMachineProfile.storageProfile.osDisk.managedDisk.storageAccountType",
		wire.TextAt(vm, "storageProfile", "osDisk", "managedDisk", "storageAccountType") != was.Model.OSDisk.StorageType, again)
	change("properties.virtualMachineProfile.storageProfile.osDisk.diffDiskSettings",
		(wire.TextAt(vm, "storageProfile", "osDisk", "diffDiskSettings", "option") != "") != was.Model.OSDisk.Ephemeral, again)
}

// plainLocation names a location as Azure stores it: "West US" is westus.
func plainLocation(name string) string { return strings.ToLower(strings.ReplaceAll(name, " ", "")) }
